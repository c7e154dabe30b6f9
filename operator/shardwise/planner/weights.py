"""Elements and bytes of a layer on one rank, at a tensor degree: what is split and what every rank holds whole.

Sources: the weight shapes of the engines' own layers (vllm 0.33.0, model_executor/layers); bytes are exact up to norms
and biases, which are counted as plain elements.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from shardwise.domain.layout import Layout
from shardwise.domain.model import Attention, DenseFfn, ExpertFfn, Ffn, GroupedAttention, Layer, ModelFacts

VOCABULARY_PADDING = 64
"""vLLM pads the vocabulary to a multiple of this (vllm 0.33.0, vocab_parallel_embedding.py)."""


@dataclass(frozen=True, slots=True)
class RankElements:
    """Elements one rank holds of a layer, by the precision they are stored in."""

    plain: float
    linear: float
    expert: float


def padded_vocabulary(vocabulary: int) -> int:
    """Round a vocabulary up as the engine does."""
    return ceil(vocabulary / VOCABULARY_PADDING) * VOCABULARY_PADDING


@lru_cache(maxsize=65536)
def layer_bytes(model: ModelFacts, layer: Layer, layout: Layout) -> float:
    """Give the bytes of one layer on one rank."""
    held = _layer_elements(model.hidden, layer, layout)
    linear = held.linear * model.linear.bytes_per_element
    extra = _absorbed_elements(layer.attention) / layout.tensor * model.plain.bytes_per_element
    return held.plain * model.plain.bytes_per_element + linear + held.expert * model.expert.bytes_per_element + extra


def vocabulary_bytes(model: ModelFacts, tensor: int) -> float:
    """Give the bytes of the embedding, or of the output head, on one rank."""
    return padded_vocabulary(model.vocabulary) * model.hidden / tensor * model.plain.bytes_per_element


def _layer_elements(hidden: int, layer: Layer, layout: Layout) -> RankElements:
    attention_plain, attention_linear = _attention_elements(hidden, layer.attention, layout.tensor)
    ffn_plain, ffn_linear, expert = _ffn_elements(hidden, layer.ffn, layout)
    norms = 2 * hidden
    return RankElements(attention_plain + ffn_plain + norms, attention_linear + ffn_linear, expert)


def _attention_elements(hidden: int, attention: Attention, tensor: int) -> tuple[float, float]:
    if isinstance(attention, GroupedAttention):
        return _grouped_elements(hidden, attention, tensor)
    head = attention.nope_dim + attention.rope_dim
    kv_down = hidden * (attention.kv_rank + attention.rope_dim)
    kv_up = attention.kv_rank * attention.heads * (attention.nope_dim + attention.value_dim)
    out = attention.heads * attention.value_dim * hidden
    q_down = hidden * attention.q_rank if attention.q_rank else 0
    q_up = (attention.q_rank or hidden) * attention.heads * head
    return attention.kv_rank + (attention.q_rank or 0), q_down + kv_down + (q_up + kv_up + out) / tensor


def _grouped_elements(hidden: int, attention: GroupedAttention, tensor: int) -> tuple[float, float]:
    """Keys and values stop shrinking once every rank holds one of their heads."""
    query = attention.heads * attention.head_dim / tensor
    key_value = 2 * attention.kv_heads * attention.head_dim / min(tensor, attention.kv_heads)
    biases = query + key_value if attention.bias else 0
    norms = 2 * attention.head_dim if attention.qk_norm else 0
    return biases + norms, hidden * (2 * query + key_value)


def _ffn_elements(hidden: int, ffn: Ffn, layout: Layout) -> tuple[float, float, float]:
    if isinstance(ffn, DenseFfn):
        return 0, (3 if ffn.gated else 2) * hidden * ffn.intermediate / layout.tensor, 0
    shared = 3 * hidden * ffn.shared_intermediate / layout.tensor
    return hidden * ffn.experts, shared, 3 * hidden * ffn.intermediate * experts_per_rank(ffn, layout)


def experts_per_rank(ffn: ExpertFfn, layout: Layout) -> float:
    """Give how many experts' worth of weights one rank holds; whole ones under expert parallelism."""
    return ceil(ffn.experts / layout.tensor) if layout.expert else ffn.experts / layout.tensor


def _absorbed_elements(attention: Attention) -> float:
    """Count vLLM's plain copies of the key-value up-projection, which latent attention decodes with."""
    if isinstance(attention, GroupedAttention):
        return 0
    return attention.kv_rank * attention.heads * (attention.nope_dim + attention.value_dim)
