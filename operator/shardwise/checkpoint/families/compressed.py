"""DeepSeek V4: keys and values compressed over tokens, hyper-connections between copies of the hidden state."""

from collections.abc import Mapping
from typing import Final

from shardwise.checkpoint.blocks import Block, Reader
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.family import Family, Mixes, next_token_layers, no_part
from shardwise.checkpoint.families.latent import connected_head, connections
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.making import OUTPUT_GROUPS
from shardwise.checkpoint.parts import Matrix, Remembers, Vectors
from shardwise.domain.model import HEADS, LatentCache, Split


def _compress_kind(fields: Fields, index: int) -> int:
    """Read how many tokens a layer of DeepSeek V4 compresses together; 0 if it only slides."""
    ratios = fields.numbers("compress_ratios")
    if ratios:
        return ratios[index] if index < len(ratios) else 0
    listed = reading.kinds(fields)
    kind = listed[index] if listed else "heavily_compressed_attention"
    rates = fields.section("compress_rates") or Fields(fields.name, {})
    default = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}.get(kind, 0)
    return rates.count(kind, default=default) if default else 0


def _v4(fields: Fields, index: int) -> Block:
    """Read DeepSeek V4: a shared key-value head, compressed over tokens; low-rank outputs; hyper-connections."""
    hidden, heads, width = reading.hidden(fields), reading.heads(fields), reading.head_dim(fields)
    rank, groups = fields.count("q_lora_rank"), fields.count("o_groups")
    low, copies = fields.count("o_lora_rank"), fields.count("hc_mult", default=4)
    mixing = (2 + copies) * copies
    rate = _compress_kind(fields, index)
    return (
        Matrix("self_attn.q_a_proj", rank, hidden),
        Matrix("self_attn.q_b_proj", heads * width, rank, Split.OUTPUTS, heads, HEADS),
        Matrix("self_attn.kv_proj", width, hidden),
        Matrix("self_attn.o_a_proj", groups * low, heads * width // groups, Split.OUTPUTS, groups, OUTPUT_GROUPS),
        Matrix("self_attn.o_b_proj", hidden, groups * low, Split.INPUTS, groups, OUTPUT_GROUPS, reduces=1),
        Vectors(rank + width + heads + connections(copies, mixing, hidden) + 6, "self_attn.small"),
        *_v4_compressor(fields, rate, width, hidden, rank),
        Remembers(LatentCache(-(-width // rate) if rate else 0, _v4_index_bytes(fields, rate))),
    )


_SPARSE_RATE: Final = 4
"""Layers with this rate pick the tokens they attend to; layers with a higher rate attend to all tokens."""


def _v4_compressor(fields: Fields, rate: int, width: int, hidden: int, rank: int) -> Block:
    if not rate:
        return ()
    overlap = 2 if rate == _SPARSE_RATE else 1
    base: Block = (
        Matrix("self_attn.compressor.kv_proj", 2 * overlap * width, hidden),
        Vectors(rate * overlap * width + width, "self_attn.compressor.small"),
    )
    if rate != _SPARSE_RATE:
        return base
    index, dim = fields.count("index_n_heads"), fields.count("index_head_dim")
    return (
        *base,
        Matrix("self_attn.compressor.indexer.kv_proj", 4 * dim, hidden),
        Matrix("self_attn.compressor.indexer.q_b_proj", index * dim, rank),
        Matrix("self_attn.compressor.indexer.scorers_proj", index, hidden, plain=True),
        Vectors(rate * 2 * dim + dim, "self_attn.compressor.indexer.small"),
    )


def _v4_index_bytes(fields: Fields, rate: int) -> int:
    return -(-fields.count("index_head_dim") // rate) if rate == _SPARSE_RATE else 0


FAMILIES: Final[Mapping[str, Reader]] = {
    "deepseek_v4": Family(no_part, Mixes(), norms=2, more=_v4, after=connected_head, drafts=next_token_layers()),
}
