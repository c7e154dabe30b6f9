"""Every way a checkpoint states its quantisation: bytes, blocks, what stays plain, and what a wrong one is told."""

from dataclasses import replace
from typing import Any

import pytest
from tests.checkpoint.support import BF16, EXPERTS, Json, read, weight
from tests.support.models import config

from shardwise.checkpoint import ConfigError, from_config, with_quantization
from shardwise.domain.model import CheckpointMethod, ModelFacts, Precision, Quantization

Q, GATE, EXPERT = "self_attn.q_proj", "mlp.gate_proj", "mlp.experts.up_proj"
FP8_BLOCK = Precision(1 + 4 / 128**2, (128, 128))
FP8 = Precision(1.0)
NVFP4 = Precision(0.5625, (1, 16))
MXFP4 = Precision(0.53125, (1, 32), padded=True)
INT4 = Precision(0.515625, (1, 128))


def stated(**quantization: Any) -> ModelFacts:
    return read(quantization_config=quantization)


def sparse(**quantization: Any) -> ModelFacts:
    return read(model_type="qwen3_moe", **EXPERTS, quantization_config=quantization)


def compressed(weights: Json, **more: Any) -> Json:
    group = {"targets": ["Linear"], "weights": weights}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, **more}


READ: dict[str, tuple[Json, Quantization, Precision]] = {
    "fp8 per tensor": ({"quant_method": "fp8"}, Quantization.FP8, FP8),
    "fp8 in blocks": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, Quantization.FP8, FP8_BLOCK),
    "fp8 in other blocks": (
        {"quant_method": "fp8", "weight_block_size": [64, 32]},
        Quantization.FP8,
        Precision(1 + 4 / 2048, (64, 32)),
    ),
    "fbgemm's fp8": ({"quant_method": "fbgemm_fp8"}, Quantization.FP8, FP8),
    "method in capitals": ({"quant_method": "FP8"}, Quantization.FP8, FP8),
    "gptq by 128, with zero points": (
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        Quantization.INT4,
        Precision(0.5 + 2.5 / 128, (1, 128)),
    ),
    "gptq per column": ({"quant_method": "gptq", "bits": 4, "group_size": -1}, Quantization.INT4, Precision(0.5)),
    "gptq at 8 bits": (
        {"quant_method": "gptq", "bits": 8, "group_size": 128},
        Quantization.INT8,
        Precision(1 + 3 / 128, (1, 128)),
    ),
    "gptq at 3 bits": ({"quant_method": "gptq", "bits": 3, "group_size": -1}, Quantization.INT4, Precision(0.375)),
    "awq by 64, in its own words": (
        {"quant_method": "awq", "w_bit": 4, "q_group_size": 64},
        Quantization.INT4,
        Precision(0.5 + 2.5 / 64, (1, 64)),
    ),
    "awq without zero points": (
        {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": False},
        Quantization.INT4,
        INT4,
    ),
    "auto-round": (
        {"quant_method": "auto-round", "bits": 4, "group_size": 128},
        Quantization.INT4,
        Precision(0.5 + 2.5 / 128, (1, 128)),
    ),
    "bitsandbytes at 8 bits": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, Quantization.INT8, FP8),
    "bitsandbytes at 4 bits": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        Quantization.INT4,
        Precision(0.5625),
    ),
    "bitsandbytes with scales quantised again": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
        Quantization.INT4,
        Precision(0.5 + (1 + 4 / 256) / 64),
    ),
    "compressed-tensors fp8 per channel": (
        compressed({"num_bits": 8, "type": "float", "strategy": "channel"}),
        Quantization.FP8,
        FP8,
    ),
    "compressed-tensors fp8 in blocks": (
        compressed({"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}),
        Quantization.FP8,
        FP8_BLOCK,
    ),
    "compressed-tensors int8 per channel": (compressed({"num_bits": 8, "type": "int"}), Quantization.INT8, FP8),
    "compressed-tensors integers by 32": (
        compressed({"num_bits": 4, "type": "int", "group_size": 32}),
        Quantization.INT4,
        Precision(0.5625, (1, 32)),
    ),
    "compressed-tensors integers with zero points": (
        compressed({"num_bits": 4, "type": "int", "group_size": 128, "symmetric": False}),
        Quantization.INT4,
        Precision(0.5 + 2.5 / 128, (1, 128)),
    ),
    "compressed-tensors integers per channel": (
        compressed({"num_bits": 4, "type": "int", "strategy": "channel"}),
        Quantization.INT4,
        Precision(0.5),
    ),
    "compressed-tensors floats by 16": (
        compressed({"num_bits": 4, "type": "float", "group_size": 16, "strategy": "tensor_group"}),
        Quantization.NVFP4,
        NVFP4,
    ),
    "compressed-tensors floats by 32": (
        compressed({"num_bits": 4, "type": "float", "group_size": 32}),
        Quantization.MXFP4,
        MXFP4,
    ),
    "modelopt without an algorithm": ({"quant_method": "modelopt"}, Quantization.FP8, FP8),
    "modelopt fp8": ({"quant_method": "modelopt", "quant_algo": "FP8"}, Quantization.FP8, FP8),
    "modelopt fp8 in blocks": (
        {"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"},
        Quantization.FP8,
        FP8_BLOCK,
    ),
    "modelopt nvfp4": ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, Quantization.NVFP4, NVFP4),
    "modelopt nvfp4 by its own method": (
        {"quant_method": "modelopt_fp4", "quant_algo": "nvfp4"},
        Quantization.NVFP4,
        NVFP4,
    ),
    "modelopt awq": ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, Quantization.INT4, INT4),
    "modelopt int8": (
        {"quant_method": "modelopt", "quant_algo": "W8A8_SQ_PER_CHANNEL"},
        Quantization.INT8,
        FP8,
    ),
    "modelopt's nested file": (
        {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}},
        Quantization.NVFP4,
        NVFP4,
    ),
    "modelopt's file without a method": ({"quant_algo": "FP8"}, Quantization.FP8, FP8),
    "modelopt in the words of compressed-tensors": (
        {"quant_method": "modelopt", "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}}}},
        Quantization.FP8,
        FP8,
    ),
    "quark's fp8": (
        {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}},
        Quantization.FP8,
        FP8,
    ),
    "quark's fp4": (
        {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}},
        Quantization.MXFP4,
        MXFP4,
    ),
}


