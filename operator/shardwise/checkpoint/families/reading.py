"""Fields that all families share, under the names the families give them."""

from typing import Final

from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.domain.model import Experts

HIDDEN: Final = ("hidden_size", "n_embd", "n_embed", "d_model", "emb_dim")
LAYERS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS: Final = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
KV_HEADS: Final = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
COLUMNS: Final = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff", "d_inner")
CONTEXT: Final = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "max_seq_len", "model_max_length",
    "max_target_positions", "context_length", "n_ctx",
)  # fmt: skip
EXPERTS: Final = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
ACTIVE: Final = (
    "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_k", "top_k_experts",
)  # fmt: skip
EXPERT_COLUMNS: Final = ("moe_intermediate_size", "expert_ffn_hidden_size", *COLUMNS)
SHARED_EXPERTS: Final = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
SHARED_COLUMNS: Final = (
    "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size",
    "shared_experts_intermediate_size",
)  # fmt: skip
WINDOW: Final = ("sliding_window", "sliding_window_size", "attention_window_size", "window_size", "local_attention")

HEAD_DIM: Final = ("head_dim", "attention_head_dim", "kv_channels", "dim_head", "d_head")
SYNONYMS: Final = (
    HIDDEN, LAYERS, HEADS, KV_HEADS, COLUMNS, CONTEXT, EXPERTS, ACTIVE, SHARED_EXPERTS, SHARED_COLUMNS, WINDOW,
    HEAD_DIM,
)  # fmt: skip
"""Tuples of names that different families use for the same field."""

_MOST_LAYERS: Final = 4096
"""Far more than any model has. Each layer becomes a value, so a typing error must not make millions of them."""

_SLIDING: Final = frozenset({"sliding_attention", "hybrid_sliding", "local", "local_attention", "sliding", "swa"})
_UNGATED: Final = frozenset({"gelu", "gelu_new", "gelu_fast", "relu", "relu2", "squared_relu", "xielu"})


def hidden(fields: Fields) -> int:
    """Read the hidden size."""
    return fields.count(*HIDDEN)


def layers(fields: Fields) -> int:
    """Read how many layers there are."""
    count = fields.count(*LAYERS)
    if count > _MOST_LAYERS:
        raise ConfigError(f"config of `{fields.name}` has {count} layers: at most {_MOST_LAYERS} are supported")
    return count


def heads(fields: Fields) -> int:
    """Read how many attention heads there are."""
    return fields.count(*HEADS)


def kv_heads(fields: Fields, of: int | None = None) -> int:
    """Read how many KV heads there are, a divisor of the attention heads."""
    of = of or heads(fields)
    found = fields.count(*KV_HEADS, default=of)
    if of % found:
        raise ConfigError(
            f"config of `{fields.name}` has `num_key_value_heads: {found}` for {of} heads: a divisor is needed"
        )
    return found


def head_dim(fields: Fields) -> int:
    """Read the width of an attention head; unstated, the heads share the hidden size."""
    stated = fields.optional(*HEAD_DIM)
    return stated or max(1, hidden(fields) // heads(fields))


def columns(fields: Fields) -> int:
    """Read the width of a dense feed-forward block."""
    found = fields.optional(*COLUMNS)
    if found is None:
        raise ConfigError(f"config of `{fields.name}` lacks `intermediate_size`: the width of the feed-forward layers")
    return found


def is_gated(fields: Fields) -> bool:
    """Tell by the activation whether a feed-forward block has a gate, if no other field does."""
    activation = fields.text("hidden_act", "activation_function", "hidden_activation", "mlp_hidden_act") or "silu"
    return activation not in _UNGATED


def experts(fields: Fields) -> Experts:
    """Read how many routed experts there are, and how many of them a token meets."""
    count, active = fields.count(*EXPERTS), fields.count(*ACTIVE)
    if active > count:
        raise ConfigError(f"config of `{fields.name}` has {active} active experts a token, but only {count} experts")
    return Experts(count, active)


def has_experts(fields: Fields) -> bool:
    """Tell whether any layer has experts."""
    return fields.optional(*EXPERTS) is not None


def shared_columns(fields: Fields) -> int:
    """Read the width of the shared experts, all together; 0 if there are none."""
    stated = fields.optional(*SHARED_COLUMNS)
    return stated or fields.count(*EXPERT_COLUMNS) * (fields.optional(*SHARED_EXPERTS) or 0)


def kinds(fields: Fields, key: str = "layer_types") -> tuple[str, ...]:
    """Read the kind of each layer; empty if the config does not list them."""
    found, count = fields.texts(key), layers(fields)
    if found and len(found) != count:
        raise ConfigError(
            f"config of `{fields.name}` has {len(found)} `{key}`: {count} are needed, an entry for each layer"
        )
    return found


def is_sparse(fields: Fields, index: int) -> bool:
    """Tell whether a layer's feed-forward block is a mixture of experts.

    Listed by ``mlp_layer_types`` or ``moe_layers``; else DeepSeek's ``first_k_dense_replace`` and ``moe_layer_freq``,
    Qwen's ``mlp_only_layers`` and ``decoder_sparse_step``, and other names of these fields.
    """
    if not has_experts(fields):
        return False
    listed = kinds(fields, "mlp_layer_types")
    if listed:
        return listed[index] != "dense"
    frequency = fields.get("moe_layer_freq")
    if isinstance(frequency, list):
        return index < len(frequency) and bool(fields.numbers("moe_layer_freq")[index])
    if index in fields.among("mlp_only_layers"):
        return False
    first = fields.any("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", default=0)
    step = fields.count("decoder_sparse_step", default=1)
    return index >= first and (index + 1) % step == 0 and (index % fields.count("moe_layer_freq", default=1) == 0)


def listed_window(fields: Fields, index: int) -> int | None:
    """Read the window of a layer by ``layer_types``; without that list, every layer has the stated window."""
    listed = kinds(fields)
    if not listed:
        return stated_window(fields)
    if listed[index] == "chunked_attention":
        return fields.optional("attention_chunk_size")
    return fields.optional(*WINDOW) if listed[index] in _SLIDING else None


def stated_window(fields: Fields) -> int | None:
    """Read the stated window; ``None`` if the config switches windows off."""
    return fields.optional(*WINDOW) if fields.flag("use_sliding_window", default=True) else None
