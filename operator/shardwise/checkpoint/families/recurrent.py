"""Decoders whose layers keep states: Mamba, linear attention, convolutions, and hybrids of them with attention."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Decoder, Reader
from shardwise.checkpoint.families import reading, windows
from shardwise.checkpoint.families.dense import ALL_BIASES, whole_qk
from shardwise.checkpoint.families.family import (
    Attends,
    Family,
    Feeds,
    Layered,
    Mixes,
    factor,
    next_token_layers,
    no_part,
    no_shared,
)
from shardwise.checkpoint.families.latent import Compresses
from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.checkpoint.parts import Dense, Dimensions, Mixture, Vectors
from shardwise.checkpoint.states import (
    FLOAT32,
    DeltaAttention,
    GatedDelta,
    Lightning,
    Mamba,
    Mamba2,
    Recurrence,
    ShortConvolution,
)

_RECURRENT: Final = frozenset({"linear_attention", "mamba", "recurrent", "conv", "mamba2"})
_BYTES: Final = {"float32": FLOAT32, "bfloat16": 2, "float16": 2}
_SSM_DTYPE: Final = "mamba_ssm_dtype"
_SSM_CACHE_DTYPE: Final = "mamba_ssm_cache_dtype"


@dataclass(frozen=True, slots=True)
class Either:
    """A layer that keeps a state or attends, by its kind. ``attends`` decides if the config does not list kinds."""

    state: Layered
    attention: Layered
    attends: Callable[[Fields, int], bool]

    def __call__(self, fields: Fields, index: int) -> Dimensions | None:
        """Read the dimensions."""
        listed = reading.kinds(fields)
        attends = listed[index] not in _RECURRENT if listed else self.attends(fields, index)
        return (self.attention if attends else self.state)(fields, index)


def _kept(fields: Fields) -> Recurrence:
    """Read the precision of a state. vLLM follows the config in a few classes only; in others it uses the model's."""
    stated, other = (fields.text(field) or "" for field in (_SSM_DTYPE, _SSM_CACHE_DTYPE))
    return Recurrence(None, _BYTES.get(stated, FLOAT32), _BYTES.get(stated or other))


def _kept_as_stated(fields: Fields) -> Recurrence:
    """Follow Qwen 3.5 in vLLM: the dtype that the config states (models/config.py, Qwen3_5ForConditionalGeneration)."""
    return replace(_kept(fields), vllm=_BYTES.get(fields.text(_SSM_DTYPE) or ""))


def _kept_by_nemotron(fields: Fields) -> Recurrence:
    """Follow Nemotron-H in vLLM: the dtype of another field, else float32 (models/config.py, NemotronHForCausalLM)."""
    return replace(_kept(fields), vllm=_BYTES.get(fields.text(_SSM_CACHE_DTYPE) or "float32"))


def gated_delta(fields: Fields, _: int) -> GatedDelta:
    """Read a gated delta net."""
    return GatedDelta(
        key_heads=fields.count("linear_num_key_heads"),
        value_heads=fields.count("linear_num_value_heads"),
        key_dim=fields.count("linear_key_head_dim"),
        value_dim=fields.count("linear_value_head_dim"),
        kernel=fields.count("linear_conv_kernel_dim", default=4),
        kept=_kept(fields),
    )


def _qwen3_5_delta(fields: Fields, index: int) -> GatedDelta:
    return replace(gated_delta(fields, index), kept=_kept_as_stated(fields))


def _olmo_delta(fields: Fields, index: int) -> GatedDelta:
    return replace(gated_delta(fields, index), chunk=1)