@pytest.mark.parametrize(("quantization", "kind", "precision"), READ.values(), ids=READ)
def test_a_stated_quantisation_gives_bytes_and_blocks(
    quantization: Json, kind: Quantization, precision: Precision
) -> None:
    model = stated(**quantization)
    assert model.quantization is kind
    assert {weight(model, name).precision for name in (Q, GATE)} == {precision}
    assert {weight(model, name).precision for name in ("embed_tokens", "lm_head", "norms")} == {BF16}
    assert model.guessed is False


def test_mxfp4_means_experts_alone() -> None:
    model = sparse(quant_method="mxfp4")
    assert (weight(model, Q).precision, weight(model, EXPERT).precision) == (BF16, MXFP4)
    assert model.quantization is Quantization.MXFP4


def test_routers_and_norms_are_never_quantised() -> None:
    model = sparse(quant_method="fp8")
    assert weight(model, "mlp.gate").precision == BF16
    assert weight(model, EXPERT).precision == FP8


SPARED: dict[str, tuple[Json, set[str]]] = {
    "nothing": ({}, set()),
    "the output head": ({"ignore": ["lm_head"]}, set()),
    "attention by a glob": ({"modules_to_not_convert": ["model.layers.*.self_attn"]}, {Q}),
    "attention by a regular expression": ({"ignore": ["re:.*self_attn.*"]}, {Q}),
    "attention by its module": ({"ignored_layers": ["self_attn"]}, {Q}),
    "modelopt's excluded modules": ({"exclude_modules": ["lm_head", "model.layers.*.self_attn*"]}, {Q}),
    "experts": ({"ignore": ["re:.*mlp.experts.*"]}, {EXPERT}),
    "both": ({"ignore": ["self_attn", "mlp.experts"]}, {Q, EXPERT}),
    "what is no text": ({"ignore": [None, 3, {}, "self_attn"]}, {Q}),
}


@pytest.mark.parametrize(("listed", "plain"), SPARED.values(), ids=SPARED)
def test_what_a_checkpoint_spares_stays_plain(listed: Json, plain: set[str]) -> None:
    model = sparse(quant_method="fp8", **listed)
    assert {name for name in (Q, EXPERT) if weight(model, name).precision == BF16} == plain


def test_layers_that_are_spared_differ_from_the_others() -> None:
    model = stated(quant_method="fp8", ignore=["model.layers.0.mlp", "model.layers.3.self_attn.q_proj"])
    assert (len(model.kinds), model.order) == (3, (0, 1, 1, 2))
    assert [weight(layer, GATE).precision == BF16 for layer in model.layers] == [True, False, False, False]
    assert [weight(layer, Q).precision == BF16 for layer in model.layers] == [False, False, False, True]


