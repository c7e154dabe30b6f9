"""Reading a config whose ``model_type`` was never counted: by its fields, or a refusal that names a field."""

from typing import Final

from shardwise.checkpoint.blocks import Decoder
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.family import Attends, Family, Feeds, Mixes
from shardwise.checkpoint.families.latent import Compresses
from shardwise.checkpoint.fields import ConfigError, Fields

_UNREADABLE: Final = {
    "linear_num_key_heads": "linear-attention layers",
    "linear_attn_config": "linear-attention layers",
    "ssm_state_size": "state-space layers",
    "mamba_d_state": "state-space layers",
    "mamba_num_heads": "state-space layers",
    "state_size": "state-space layers",
    "hybrid_override_pattern": "hybrid layers",
    "attn_type_list": "hybrid layers",
    "block_configs": "layers that each differ",
    "per_layer_config": "layers that each differ",
    "attention_k_eq_v": "layers that share keys and values",
    "num_kv_shared_layers": "layers that share keys and values",
    "hidden_size_per_layer_input": "inputs of single layers",
    "interleave_moe_layer_step": "interleaved mixture-of-experts layers",
    "cross_attention_layers": "layers that attend to an image",
    "hc_mult": "hyper-connections",
    "conv_L_cache": "convolutions",
    "encoder_layers": "an encoder",
    "is_encoder_decoder": "an encoder",
}
"""Fields that state weights whose sizes do not follow from the other fields."""

_READABLE_KINDS: Final = frozenset({"full_attention", "sliding_attention", "chunked_attention", "attention"})


def generic(fields: Fields) -> Decoder:
    """Read a decoder by the fields of its config.

    Raises :class:`ConfigError` for a field that states parts whose weights cannot be counted.
    """
    _refuse_unreadable(fields)
    attention = (
        Compresses() if fields.has("kv_lora_rank")
        else Attends("attention_bias|qkv_bias|use_bias|bias", "attention_bias|use_bias|bias", qk_norm="use_qk_norm")
    )  # fmt: skip
    columns = Feeds(gated=None, bias="mlp_bias|use_bias")
    ffn = Mixes(dense=columns) if reading.has_experts(fields) else columns
    return Family(attention, ffn)(fields)


def _refuse_unreadable(fields: Fields) -> None:
    for key, meaning in _UNREADABLE.items():
        if fields.get(key):
            raise ConfigError(
                f"config of `{fields.name}` has `{key}` ({meaning}) and the unknown `model_type: "
                f"{fields.text('model_type')}`: Shardwise cannot count their weights"
            )
    strange = sorted(set(reading.kinds(fields)) - _READABLE_KINDS)
    if strange:
        raise ConfigError(
            f"config of `{fields.name}` has `{strange[0]}` in `layer_types` and the unknown `model_type: "
            f"{fields.text('model_type')}`: Shardwise cannot count the weights of these layers"
        )
