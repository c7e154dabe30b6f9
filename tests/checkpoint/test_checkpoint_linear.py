"""Reading a config.json takes steps in proportion to its size. Steps are counted, never time."""

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import pytest
from tests.checkpoint.support import BASE, EXPERTS

from shardwise.checkpoint import ConfigError, from_config
from shardwise.checkpoint.config import MOST_STEPS
from shardwise.checkpoint.extent import DEEPEST, LONGEST_TEXT, MOST_VALUES, check_extent

Json = dict[str, Any]


class SeenList(list[Any]):
    """A list that is walked by Python's own steps, so that they are counted."""

    def __iter__(self) -> Iterator[Any]:
        for position in range(len(self)):
            yield self[position]


class SeenObject(Mapping[str, Any]):
    """An object that is walked by Python's own steps, so that they are counted."""

    def __init__(self, values: Json) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        yield from self._values


def seen(value: Any) -> Any:
    """Give a document whose walks are counted."""
    if isinstance(value, dict):
        return SeenObject({key: seen(inner) for key, inner in value.items()})
    return SeenList(seen(inner) for inner in value) if isinstance(value, list) else value


def steps(work: Callable[[], object]) -> int:
    """Count the instructions of Python's interpreter."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def quantized(method: str, **fields: Any) -> Json:
    return {"quantization_config": {"quant_method": method, **fields}}


def groups(count: int) -> Json:
    return {f"g{index}": {"targets": [f"a.b{index}"], "weights": {"num_bits": 4}} for index in range(count)}


MOE: Json = {"model_type": "qwen3_moe", **EXPERTS, "head_dim": 64}

GROWING: dict[str, Callable[[int], Json]] = {
    "fields that nobody reads": lambda n: {f"x{index}": index for index in range(10 * n)},
    "lists that nobody reads": lambda n: {"x": [[index] for index in range(10 * n)]},
    "names": lambda n: quantized("fp8", ignore=[f"model.layers.{i % 4}.x{i}" for i in range(10 * n)]),
    "names in lists": lambda n: quantized("awq", modules_to_not_convert=[[f"a.b{i}" for i in range(5)]] * n),
    "globs": lambda n: quantized("fp8", ignore=[f"*a{index}*b" for index in range(n)]),
    "expressions": lambda n: quantized("fp8", ignore=[rf"re:.*a{index}x.*b" for index in range(n // 4)]),
    "rules": lambda n: quantized("gptq", dynamic={rf"-:.*a{index}x": {} for index in range(n // 4)}),
    "rules beside fields": lambda n: quantized(
        "gptq", dynamic={f"+:a{i}x": {"bits": 8} for i in range(n // 4)}, **{f"y{i}": i for i in range(n)}
    ),
    "groups": lambda n: quantized("compressed-tensors", config_groups=groups(n // 2)),
    "modules of many bits": lambda n: quantized("auto-round", extra_config={f"a.b{i}": {"bits": 16} for i in range(n)}),
    "layers of many algorithms": lambda n: quantized(
        "modelopt",
        quant_algo="MIXED_PRECISION",
        quantized_layers={f"a.b{i}": {"quant_algo": ("FP8", "NVFP4")[i % 2]} for i in range(n)},
    ),
    "layers": lambda n: {"num_hidden_layers": n},
    "kinds of layers": lambda n: {
        "model_type": "qwen3", "num_hidden_layers": n, "layer_types": ["full_attention", "sliding_attention"] * (n // 2)
    },
    "layers without experts": lambda n: MOE | {"num_hidden_layers": n, "mlp_only_layers": list(range(n))},
    "kinds of feed-forward blocks": lambda n: MOE | {"num_hidden_layers": n, "mlp_layer_types": ["sparse"] * n},
    "frequencies": lambda n: MOE | {"num_hidden_layers": n, "moe_layer_freq": [1] * n},
    "heads of layers": lambda n: {"num_hidden_layers": n, "num_attention_heads_per_layer": [16] * n},
    "layers with fields of their own": lambda n: {
        "num_hidden_layers": n, "per_layer_config": {str(i): {"intermediate_size": 64 + i % 2} for i in range(n)}
    },
    "layers beside fields": lambda n: {
        "num_hidden_layers": n,
        "per_layer_config": {str(index): {} for index in range(n)},
        **{f"x{index}": index for index in range(n)},
    },
    "layers that an expression tells apart": lambda n: {
        "num_hidden_layers": n, **quantized("fp8", ignore=[r"re:.*layers\.[0-3]+\.mlp.*"])
    },
}  # fmt: skip

SMALL = 120


@pytest.mark.parametrize("grow", GROWING.values(), ids=GROWING)
def test_twice_the_input_takes_at_most_twice_the_steps(grow: Callable[[int], Json]) -> None:
    def read(count: int) -> None:
        from_config(seen(BASE | grow(count)), name="org/model", origin="test")

    read(SMALL)  # the first reading fills the caches of tables
    small, large = (steps(lambda count=count: read(count)) for count in (SMALL, 2 * SMALL))  # type: ignore[misc]
    assert large <= 2.2 * small


def test_layers_times_signs_of_patterns_are_bounded() -> None:
    """Each alone may be large."""
    patterns = [rf"re:.*layers\.[0-3]+\.x{index}" for index in range(1000)]
    many = quantized("fp8", ignore=patterns)
    from_config(BASE | many, name="org/model", origin="test")
    with pytest.raises(ConfigError) as raised:
        from_config(BASE | many | {"num_hidden_layers": 400}, name="org/model", origin="test")
    said = str(raised.value)
    assert said.startswith("config of `org/model` has patterns of ")
    assert f"layers × signs must be at most {MOST_STEPS:,}; write shorter patterns" in said


def nested(levels: int) -> Json:
    value: Json = {}
    for _ in range(levels - 1):
        value = {"x": value}
    return value


def test_the_depth_of_a_config_is_bounded() -> None:
    check_extent(nested(DEEPEST), "m")
    with pytest.raises(ConfigError, match=f"config of `m` is nested more than {DEEPEST} levels deep: no model needs"):
        check_extent(nested(DEEPEST + 1), "m")
    with pytest.raises(ConfigError, match="is nested more than"):
        check_extent(nested(100_000), "m")


def test_the_number_of_values_is_bounded_even_if_they_repeat_one_list() -> None:
    """A list in YAML may hold another list many times for a few signs."""
    check_extent({"x": [0] * (MOST_VALUES - 1)}, "m")
    many: list[Any] = [0] * 1000
    for _ in range(4):
        many = [many] * 1000
    for config in ({"x": [0] * MOST_VALUES}, {"x": many}):
        with pytest.raises(ConfigError, match="config of `m` has more than 1,000,000 values: no model needs that many"):
            check_extent(config, "m")


@pytest.mark.parametrize("make", [lambda text: {"x": [text]}, lambda text: {text: 1}], ids=["a value", "a name"])
def test_the_length_of_a_text_is_bounded(make: Callable[[str], Json]) -> None:
    check_extent(make("x" * LONGEST_TEXT), "m")
    with pytest.raises(ConfigError, match="has the text 'xxx.*… of 10,001 characters: at most 10,000 are"):
        check_extent(make("x" * (LONGEST_TEXT + 1)), "m")


def test_a_config_is_bounded_before_it_is_read() -> None:
    with pytest.raises(ConfigError, match="is nested more than"):
        from_config(BASE | {"x": nested(40)}, name="org/model", origin="test")