def test_a_long_list_of_what_is_no_linear_weight_leaves_layers_equal() -> None:
    listed = [f"model.layers.{index}.{part}" for index in range(4) for part in ("mlp.gate", "input_layernorm")]
    assert len(sparse(quant_method="fp8", modules_to_not_convert=listed).kinds) == 1


def mixed(*groups: tuple[list[str], Json], **more: Any) -> Json:
    named = {
        f"group_{index}": {"targets": targets, "weights": weights} for index, (targets, weights) in enumerate(groups)
    }
    return {"quant_method": "compressed-tensors", "config_groups": named, **more}


EIGHT = {"num_bits": 8, "type": "float", "strategy": "channel"}
FOUR = {"num_bits": 4, "type": "float", "group_size": 16}

MIXED: dict[str, tuple[Json, Precision, Precision, Quantization]] = {
    "by regular expressions": (
        mixed((["re:.*self_attn.*"], EIGHT), (["re:.*mlp.*"], FOUR)),
        FP8,
        NVFP4,
        Quantization.NVFP4,
    ),
    "a class and a name": (mixed((["Linear"], FOUR), (["re:.*self_attn.*"], EIGHT)), FP8, NVFP4, Quantization.NVFP4),
    "one group alone": (mixed((["re:.*mlp.*"], FOUR)), BF16, NVFP4, Quantization.NVFP4),
    "with what is spared": (mixed((["Linear"], FOUR), ignore=["re:.*self_attn.*"]), BF16, NVFP4, Quantization.NVFP4),
    "modelopt's list of layers": (
        {
            "quant_method": "modelopt",
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {
                **{f"model.layers.{index}.self_attn.q_proj": {"quant_algo": "FP8"} for index in range(4)},
                **{f"model.layers.{index}.mlp.experts": {"quant_algo": "NVFP4"} for index in range(4)},
            },
        },
        FP8,
        NVFP4,
        Quantization.NVFP4,
    ),
    "gptq with other bits for some": (
        {"quant_method": "gptq", "bits": 4, "group_size": -1, "dynamic": {"+:.*self_attn.*": {"bits": 8}}},
        FP8,
        Precision(0.5),
        Quantization.INT4,
    ),
    "gptq without some": (
        {"quant_method": "gptq", "bits": 4, "group_size": -1, "dynamic": {"-:.*self_attn.*": {}}},
        BF16,
        Precision(0.5),
        Quantization.INT4,
    ),
    "gptq of the listed alone": (
        {
            "quant_method": "gptq",
            "bits": 4,
            "group_size": -1,
            "modules_in_block_to_quantize": [["mlp.experts.up_proj"], ["mlp.experts.down_proj"]],
        },
        BF16,
        Precision(0.5),
        Quantization.INT4,
    ),
    "auto-round with some at 16 bits": (
        {
            "quant_method": "auto-round",
            "bits": 4,
            "group_size": -1,
            "extra_config": {f"model.layers.{index}.self_attn.q_proj": {"bits": 16} for index in range(4)},
        },
        BF16,
        Precision(0.5),
        Quantization.INT4,
    ),
    "bitsandbytes without some": (
        {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": ["self_attn"]},
        BF16,
        FP8,
        Quantization.INT8,
    ),
}


@pytest.mark.parametrize(("quantization", "attention", "experts", "kind"), MIXED.values(), ids=MIXED)
def test_weights_may_be_quantised_each_in_its_way(
    quantization: Json, attention: Precision, experts: Precision, kind: Quantization
) -> None:
    model = sparse(**quantization)
    assert (weight(model, Q).precision, weight(model, EXPERT).precision) == (attention, experts)
    assert model.quantization is kind


def test_experts_in_four_bits_beside_a_rest_in_eight() -> None:
    """DeepSeek V4 says so beside its quantisation."""
    model = read(model_type="qwen3_moe", **EXPERTS, expert_dtype="fp4", quantization_config={"quant_method": "fp8"})
    assert (weight(model, Q).precision, weight(model, EXPERT).precision) == (FP8, Precision(0.53125, (1, 32)))


CACHE: dict[str, tuple[Json, str | None]] = {
    "unsaid": ({"quant_method": "fp8"}, None),
    "compressed-tensors": (compressed(EIGHT, kv_cache_scheme={"num_bits": 8, "type": "float"}), "fp8"),
    "none of compressed-tensors": (compressed(EIGHT, kv_cache_scheme=None), None),
    "modelopt": ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}, "fp8"),
    "modelopt's scheme": ({"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": "FP8"}, "fp8"),
    "modelopt's file": ({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "NVFP4"}}, "nvfp4"),
    "four bits": (compressed(EIGHT, kv_cache_scheme={"num_bits": 4}), "4-bit"),
}


