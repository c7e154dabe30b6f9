"""Gemma 3n and Gemma 4: per-layer inputs, layers that share keys and values, and experts beside a dense block."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Reader
from shardwise.checkpoint.families import reading, windows
from shardwise.checkpoint.families.dense import ALL_BIASES
from shardwise.checkpoint.families.family import Family, present
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.making import ENTRIES
from shardwise.checkpoint.parts import Dense, Dimensions, Grouped, Matrix, Mixture, Vectors
from shardwise.domain.model import Split


def _shares(fields: Fields, index: int) -> bool:
    """Tell whether a layer takes its keys and values from another: the last ``num_kv_shared_layers`` do."""
    shared = fields.any("num_kv_shared_layers", default=0)
    return bool(shared) and index >= reading.layers(fields) - shared


def _attention(fields: Fields, index: int) -> Grouped:
    attention = replace(ALL_BIASES, qk_norm=True, window=windows.every(5))(fields, index)
    return replace(attention, shared=_shares(fields, index))


def _columns(fields: Fields, index: int) -> int:
    listed = fields.get("intermediate_size")
    if isinstance(listed, list):
        return (fields.numbers("intermediate_size") or (0,))[min(index, len(listed) - 1)] or 1
    return reading.columns(fields)


def _dense_3n(fields: Fields, index: int) -> Dimensions:
    return Dense(_columns(fields, index))


def _small_3n(fields: Fields, _: int) -> int:
    """Count the weights that control Gemma 3n's alternating updates and its learned residual."""
    inputs, hidden = fields.count("altup_num_inputs", default=4), reading.hidden(fields)
    return inputs**2 + inputs**3 + inputs * hidden + 3 * hidden  # coefficients, router, its norm, scale, residual norm


def _more_3n(fields: Fields, index: int) -> Block:
    rank, hidden = fields.count("laurel_rank", default=64), reading.hidden(fields)
    residual = (Matrix("laurel.linear_left", rank, hidden), Matrix("laurel.linear_right", hidden, rank))
    return (*residual, *_per_layer(fields, index))


def _per_layer(fields: Fields, _: int) -> Block:
    """Read the weights that mix in the per-layer input; empty for a model without per-layer inputs."""
    width, hidden = fields.optional("hidden_size_per_layer_input"), reading.hidden(fields)
    if not width:
        return ()
    return (
        Matrix("per_layer_input_gate", width, hidden),
        Matrix("per_layer_projection", hidden, width),
        Vectors(hidden, "post_per_layer_input_norm"),
    )


def _per_layer_embedding(fields: Fields) -> Block:
    width = fields.optional("hidden_size_per_layer_input")
    if not width:
        return ()
    entries, all_layers = fields.count("vocab_size_per_layer_input"), width * reading.layers(fields)
    return (
        Matrix("embed_tokens_per_layer", entries, all_layers, Split.VOCABULARY, entries, ENTRIES, plain=True),
        Matrix("per_layer_model_projection", all_layers, reading.hidden(fields), plain=True),
        Vectors(width, "per_layer_projection_norm"),
    )


def _before_3n(fields: Fields) -> Block:
    """Read the embeddings, and the projections between the alternating updates' copies of the hidden state."""
    copies, hidden = fields.count("altup_num_inputs", default=4) - 1, reading.hidden(fields)
    projections = Matrix("altup_projections", 2 * copies * hidden, hidden, plain=True) if copies else None
    return (*_per_layer_embedding(fields), *present(projections))


def _layer_config(fields: Fields, index: int) -> Fields:
    """Read the config of a layer: layers without a window have wider heads, and may have fewer KV heads."""
    if fields.has("per_layer_config") or windows.every(6)(fields, index) is not None:
        return fields
    wide = {"head_dim": fields.count("global_head_dim", default=512)}
    fewer = fields.optional("num_global_key_value_heads") if fields.flag("attention_k_eq_v") else None
    return fields.with_only({**fields.values, **wide, **({"num_key_value_heads": fewer} if fewer else {})})


def _attention_4(fields: Fields, index: int) -> Grouped:
    attention = replace(ALL_BIASES, qk_norm=True, window=windows.every(6))(_layer_config(fields, index), index)
    same = fields.flag("attention_k_eq_v") and attention.window is None
    return replace(attention, shared=_shares(fields, index), values=not same)


def _dense_4(fields: Fields, index: int) -> Dimensions:
    double = fields.flag("use_double_wide_mlp") and _shares(fields, index)
    return Dense(reading.columns(fields) * (2 if double else 1))


def _more_4(fields: Fields, index: int) -> Block:
    """Read the experts beside the dense block, and the weights that mix in the per-layer input."""
    if not fields.flag("enable_moe_block"):
        return _per_layer(fields, index)
    of, hidden = reading.experts(fields), reading.hidden(fields)
    width = fields.count("moe_intermediate_size", "expert_intermediate_size")
    scales = Vectors(4 * hidden + of.count, "router.scales")  # three norms, the router's scale, a scale per expert
    return (Mixture(of, width, name="moe", router="router.proj"), scales, *_per_layer(fields, index))


GEMMA4: Final = Family(_attention_4, _dense_4, norms=4, tied=True, more=_more_4, before=_per_layer_embedding)

FAMILIES: Final[Mapping[str, Reader]] = {
    "gemma3n_text": Family(
        _attention, _dense_3n, norms=4, small=_small_3n, tied=True, more=_more_3n, before=_before_3n
    ),
    "gemma4_text": GEMMA4,
    "gemma4_unified_text": GEMMA4,
}  # fmt: skip
