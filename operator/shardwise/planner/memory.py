"""Bytes on the fullest rank of a layout: weights, KV cache, activations and reserve, against the engine's budget.

All figures are for a rank of a stage, never a sum over GPUs. Tests compare them with a real vLLM on an H200.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from shardwise.domain.adapters import Adapters
from shardwise.domain.demand import Demand, EngineSetup
from shardwise.domain.engine import MOST_SEQUENCES, EngineName, chunk_tokens
from shardwise.domain.hardware import HOPPER, ComputeCapability
from shardwise.domain.layout import Layout
from shardwise.domain.model import Layer, ModelFacts
from shardwise.domain.plan import MemoryUse
from shardwise.planner.adapter_weights import adapter_bytes
from shardwise.planner.all_to_all import buffer_bytes
from shardwise.planner.budgets import memory_use as budgeted
from shardwise.planner.caches import kv_bytes, on_rank
from shardwise.planner.data_support import spread_of
from shardwise.planner.on_load import holds_unquantised
from shardwise.planner.stages import Stage, stages_of
from shardwise.planner.state_room import cached_bytes, lays_out_states, spare_bytes, states_in
from shardwise.planner.weights import (
    checkpoint_scale,
    end_bytes,
    has_experts_in_fp8_blocks,
    is_quantised_on_load,
    layer_bytes,
    padded_vocabulary,
    relaid_bytes,
)

TIGHT_SHARE: Final = 0.05
"""A plan whose slack is under this share of the GPU's budget is called tight."""

_ACTIVATION_BYTES: Final = 2
_LOGIT_BYTES: Final = 4
_LOGIT_COPIES: Final = 3
"""The sampler holds the logits in float32, their probabilities, and a copy that is sorted."""


def memory_use(
    demand: Demand, layout: Layout, gpu_memory: int, capability: ComputeCapability | None = None
) -> MemoryUse:
    """Give the bytes on the fullest GPU of a layout. ``gpu_memory`` is the memory that CUDA offers, in bytes."""
    asked, demand = demand, on_rank(demand, layout)
    loads = zip(_weights(demand, layout), _kv_caches(demand, layout, capability), strict=True)
    weights, kv_cache = max(loads, key=sum)
    activations = _activations(demand.model, layout, max(MOST_SEQUENCES, demand.concurrency))
    use = budgeted(demand, layout, gpu_memory, weights=weights, kv_cache=kv_cache, activations=activations)
    buffers = buffer_bytes(asked, layout)
    if buffers:
        use = replace(use, reserve=use.reserve + buffers)
    if not lays_out_states(demand):
        return use
    spare = max(spare_bytes(demand, layout.tensor, stage, capability) for stage, _ in _stages(demand, layout))
    return replace(use, reserve=use.reserve + spare)


def states(demand: Demand, layout: Layout, use: MemoryUse, capability: ComputeCapability | None = None) -> int | None:
    """Count the states of sequences that every rank has room for; ``None`` where the engine needs no such number."""
    if not lays_out_states(demand):
        return None
    demand = on_rank(demand, layout)
    free = use.budget - use.activations - use.reserve
    found = (
        states_in(demand, layout.tensor, stage, free - weights, capability)
        for (stage, _), weights in zip(_stages(demand, layout), _weights(demand, layout), strict=True)
    )
    return min((count for count in found if count is not None), default=None)


def relays_experts(demand: Demand, capability: ComputeCapability | None) -> bool:
    """Tell whether the engine gives experts in fp8 blocks another form when all weights are read: vLLM on Hopper.

    Measured with vLLM 0.33.0 on an H200 (tests/data/vllm033-h200-memory.json).
    """
    hopper = capability is not None and capability[0] == HOPPER
    return hopper and demand.engine is EngineName.VLLM and has_experts_in_fp8_blocks(demand.model)


def loading_use(demand: Demand, layout: Layout, capability: ComputeCapability | None = None) -> int:
    """Give the bytes on the fullest GPU while the engine loads more than it keeps; 0 for other models.

    If the engine quantises the weights, it makes the matrices of a rank in the checkpoint's precision, and quantises
    them when all are read. If it gives experts another form, a layer's gates and ups are there three times.
    """
    if relays_experts(demand, capability):
        relaid, stages = relaid_bytes(demand.model, layout), _stages(demand, layout)
        held = zip(stages, _weights(demand, layout), strict=True)
        return max(weights + 2 * _largest(stage, relaid) for (stage, _), weights in held)
    if not is_quantised_on_load(demand.model) or not holds_unquantised(demand.engine, demand.runs):
        return 0
    return max(_weights(demand, layout, unquantised=True))