@pytest.mark.parametrize(("quantization", "dtype"), CACHE.values(), ids=CACHE)
def test_the_dtype_a_checkpoint_wants_for_its_cache_is_a_fact(quantization: Json, dtype: str | None) -> None:
    assert stated(**quantization).kv_cache_dtype == dtype


NO_WEIGHTS = {
    "compressed-tensors of the cache": {
        "quant_method": "compressed-tensors",
        "config_groups": {},
        "kv_cache_scheme": {"num_bits": 8},
    },
    "modelopt of the cache": {
        "quantization": {"quant_algo": None, "kv_cache_quant_algo": "FP8"},
        "quant_method": "modelopt",
    },
}


@pytest.mark.parametrize("quantization", NO_WEIGHTS.values(), ids=NO_WEIGHTS)
def test_a_cache_alone_may_be_quantised(quantization: Json) -> None:
    model = stated(**quantization)
    assert (model.quantization, weight(model, Q).precision) == (Quantization.NONE, BF16)


def test_sparse_weights_are_marked_as_a_guess() -> None:
    model = stated(**compressed(EIGHT, sparsity_config={"format": "sparse-24-bitmask"}))
    assert model.guessed
    assert "sparse weights are counted as if they were stored in full" in model.notes


WRONG: dict[str, tuple[Json, str]] = {
    "no method": ({}, "`quant_method: None`: known are fp8, mxfp4, gptq, awq"),
    "an unknown method": ({"quant_method": "aqlm"}, "`quant_method: aqlm`: known are fp8"),
    "a method that is a number": ({"quant_method": 8}, "`quant_method: 8`: a string is needed"),
    "blocks of one edge": ({"quant_method": "fp8", "weight_block_size": [128]}, r"`weight_block_size: \[128\]`"),
    "blocks of texts": ({"quant_method": "fp8", "weight_block_size": ["a", "b"]}, "two whole numbers are needed"),
    "blocks of truths": ({"quant_method": "fp8", "weight_block_size": [True, True]}, "two whole numbers are needed"),
    "blocks that are a number": ({"quant_method": "fp8", "weight_block_size": 128}, "`weight_block_size: 128`: a list"),
    "bits nobody loads": ({"quant_method": "gptq", "bits": 5}, "`bits: 5`: 2, 3, 4 and 8 are known"),
    "bits that are a text": ({"quant_method": "awq", "bits": "4"}, "`bits: '4'`: a whole number"),
    "other bits of one module": (
        {"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*": {"bits": 7}}},
        "`bits: 7`: 2, 3, 4 and 8 are known",
    ),
    "no groups": ({"quant_method": "compressed-tensors"}, "compressed-tensors but lacks `config_groups.*.weights`"),
    "a group that is a number": (
        {"quant_method": "compressed-tensors", "config_groups": {"g": 1}},
        "has `1` in `config_groups`: objects are needed",
    ),
    "bits of a group": (compressed({"num_bits": 5}), "`num_bits: 5`: 2, 3, 4 and 8 are known"),
    "an unknown algorithm": (
        {"quant_method": "modelopt", "quant_algo": "FP3"},
        "`quant_algo: 'FP3'`: known are FP8, FP8_PER_CHANNEL_PER_TOKEN",
    ),
    "mixed without a list": (
        {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
        "`quant_algo: MIXED_PRECISION` but lacks `quantized_layers`",
    ),
    "quark without a dtype": ({"quant_method": "quark"}, "Quark's `weight.dtype: None`: known are fp8_e4m3"),
    "a pattern of a group that repeats": (
        {"quant_method": "fp8", "ignore": ["re:(mlp|attn)*"]},
        "in `quantization_config.ignore`, which repeats a group without a bound",
    ),
    "a rule of a group that repeats": (
        {"quant_method": "gptq", "bits": 4, "dynamic": {"-:(mlp|attn)*": {}}},
        "in `quantization_config.dynamic`, which repeats a group without a bound",
    ),
}


