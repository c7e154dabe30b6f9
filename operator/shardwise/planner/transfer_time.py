"""The time in which the KV cache of a prompt travels from prefill to decode.

Each GPU of decode reads its part of the cache over its own network card, all at once. Cards of prefill that serve
several GPUs of decode are the slower side. With RDMA, the bandwidth is that of its card, as for every other exchange
between nodes; no transfer of a real engine was measured. Without RDMA, caches travel by TCP through host memory, also
on one node, because UCX uses NVLink only inside a PID namespace.
"""

from dataclasses import replace
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.hardware import GB
from shardwise.domain.layout import Layout
from shardwise.domain.roles import RoleName
from shardwise.planner.caches import kv_bytes
from shardwise.planner.links import NETWORK_START, NIC
from shardwise.planner.stages import stages_of

TCP: Final = 0.5 * GB
"""Bytes per second by TCP from a GPU to a GPU: the most that nixl 1.5.1 moved between two H200 of one host.

0.23 to 0.52 GB/s, by the size and the order of the blocks (benchmarks/transfers.py). A network between two hosts does
not make it faster.
"""


def transfer_seconds(demand: Demand, layout: Layout) -> float | None:
    """Estimate the time of the transfer for a role in a layout, and the other role in its own, or in the same.

    ``None`` without roles, and without a target.
    """
    if demand.half is None or demand.target is None:
        return None
    other = demand.half.other or layout
    prefill, decode = (layout, other) if demand.half.role.name is RoleName.PREFILL else (other, layout)
    read = cache_bytes(demand, demand.target.input_tokens, decode)
    readers = decode.tensor * decode.pipeline / (prefill.tensor * prefill.pipeline)
    return NETWORK_START + read * max(1.0, readers) / (NIC if demand.has_rdma else TCP)


def cache_bytes(demand: Demand, tokens: int, layout: Layout) -> float:
    """Give the bytes that the cache of a prompt takes on the fullest GPU of a layout."""
    model = demand.model
    prompt = replace(demand, concurrency=1, context_length=-(-tokens // layout.context))
    layers = tuple(
        sum(kv_bytes(prompt, kept, layout.tensor) for kept in (layer.cache, layer.state)) for layer in model.kinds
    )
    return max(stage.total(layers) for stage, _ in stages_of(model, demand.engine, layout.pipeline))
