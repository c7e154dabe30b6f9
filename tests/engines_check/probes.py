"""What a checkpoint's config.json may say of its quantisation: a small model for each, fed to the real engines.

The names are the keys of the recorded verdicts. The models are small enough to be built on the meta device in a moment.
"""

from collections.abc import Mapping
from typing import Any, Final

Config = Mapping[str, Any]

DENSE: Final[Config] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "max_position_embeddings": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 2,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 4096,
}
"""A dense model."""

MIXTURE: Final[Config] = {
    **DENSE,
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "moe_intermediate_size": 1024,
    "norm_topk_prob": True,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "use_sliding_window": False,
}
"""A mixture of experts."""

GPT_OSS: Final[Config] = {
    **DENSE,
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "layer_types": ["sliding_attention", "full_attention"],
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
}
"""The architecture whose checkpoints are in MXFP4."""


def _group(weights: Config, inputs: Config | None = None) -> Config:
    return {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": inputs}}


def _compressed(form: str, weights: Config, inputs: Config | None = None) -> Config:
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": _group(weights, inputs),
    }


def _weights(bits: int, kind: str, strategy: str, **more: object) -> Config:
    return {"num_bits": bits, "type": kind, "strategy": strategy, "symmetric": True, "dynamic": False, **more}


def _modelopt(algorithm: str, **more: object) -> Config:
    """Give what NVIDIA Model Optimizer writes into config.json since 0.29."""
    return {
        "quant_method": "modelopt",
        "quant_algo": algorithm,
        "producer": {"name": "modelopt", "version": "0.40.0"},
        "ignore": ["lm_head"],
        **more,
    }


def _gptq(bits: int, **more: object) -> Config:
    return {"quant_method": "gptq", "bits": bits, "group_size": 128, "desc_act": False, "sym": True, **more}


def _quark(dtype: str, scheme: str, group: int | None = None, inputs: Config | None = None) -> Config:
    weight = {"dtype": dtype, "qscheme": scheme, "group_size": group, "symmetric": True, "is_dynamic": False}
    scales = {"ch_axis": 0 if group is None else -1, "scale_format": "e8m0" if dtype == "fp4" else None}
    whole = {"weight": {**weight, **scales}, "input_tensors": inputs}
    return {
        "quant_method": "quark",
        "global_quant_config": {**whole, "output_tensors": None, "bias": None},
        "layer_quant_config": {},
        "layer_type_quant_config": {},
        "exclude": ["lm_head"],
        "export": {"kv_cache_group": [], "pack_method": "reorder", "weight_format": "real_quantized"},
    }


_DYNAMIC: Final[Config] = {"num_bits": 8, "type": "float", "strategy": "token", "symmetric": True, "dynamic": True}
_DYNAMIC_INT: Final[Config] = {**_DYNAMIC, "type": "int"}

_NVFP4: Final = _group({"dynamic": False, "num_bits": 4, "type": "float", "group_size": 16})

STATED: Final[Mapping[str, Config]] = {
    "fp8 in blocks": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "fp8 a tensor": {"quant_method": "fp8", "activation_scheme": "static"},
    "fbgemm_fp8": {
        "quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": ["lm_head"],
    },
    "gptq 4 bits": _gptq(4),
    "gptq 8 bits": _gptq(8),
    "gptq 3 bits": _gptq(3),
    "gptq 2 bits": _gptq(2),
    "gptq 4 bits asymmetric": _gptq(4, sym=False),
    "gptq 4 bits in order of activation": _gptq(4, desc_act=True),
    "awq 4 bits": {
        "quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True,
        "modules_to_not_convert": None,
    },
    "auto-round 4 bits": {
        "quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True, "data_type": "int",
        "packing_format": "auto_round:auto_gptq", "autoround_version": "0.5.1",
    },
    "bitsandbytes 4 bits": {
        "quant_method": "bitsandbytes", "load_in_4bit": True, "_load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "bfloat16",
    },
    "bitsandbytes 8 bits": {"quant_method": "bitsandbytes", "load_in_8bit": True, "_load_in_8bit": True},
    "compressed-tensors fp8": _compressed("float-quantized", _weights(8, "float", "channel"), _DYNAMIC),
    "compressed-tensors fp8 in blocks": _compressed(
        "float-quantized", _weights(8, "float", "block", block_structure=[128, 128]),
        {**_DYNAMIC, "strategy": "group", "group_size": 128},
    ),
    "compressed-tensors int8": _compressed("int-quantized", _weights(8, "int", "channel"), _DYNAMIC_INT),
    "compressed-tensors int4": _compressed("pack-quantized", _weights(4, "int", "group", group_size=128)),
    "compressed-tensors int4 asymmetric": _compressed(
        "pack-quantized", {**_weights(4, "int", "group", group_size=128), "symmetric": False}
    ),
    "compressed-tensors nvfp4": _compressed(
        "nvfp4-pack-quantized", _weights(4, "float", "tensor_group", group_size=16),
        {**_weights(4, "float", "tensor_group", group_size=16), "dynamic": "local"},
    ),
    "compressed-tensors mxfp4": _compressed(
        "mxfp4-pack-quantized", _weights(4, "float", "group", group_size=32, scale_dtype="torch.uint8")
    ),
    "modelopt FP8": _modelopt("FP8"),
    "modelopt FP8_PB_WO": _modelopt("FP8_PB_WO"),
    "modelopt MXFP8": _modelopt("MXFP8"),
    "modelopt NVFP4": _modelopt("NVFP4", config_groups=_NVFP4, group_size=16),
    "modelopt NVFP4_AWQ": _modelopt("NVFP4_AWQ", config_groups=_NVFP4, group_size=16),
    "modelopt W4A16_NVFP4": _modelopt("W4A16_NVFP4", config_groups=_NVFP4, group_size=16),
    "modelopt FP8_PER_CHANNEL_PER_TOKEN": _modelopt("FP8_PER_CHANNEL_PER_TOKEN"),
    "modelopt MXFP4": _modelopt("MXFP4", group_size=32),
    "modelopt W4A8_AWQ": _modelopt("W4A8_AWQ", group_size=128),
    "modelopt W8A8_SQ_PER_CHANNEL": _modelopt("W8A8_SQ_PER_CHANNEL"),
    "modelopt MIXED_PRECISION": _modelopt(
        "MIXED_PRECISION", quantized_layers={"model.layers.0.self_attn.o_proj": {"quant_algo": "FP8"}}
    ),
    "modelopt W4A16_AWQ": _modelopt("W4A16_AWQ", group_size=128),
    "quark fp8": _quark("fp8_e4m3", "per_tensor", None, {
        "dtype": "fp8_e4m3", "qscheme": "per_tensor", "is_dynamic": False, "symmetric": True, "group_size": None,
    }),
    "quark int4": _quark("int4", "per_group", 128),
    "quark mxfp4": _quark("fp4", "per_group", 32, {
        "dtype": "fp4", "qscheme": "per_group", "is_dynamic": True, "group_size": 32, "symmetric": None,
        "ch_axis": -1, "scale_format": "e8m0",
    }),
}  # fmt: skip
"""A ``quantization_config`` for each method and variant that checkpoints of the Hub have."""

PROBES: Final[Mapping[str, Config]] = {
    "unquantised": DENSE,
    **{name: {**DENSE, "quantization_config": stated} for name, stated in STATED.items()},
    "mxfp4 of gpt-oss": {**GPT_OSS, "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": []}},
    "unquantised experts": MIXTURE,
    **{f"{name}, experts": {**MIXTURE, "quantization_config": stated} for name, stated in STATED.items()},
}
"""All probes: a whole config.json each."""
