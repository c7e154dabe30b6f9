"""Decoders with mixtures of experts and grouped-query attention."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Decoder, Reader
from shardwise.checkpoint.families import reading, windows
from shardwise.checkpoint.families.dense import ALL_BIASES, whole_qk
from shardwise.checkpoint.families.family import (
    Attends,
    Family,
    Feeds,
    Mixes,
    next_token_layers,
    no_shared,
)
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.parts import Dense, Dimensions, Mixture


def _all(_: Fields, __: int) -> bool:
    return True


def _router_bias(fields: Fields, _: int) -> int:
    return fields.count(*reading.EXPERTS)


def _qk_when_used(fields: Fields, _: int) -> int:
    return 2 * reading.head_dim(fields) if fields.flag("use_qk_norm") else 0


def _ernie_sparse(fields: Fields, index: int) -> bool:
    """Follow Ernie's first and last layer with experts, and their interval."""
    if reading.kinds(fields, "mlp_layer_types"):
        return reading.is_sparse(fields, index)
    first = fields.any("moe_layer_start_index", default=0)
    last = fields.get("moe_layer_end_index", -1)
    end = last if isinstance(last, int) and last >= 0 else reading.layers(fields) - 1
    return (index + 1) % fields.count("moe_layer_interval", default=1) == 0 and first <= index <= end


def _llama4(fields: Fields, index: int) -> Dimensions:
    """Read a layer of Llama 4: each ``interleave_moe_layer_step``-th layer has routed experts and a shared expert."""
    listed = fields.among("moe_layers")
    step = fields.count("interleave_moe_layer_step", default=1)
    if index in listed if listed else (index + 1) % step == 0:
        width = fields.count("intermediate_size")
        return Mixture(reading.experts(fields), width, shared=width, name="feed_forward", router="router")
    return Dense(fields.count("intermediate_size_mlp"), name="feed_forward")


def _dbrx(fields: Fields) -> Decoder:
    attention, ffn = fields.section("attn_config"), fields.section("ffn_config")
    flat = fields.with_only(
        {
            **fields.values,
            "num_key_value_heads": attention.count("kv_n_heads", default=1) if attention else 1,
            "intermediate_size": ffn.count("ffn_hidden_size", default=3584) if ffn else 3584,
            "num_experts": ffn.count("moe_num_experts", default=4) if ffn else 4,
            "num_experts_per_tok": ffn.count("moe_top_k", default=1) if ffn else 1,
        },
    )
    return _DBRX(flat)


_DBRX: Final = Family(Attends(), Mixes(sparse=_all, shared=no_shared, name="ffn"), prefix="transformer.blocks")


def _laguna_gate(fields: Fields, _: int) -> int:
    """Give the outputs of Laguna's gate for each head: a single number, or a number for each element."""
    gating = fields.get("gating", True)
    return 1 if gating is True or gating in (1, "per-head") else reading.head_dim(fields)


def _is_uniform(listed: list[object]) -> bool:
    return bool(listed) and all(item == listed[0] for item in listed)


def _hunyuan(fields: Fields) -> Decoder:
    """Read Hunyuan, whose configs list values for each layer even if they are equal."""
    flat = {key: value[0] for key, value in fields.values.items() if isinstance(value, list) and _is_uniform(value)}
    fields = fields.with_values(flat)
    shared = fields.count("num_shared_expert", default=1) * reading.columns(fields)
    return Family(replace(ALL_BIASES, qk_norm=True), Mixes(shared=lambda _: shared))(fields)


QWEN_MOE: Final = Family(replace(ALL_BIASES, qk_norm=True, window=windows.switched_on), Mixes(shared=no_shared))
GLM_MOE: Final = Family(
    Attends("attention_bias", norm_size=_qk_when_used), Mixes(), drafts=next_token_layers(copies=True)
)
GRANITE_MOE: Final = Family(
    ALL_BIASES,
    Mixes(sparse=_all, name="block_sparse_moe", shared=lambda f: f.optional("shared_intermediate_size") or 0),
)

