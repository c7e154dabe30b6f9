"""The time that ranks need to exchange data: a start, and bytes over a bandwidth.

Constants are fitted to measurements on two H200 of one host (tests/data/h200-collectives.json: over NVLink, through
host memory, over TCP), and for more GPUs than two to the system files of ai-dynamo/aiconfigurator@095f58a51.
"""

from dataclasses import dataclass, replace
from typing import Final

from shardwise.domain.hardware import GB, GpuKind
from shardwise.domain.layout import Layout

NVLINK_SHARE: Final = 0.62
"""Bus bandwidth of an all-reduce over NVLink, as a share of the one-way bandwidth."""

CUSTOM_LIMIT: Final = 8 * 2**20
"""Largest message for which engines use their own all-reduce over NVLink instead of NCCL's, in bytes (vllm 0.33.0)."""

CUSTOM_START: Final = 6e-6
CUSTOM_START_PER_GPU: Final = 0.6e-6
NCCL_START: Final = 30e-6
NETWORK_START: Final = 80e-6
NIC: Final = 0.8 * 50 * GB
"""Achieved bytes per second of a 400 Gb/s network card per GPU."""

_PCIE_BUS: Final = {2: 14 * GB, 4: 5 * GB, 8: 2 * GB}
"""All-reduce bus bandwidth without peer-to-peer links, by GPUs, implied by published L40S data."""

EXCHANGE_START: Final = 20e-6
_BYTES_THERE: Final = 1
_BYTES_BACK: Final = 2
"""Bytes of an element on the way to an expert, in fp8, and back, in 16 bits."""

_SEND_SHARE: Final = 0.72
_SEND_START: Final = 12e-6


@dataclass(frozen=True, slots=True)
class Links:
    """How the ranks of a layout are joined: inside a tensor group, and from stage to stage.

    ``stages_in_domain``: all stages lie in the same node, or use NVLink between the nodes of the same domain.
    ``domain`` is the number of GPUs of the largest domain.
    """

    kind: GpuKind
    tensor_on_nvlink: bool
    stages_in_domain: bool
    domain: int = 1


def ring_seconds(message: float, gpus: int, start: float, bus: float) -> float:
    """Estimate a ring all-reduce of ``message`` bytes: a start, and twice the other ranks' shares over the bus."""
    return start + 2 * (gpus - 1) / gpus * message / bus


def all_reduce_seconds(message: float, gpus: int, links: Links) -> float:
    """Estimate the time of an all-reduce of ``message`` bytes inside a tensor group."""
    if gpus == 1:
        return 0.0
    if links.tensor_on_nvlink and links.kind.nvlink is not None:
        start = CUSTOM_START + CUSTOM_START_PER_GPU * gpus if message <= CUSTOM_LIMIT else NCCL_START
        return ring_seconds(message, gpus, start, NVLINK_SHARE * links.kind.nvlink)
    if links.stages_in_domain or links.kind.nvlink is None:
        bus = next((bus for most, bus in _PCIE_BUS.items() if gpus <= most), _PCIE_BUS[8])
        return ring_seconds(message, gpus, NCCL_START, bus)
    return ring_seconds(message, gpus, NETWORK_START, NIC)


def exchange_seconds(tokens: float, hidden: int, active: int, layout: Layout, links: Links) -> float:
    """Estimate the time in which the tokens of all data ranks go to their experts and come back.

    ``tokens`` is the number of tokens of a data rank, ``active`` the number of experts that each of them meets. Engines
    either gather all tokens on all GPUs of the stage, or send each token to its experts alone; the faster way counts.
    Over the network, the second way takes within a tenth of the published times of DeepEP's kernels on 16 to 128 GPUs
    (deepseek-ai/DeepEP@0297fc801, docs/legacy.md).
    """
    gpus, of_gpu = layout.stage_gpus, tokens / layout.tensor
    of_stage = replace(links, tensor_on_nvlink=links.kind.nvlink is not None and gpus <= links.domain)
    gathered = all_reduce_seconds(gpus * of_gpu * hidden * _BYTES_BACK, gpus, of_stage)
    if links.kind.nvlink is None:
        return gathered
    bus = NVLINK_SHARE * links.kind.nvlink if gpus <= links.domain else NIC
    away = 1 - (1 if gpus <= links.domain else links.domain) / gpus
    sent = of_gpu * min(active, gpus) * hidden * (_BYTES_THERE + _BYTES_BACK) * away
    return min(gathered, 2 * EXCHANGE_START + sent / bus)


def send_seconds(message: float, links: Links) -> float:
    """Estimate the time to send ``message`` bytes from a stage to the next stage."""
    if not links.stages_in_domain:
        return NETWORK_START + message / NIC
    return _SEND_START + message / (_SEND_SHARE * (links.kind.nvlink or links.kind.pcie))
