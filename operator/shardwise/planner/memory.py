"""Bytes on the fullest rank of a layout: weights, KV cache, activations and reserve, against the engine's budget.

Per rank and stage, never as a sum over GPUs. The formulas are those of vLLM; tests hold them against what a real vLLM
reported on an H200.
"""

from functools import lru_cache
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import CHUNK_TOKENS, VLLM_MEMORY_FRACTION
from shardwise.domain.layout import Layout
from shardwise.domain.model import Attention, DenseFfn, Ffn, GroupedAttention, Layer, ModelFacts
from shardwise.domain.plan import MemoryUse
from shardwise.domain.units import GIB
from shardwise.planner.stages import kinds, stages_of
from shardwise.planner.weights import layer_bytes, vocabulary_bytes

RESERVE_ONE_GPU: Final = int(0.6 * GIB)
"""Runtime overhead of a lone rank: 0.22 GiB outside PyTorch and up to 0.4 GiB of CUDA graphs, measured on an H200."""

RESERVE_COLLECTIVES: Final = int(1.0 * GIB)
"""What a rank needs besides once it talks to others: NCCL's buffers over NVLink, measured on two H200."""

TIGHT_SHARE: Final = 0.05
"""A plan whose slack is under this share of the GPU's budget is called tight."""

_ACTIVATION_BYTES: Final = 2


def memory_use(demand: Demand, layout: Layout, gpu_memory: int) -> MemoryUse:
    """Give the bytes on the fullest GPU of a layout. ``gpu_memory`` is what the node's label reports, in bytes."""
    stages = _stage_loads(demand, layout)
    weights, kv_cache = max(stages, key=sum)
    return MemoryUse(
        weights=weights,
        kv_cache=kv_cache,
        activations=_activations(demand.model, layout),
        reserve=_reserve(demand, layout),
        budget=int(gpu_memory * VLLM_MEMORY_FRACTION),
    )


def is_tight(use: MemoryUse) -> bool:
    """Tell whether a plan that fits has less slack than :data:`TIGHT_SHARE` of its budget."""
    return use.slack < wanted_slack(use)


def wanted_slack(use: MemoryUse) -> int:
    """Give the slack below which a plan is tight."""
    return int(use.budget * TIGHT_SHARE)


def _stage_loads(demand: Demand, layout: Layout) -> list[tuple[int, int]]:
    model, loads = demand.model, []
    scale = _checkpoint_scale(model)
    for index, counted in enumerate(stages_of(model, layout.pipeline)):
        weights = sum(count * layer_bytes(model, layer, layout) for layer, count in counted.items())
        weights += _ends(model, layout, first=index == 0, last=index == layout.pipeline - 1)
        kv_cache = sum(count * kv_bytes(demand, layer.attention, layout.tensor) for layer, count in counted.items())
        loads.append((int(weights * scale), int(kv_cache)))
    return loads


def _ends(model: ModelFacts, layout: Layout, *, first: bool, last: bool) -> float:
    """Count the embedding on the first stage and the output head on the last; one that is tied serves as both."""
    both_here = first and last and model.tied_embeddings
    copies = 1 if both_here else int(first) + int(last)
    return copies * vocabulary_bytes(model, layout.tensor)


@lru_cache(maxsize=1024)
def _checkpoint_scale(model: ModelFacts) -> float:
    """Hold the counted weights to the published size of the checkpoint, where that is known."""
    if model.checkpoint_bytes is None:
        return 1.0
    return model.checkpoint_bytes / total_weight_bytes(model)


@lru_cache(maxsize=1024)
def total_weight_bytes(model: ModelFacts) -> float:
    """Count the bytes of all weights on one GPU."""
    whole = Layout(1, 1)
    layers = sum(count * layer_bytes(model, layer, whole) for layer, count in stages_of(model, 1)[0].items())
    return layers + _ends(model, whole, first=True, last=True)


def kv_bytes(demand: Demand, attention: Attention, tensor: int) -> float:
    """Give the KV cache of one layer on one rank, for all of the demand's sequences at full length.

    Latent attention keeps one compressed head whole on every rank. A sliding layer keeps its window and one chunk.
    """
    if not isinstance(attention, GroupedAttention):
        per_token = attention.kv_rank + attention.rope_dim
        return per_token * demand.kv_bytes * demand.context_length * demand.concurrency
    heads = max(1, -(-attention.kv_heads // tensor))
    tokens = demand.context_length
    if attention.window is not None:
        tokens = min(tokens, attention.window + CHUNK_TOKENS)
    return 2 * heads * attention.head_dim * demand.kv_bytes * tokens * demand.concurrency


def _activations(model: ModelFacts, layout: Layout) -> int:
    """Estimate the peak of one prefill chunk: within a tenth of what vLLM measures on the models in the tests."""
    widest = max(_layer_width(model.hidden, layer, layout) for layer in kinds(model))
    return int(CHUNK_TOKENS * _ACTIVATION_BYTES * (3 * model.hidden + widest))


def _layer_width(hidden: int, layer: Layer, layout: Layout) -> float:
    return _attention_width(layer.attention) / layout.tensor + _ffn_width(hidden, layer.ffn, layout)


def _attention_width(attention: Attention) -> int:
    if isinstance(attention, GroupedAttention):
        return attention.heads * attention.head_dim
    return attention.heads * (2 * (attention.nope_dim + attention.rope_dim) + attention.value_dim)


def _ffn_width(hidden: int, ffn: Ffn, layout: Layout) -> float:
    """Each token is copied once per active expert, before and after the expert.

    Whole experts make no rank's share smaller: the engine sizes its workspace for every token meeting the same rank.
    """
    if isinstance(ffn, DenseFfn):
        return 3 * ffn.intermediate / layout.tensor
    routed = 2 * hidden + 3 * ffn.intermediate / (1 if layout.expert else layout.tensor)
    return 3 * ffn.shared_intermediate / layout.tensor + ffn.active * routed


def _reserve(demand: Demand, layout: Layout) -> int:
    if demand.reserve is not None:
        return demand.reserve
    return RESERVE_ONE_GPU + (RESERVE_COLLECTIVES if layout.world_size > 1 else 0)
