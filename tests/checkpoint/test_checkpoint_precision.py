"""Every way a checkpoint states its quantisation, and what a wrong statement is told."""

from typing import Any

import pytest
from tests.support.models import config

from shardwise.checkpoint import ConfigError, from_config
from shardwise.domain.model import Precision, Quantization

PLAIN = config("meta-llama/Llama-3.1-8B")
BF16 = Precision(2)


def stated(**quantization: Any) -> Any:
    return from_config(PLAIN | {"quantization_config": quantization}, name="org/model", origin="test")


READ: dict[str, tuple[dict[str, Any], Quantization, Precision]] = {
    "fp8 per tensor": ({"quant_method": "fp8"}, Quantization.FP8, Precision(1.0)),
    "fp8 in blocks": (
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        Quantization.FP8,
        Precision(1 + 4 / 128**2, (128, 128)),
    ),
    "mxfp4": ({"quant_method": "mxfp4"}, Quantization.MXFP4, Precision(0.53125, (1, 32))),
    "gptq by 128": (
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        Quantization.INT4,
        Precision(0.515625, (1, 128)),
    ),
    "gptq per column": ({"quant_method": "gptq", "bits": 4, "group_size": -1}, Quantization.INT4, Precision(0.5)),
    "gptq at 8 bits": ({"quant_method": "gptq", "bits": 8, "group_size": 128}, Quantization.FP8, Precision(1.0)),
    "awq by 64": (
        {"quant_method": "awq", "w_bit": 4, "q_group_size": 64},
        Quantization.INT4,
        Precision(0.53125, (1, 64)),
    ),
    "method in capitals": ({"quant_method": "FP8"}, Quantization.FP8, Precision(1.0)),
    "compressed-tensors at 8 bits": (
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
        Quantization.FP8,
        Precision(1.0),
    ),
    "compressed-tensors integers by 32": (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
        },
        Quantization.INT4,
        Precision(0.5625, (1, 32)),
    ),
    "compressed-tensors floats by 16": (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}}},
        },
        Quantization.NVFP4,
        Precision(0.5625, (1, 16)),
    ),
    "modelopt fp8": ({"quant_method": "modelopt", "quant_algo": "FP8"}, Quantization.FP8, Precision(1.0)),
    "modelopt nvfp4": (
        {"quant_method": "modelopt", "quant_algo": "NVFP4"},
        Quantization.NVFP4,
        Precision(0.5625, (1, 16)),
    ),
    "modelopt awq": (
        {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"},
        Quantization.INT4,
        Precision(0.515625, (1, 128)),
    ),
}


@pytest.mark.parametrize(("quantization", "kind", "precision"), READ.values(), ids=READ)
def test_a_stated_quantisation_gives_bytes_and_blocks(
    quantization: dict[str, Any], kind: Quantization, precision: Precision
) -> None:
    model = stated(**quantization)
    assert (model.quantization, model.linear, model.expert) == (kind, precision, precision)
    assert model.plain == BF16


@pytest.mark.parametrize("field", ["modules_to_not_convert", "ignore", "ignored_layers"])
def test_attention_that_is_spared_stays_plain(field: str) -> None:
    model = stated(quant_method="fp8", **{field: ["model.layers.*.self_attn", "lm_head"]})
    assert (model.linear, model.expert) == (BF16, Precision(1.0))


def test_a_spared_output_head_leaves_the_layers_quantised() -> None:
    assert stated(quant_method="fp8", ignore=["lm_head"]).linear == Precision(1.0)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no method": ({}, "`quant_method: None`: known are fp8"),
    "an unknown method": ({"quant_method": "hqq"}, "`quant_method: hqq`: known are fp8, mxfp4, gptq"),
    "three bits": ({"quant_method": "gptq", "bits": 3}, "`bits: 3`: 4 and 8 are known"),
    "bits in words": ({"quant_method": "gptq", "bits": "four"}, "`bits: 'four'`"),
    "no groups": ({"quant_method": "compressed-tensors"}, "compressed-tensors without `config_groups"),
    "groups that are a list": ({"quant_method": "compressed-tensors", "config_groups": [1]}, "`config_groups"),
    "an empty group": ({"quant_method": "compressed-tensors", "config_groups": {"group_0": None}}, "`config_groups"),
    "an unknown algorithm": ({"quant_method": "modelopt", "quant_algo": "W2"}, "`quant_algo: W2`: known are FP8"),
    "block edges in words": (
        {"quant_method": "fp8", "weight_block_size": ["128", "128"]},
        "`weight_block_size: .*two whole numbers are needed",
    ),
    "one block edge": ({"quant_method": "fp8", "weight_block_size": [128]}, "`weight_block_size"),
    "a block of zero": ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "`weight_block_size"),
    "a nested block": ({"quant_method": "fp8", "weight_block_size": [[128], 128]}, "`weight_block_size"),
}


@pytest.mark.parametrize(("quantization", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_quantisation_is_named(quantization: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stated(**quantization)


FORCED = {
    Quantization.NONE: BF16,
    Quantization.FP8: Precision(1.0),
    Quantization.INT4: Precision(0.515625, (1, 128)),
    Quantization.MXFP4: Precision(0.53125, (1, 32)),
    Quantization.NVFP4: Precision(0.5625, (1, 16)),
}


@pytest.mark.parametrize(("kind", "precision"), FORCED.items())
def test_a_forced_quantisation_overrides_what_the_config_says(kind: Quantization, precision: Precision) -> None:
    both = PLAIN | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    model = from_config(both, name="m", origin="t", quantization=kind.value)
    assert (model.linear, model.expert, model.plain) == (precision, precision, BF16)


@pytest.mark.parametrize(
    ("dtype", "size"), [("bfloat16", 2), ("float16", 2), ("float32", 4), ("torch.bfloat16", 2), (None, 2)]
)
def test_the_plain_dtype_gives_the_bytes(dtype: str | None, size: int) -> None:
    assert from_config(PLAIN | {"torch_dtype": dtype}, name="m", origin="t").plain == Precision(size)


def test_the_newer_spelling_of_the_dtype_is_read() -> None:
    config_without = {key: value for key, value in PLAIN.items() if key != "torch_dtype"}
    assert from_config(config_without | {"dtype": "float32"}, name="m", origin="t").plain == Precision(4)
