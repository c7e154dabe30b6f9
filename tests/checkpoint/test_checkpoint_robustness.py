"""Whatever JSON a config.json holds, reading it gives facts or a ConfigError, and nothing else."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.models import config

from shardwise.checkpoint import ConfigError, from_config
from shardwise.domain.model import ModelFacts

FIELDS = sorted(
    {
        *config("deepseek-ai/DeepSeek-R1"),
        *config("Qwen/Qwen3-235B-A22B-FP8"),
        *config("openai/gpt-oss-20b"),
        *config("EleutherAI/gpt-j-6b"),
        "text_config",
        "dtype",
        "config_groups",
        "shared_expert_intermediate_size",
        "num_experts_per_tok",
    }
)
QUANTIZATION_FIELDS = [
    "quant_method",
    "weight_block_size",
    "bits",
    "group_size",
    "config_groups",
    "quant_algo",
    "ignore",
    "modules_to_not_convert",
]
METHODS = ["fp8", "mxfp4", "gptq", "awq", "compressed-tensors", "modelopt", ""]

scalars = st.none() | st.booleans() | st.integers(-5, 5000) | st.integers() | st.floats() | st.text(max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
quantizations = st.dictionaries(
    st.sampled_from(QUANTIZATION_FIELDS), values | st.sampled_from(METHODS), max_size=6
).flatmap(lambda made: st.sampled_from(METHODS).map(lambda method: {**made, "quant_method": method}))
groups = values.map(lambda value: {"quant_method": "compressed-tensors", "config_groups": {"group_0": value}})
weights = st.dictionaries(st.sampled_from(["num_bits", "group_size", "type"]), values).map(
    lambda value: {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": value}}}
)


def facts_or_config_error(made: dict[str, Any]) -> ModelFacts | None:
    try:
        return from_config(made, name="org/model", origin="test")
    except ConfigError:
        return None


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=12))
@settings(max_examples=300)
def test_arbitrary_objects_raise_nothing_but_a_config_error(made: dict[str, Any]) -> None:
    facts_or_config_error(made)


@given(
    st.sampled_from(["deepseek-ai/DeepSeek-R1", "openai/gpt-oss-20b", "meta-llama/Llama-3.1-8B"]),
    st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=3),
)
@settings(max_examples=300)
@example("meta-llama/Llama-3.1-8B", {"architectures": [{}]})
@example("meta-llama/Llama-3.1-8B", {"architectures": {}, "model_type": []})
@example("meta-llama/Llama-3.1-8B", {"hidden_act": ["silu"]})
@example("openai/gpt-oss-20b", {"layer_types": [{}] * 24})
@example("deepseek-ai/DeepSeek-R1", {"mlp_only_layers": [{}, []]})
@example("deepseek-ai/DeepSeek-R1", {"quantization_config": "fp8"})
@example("deepseek-ai/DeepSeek-R1", {"num_hidden_layers": 10**12})
@example("deepseek-ai/DeepSeek-R1", {"hidden_size": 10**400})
@example("deepseek-ai/DeepSeek-R1", {"text_config": []})
def test_a_real_config_with_some_fields_replaced_raises_nothing_else(name: str, changes: dict[str, Any]) -> None:
    facts_or_config_error(config(name) | changes)


@given(quantizations | groups | weights)
@settings(max_examples=300)
@example({"quant_method": "fp8", "weight_block_size": ["a", "b"]})
@example({"quant_method": "fp8", "weight_block_size": [True, True]})
@example({"quant_method": "gptq", "group_size": True})
@example({"quant_method": "gptq", "group_size": 10**400})
@example({"quant_method": "fp8", "ignore": [None, 3, {}]})
def test_arbitrary_quantisation_raises_nothing_else(made: dict[str, Any]) -> None:
    model = facts_or_config_error(config("meta-llama/Llama-3.1-8B") | {"quantization_config": made})
    if model is not None:
        assert 0 < model.linear.bytes_per_element < 8
