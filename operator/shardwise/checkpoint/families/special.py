"""Decoders that are unlike all others: the docstring of each reader says how."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Decoder, Reader
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.dense import ALL_BIASES
from shardwise.checkpoint.families.family import (
    Attends,
    Family,
    Feeds,
    Mixes,
    factor,
    in_blocks,
    no_part,
    present,
    renamed,
)
from shardwise.checkpoint.families.latent import Compresses
from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.checkpoint.making import KV_HEADS
from shardwise.checkpoint.parts import Dense, Dimensions, Grouped, Matrix, Mixture, Remembers, Vectors
from shardwise.domain.model import HEADS, GroupedCache, Split


def _replacement(name: str, hidden: int) -> Dimensions:
    return Matrix(name, hidden, hidden)


def _nas(fields: Fields) -> Decoder:
    """Read a Llama after neural architecture search: each block lists the parts it still has (Nemotron, DeciLM)."""
    heads, hidden = reading.heads(fields), reading.hidden(fields)
    width = reading.head_dim(fields)
    blocks = []
    listed, count = fields.items("block_configs"), reading.layers(fields)
    if len(listed) != count:
        raise ConfigError(
            f"config of `{fields.name}` has {len(listed)} `block_configs`: {count} are needed, an entry for each layer"
        )
    for stated in listed:
        if not isinstance(stated, Mapping):
            raise ConfigError(f"config of `{fields.name}` has a `block_configs` entry that is not an object")
        block = Fields(fields.name, stated)
        attention = _nas_attention(block.section("attention"), fields, heads, width, hidden)
        ffn = _nas_ffn(block.section("ffn"), hidden)
        norms = (attention is not None) + (ffn is not None)
        blocks.append(present(Vectors(norms * hidden) if norms else None, attention, ffn))
    return replace(Family(feed_forward=lambda _, __: None)(fields), blocks=tuple(blocks))


def _nas_attention(stated: Fields | None, fields: Fields, heads: int, width: int, hidden: int) -> Dimensions | None:
    if stated is None or stated.flag("no_op"):
        return None
    if stated.flag("replace_with_linear"):
        return _replacement("self_attn.linear_attn", hidden)
    group = stated.count("n_heads_in_group")
    if heads % group:
        raise ConfigError(
            f"config of `{fields.name}` has `n_heads_in_group: {group}` for {heads} heads: a divisor is needed"
        )
    bias = fields.flag("attention_bias")
    return Grouped(heads, heads // group, width, bias, bias, window=stated.optional("window_length"))


def _nas_ffn(stated: Fields | None, hidden: int) -> Dimensions | None:
    if stated is None or stated.flag("no_op"):
        return None
    if stated.flag("replace_with_linear"):
        return _replacement("mlp.linear_mlp", hidden)
    return Dense(stated.optional("intermediate_size") or _nas_columns(stated, hidden))


def _nas_columns(stated: Fields, hidden: int) -> int:
    """Follow DeciLM's width: two thirds of the multiple of the hidden size, rounded up to a multiple of 256."""
    return 256 * -(-int(2 * factor(stated, "ffn_mult", 0) * hidden / 3) // 256)


def _longcat_attention(fields: Fields, index: int) -> Dimensions:
    return replace(Compresses()(fields, index), name="self_attn.0")


def _longcat_more(fields: Fields, index: int) -> Block:
    """Read the second half of a LongCat layer, and its experts: some experts do nothing."""
    second = replace(Compresses()(fields, index), name="self_attn.1")
    dense = Dense(fields.count("ffn_hidden_size"), name="mlps")
    of, idle = reading.experts(fields), fields.any("zero_expert_num", default=0)
    mixture = Mixture(of, fields.count("expert_ffn_hidden_size"), routes=of.count + idle, router="router.classifier")
    return (second, dense, mixture)


def _mimo_v2(fields: Fields, index: int) -> Dimensions:
    """Read MiMo V2's attention: values narrower than keys, and windows with heads of their own."""
    attention = replace(ALL_BIASES, out_bias=False)(fields, index)
    pattern = fields.numbers("hybrid_layer_pattern")
    slides = bool(pattern[index]) if index < len(pattern) else attention.window is not None
    window = fields.optional("sliding_window", "sliding_window_size") if slides else None
    values = fields.optional("swa_v_head_dim" if slides else "v_head_dim", "v_head_dim")
    attention = replace(attention, value_dim=values, window=window, sinks=slides)
    if not slides:
        return attention
    kv = fields.optional("swa_num_key_value_heads") or 2 * attention.kv_heads
    return replace(attention, kv_heads=kv, heads=fields.count("swa_num_attention_heads", default=attention.heads),
                   head_dim=fields.count("swa_head_dim", default=attention.head_dim))  # fmt: skip


def _mllama(fields: Fields, index: int) -> Dimensions:
    """Read Llama 3.2 Vision: some layers attend to the image alone, whose keys and values belong to no token."""
    if index not in fields.among("cross_attention_layers"):
        return Attends()(fields, index)
    return replace(Attends(qk_norm=True)(fields, index), name="cross_attn", cached=False, norm_size=2)


def _mllama_read(fields: Fields) -> Decoder:
    """Read Llama 3.2 Vision, whose embedding has eight more entries than its head, for the image token."""
    decoder = Family(_mllama)(fields)
    return replace(decoder, entries=decoder.vocabulary + 8)


def _inkling(fields: Fields, index: int) -> Grouped:
    """Read Inkling's attention: heads of their own where it slides, and biases by relative position."""
    listed = reading.kinds(fields)
    slides = listed[index] == "hybrid_sliding" if listed else (index + 1) % 6 != 0
    window = fields.optional("sliding_window_size")
    own = {
        "num_attention_heads": "swa_num_attention_heads",
        "num_key_value_heads": "swa_num_key_value_heads",
        "head_dim": "swa_head_dim",
    }
    attention = Attends(qk_norm=True)(renamed(fields, own if slides else {}), index)
    kernel, relative = fields.count("conv_kernel_size", default=4), fields.count("d_rel", default=16)
    extent = (window or 0) if slides else fields.count("rel_extent", default=1024)
    convolved = 2 * attention.kv_heads * attention.head_dim * kernel
    return replace(
        attention, window=window if slides else None, gate_per_head=relative, gate_name="r_proj",
        norm_size=convolved + relative * extent,
    )  # fmt: skip


def _inkling_small(fields: Fields, index: int) -> int:
    """Count the convolutions after attention and feed-forward, and the scale of the router."""
    sparse = reading.is_sparse(fields, index)
    shared = fields.any("n_shared_experts", default=0) * reading.hidden(fields) if sparse else 0
    return 2 * fields.count("conv_kernel_size", default=4) * reading.hidden(fields) + shared + sparse


def _doge(fields: Fields, _: int) -> Block:
    """Read Doge's dynamic mask, and its experts, which have a single column each."""
    kv, hidden = reading.kv_heads(fields), reading.hidden(fields)
    mask = Matrix(
        "self_attn.dt_proj", kv, kv * reading.head_dim(fields), bias=fields.flag("attention_bias"), plain=False
    )
    if not fields.flag("is_moe"):
        return (mask, Vectors(kv))
    count = fields.count("num_experts")
    router = Matrix("mlp.router_gate", 2 * int(count**0.5), hidden, plain=True)
    return (mask, Vectors(kv), router, Matrix("mlp.experts", 2 * count, hidden, plain=True))


def _moshi(fields: Fields, _: int) -> Dimensions:
    return Dense(max(1, fields.count("ffn_dim") // 2))


def _moshi_read(fields: Fields) -> Decoder:
    """Read Moshi, whose embedding has an extra entry."""
    decoder = Family(Attends(), _moshi)(fields)
    return replace(decoder, entries=decoder.vocabulary + 1)


def _hrm(fields: Fields) -> Decoder:
    """Read HRM: two stacks of layers that run repeatedly."""
    stack = fields.count("num_layers_per_stack")
    attention = replace(ALL_BIASES, gate_per_head=lambda f, _: reading.head_dim(f))
    family = Family(attention, Feeds(bias="mlp_bias"), norms=0, final=1)
    return family(fields.with_values({"num_hidden_layers": min(2 * stack, 4096)}))


def _jetmoe(fields: Fields, _: int) -> Block:
    """Read JetMoe: each expert has queries and outputs of its own, all experts share keys and values."""
    of, hidden = reading.experts(fields), reading.hidden(fields)
    kv, width = fields.count("num_key_value_heads"), fields.count("kv_channels", default=128)
    mixture = Mixture(of, fields.count("intermediate_size"), router="router.layer", router_bias=hidden)
    return (
        Vectors(3 * hidden),
        Matrix("self_attention.kv_proj", 2 * kv * width, hidden, Split.COPIED, kv, KV_HEADS),
        Matrix("self_attention.experts.input_linear", of.count * kv * width, hidden, Split.OUTPUTS, kv, HEADS),
        Matrix(
            "self_attention.experts.output_linear", of.count * hidden, kv * width, Split.INPUTS, kv, HEADS, reduces=1
        ),
        Matrix("self_attention.experts.router.layer", of.count, hidden, plain=True),
        Remembers(GroupedCache(kv, width, width)),
        mixture,
    )


def _zaya(fields: Fields, index: int) -> Block:
    """Read Zaya: convolved queries and keys, a router that is a small network, and scaled residuals."""
    hidden, rank = reading.hidden(fields), fields.count("router_hidden_size", default=256)
    heads, kv, width = reading.heads(fields), reading.kv_heads(fields), reading.head_dim(fields)
    convolved = (heads + kv) * width
    first, second = fields.count("cca_time0", default=2), fields.count("cca_time1", default=2)
    of = reading.experts(fields)
    router = rank * hidden + rank + rank + 2 * (rank * rank + rank) + (of.count + 1) * rank + (rank if index else 0)
    experts = Mixture(of, fields.count("moe_intermediate_size"))
    attention = Attends("attention_bias", "attention_bias")(fields, index)
    return (
        Vectors(2 * hidden + 8 * hidden + kv),
        attention,
        Matrix(
            "self_attn.convolutions", convolved, first + second * width + 2, Split.OUTPUTS, kv, KV_HEADS, plain=True
        ),
        experts,
        Vectors(router - of.count * hidden, "router"),
    )


FAMILIES: Final[Mapping[str, Reader]] = {
    "diffllama": Family(ALL_BIASES, small=lambda f, _: 4 * reading.head_dim(f)),
    "doge": Family(replace(ALL_BIASES, qk_norm=True), Feeds(bias="mlp_bias"), norms=4, more=_doge),
    "hrm_text": _hrm,
    "inkling_text": Family(_inkling, Mixes(), small=_inkling_small, before=lambda f: (Vectors(reading.hidden(f)),)),
    "jetmoe": in_blocks(_jetmoe, Family(no_part, no_part, norms=0, tied=True)),
    "longcat_flash": Family(_longcat_attention, Feeds(name="mlps"), norms=4, more=_longcat_more),
    "mimo_v2_flash": Family(_mimo_v2, Mixes()),
    "mllama_text_model": _mllama_read,
    "moshi": _moshi_read,
    "nemotron-nas": _nas,
    "zaya": in_blocks(
        _zaya, Family(no_part, no_part, norms=0, tied=True, before=lambda f: (Vectors(2 * reading.hidden(f)),))
    ),
}
