"""Model facts from a Hugging Face ``config.json``.

Understood: decoders of the Llama family (grouped-query or latent attention, dense or mixture-of-experts feed-forward,
sliding windows). State-space, linear-attention, per-layer and multimodal configs are refused by the field that tells
them, because their weights would otherwise be counted wrongly.
"""

from collections.abc import Mapping
from typing import Final

from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.checkpoint.making import ENTRIES, Maker, Storage
from shardwise.checkpoint.parts import Grouped, Latent, Part, dense, grouped_attention, latent_attention, mixture
from shardwise.checkpoint.precision import Precisions, read_precisions
from shardwise.domain.model import Experts, Layer, ModelFacts, Split, Weight, Widths

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
    storage = precisions.storage()
    layers = _layers(fields, storage)
    kinds = tuple(dict.fromkeys(layers))
    position = {kind: index for index, kind in enumerate(kinds)}
    hidden, vocabulary = fields.count("hidden_size", "n_embd"), fields.count("vocab_size")
    tied = fields.flag("tie_word_embeddings", default=fields.text("model_type") == "gemma")
    return ModelFacts(
        name=name,
        architecture=_architecture(whole),
        kinds=kinds,
        order=tuple(position[layer] for layer in layers),
        embedding=_vocabulary(storage, "model.embed_tokens", vocabulary, hidden),
        head=_head(storage, vocabulary, hidden, tied=tied),
        tied=tied,
        hidden=hidden,
        vocabulary=vocabulary,
        context_length=_context_length(fields),
        quantization=precisions.quantization,
        origin=origin,
        checkpoint_bytes=checkpoint_bytes if quantization == "auto" else None,
        guessed=fields.text("model_type") not in KNOWN_TYPES,
        notes=_notes(fields, precisions),
    )


def _vocabulary(storage: Storage, name: str, vocabulary: int, hidden: int) -> tuple[Weight, ...]:
    return Maker(storage).plain(name, (vocabulary, hidden), Split.VOCABULARY, vocabulary, ENTRIES)


def _head(storage: Storage, vocabulary: int, hidden: int, *, tied: bool) -> tuple[Weight, ...]:
    norm = Maker(storage).vector("model.norm.weight", hidden)
    return norm if tied else norm + _vocabulary(storage, "lm_head", vocabulary, hidden)


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


def _layers(fields: Fields, storage: Storage) -> tuple[Layer, ...]:
    count = fields.count("num_hidden_layers", "n_layer")
    if count > _MOST_LAYERS:
        raise ConfigError(f"config of `{fields.name}` has {count} layers: at most {_MOST_LAYERS} are understood")
    windows = _windows(fields, count)
    return tuple(_layer(fields, storage, index, window) for index, window in enumerate(windows))


def _layer(fields: Fields, storage: Storage, index: int, window: int | None) -> Layer:
    make = Maker(storage, f"model.layers.{index}.")
    hidden = fields.count("hidden_size", "n_embd")
    norms = make.vector("input_layernorm.weight", hidden) + make.vector("post_attention_layernorm.weight", hidden)
    attention, ffn = _attention(fields, make, window), _ffn(fields, make, index)
    widths = Widths(attention.widths.split + ffn.widths.split, ffn.widths.whole, ffn.widths.expert)
    return Layer(norms + attention.weights + ffn.weights, attention.cache, widths)


def _ffn(fields: Fields, make: Maker, index: int) -> Part:
    hidden = fields.count("hidden_size", "n_embd")
    if _is_expert_layer(fields, index):
        return _mixture(fields, make, hidden)
    intermediate = fields.optional("intermediate_size", "n_inner")
    if intermediate is None:
        raise ConfigError(f"config of `{fields.name}` lacks `intermediate_size`: the width of its feed-forward layers")
    activation = fields.text("hidden_act") or fields.text("activation_function") or "silu"
    gated = fields.text("model_type") == "gemma" or activation not in _UNGATED_ACTIVATIONS
    return dense(make, hidden, intermediate, gated=gated)


def _experts(fields: Fields) -> int | None:
    return fields.optional("n_routed_experts", "num_local_experts", "num_experts")


def _is_expert_layer(fields: Fields, index: int) -> bool:
    """Follow DeepSeek's ``first_k_dense_replace`` and Qwen's ``mlp_only_layers`` and ``decoder_sparse_step``."""
    if _experts(fields) is None:
        return False
    only_dense = fields.values.get("mlp_only_layers")
    if isinstance(only_dense, list) and index in only_dense:
        return False
    step = fields.count("decoder_sparse_step", "moe_layer_freq", default=1)
    return index >= (fields.optional("first_k_dense_replace") or 0) and (index + 1) % step == 0


def _mixture(fields: Fields, make: Maker, hidden: int) -> Part:
    experts = _experts(fields) or 0
    intermediate = fields.count("moe_intermediate_size", "intermediate_size")
    shared = fields.optional("shared_expert_intermediate_size") or intermediate * (
        fields.optional("n_shared_experts") or 0
    )
    active = fields.count("num_experts_per_tok", "experts_per_token", "top_k_experts")
    if active > experts:
        raise ConfigError(f"config of `{fields.name}` has {active} active experts of {experts}: at most all can be")
    return mixture(make, hidden, intermediate, Experts(experts, active), shared=shared)


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


def _attention(fields: Fields, make: Maker, window: int | None) -> Part:
    heads = fields.count("num_attention_heads", "n_head")
    hidden = fields.count("hidden_size", "n_embd")
    if fields.optional("kv_lora_rank") is not None:
        return latent_attention(make, hidden, _latent(fields, heads))
    kv_heads = fields.count("num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise ConfigError(
            f"config of `{fields.name}` has {kv_heads} `num_key_value_heads` for {heads} heads: no divisor"
        )
    shape = Grouped(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=fields.count("head_dim", default=max(1, hidden // heads)),
        bias=fields.flag("attention_bias", default=fields.text("model_type") == "qwen2"),
        qk_norm=fields.text("model_type") in {"qwen3", "qwen3_moe"},
        window=window,
    )
    return grouped_attention(make, hidden, shape)


def _latent(fields: Fields, heads: int) -> Latent:
    return Latent(
        heads=heads,
        q_rank=fields.optional("q_lora_rank"),
        kv_rank=fields.count("kv_lora_rank"),
        nope_dim=fields.count("qk_nope_head_dim"),
        rope_dim=fields.count("qk_rope_head_dim"),
        value_dim=fields.count("v_head_dim"),
    )
