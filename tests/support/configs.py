"""Contents of config.json for tests that need a model whatever it is called."""

from typing import Any

PLAIN_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
"""A model of 8 billion parameters in 16 bits."""

MANY_LAYOUTS: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "hidden_size": 5760,
    "num_hidden_layers": 576,
    "num_attention_heads": 5760,
    "num_key_value_heads": 5760,
    "head_dim": 64,
    "intermediate_size": 5760,
    "num_experts": 64,
    "moe_intermediate_size": 576,
    "num_experts_per_tok": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
"""A valid model that thousands of layouts suit."""
