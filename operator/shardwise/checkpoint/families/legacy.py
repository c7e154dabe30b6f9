"""Decoders of the GPT-2 kind: norms with biases, a feed-forward block without a gate, often learned positions."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Decoder, Reader
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.dense import qk_norms
from shardwise.checkpoint.families.family import Attends, Family, Feeds, Flag, Layered, is_on
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.parts import Dense, Dimensions, Grouped, Matrix, Vectors


def _positions(fields: Fields, _: int) -> int:
    return fields.count(*reading.CONTEXT)


def _two_more(fields: Fields, _: int) -> int:
    return fields.count(*reading.CONTEXT) + 2


def _four_times(bias: Flag) -> Layered:
    """Give the reader of a feed-forward block four times as wide as the model, unless the config says otherwise."""

    def read(fields: Fields, _: int) -> Dimensions:
        ratio = fields.count("expansion_ratio", "intermediate_multiple_size", default=4)
        wide = fields.optional(*reading.COLUMNS) or ratio * reading.hidden(fields)
        return Dense(wide, gated=False, bias=is_on(fields, bias))

    return read


def _multi_query(fields: Fields, index: int) -> Grouped:
    attention = Attends(bias=True, out_bias=True)(fields, index)
    return replace(attention, kv_heads=1) if fields.flag("multi_query", default=True) else attention


def _falcon(fields: Fields, index: int) -> Grouped:
    """Read Falcon's KV heads: several in the newer design; a single head in the older design, if not switched off."""
    attention = Attends("bias", "bias")(fields.with_values({"num_key_value_heads": None,
                                                         "num_kv_heads": None}), index)  # fmt: skip
    if fields.flag("new_decoder_architecture"):
        return replace(attention, kv_heads=reading.kv_heads(fields))
    return replace(attention, kv_heads=1 if fields.flag("multi_query", default=True) else attention.heads)


def _falcon_norms(fields: Fields, _: int) -> int:
    if fields.flag("new_decoder_architecture"):
        return 2 * fields.count("num_ln_in_parallel_attn", default=2)
    return 2 if fields.flag("parallel_attn", default=True) else 4


def _word_norm(fields: Fields) -> Block:
    return (Vectors(2 * reading.hidden(fields), "embedding_norm"),)


def _opt_ends(fields: Fields) -> Block:
    narrow, hidden = fields.optional("word_embed_proj_dim"), reading.hidden(fields)
    if narrow is None or narrow == hidden:
        return ()
    return (Matrix("project", 2 * narrow, hidden, plain=True),)


def _opt(fields: Fields) -> Decoder:
    """Read OPT, whose smallest models have an embedding narrower than the model."""
    return replace(_OPT(fields), embedding_size=fields.optional("word_embed_proj_dim"))


def _opt_norms(fields: Fields, _: int) -> int:
    return 4 if fields.flag("layer_norm_elementwise_affine", default=True) else 0


def _opt_final(fields: Fields, _: int) -> int:
    normed = fields.flag("do_layer_norm_before", default=True) and not fields.flag("_remove_final_layer_norm")
    return 2 if normed and fields.flag("layer_norm_elementwise_affine", default=True) else 0


def _last_bias(fields: Fields, index: int) -> int:
    return reading.hidden(fields) if index == reading.layers(fields) - 1 else 0


BIASED: Final = Attends(bias=True, out_bias=True)
GPT2: Final = Family(
    BIASED, _four_times(bias=True), norms=4, final=2, tied=True, positions=_positions, prefix="transformer.h"
)
GPTJ: Final = Family(Attends(), _four_times(bias=True), norms=2, final=2, head_bias=True, prefix="transformer.h")
PERSIMMON: Final = Family(
    replace(BIASED, norm_size=qk_norms("qk_layernorm", vectors=2)), Feeds(gated=False, bias=True), norms=4, final=2
)

_OPT: Final = Family(
    Attends("!enable_bias", "!enable_bias"), Feeds(gated=False, bias="!enable_bias"), norms=_opt_norms,
    final=_opt_final, tied=True, positions=_two_more, before=_opt_ends, prefix="model.decoder.layers",
)  # fmt: skip

FAMILIES: Final[Mapping[str, Reader]] = {
    "biogpt": replace(GPT2, positions=_two_more),
    "bloom": replace(GPT2, positions=0, before=_word_norm),
    "codegen": GPTJ,
    "ctrl": replace(GPT2, positions=0, head_bias=True),
    "falcon": Family(
        _falcon, _four_times(bias="bias"), norms=_falcon_norms, final=2, tied=True, prefix="transformer.h"
    ),
    "gpt2": GPT2,
    "gpt_bigcode": replace(GPT2, attention=_multi_query),
    "gpt_neo": replace(GPT2, attention=Attends(out_bias=True)),
    "gpt_neox": Family(
        Attends("!attention_bias", "!attention_bias"), Feeds(gated=False, bias=True), norms=4, final=2,
        prefix="gpt_neox.layers",
    ),
    "gpt_neox_japanese": Family(
        Attends(), _four_times(bias=False), norms=4, final=2, small=_last_bias, tied=True,
        prefix="gpt_neox_japanese.layers",
    ),
    "gptj": GPTJ,
    "jais2": Family(
        Attends("attention_bias", "attention_bias"), Feeds(gated=False, bias="mlp_bias"), norms=4, final=2
    ),
    "mpt": Family(Attends(), _four_times(bias=False), tied=True, prefix="transformer.blocks"),
    "nemotron": Family(
        Attends("attention_bias", "attention_bias"), Feeds(gated=False, bias="mlp_bias"), norms=4, final=2
    ),
    "openai-gpt": replace(GPT2, final=0),
    "opt": _opt,
    "persimmon": PERSIMMON,
    "phi": Family(
        replace(BIASED, norm_size=qk_norms("qk_layernorm", vectors=2)), Feeds(gated=False, bias=True), norms=2, final=2,
        head_bias=True,
    ),
    "starcoder2": Family(
        Attends("!use_bias", "!use_bias"), Feeds(gated=False, bias="!use_bias"), norms=4, final=2, tied=True
    ),
    "xglm": Family(BIASED, Feeds(gated=False, bias=True), norms=4, final=2, tied=True),
}  # fmt: skip
