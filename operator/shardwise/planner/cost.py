"""A roofline estimate of speed, to rank legal layouts and never to promise.

Decode reads every weight it touches once a step, from memory at a share of its peak; tensor parallelism adds two
all-reduces a layer, pipeline parallelism one send a stage border. Constants: measurements on two H200 and the system
files of ai-dynamo/aiconfigurator@095f58a51.
"""

from dataclasses import dataclass
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.hardware import GB, GpuKind
from shardwise.domain.layout import Layout
from shardwise.domain.model import ExpertFfn, Layer, ModelFacts
from shardwise.domain.plan import Estimate
from shardwise.planner.memory import kv_bytes
from shardwise.planner.stages import stages_of
from shardwise.planner.weights import layer_bytes, vocabulary_bytes

HBM_SHARE: Final = 0.7
"""Achieved share of peak memory bandwidth: Llama 8B at batch 1 on an H200 took 4.84 ms where the peak allows 3.36."""

FLOPS_SHARE: Final = 0.7
NVLINK_SHARE: Final = 1.4
"""All-reduce bus bandwidth over NVLink, as a share of the one-way bandwidth: 0.7 of both directions."""

NIC_BYTES: Final = 0.8 * 50 * GB
"""What a 400 Gb/s network card per GPU achieves."""

_PCIE_BUS: Final = {2: 14 * GB, 4: 5 * GB, 8: 2 * GB}
"""All-reduce bus bandwidth without peer-to-peer links, by GPUs, implied by published L40S data."""

_NVLINK_LATENCY: Final = 6e-6
_NVLINK_LATENCY_PER_GPU: Final = 0.6e-6
_PCIE_LATENCY: Final = 30e-6
_NETWORK_LATENCY: Final = 80e-6
_SEND_LATENCY: Final = 12e-6
_ACTIVATION_BYTES: Final = 2
_THROUGHPUT_BATCH: Final = 64
"""Sequences in flight when throughput is compared."""

_MEAN_SHARE_OF_CONTEXT: Final = 0.5
"""A sequence is, on average over its life, half as long as it may get."""


@dataclass(frozen=True, slots=True)
class Links:
    """How the ranks of a layout are joined: inside a tensor group, and from stage to stage."""

    kind: GpuKind
    tensor_on_nvlink: bool
    stages_in_node: bool


def estimate(demand: Demand, layout: Layout, links: Links) -> Estimate:
    """Estimate the time of a token for one sequence, and the tokens a second and GPU at a serving batch."""
    single = sum(_stage_seconds(demand, layout, links, batch=1)) + _borders(demand.model, layout, links, batch=1)
    share = max(1, _THROUGHPUT_BATCH // layout.pipeline)
    slowest = max(_stage_seconds(demand, layout, links, batch=share))
    slowest += _borders(demand.model, layout, links, batch=share) / layout.pipeline
    return Estimate(seconds_per_token=single, tokens_per_second_per_gpu=share / slowest / layout.world_size)


def _stage_seconds(demand: Demand, layout: Layout, links: Links, *, batch: int) -> list[float]:
    model = demand.model
    seconds = [
        sum(count * _layer_seconds(demand, layer, layout, links, batch) for layer, count in counts.items())
        for counts in stages_of(model, layout.pipeline)
    ]
    seconds[-1] += vocabulary_bytes(model, layout.tensor) / (HBM_SHARE * links.kind.hbm)
    return seconds


def _layer_seconds(demand: Demand, layer: Layer, layout: Layout, links: Links, batch: int) -> float:
    model = demand.model
    touched = layer_bytes(model, layer, layout) * _touched_share(model, layer, layout, batch)
    cache = kv_bytes(demand, layer.attention, layout.tensor) / demand.concurrency * _MEAN_SHARE_OF_CONTEXT * batch
    memory = (touched + cache) / (HBM_SHARE * links.kind.hbm)
    compute = 2 * touched / model.plain.bytes_per_element * batch / (FLOPS_SHARE * links.kind.flops)
    message = batch * model.hidden * _ACTIVATION_BYTES
    return max(memory, compute) + 2 * all_reduce_seconds(message, layout.tensor, links)


def _touched_share(model: ModelFacts, layer: Layer, layout: Layout, batch: int) -> float:
    """Give the share of a layer's bytes one step reads: of the experts only those some token of the batch picked."""
    if not isinstance(layer.ffn, ExpertFfn):
        return 1.0
    whole = layer_bytes(model, layer, layout)
    routed = 3 * model.hidden * layer.ffn.intermediate * layer.ffn.experts * model.expert.bytes_per_element
    picked = 1 - (1 - layer.ffn.active / layer.ffn.experts) ** batch
    return 1 - (1 - picked) * min(1.0, routed / layout.tensor / whole)


def all_reduce_seconds(message: float, gpus: int, links: Links) -> float:
    """Time an all-reduce of ``message`` bytes over ``gpus`` ranks: a start and a ring's share of the bus."""
    if gpus == 1:
        return 0.0
    latency, bus = _collective(gpus, links)
    return latency + 2 * (gpus - 1) / gpus * message / bus


def _collective(gpus: int, links: Links) -> tuple[float, float]:
    if links.tensor_on_nvlink and links.kind.nvlink is not None:
        return _NVLINK_LATENCY + _NVLINK_LATENCY_PER_GPU * gpus, NVLINK_SHARE * links.kind.nvlink
    if links.stages_in_node or links.kind.nvlink is None:
        return _PCIE_LATENCY, next((bus for most, bus in _PCIE_BUS.items() if gpus <= most), _PCIE_BUS[8])
    return _NETWORK_LATENCY, NIC_BYTES


def _borders(model: ModelFacts, layout: Layout, links: Links, *, batch: int) -> float:
    message = batch * model.hidden * _ACTIVATION_BYTES
    inside = links.kind.nvlink or links.kind.pcie
    one = _SEND_LATENCY + message / inside if links.stages_in_node else _NETWORK_LATENCY + message / NIC_BYTES
    return (layout.pipeline - 1) * one
