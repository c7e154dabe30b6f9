"""Zamba and Zamba 2: Mamba layers, and a transformer block whose weights all hybrid layers share."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Decoder, Reader
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.family import Family, no_part
from shardwise.checkpoint.families.recurrent import mamba, mamba2
from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.checkpoint.parts import Dense, Dimensions, Grouped, Matrix, Remembers, Vectors
from shardwise.domain.model import COLUMNS, GroupedCache, Split


def _shared_block(fields: Fields) -> Block:
    """Read the transformer block that all hybrid layers of a Zamba share: its inputs are two hidden states wide."""
    hidden, wide = reading.hidden(fields), fields.count("attention_hidden_size")
    heads = reading.heads(fields)
    attention = Grouped(
        heads, reading.kv_heads(fields), fields.count("attention_head_dim"), name="shared.self_attn",
        input_size=wide, cached=False,
    )  # fmt: skip
    return (attention, Dense(reading.columns(fields), name="shared.feed_forward"), Vectors(wide + hidden))


def _zamba(version: int) -> Callable[[Fields], Decoder]:
    def read(fields: Fields) -> Decoder:
        hidden = reading.hidden(fields)
        key = "layers_block_type" if fields.has("layers_block_type") else "layer_types"
        kinds = reading.kinds(fields, key)
        if not kinds:
            raise ConfigError(f"config of `{fields.name}` lacks `layers_block_type`: the kind of each layer is needed")
        hybrids = [index for index, kind in enumerate(kinds) if kind == "hybrid"]
        mixer = mamba2 if version == 2 else _zamba_mixer  # noqa: PLR2004 - Zamba and Zamba2
        blocks = []
        for index, kind in enumerate(kinds):
            block: Block = (Vectors(hidden), mixer(fields, index))
            if kind == "hybrid":
                block += _zamba_hybrid(fields, hybrids.index(index), version)
            blocks.append(block)
        plain = Family(no_part, no_part, tied=True)(fields.with_values({"num_hidden_layers": 1}))
        return replace(plain, blocks=tuple(blocks))

    return read


def _zamba_mixer(fields: Fields, index: int) -> Dimensions:
    mixer = mamba(fields, index)
    return replace(mixer, parts=fields.count("n_mamba_heads", default=2))


def _zamba_hybrid(fields: Fields, ordinal: int, version: int) -> Block:
    """Read the additions of a hybrid layer: projection, adapters, cache; the first layers hold the shared weights."""
    hidden, kv = reading.hidden(fields), reading.kv_heads(fields)
    width = fields.count("attention_head_dim")
    owns = ordinal < fields.count("num_mem_blocks", default=1)
    adapters: Block = ()
    if version == 2:  # noqa: PLR2004 - Zamba2
        rank, columns = fields.count("adapter_rank", default=128), reading.columns(fields)
        adapters = (
            Matrix("adapter.down", rank, hidden),
            Matrix("adapter.up", 2 * columns, rank, Split.OUTPUTS, columns, COLUMNS),
        )
        if fields.flag("use_shared_attention_adapter"):
            wide = fields.count("attention_hidden_size")
            adapters += (Matrix("adapter.qkv", 3 * rank, 2 * wide),)
    return (
        Matrix("linear", hidden, hidden),
        *adapters,
        *(_shared_block(fields) if owns else ()),
        Remembers(GroupedCache(kv, width, width)),
    )


FAMILIES: Final[Mapping[str, Reader]] = {"zamba": _zamba(1), "zamba2": _zamba(2)}