@pytest.mark.parametrize(("quantization", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_quantisation_is_named(quantization: Json, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("*", r"\*")) as raised:
        stated(**quantization)
    assert str(raised.value).startswith("config of `org/model` has ")
    assert "\n" not in str(raised.value)


DTYPES = {"bfloat16": 2, "float16": 2, "torch.float16": 2, "half": 2, "auto": 2, "float8_e4m3fn": 1, "float32": 2}


@pytest.mark.parametrize(("dtype", "size"), DTYPES.items())
@pytest.mark.parametrize("field", ["torch_dtype", "dtype"])
def test_plain_weights_take_the_bytes_engines_load_them_in(field: str, dtype: str, size: int) -> None:
    model = read(without="torch_dtype" if field == "dtype" else (), **{field: dtype})
    assert weight(model, Q).precision == Precision(size)
    assert any("loaded in 16 bits" in note for note in model.notes) is (dtype == "float32")


FORCED = {
    "none": BF16,
    "fp8": FP8,
    "int8": FP8,
    "int4": INT4,
    "mxfp4": MXFP4,
    "nvfp4": NVFP4,
}


@pytest.mark.parametrize(("kind", "precision"), FORCED.items())
def test_a_forced_quantisation_is_of_all_linear_weights(kind: str, precision: Precision) -> None:
    model = from_config(config("meta-llama/Llama-3.1-8B"), name="m", origin="t", quantization=kind)
    on_load = BF16 if kind == "none" else replace(precision, unquantised=2)
    assert {weight(model, name).precision for name in (Q, GATE)} == {on_load}
    assert weight(model, "lm_head").precision == BF16


def test_forcing_what_the_checkpoint_has_anyway_keeps_its_blocks() -> None:
    stored = config("Qwen/Qwen3-32B-FP8")
    assert weight(from_config(stored, name="m", origin="t", quantization="fp8"), Q).precision == FP8_BLOCK
    assert weight(from_config(stored, name="m", origin="t", quantization="none"), Q).precision == BF16


NAMES: dict[str, tuple[str, Quantization]] = {
    "fp8": ("org/Model-FP8", Quantization.FP8),
    "fp8 within": ("org/Model-FP8-dynamic", Quantization.FP8),
    "nvfp4": ("org/Model-NVFP4", Quantization.NVFP4),
    "nvidia's older name": ("nvidia/Model-FP4", Quantization.NVFP4),
    "awq": ("org/Model-AWQ", Quantization.INT4),
    "gptq with its bits": ("org/Model-GPTQ-Int4", Quantization.INT4),
    "w4a16": ("org/Model-w4a16", Quantization.INT4),
    "w8a8": ("org/Model.w8a8", Quantization.INT8),
    "no such word": ("org/Model-8B", Quantization.NONE),
    "a word that only begins so": ("org/Model-FP8ish", Quantization.NONE),
}


@pytest.mark.parametrize(("name", "kind"), NAMES.values(), ids=NAMES)
def test_a_name_is_taken_at_its_word_and_said_to_be(name: str, kind: Quantization) -> None:
    model = read(name=name)
    assert model.quantization is kind
    assert model.guessed is (kind is not Quantization.NONE)
    assert any("the name says" in note for note in model.notes) is model.guessed


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("org/Model-NVFP4", CheckpointMethod("modelopt", Quantization.NVFP4, ("quant_algo: NVFP4",))),
        ("org/Model-FP8", CheckpointMethod("modelopt", Quantization.FP8, ("quant_algo: FP8",))),
        ("org/Model-AWQ", CheckpointMethod("", Quantization.INT4)),
    ],
)
def test_a_name_stands_for_the_method_whose_file_lies_beside_the_config(name: str, method: CheckpointMethod) -> None:
    assert read(name=name).method == method


def test_a_name_says_nothing_where_the_config_does() -> None:
    model = read(name="org/Model-NVFP4", quantization_config={"quant_method": "fp8"})
    assert (model.quantization, model.guessed) == (Quantization.FP8, False)


def test_a_file_of_its_own_adds_what_a_config_does_not_state() -> None:
    added = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    merged = with_quantization({"hidden_size": 8}, added)
    assert merged == {"hidden_size": 8, "quantization_config": {"quant_method": "modelopt", **added}}


@pytest.mark.parametrize("config", [{"quantization_config": {"quant_method": "fp8"}}, {"a": 1}])
def test_a_config_that_states_it_or_a_file_that_does_not_change_nothing(config: Json) -> None:
    assert with_quantization(config, {} if "a" in config else {"quantization": {"quant_algo": "NVFP4"}}) == config
