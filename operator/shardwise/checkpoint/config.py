"""Model facts from a Hugging Face ``config.json``.

Understood: decoders of the Llama family (grouped-query or latent attention, dense or mixture-of-experts feed-forward,
sliding windows). State-space, linear-attention, per-layer and multimodal configs are refused by the field that tells
them, because their weights would otherwise be counted wrongly.
"""

from collections.abc import Mapping
from typing import Final

from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.checkpoint.precision import Precisions, read_precisions
from shardwise.domain.model import (
    Attention,
    DenseFfn,
    ExpertFfn,
    Ffn,
    GroupedAttention,
    LatentAttention,
    Layer,
    ModelFacts,
)

KNOWN_TYPES: Final = frozenset(
    {
        "deepseek_v2",
        "deepseek_v3",
        "gemma",
        "glm4_moe",
        "gpt_oss",
        "kimi_k2",
        "llama",
        "minimax_m2",
        "mistral",
        "mixtral",
        "qwen2",
        "qwen3",
        "qwen3_moe",
    }
)
"""``model_type`` values whose tensors were counted against the published sizes."""

_UNREADABLE: Final = {
    "linear_num_key_heads": "linear-attention layers",
    "ssm_state_size": "state-space layers",
    "mamba_d_state": "state-space layers",
    "mamba_num_heads": "state-space layers",
    "state_size": "state-space layers",
    "hybrid_override_pattern": "hybrid layers",
    "block_configs": "layers that each differ",
    "attention_k_eq_v": "layers that share keys and values",
    "interleave_moe_layer_step": "interleaved mixture-of-experts layers",
    "vision_config": "a vision tower",
    "audio_config": "an audio tower",
    "encoder_layers": "an encoder",
    "is_encoder_decoder": "an encoder",
}
_MOST_LAYERS: Final = 4096
"""Far more than any model has; each layer is a value of its own, so that a typing error must not make millions."""

_UNGATED_ACTIVATIONS: Final = frozenset({"gelu", "gelu_new", "relu", "relu2"})


def from_config(
    config: Mapping[str, object],
    *,
    name: str,
    origin: str,
    quantization: str = "auto",
    checkpoint_bytes: int | None = None,
) -> ModelFacts:
    """Read model facts off a config.json.

    ``quantization`` is ``auto`` (as the config says) or a forced one. ``checkpoint_bytes`` is the published size of
    the weights, where known; a forced quantisation stores them otherwise, so that the count of tensors stands.
    ``origin`` says where the config comes from, for people.
    Raises :class:`ConfigError` naming the field that is missing, malformed or not understood.
    """
    whole = Fields(name, config)
    _refuse_unreadable(whole)
    fields = whole.section("text_config") or whole
    _refuse_unreadable(fields)
    precisions = read_precisions(whole, fields, quantization)
    return ModelFacts(
        name=name,
        architecture=_architecture(whole),
        layers=_layers(fields),
        hidden=fields.count("hidden_size", "n_embd"),
        vocabulary=fields.count("vocab_size"),
        tied_embeddings=fields.flag("tie_word_embeddings", default=fields.text("model_type") == "gemma"),
        context_length=_context_length(fields),
        quantization=precisions.quantization,
        linear=precisions.linear,
        expert=precisions.expert,
        plain=precisions.plain,
        origin=origin,
        checkpoint_bytes=checkpoint_bytes if quantization == "auto" else None,
        notes=_notes(fields, precisions),
    )


def _refuse_unreadable(fields: Fields) -> None:
    for key, meaning in _UNREADABLE.items():
        if fields.values.get(key):
            raise ConfigError(
                f"config of `{fields.name}` has `{key}`, that is {meaning}: this version cannot count their weights"
            )


def _architecture(fields: Fields) -> str:
    named = fields.texts("architectures")
    return named[0] if named else fields.text("model_type") or "unknown"


def _notes(fields: Fields, precisions: Precisions) -> tuple[str, ...]:
    kind = fields.text("model_type")
    guess = () if kind in KNOWN_TYPES else (f"model type `{kind}` is not one Shardwise has counted: sizes are a guess",)
    return guess + precisions.notes


