"""Decoders with latent attention: DeepSeek V2, V3 and V3.2, Kimi, and those built like them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Reader
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.family import Amount, Family, Feeds, Flag, Mixes, amount, is_on, next_token_layers
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.parts import Index, Latent, Vectors

_UNINDEXED: Final = frozenset({"full_attention", "sliding_attention"})


@dataclass(frozen=True, slots=True)
class Compresses:
    """The latent attention of a family. The fields mean the same as in :class:`Latent`."""

    indexed: bool = False
    bias: Flag = "attention_bias"
    gate_per_head: Amount = 0
    norm_size: Amount = 0
    sinks: bool = False
    query_copies: int = 1

    def __call__(self, fields: Fields, index: int) -> Latent:
        """Read the dimensions."""
        return Latent(
            heads=reading.heads(fields),
            q_rank=fields.optional("q_lora_rank"),
            kv_rank=fields.count("kv_lora_rank"),
            nope_dim=fields.count("qk_nope_head_dim"),
            rope_dim=fields.count("qk_rope_head_dim"),
            value_dim=fields.count("v_head_dim"),
            index=self._index(fields, index),
            bias=is_on(fields, self.bias),
            gate_per_head=amount(fields, self.gate_per_head, index),
            norm_size=amount(fields, self.norm_size, index),
            sinks=self.sinks,
            query_copies=self.query_copies,
        )

    def _index(self, fields: Fields, index: int) -> Index | None:
        """Read the indexer. Layers with full attention or a shared indexer do not have their own."""
        types, layers = reading.kinds(fields, "indexer_types"), reading.kinds(fields)
        if not self.indexed or (types and types[index] == "shared") or (layers and layers[index] in _UNINDEXED):
            return None
        return Index(fields.count("index_n_heads"), fields.count("index_head_dim"))


def _per_value(fields: Fields, _: int) -> int:
    return fields.count("v_head_dim")


def _gated_norms(fields: Fields, index: int) -> int:
    """Count the low-rank gates on the norms of A.X K2: on both in layers with experts, on the first in the others."""
    rank = fields.count("gated_norm_rank", default=16)
    return (2 if reading.is_sparse(fields, index) else 1) * 2 * rank * reading.hidden(fields)


def connections(copies: int, mixed: int, hidden: int) -> int:
    """Count the mixing of the copies of the hidden state before attention and before the feed-forward block."""
    return 2 * mixed * (copies * hidden + 1)


def _hunyuan_connections(fields: Fields, _: int) -> int:
    copies = fields.count("hc_mult", default=4)
    return connections(copies, 2 * copies, reading.hidden(fields)) + 4


def connected_head(fields: Fields) -> Block:
    """Read the merging of the copies of the hidden state before the output head."""
    copies = fields.count("hc_mult", default=4)
    return (Vectors(copies * (copies * reading.hidden(fields) + 1) + 1, "hc_head"),)


DEEPSEEK: Final = Family(Compresses(), Mixes(), drafts=next_token_layers(copies=True))
DENSE: Final = Family(Compresses(), Feeds())
SPARSE: Final = replace(DEEPSEEK, attention=Compresses(indexed=True))

FAMILIES: Final[Mapping[str, Reader]] = {
    "axk1": replace(DEEPSEEK, small=lambda fields, index: reading.is_sparse(fields, index) * reading.hidden(fields)),
    "axk2": replace(
        SPARSE, attention=Compresses(indexed=True, gate_per_head=_per_value, query_copies=2), small=_gated_norms
    ),
    "deepseek_v2": replace(DEEPSEEK, drafts=None),
    "deepseek_v3": DEEPSEEK,
    "deepseek_v32": SPARSE,
    "dots3_note_text": replace(
        SPARSE,
        attention=Compresses(indexed=True, gate_per_head=1, norm_size=lambda f, _: f.count("qk_rope_head_dim")),
    ),
    "glm4_moe_lite": DEEPSEEK,
    "glm_moe_dsa": SPARSE,
    "hy_v4": replace(
        SPARSE, attention=Compresses(indexed=True, gate_per_head=_per_value, sinks=True), small=_hunyuan_connections,
        after=connected_head,
    ),
    "kimi_k2": DEEPSEEK,
    "minicpm3": replace(DENSE, tied=True),
    "sarvam_mla": DEEPSEEK,
    "youtu": replace(DENSE, tied=True),
}  # fmt: skip
