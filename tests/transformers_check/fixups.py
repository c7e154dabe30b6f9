"""What the config classes of transformers need besides their defaults to be built at all."""

from typing import Any, Final

_LAYERS: Final = ["conv", "full_attention"] * 16

FIXUPS: Final[dict[str, dict[str, Any]]] = {
    "cohere_compass_text": {"layer_types": ["sliding_attention", "full_attention"] * 20},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1},
    "gemma4_assistant": {
        "text_config": {"model_type": "gemma4_text", "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
    },
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 16, "moe_topk": 2},
    "deepseek_v2": {"num_experts_per_tok": 6, "topk_group": 1, "n_group": 1},
    "lfm2_moe": {"layer_types": _LAYERS},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "qwen4_exp_text": {
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 128,
        "indexer_budget": 2048,
        "indexer_compress_ratio": 4,
    },
    "reformer": {"is_decoder": True, "axial_pos_shape": [64, 64]},
}
"""Model type -> arguments of its config class."""
