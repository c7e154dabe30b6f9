"""Decoders that remember in ways of their own: RWKV, xLSTM, RecurrentGemma."""

from collections.abc import Mapping
from typing import Final

from shardwise.checkpoint.blocks import Block, Reader
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.family import Attends, Family, factor, in_blocks, no_part
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.making import CHANNELS, MEMORY_HEADS
from shardwise.checkpoint.parts import Dense, Matrix, Remembers, Vectors
from shardwise.domain.model import COLUMNS, HEADS, Split, StateCache


def _recurrent_gemma(fields: Fields, index: int) -> Block:
    """Read RecurrentGemma: gated linear recurrences, and local attention in every third layer."""
    hidden, width = reading.hidden(fields), fields.count("lru_width", *reading.HIDDEN)
    kinds = fields.texts("block_types", "_block_types") or ("recurrent", "recurrent", "attention")
    ffn = Dense(max(1, reading.columns(fields) // 2), bias=True, name="mlp_block")
    if kinds[index % len(kinds)] == "attention":
        attention = Attends("attention_bias", True, name="temporal_block", window=reading.listed_window)
        return (Vectors(2 * hidden), attention(fields, index), ffn)
    heads, kernel = reading.heads(fields), fields.count("conv1d_width", default=4)
    along = (Split.OUTPUTS, heads, HEADS)
    return (
        Vectors(2 * hidden),
        Matrix("temporal_block.linear_yx", 2 * width, hidden, *along, bias=True),
        Matrix("temporal_block.gates", 2 * width, width // heads, *along, bias=True, plain=True),
        Vectors((kernel + 4) * width, "temporal_block.small"),
        Matrix("temporal_block.linear_out", hidden, width, Split.INPUTS, heads, HEADS, bias=True, reduces=1),
        Remembers(StateCache(4 * width + 2 * (kernel - 1) * width)),
        ffn,
    )


def _rwkv(fields: Fields, index: int) -> Block:
    """Read RWKV 4: no attention, but decaying sums of keys and values."""
    hidden, inner = reading.hidden(fields), fields.count("attention_hidden_size", *reading.HIDDEN)
    columns = fields.optional("intermediate_size") or 4 * hidden
    return (
        Vectors((4 if index else 6) * hidden + 2 * inner + 5 * hidden),
        Matrix("attention.kvr", 3 * inner, hidden, Split.OUTPUTS, inner, CHANNELS),
        Matrix("attention.output", hidden, inner, Split.INPUTS, inner, CHANNELS, reduces=1),
        Matrix("feed_forward.key", columns, hidden, Split.OUTPUTS, columns, COLUMNS),
        Matrix("feed_forward.receptance", hidden, hidden, Split.OUTPUTS, hidden, CHANNELS),
        Matrix("feed_forward.value", hidden, columns, Split.INPUTS, columns, COLUMNS, reduces=1),
        Remembers(StateCache(4 * (3 * inner + 2 * hidden))),
    )


def _xlstm(fields: Fields, _: int) -> Block:
    """Read xLSTM: matrix memories."""
    hidden, heads = reading.hidden(fields), reading.heads(fields)
    keys, values = int(hidden * factor(fields, "qk_dim_factor", 0.5)), int(hidden * factor(fields, "v_dim_factor", 1))
    multiple = fields.count("ffn_round_up_to_multiple_of", default=64)
    columns = multiple * -(-int(hidden * factor(fields, "ffn_proj_factor", 2.667)) // multiple)
    along, bias = (Split.OUTPUTS, heads, MEMORY_HEADS), fields.flag("use_bias")
    return (
        Vectors(2 * hidden + values),
        Matrix("mlstm_layer.qkvo", 2 * keys + 2 * values, hidden, *along, bias=bias),
        Matrix("mlstm_layer.gates", 2 * heads, hidden, *along, bias=True),
        Matrix("mlstm_layer.out_proj", hidden, values, Split.INPUTS, heads, MEMORY_HEADS, bias=bias, reduces=1),
        Dense(columns, bias=bias, name="ffn"),
        Remembers(StateCache(4 * (keys // heads * values + keys + heads))),
    )


FAMILIES: Final[Mapping[str, Reader]] = {
    "recurrent_gemma": in_blocks(_recurrent_gemma, Family(no_part, no_part, norms=0, tied=True)),
    "rwkv": in_blocks(_rwkv, Family(no_part, no_part, norms=0, final=2)),
    "xlstm": in_blocks(_xlstm, Family(no_part, no_part, norms=0, names={"num_hidden_layers": "num_blocks"})),
}