def _context_length(fields: Fields) -> int:
    return fields.count("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


def _layers(fields: Fields) -> tuple[Layer, ...]:
    count = fields.count("num_hidden_layers", "n_layer")
    if count > _MOST_LAYERS:
        raise ConfigError(f"config of `{fields.name}` has {count} layers: at most {_MOST_LAYERS} are understood")
    windows = _windows(fields, count)
    attentions = {window: _attention(fields, window) for window in set(windows)}
    dense, expert = _dense_ffn(fields), _expert_ffn(fields)
    return tuple(Layer(attentions[window], _ffn(fields, index, dense, expert)) for index, window in enumerate(windows))


def _ffn(fields: Fields, index: int, dense: DenseFfn | None, expert: ExpertFfn | None) -> Ffn:
    chosen: Ffn | None = expert if expert is not None and _is_expert_layer(fields, index) else dense
    if chosen is None:
        raise ConfigError(f"config of `{fields.name}` lacks `intermediate_size`: the width of its feed-forward layers")
    return chosen


def _is_expert_layer(fields: Fields, index: int) -> bool:
    """Follow DeepSeek's ``first_k_dense_replace`` and Qwen's ``mlp_only_layers`` and ``decoder_sparse_step``."""
    only_dense = fields.values.get("mlp_only_layers")
    if isinstance(only_dense, list) and index in only_dense:
        return False
    step = fields.count("decoder_sparse_step", "moe_layer_freq", default=1)
    return index >= (fields.optional("first_k_dense_replace") or 0) and (index + 1) % step == 0


def _windows(fields: Fields, count: int) -> tuple[int | None, ...]:
    window = fields.optional("sliding_window")
    if window is None or not fields.flag("use_sliding_window", default=True):
        return (None,) * count
    kinds = fields.texts("layer_types")
    if not kinds:
        return (window,) * count
    if len(kinds) != count:
        raise ConfigError(f"config of `{fields.name}` has {len(kinds)} `layer_types` for {count} layers")
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def _attention(fields: Fields, window: int | None) -> Attention:
    heads = fields.count("num_attention_heads", "n_head")
    if fields.optional("kv_lora_rank") is not None:
        return _latent(fields, heads)
    hidden = fields.count("hidden_size", "n_embd")
    kv_heads = fields.count("num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise ConfigError(
            f"config of `{fields.name}` has {kv_heads} `num_key_value_heads` for {heads} heads: no divisor"
        )
    return GroupedAttention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=fields.count("head_dim", default=max(1, hidden // heads)),
        bias=fields.flag("attention_bias", default=fields.text("model_type") == "qwen2"),
        qk_norm=fields.text("model_type") in {"qwen3", "qwen3_moe"},
        window=window,
    )


def _latent(fields: Fields, heads: int) -> LatentAttention:
    return LatentAttention(
        heads=heads,
        q_rank=fields.optional("q_lora_rank"),
        kv_rank=fields.count("kv_lora_rank"),
        nope_dim=fields.count("qk_nope_head_dim"),
        rope_dim=fields.count("qk_rope_head_dim"),
        value_dim=fields.count("v_head_dim"),
    )


def _dense_ffn(fields: Fields) -> DenseFfn | None:
    intermediate = fields.optional("intermediate_size", "n_inner")
    if intermediate is None:
        return None
    activation = fields.text("hidden_act") or fields.text("activation_function") or "silu"
    gated = fields.text("model_type") == "gemma" or activation not in _UNGATED_ACTIVATIONS
    return DenseFfn(intermediate, gated=gated)


def _expert_ffn(fields: Fields) -> ExpertFfn | None:
    experts = fields.optional("n_routed_experts", "num_local_experts", "num_experts")
    if experts is None:
        return None
    intermediate = fields.count("moe_intermediate_size", "intermediate_size")
    shared = fields.optional("shared_expert_intermediate_size") or intermediate * (
        fields.optional("n_shared_experts") or 0
    )
    active = fields.count("num_experts_per_tok", "experts_per_token", "top_k_experts")
    if active > experts:
        raise ConfigError(f"config of `{fields.name}` has {active} active experts of {experts}: at most all can be")
    return ExpertFfn(
        experts=experts,
        active=active,
        intermediate=intermediate,
        shared_intermediate=shared,
    )
