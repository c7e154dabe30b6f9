"""Bytes on the fullest rank of a layout: weights, KV cache, activations and reserve, against the engine's budget.

All figures are for a rank of a stage, never a sum over GPUs. Tests compare them with a real vLLM on an H200.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import CHUNK_TOKENS, MOST_SEQUENCES
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, LatentCache, ModelFacts, SequenceCache, StateCache
from shardwise.domain.plan import MemoryUse
from shardwise.planner.adapter_weights import adapter_bytes
from shardwise.planner.budgets import memory_use as budgeted
from shardwise.planner.on_load import holds_unquantised
from shardwise.planner.stages import Stage, stages_of
from shardwise.planner.weights import (
    checkpoint_scale,
    end_bytes,
    is_quantised_on_load,
    layer_bytes,
    padded_vocabulary,
)

TIGHT_SHARE: Final = 0.05
"""A plan whose slack is under this share of the GPU's budget is called tight."""

_ACTIVATION_BYTES: Final = 2
_LOGIT_BYTES: Final = 4
_LOGIT_COPIES: Final = 3
"""The sampler holds the logits in float32, their probabilities, and a copy that is sorted."""


def memory_use(demand: Demand, layout: Layout, gpu_memory: int) -> MemoryUse:
    """Give the bytes on the fullest GPU of a layout. ``gpu_memory`` is the node label's figure, in bytes."""
    weights, kv_cache = max((_load(demand, layout, stage) for stage, _ in _stages(demand, layout)), key=sum)
    activations = _activations(demand.model, layout, max(MOST_SEQUENCES, demand.concurrency))
    return budgeted(demand, layout, gpu_memory, weights=weights, kv_cache=kv_cache, activations=activations)


def loading_use(demand: Demand, layout: Layout) -> int:
    """Give the bytes on the fullest GPU while the engine reads weights that it quantises later; 0 for other models.

    The engine makes the matrices of a rank in the checkpoint's precision, and quantises them when all are read.
    """
    if not is_quantised_on_load(demand.model) or not holds_unquantised(demand.engine, demand.runs):
        return 0
    return max(_weights(demand, layout, stage, unquantised=True) for stage, _ in _stages(demand, layout))


def is_tight(use: MemoryUse) -> bool:
    """Tell whether a plan that fits has less slack than :data:`TIGHT_SHARE` of its budget."""
    return use.slack < wanted_slack(use)


def wanted_slack(use: MemoryUse) -> int:
    """Give the slack below which a plan is tight."""
    return int(use.budget * TIGHT_SHARE)


def token_bytes(cache: SequenceCache | None, tensor: int, element: float) -> float:
    """Give the bytes that a token adds to a layer's cache on a rank, at ``element`` bytes each. A state does not grow.

    Latent attention keeps a whole compressed head on every rank. Source: vllm 0.33.0, v1/kv_cache_interface.py.
    """
    match cache:
        case LatentCache(width, index_bytes):
            return width * element + index_bytes
        case GroupedCache(kv_heads, key_dim, value_dim):
            return max(1, -(-kv_heads // tensor)) * (key_dim + value_dim) * element
        case _:
            return 0


def kv_bytes(demand: Demand, cache: SequenceCache | None, tensor: int) -> float:
    """Give the bytes of a layer's KV cache on a rank, for all of the demand's sequences at full length.

    A sliding layer keeps its window and a chunk. The size of a state does not depend on the length.
    """
    tokens = demand.context_length
    match cache:
        case StateCache(size):
            return size / tensor * demand.concurrency
        case GroupedCache(window=int(window)):
            tokens = min(tokens, window + CHUNK_TOKENS)
        case _:
            pass
    return token_bytes(cache, tensor, demand.kv_bytes) * tokens * demand.concurrency


def kv_bytes_per_token(model: ModelFacts, kv_bytes: float = 2) -> float:
    """Give the bytes of a token's KV cache over all layers, unsplit. Sliding layers count in full."""
    return sum(token_bytes(model.kinds[kind].cache, 1, kv_bytes) for kind in model.order)


def _stages(demand: Demand, layout: Layout) -> tuple[tuple[Stage, int], ...]:
    return stages_of(demand.model, demand.engine, layout.pipeline)


def _load(demand: Demand, layout: Layout, stage: Stage) -> tuple[int, int]:
    """Give the bytes of weights and of KV cache on a rank of a stage."""
    kv_cache = _over_layers(stage, _kv_by_kind(demand, layout.tensor))
    return _weights(demand, layout, stage), int(kv_cache)


def _weights(demand: Demand, layout: Layout, stage: Stage, *, unquantised: bool = False) -> int:
    """Give the bytes of weights on a rank of a stage, adapters included. ``unquantised``: see :func:`loading_use`."""
    model = demand.model
    of_layers = layer_bytes(model, layout.tensor, expert=layout.expert, unquantised=unquantised)
    ends = end_bytes(model, layout.tensor, demand.engine).on(stage)
    adapters = _over_layers(stage, adapter_bytes(model, layout, demand.adapters))
    return int((_over_layers(stage, of_layers) + ends) * checkpoint_scale(model) + adapters)


def _over_layers(stage: Stage, sizes: Sequence[float]) -> float:
    """Sum the bytes of a stage's layers, given the bytes of a layer of each kind."""
    return sum(count * size for count, size in zip(stage.layers, sizes, strict=True))


def _kv_by_kind(demand: Demand, tensor: int) -> tuple[float, ...]:
    """Give the cached bytes of a layer of each kind on a rank. Some layers have both keys and a state."""
    return tuple(
        kv_bytes(demand, layer.cache, tensor) + kv_bytes(demand, layer.state, tensor) for layer in demand.model.kinds
    )


@lru_cache(maxsize=8192)
def _activations(model: ModelFacts, layout: Layout, sequences: int) -> int:
    """Estimate the peak bytes of a prefill chunk, or of sampling where sampling needs more.

    The estimate is within a tenth of vLLM's measurements on the dense models in the tests.
    """
    widest = max(
        layer.widths.split / layout.tensor
        + layer.widths.whole
        + layer.widths.expert / (1 if layout.expert else layout.tensor)
        for layer in model.kinds
    )
    chunk = CHUNK_TOKENS * _ACTIVATION_BYTES * (3 * model.hidden + widest)
    logits = _LOGIT_COPIES * _LOGIT_BYTES * sequences * padded_vocabulary(model.vocabulary)
    return int(max(chunk, logits))