FAMILIES: Final[Mapping[str, Reader]] = {
    "afmoe": Family(
        Attends(qk_norm=True, gate_per_head=lambda fields, _: reading.head_dim(fields),
                window=windows.every(4, "global_attn_every_n_layers")),
        Mixes(router_bias=_router_bias), norms=4,
    ),
    "aria_text": Family(ALL_BIASES, Mixes(sparse=_all, dense=Feeds(bias="mlp_bias"))),
    "beam": Family(
        Attends(qk_norm=True, gate_per_head=lambda fields, _: reading.head_dim(fields), norm_size=lambda fields, _:
                reading.heads(fields)),
        Mixes(), norms=4,
    ),
    "cohere2_moe": Family(
        replace(ALL_BIASES, window=windows.every(4, "sliding_window_pattern")),
        Mixes(shared=lambda f: (f.optional("num_shared_experts") or 0) * reading.columns(f)), norms=1, tied=True,
    ),
    "dbrx": _dbrx,
    "dots1": Family(
        replace(ALL_BIASES, qk_norm=True), Mixes(),
    ),
    "ernie4_5_moe": Family(
        Attends("use_bias", "use_bias"), Mixes(sparse=_ernie_sparse, bias="use_bias", dense=Feeds(bias="use_bias"),
                                               router_bias=_router_bias), tied=True,
    ),
    "exaone_moe": Family(
        Attends(qk_norm=True, window=windows.every(4, "sliding_window_pattern")), Mixes(),
        drafts=next_token_layers(),
    ),
    "flex_olmo": Family(replace(ALL_BIASES, norm_size=whole_qk), Mixes(shared=no_shared)),
    "flint": Family(replace(ALL_BIASES, qk_norm=True, sinks=True), Mixes()),
    "glm4_moe": GLM_MOE,
    "gpt_oss": Family(
        Attends("!attention_bias", "!attention_bias", sinks=True, window=windows.alternating),
        Mixes(sparse=_all, shared=no_shared, bias=True, router_bias=_router_bias),
    ),
    "granitemoe": replace(GRANITE_MOE, feed_forward=Mixes(sparse=_all, shared=no_shared, name="block_sparse_moe")),
    "granitemoe_swa": replace(GRANITE_MOE, attention=replace(ALL_BIASES, sinks=True)),
    "granitemoeshared": GRANITE_MOE,
    "hunyuan_v1_moe": _hunyuan,
    "hy_v3": Family(replace(ALL_BIASES, qk_norm=True), Mixes()),
    "kolibri1": Family(replace(ALL_BIASES, qk_norm=True), Mixes(), norms=4),
    "laguna": Family(
        replace(ALL_BIASES, qk_norm=True, gate_per_head=_laguna_gate), Mixes(router_bias=_router_bias),
    ),
    "llama4_text": Family(replace(ALL_BIASES, window=windows.chunked), _llama4),
    "mellum": QWEN_MOE,
    "minimax_m2": Family(Attends(norm_size=whole_qk), Mixes(sparse=_all, shared=no_shared)),
    "minimax_m3_vl_text": Family(Attends(qk_norm=True), Mixes()),
    "mixtral": Family(Attends(), Mixes(sparse=_all, shared=no_shared, name="block_sparse_moe")),
    "olmoe": Family(replace(ALL_BIASES, norm_size=whole_qk), Mixes(shared=no_shared)),
    "phimoe": Family(
        ALL_BIASES, Mixes(sparse=_all, shared=no_shared, name="block_sparse_moe"), norms=4, final=2,
        head_bias="lm_head_bias",
    ),
    "qwen2_moe": Family(Attends("!qkv_bias", window=windows.switched_on), Mixes(shared_gate=1)),
    "qwen3_moe": QWEN_MOE,
    "sarvam_moe": Family(Attends("attention_bias", qk_norm="use_qk_norm"), Mixes()),
    "solar_open": Family(Attends("attention_bias", norm_size=_qk_when_used), Mixes(sparse=_all)),
}  # fmt: skip
