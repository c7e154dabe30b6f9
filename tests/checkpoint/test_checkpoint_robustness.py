"""Whatever JSON a config.json holds, reading it gives facts or a ConfigError, and nothing else."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.checkpoint.support import counted
from tests.support.models import config

from shardwise.checkpoint import ConfigError, from_config
from shardwise.domain.model import ModelFacts, Split

MODELS = [row["config"] for row in counted()]
FIELDS = sorted({key for made in MODELS for key in made} | {"quantization_config", "dtype", "text_config"})

QUANTIZATION_FIELDS = [
    "quant_method",
    "weight_block_size",
    "bits",
    "group_size",
    "config_groups",
    "quant_algo",
    "ignore",
    "modules_to_not_convert",
    "exclude_modules",
    "dynamic",
    "extra_config",
    "quantized_layers",
    "quantization",
    "kv_cache_scheme",
    "kv_cache_quant_algo",
    "global_quant_config",
    "sparsity_config",
    "modules_in_block_to_quantize",
]
METHODS = [
    "fp8", "mxfp4", "gptq", "awq", "compressed-tensors", "modelopt", "auto-round", "bitsandbytes", "quark", "",
]  # fmt: skip
HOSTILE = [
    0, -1, 1, 10**9, 10**12, 10**400, -(10**5000), 0.0, 1.5, 1e308, float("nan"), float("inf"), True, "", "8", "auto",
    [], [0], [[]], [{}], ["a"], [1, 2], [10**12], {}, {"a": 1}, {"0": {"head_dim": 0}}, None,
]  # fmt: skip

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


@given(st.sampled_from(MODELS), st.data())
@settings(max_examples=500)
def test_any_familys_config_with_hostile_fields_raises_nothing_else(made: dict[str, Any], data: st.DataObject) -> None:
    """Of the fields the family reads, one to three are wrong; in a nested config, those of a nest."""
    place = dict(made)
    nests = [key for key, value in made.items() if isinstance(value, dict) and value]
    nest = data.draw(st.sampled_from([None, *nests]))
    fields = place[nest] if nest else place
    changes = data.draw(
        st.dictionaries(st.sampled_from(sorted(fields)), st.sampled_from(HOSTILE) | values, min_size=1, max_size=3)
    )
    place = place | {nest: fields | changes} if nest else place | changes
    facts_or_config_error(place)


@given(
    st.sampled_from(["deepseek-ai/DeepSeek-R1", "openai/gpt-oss-20b", "nvidia/Nemotron-H-56B-Base-8K"]),
    st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=3),
)
@settings(max_examples=300)
@example("openai/gpt-oss-20b", {"architectures": [{}]})
@example("openai/gpt-oss-20b", {"architectures": {}, "model_type": []})
@example("openai/gpt-oss-20b", {"hidden_act": ["silu"]})
@example("openai/gpt-oss-20b", {"layer_types": [{}] * 24})
@example("nvidia/Nemotron-H-56B-Base-8K", {"hybrid_override_pattern": ""})
@example("deepseek-ai/DeepSeek-R1", {"mlp_only_layers": [{}, []]})
@example("deepseek-ai/DeepSeek-R1", {"quantization_config": "fp8"})
@example("deepseek-ai/DeepSeek-R1", {"num_hidden_layers": 10**12})
@example("deepseek-ai/DeepSeek-R1", {"num_nextn_predict_layers": 10**8})
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
@example({"quant_method": "fp8", "ignore": ["re:" + "(" * 100, "*" * 200, "[" * 50]})
def test_arbitrary_quantisation_raises_nothing_else(made: dict[str, Any]) -> None:
    model = facts_or_config_error(config("meta-llama/Llama-3.1-8B") | {"quantization_config": made})
    if model is not None:
        assert all(0 < weight.precision.bytes_per_element < 8 for weight in model.loaded())


@given(st.lists(st.text(alphabet="abN.*?[]|()+re:\\d0123", max_size=20), max_size=6))
@settings(max_examples=300)
def test_arbitrary_patterns_raise_nothing_else_and_end(patterns: list[str]) -> None:
    stated = {"quant_method": "fp8", "ignore": patterns + [f"re:{pattern}" for pattern in patterns]}
    facts_or_config_error(config("meta-llama/Llama-3.1-8B") | {"quantization_config": stated})


@given(st.sampled_from(MODELS))
@settings(max_examples=100)
def test_what_is_read_holds_together(made: dict[str, Any]) -> None:
    """Every layer is of a kind, no weight is empty, and no tensor is dealt out in more parts than it has."""
    model = facts_or_config_error(made)
    if model is None:
        return
    assert model.order
    assert set(model.order) == set(range(len(model.kinds)))
    weights = [weight for layer in model.kinds for weight in layer.weights]
    assert all(weight.outputs > 0 and weight.inputs > 0 and weight.units > 0 for weight in weights)
    split = [weight for weight in weights if weight.split in (Split.OUTPUTS, Split.INPUTS)]
    assert all(weight.unit_name for weight in split)
    assert all(weight.units <= max(weight.outputs, weight.inputs) for weight in split)
    assert model.context_length > 0
