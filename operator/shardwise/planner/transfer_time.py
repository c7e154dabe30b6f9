"""The time in which the KV cache of a prompt travels from prefill to decode.

Each GPU of decode reads its part of the cache over its own network card, all at once. Cards of prefill that serve
several GPUs of decode are the slower side. The bandwidth is that of an RDMA card, as for every other exchange between
nodes; no transfer of a real engine was measured. By TCP the time is not estimated: it depends on the network of the
site (NVIDIA Dynamo 1.2.0 names 98 seconds where RDMA takes half a second).
"""

from dataclasses import replace

from shardwise.domain.demand import Demand
from shardwise.domain.layout import Layout
from shardwise.domain.roles import RoleName
from shardwise.planner.caches import kv_bytes
from shardwise.planner.links import NETWORK_START, NIC
from shardwise.planner.stages import stages_of


def transfer_seconds(demand: Demand, layout: Layout) -> float | None:
    """Estimate the time of the transfer for a role in a layout, and the other role in its own, or in the same.

    ``None`` without roles, without a target and without RDMA.
    """
    if demand.half is None or demand.target is None or not demand.has_rdma:
        return None
    other = demand.half.other or layout
    prefill, decode = (layout, other) if demand.half.role.name is RoleName.PREFILL else (other, layout)
    read = cache_bytes(demand, demand.target.input_tokens, decode)
    readers = decode.tensor * decode.pipeline / (prefill.tensor * prefill.pipeline)
    return NETWORK_START + read * max(1.0, readers) / NIC


def cache_bytes(demand: Demand, tokens: int, layout: Layout) -> float:
    """Give the bytes that the cache of a prompt takes on the fullest GPU of a layout."""
    model = demand.model
    prompt = replace(demand, concurrency=1, context_length=-(-tokens // layout.context))
    layers = tuple(
        sum(kv_bytes(prompt, kept, layout.tensor) for kept in (layer.cache, layer.state)) for layer in model.kinds
    )
    return max(
        sum(count * size for count, size in zip(stage.layers, layers, strict=True))
        for stage, _ in stages_of(model, demand.engine, layout.pipeline)
    )