def is_tight(use: MemoryUse) -> bool:
    """Tell whether a plan that fits has less slack than :data:`TIGHT_SHARE` of its budget."""
    return use.slack < wanted_slack(use)


def wanted_slack(use: MemoryUse) -> int:
    """Give the slack below which a plan is tight."""
    return int(use.budget * TIGHT_SHARE)


def _stages(demand: Demand, layout: Layout) -> tuple[tuple[Stage, int], ...]:
    return stages_of(demand.model, demand.engine, layout.pipeline)


def _kv_caches(demand: Demand, layout: Layout, capability: ComputeCapability | None) -> tuple[int, ...]:
    """Give the bytes of KV cache on a rank of each different stage."""
    stages = _stages(demand, layout)
    if lays_out_states(demand):
        return tuple(int(cached_bytes(demand, layout.tensor, stage, capability)) for stage, _ in stages)
    by_kind = _kv_by_kind(demand, layout.tensor)
    return tuple(int(stage.total(by_kind)) for stage, _ in stages)


def _weights(demand: Demand, layout: Layout, *, unquantised: bool = False) -> tuple[int, ...]:
    """Give the bytes of weights on a rank of each different stage, adapters included.

    ``unquantised``: see :func:`loading_use`.
    """
    return _weights_of_stages(
        demand.model, layout, demand.engine, demand.setup, demand.adapters, unquantised=unquantised
    )


@lru_cache(maxsize=8192)
def _weights_of_stages(
    model: ModelFacts,
    layout: Layout,
    engine: EngineName,
    setup: EngineSetup,
    adapters: Adapters | None,
    *,
    unquantised: bool,
) -> tuple[int, ...]:
    """See :func:`_weights`. Weights depend on no load: the demands of a search for hints share them."""
    of_stage = layout.of_stage
    spread = spread_of(engine, model.architecture, of_stage, setup)
    of_layers = layer_bytes(model, of_stage, spread, unquantised=unquantised)
    ends, scale = end_bytes(model, layout.tensor, engine, spread), checkpoint_scale(model)
    of_adapters = adapter_bytes(model, layout, adapters)
    return tuple(
        int((stage.total(of_layers) + ends.on(stage)) * scale + stage.total(of_adapters))
        for stage, _ in stages_of(model, engine, layout.pipeline)
    )


def _largest(stage: Stage, sizes: Sequence[float]) -> int:
    """Give the bytes of the stage's largest layer, given the bytes of a layer of each kind."""
    return int(max((size for count, size in zip(stage.layers, sizes, strict=True) if count), default=0))


def _kv_by_kind(demand: Demand, tensor: int) -> tuple[float, ...]:
    """Give the cached bytes of a layer of each kind on a rank. Some layers have both keys and a state."""
    return tuple(
        kv_bytes(demand, layer.cache, tensor) + kv_bytes(demand, layer.state, tensor) for layer in demand.model.kinds
    )


@lru_cache(maxsize=8192)
def _activations(model: ModelFacts, layout: Layout, sequences: int) -> int:
    """Estimate the peak bytes of a prefill chunk, or of sampling where sampling needs more.

    The estimate is within a tenth of vLLM's measurements on the dense models in the tests. The experts see the tokens
    of all data ranks: vLLM and SGLang gather them on every rank unless they are told otherwise.
    """
    tokens, seen = chunk_tokens(layout.data), layout.data * chunk_tokens(layout.data)
    chunk = max(
        tokens * (3 * model.hidden + layer.widths.split / layout.tensor + layer.widths.whole)
        + seen * (layer.widths.expert / (1 if layout.expert else layout.stage_gpus) + _gathered(model, layout, layer))
        for layer in model.kinds
    )
    chunk *= _ACTIVATION_BYTES
    logits = _LOGIT_COPIES * _LOGIT_BYTES * sequences * padded_vocabulary(model.vocabulary)
    return int(max(chunk, logits))


def _gathered(model: ModelFacts, layout: Layout, layer: Layer) -> int:
    """Give the elements of a token that is gathered from another data rank: its hidden state, before and after."""
    return 2 * model.hidden if layout.data > 1 and layer.widths.expert else 0