def mamba(fields: Fields, _: int, *, normed: bool = False) -> Mamba:
    """Read a first-generation Mamba mixer."""
    hidden = reading.hidden(fields)
    state = fields.count("state_size", "mamba_d_state")
    rank = fields.get("time_step_rank", fields.get("mamba_dt_rank"))
    rank = -(-hidden // 16) if rank in ("auto", None) else fields.count("time_step_rank", "mamba_dt_rank")
    return Mamba(
        inner=fields.count("expand", "mamba_expand", default=2) * hidden,
        state=state,
        kernel=fields.count("conv_kernel", "mamba_d_conv", default=4),
        rank=rank,
        bias=fields.flag("use_bias") or fields.flag("mamba_proj_bias"),
        conv_bias=fields.flag("use_conv_bias", default=fields.flag("mamba_conv_bias", default=True)),
        norm_size=rank + 2 * state if normed else 0,
    )


def normed_mamba(fields: Fields, index: int) -> Mamba:
    """Read Jamba's mixer, which has norms."""
    return mamba(fields, index, normed=True)


def mamba2(fields: Fields, _: int = 0, *, normed: bool = True) -> Mamba2:
    """Read a second-generation Mamba mixer."""
    hidden = reading.hidden(fields)
    heads = fields.count("mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads")
    inner = fields.optional("mamba_d_ssm") or fields.count("expand", "mamba_expand", default=2) * hidden
    return Mamba2(
        heads=heads,
        head_dim=fields.optional("mamba_head_dim", "mamba_d_head", "mamba_headdim") or max(1, inner // heads),
        groups=fields.count("n_groups", "mamba_n_groups", "mamba_ngroups", default=1),
        state=fields.count("ssm_state_size", "mamba_d_state", "state_size"),
        kernel=fields.count("conv_kernel", "mamba_d_conv", default=4),
        bias=fields.flag("mamba_proj_bias") or (fields.flag("use_bias") and not fields.has("mamba_proj_bias")),
        conv_bias=fields.flag("use_conv_bias", default=fields.flag("mamba_conv_bias", default=True)),
        norm=normed,
        kept=_kept(fields),
    )


def _mamba_alone(fields: Fields, index: int) -> Mamba:
    mixer = mamba(fields, index)
    return replace(mixer, inner=fields.count("intermediate_size", default=mixer.inner))


def _falcon_h1(fields: Fields, index: int) -> Block:
    return (mamba2(fields, index, normed=fields.flag("mamba_rms_norm")),)


def _mamba2_alone(fields: Fields, index: int) -> Mamba2:
    mixer = mamba2(fields, index)
    return replace(mixer, head_dim=fields.count("head_dim", default=mixer.head_dim))


def _each_fourth(fields: Fields, index: int) -> bool:
    return (index + 1) % fields.count("full_attention_interval", default=4) == 0


def _last_of_group(fields: Fields, index: int) -> bool:
    return (index + 1) % fields.count("layer_group_size", default=6) == 0


def _jamba_attends(fields: Fields, index: int) -> bool:
    period, offset = fields.count("attn_layer_period", default=8), fields.any("attn_layer_offset", default=4)
    return index % period == offset


def _jamba_sparse(fields: Fields, index: int) -> bool:
    period, offset = fields.count("expert_layer_period", default=2), fields.any("expert_layer_offset", default=1)
    return fields.count("num_experts", default=16) > 1 and index % period == offset


def _listed(*keys: str) -> Callable[[Fields, int], bool]:
    return lambda fields, index: index in fields.among(*keys)


def _minimax_attends(fields: Fields, index: int) -> bool:
    listed = fields.numbers("attn_type_list")
    return bool(listed[index]) if index < len(listed) else index % 2 == 1


def _lightning(fields: Fields, _: int) -> Lightning:
    return Lightning(reading.heads(fields), reading.head_dim(fields))


def _delta(fields: Fields, _: int) -> DeltaAttention:
    stated = fields.section("linear_attn_config")
    heads = stated.count("num_heads") if stated else fields.count("linear_num_heads")
    width = stated.count("head_dim") if stated else fields.count("linear_head_dim")
    kernel = stated.count("short_conv_kernel_size", default=4) if stated else fields.count(
        "linear_conv_kernel_dim", default=4
    )  # fmt: skip
    whole_gate = stated is not None and stated.flag("use_full_rank_gate")
    return DeltaAttention(heads, width, kernel, forget_rank=width, gate_rank=None if whole_gate else width)


def _whole_delta(fields: Fields, index: int) -> DeltaAttention:
    return replace(_delta(fields, index), forget_rank=None, gate_rank=None)


def _kimi_attends(fields: Fields, index: int) -> bool:
    """Follow Kimi Linear's own list, which counts layers from 1."""
    stated = fields.section("linear_attn_config")
    return index + 1 in stated.among("full_attn_layers") if stated else (index + 1) % 4 == 0


def _kimi_gate(fields: Fields, _: int) -> int:
    return fields.count("v_head_dim") if fields.flag("mla_use_output_gate") else 0


def _kimi_small(fields: Fields, _: int) -> int:
    """Count the norms and projections to a single number by which Kimi K3 mixes the outputs of earlier layers."""
    return 4 * reading.hidden(fields) if fields.optional("attn_res_block_size") else 0


def _kimi_mixed_head(fields: Fields) -> Block:
    return (Vectors(2 * reading.hidden(fields), "output_attn_res"),) if fields.optional("attn_res_block_size") else ()


def _convolution(fields: Fields, _: int) -> ShortConvolution:
    return ShortConvolution(fields.count("conv_L_cache", default=3), fields.flag("conv_bias"))


def _lfm2_columns(fields: Fields, _: int) -> Dense:
    """Follow LFM2's adjustment of the stated width: two thirds of it, times a factor, rounded up to a multiple."""
    width = fields.count("block_ff_dim", "intermediate_size")
    if fields.flag("block_auto_adjust_ff_dim", default=True):
        scale = factor(fields, "block_ffn_dim_multiplier", 1) if fields.has("block_ffn_dim_multiplier") else 1
        width = int(scale * int(2 * width / 3))
        multiple = fields.count("block_multiple_of", default=256)
        width = multiple * -(-width // multiple)
    return Dense(width, name="feed_forward")


def _lfm3_attention(fields: Fields, index: int) -> Dimensions:
    gate = 1 if fields.flag("use_attention_gate", default=True) else 0
    return replace(ALL_BIASES, qk_norm=True, gate_per_head=gate)(fields, index)


_PATTERN: Final = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}


def _nemotron_kinds(fields: Fields) -> tuple[str, ...]:
    """Read Nemotron-H's layers: a letter each, or a list of names."""
    pattern = fields.text("hybrid_override_pattern")
    if pattern is None:
        return fields.texts("layers_block_type", "layer_types")
    strange = sorted(set(pattern) - set(_PATTERN))
    if strange:
        raise ConfigError(
            f"config of `{fields.name}` has `{strange[0]}` in `hybrid_override_pattern`: M, *, - and E are known"
        )
    return tuple(_PATTERN[letter] for letter in pattern)


def _nemotron_part(fields: Fields, kind: str) -> Dimensions:
    if kind in {"linear_attention", "mamba"}:
        return replace(mamba2(fields), kept=_kept_by_nemotron(fields))
    if kind in {"full_attention", "attention"}:
        return Attends("attention_bias", "attention_bias", window=windows.no_window, name="mixer")(fields, 0)
    if kind == "moe":
        return Mixture(
            reading.experts(fields),
            fields.count("moe_intermediate_size"),
            shared=reading.shared_columns(fields),
            gated=False,
            bias=fields.flag("mlp_bias"),
            latent=fields.optional("moe_latent_size"),
            latent_names=("fc1_latent_proj", "fc2_latent_proj"),
            name="mixer",
        )
    return Feeds(gated=False, bias="mlp_bias", name="mixer")(fields, 0)


def _nemotron_h(fields: Fields) -> Decoder:
    """Read Nemotron-H, where a layer is a single part: a mixer, attention, or a feed-forward block."""
    kinds = _nemotron_kinds(fields)
    if not kinds:
        raise ConfigError(
            f"config of `{fields.name}` lacks `hybrid_override_pattern`: the kind of each layer is needed"
        )
    count = fields.count("num_hidden_layers", default=len(kinds))
    if count != len(kinds):
        raise ConfigError(
            f"config of `{fields.name}` lists {len(kinds)} kinds of layers: {count} are needed, a kind for each layer"
        )
    values = {key: value for key, value in fields.values.items() if key != "layer_types"}
    counted = fields.with_only(values | {"num_hidden_layers": count})

    def part(fields: Fields, index: int) -> Dimensions:
        return _nemotron_part(fields, kinds[index])

    return Family(part, no_part, norms=1, prefix="backbone.layers", names={"head_dim": "attention_head_dim"})(counted)


QWEN_NEXT_ATTENTION: Final = replace(ALL_BIASES, qk_norm=True, gated_query=True, window=windows.no_window)
QWEN_NEXT: Final = Family(
    Either(gated_delta, QWEN_NEXT_ATTENTION, _each_fourth), Mixes(shared_gate=1), drafts=next_token_layers()
)
QWEN_3_5: Final = replace(QWEN_NEXT, attention=Either(_qwen3_5_delta, QWEN_NEXT_ATTENTION, _each_fourth))
MAMBA: Final = Family(_mamba_alone, no_part, norms=1, tied=True, prefix="backbone.layers")
LFM2: Final = Family(
    Either(_convolution, replace(ALL_BIASES, qk_norm=True), _listed("full_attn_idxs")), _lfm2_columns, tied=True
)

FAMILIES: Final[Mapping[str, Reader]] = {
    "bailing_hybrid": Family(
        Either(_whole_delta, Compresses(gate_per_head=1), _last_of_group),
        Mixes(), drafts=next_token_layers(),
    ),
    "bamba": Family(
        Either(mamba2, ALL_BIASES, _listed("attn_layer_indices")), Feeds(bias="mlp_bias", name="feed_forward"),
    ),
    "falcon_h1": Family(ALL_BIASES, Feeds(bias="mlp_bias", name="feed_forward"), more=_falcon_h1),
    "falcon_mamba": MAMBA,
    "granitemoehybrid": Family(
        Either(mamba2, ALL_BIASES, lambda _, __: False),
        Mixes(sparse=lambda f, _: reading.has_experts(f), dense=no_part, name="block_sparse_moe",
              shared=lambda f: f.optional("shared_intermediate_size") or 0),
    ),
    "jamba": Family(
        Either(normed_mamba, Attends(), _jamba_attends),
        Mixes(sparse=_jamba_sparse, shared=no_shared, name="feed_forward", dense=Feeds(name="feed_forward")),
    ),
    "kimi_linear": Family(
        Either(_delta, Compresses(gate_per_head=_kimi_gate), _kimi_attends),
        Mixes(latent="routed_expert_hidden_size", latent_norm="latent_moe_use_norm"), small=_kimi_small,
        after=_kimi_mixed_head,
    ),
    "lara_mini": Family(
        Either(gated_delta, replace(ALL_BIASES, qk_norm=True), _each_fourth), Mixes(sparse=lambda _, __: True),
        tied=True,
    ),
    "lfm2": LFM2,
    "lfm3": replace(
        LFM2, attention=Either(_convolution, _lfm3_attention, _listed("full_attn_idxs")),
        feed_forward=Feeds(name="feed_forward"),
        norms=lambda fields, _: 4 if fields.flag("use_sandwich_norm") else 2,
    ),
    "lfm2_moe": replace(LFM2, feed_forward=Mixes(shared=no_shared, dense=Feeds(name="feed_forward"))),
    "mamba": MAMBA,
    "mamba2": Family(_mamba2_alone, no_part, norms=1, prefix="backbone.layers"),
    "minimax": Family(
        Either(_lightning, Attends(), _minimax_attends), Mixes(sparse=lambda _, __: True, shared=no_shared)
    ),
    "nemotron_h": _nemotron_h,
    "olmo_hybrid": Family(Either(_olmo_delta, replace(ALL_BIASES, norm_size=whole_qk), _each_fourth)),
    "qwen3_5_moe_text": QWEN_3_5,
    "qwen3_5_text": replace(QWEN_3_5, feed_forward=Feeds()),
    "qwen3_next": QWEN_NEXT,
}  # fmt: skip
