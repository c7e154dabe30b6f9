"""Which weights a checkpoint means by the patterns it lists."""

import pytest

from shardwise.checkpoint import ConfigError
from shardwise.checkpoint.names import Names, flattened, layer_keys, names

Q = "model.layers.3.self_attn.q_proj"
GATE = "model.layers.3.mlp.gate_proj"
EXPERT = "model.layers.3.mlp.experts.down_proj"
SHARED = "model.layers.3.mlp.shared_experts.up_proj"
MAMBA = "backbone.layers.3.mixer.in_proj"
DELTA = "model.layers.3.linear_attn.in_proj_qk"

MEANT: dict[str, tuple[str, str]] = {
    "an exact name": (Q, Q),
    "a module around it": ("model.layers.3.self_attn", Q),
    "a layer around it": ("model.layers.3", Q),
    "a part of its path": ("self_attn", Q),
    "its last part": ("q_proj", Q),
    "a name below another root": ("language_model.model.layers.3.self_attn.q_proj", Q),
    "a name without the root": ("layers.3.self_attn.q_proj", Q),
    "a glob over layers": ("model.layers.*.self_attn", Q),
    "a glob at the end": ("model.layers.3.self_attn*", Q),
    "a glob in the middle": ("*.self_attn.*", Q),
    "a glob for one character": ("model.layers.?.self_attn", Q),
    "a glob with a set": ("model.layers.*.[sx]elf_attn*", Q),
    "a regular expression": (r"re:.*self_attn\.q_proj$", Q),
    "a regular expression over digits": (r"re:model\.layers\.\d+\.self_attn.*", Q),
    "a regular expression by another root": (r"re:language_model\.model\.layers\.\d+\.self_attn.*", Q),
    "a regular expression for some layers": (r"re:.*layers\.(3|4)\.self_attn.*", Q),
    "the fused weight it is a part of": ("model.layers.3.self_attn.qkv_proj", Q),
    "the fused weight in a regular expression": (r"re:.*qkv_proj", Q),
    "the output by another name": ("self_attn.out_proj", "model.layers.3.self_attn.o_proj"),
    "a gate and the other half": ("mlp.gate_up_proj", GATE),
    "experts all together": ("mlp.experts", EXPERT),
    "one expert": ("model.layers.3.mlp.experts.0.down_proj", EXPERT),
    "another expert": ("model.layers.3.mlp.experts.17.down_proj", EXPERT),
    "an expert by Mixtral's names": ("model.layers.3.mlp.experts.0.w2", EXPERT),
    "experts in a regular expression": (r"re:.*mlp\.experts\.\d+\.down_proj", EXPERT),
    "experts by DeepSeek V4's names": ("layers.3.ffn.experts", EXPERT),
    "attention by DeepSeek V4's names": ("*.attn.*", Q),
    "a shared expert in the singular": ("mlp.shared_expert", SHARED),
    "shared experts": ("shared_experts", SHARED),
    "a mixer": ("backbone.layers.3.mixer.in_proj", MAMBA),
    "a mixer's groups": ("mixer.in_proj", "backbone.layers.3.mixer.in_proj_groups"),
    "a delta net's fused projection": ("linear_attn.in_proj_qkvz", DELTA),
    "a delta net's own projection": ("linear_attn.in_proj_qkv", DELTA),
    "a layer of an older model": ("transformer.h.3.attn", "transformer.h.3.attn.c_attn"),
}


@pytest.mark.parametrize(("pattern", "name"), MEANT.values(), ids=MEANT)
def test_a_pattern_means_the_weight(pattern: str, name: str) -> None:
    assert names([pattern], "org/model", "ignore").match(name)


NOT_MEANT: dict[str, tuple[str, str]] = {
    "another layer": ("model.layers.4.self_attn", Q),
    "a layer whose number begins so": ("model.layers.31.self_attn", Q),
    "a router beside the projection": ("mlp.gate", GATE),
    "a part of a word": ("self", Q),
    "the output head": ("lm_head", Q),
    "a glob of another layer": ("model.layers.4*", Q),
    "a regular expression of other layers": (r"re:.*layers\.(0|1)\.self_attn.*", Q),
    "a regular expression that begins elsewhere": (r"re:self_attn", Q),
    "a regular expression that ends before": (r"re:.*self_attn$", Q),
    "experts where shared ones are meant": ("shared_experts", EXPERT),
    "shared ones where experts are meant": ("mlp.experts", SHARED),
    "nothing": ("", Q),
    "a vision tower": ("re:visual.*", Q),
}


@pytest.mark.parametrize(("pattern", "name"), NOT_MEANT.values(), ids=NOT_MEANT)
def test_a_pattern_means_no_other(pattern: str, name: str) -> None:
    assert not names([pattern], "org/model", "ignore").match(name)


def test_any_of_many_patterns_will_do() -> None:
    many = names([f"model.layers.{index}.mlp.gate" for index in range(94)] + ["lm_head", "self_attn"], "m", "ignore")
    assert many.match(Q)
    assert not many.match(GATE)


def test_no_patterns_mean_nothing() -> None:
    assert not Names()
    assert not Names().match(Q)
    assert names(["lm_head"], "m", "ignore")


def test_layers_are_told_apart_only_by_what_is_listed_of_them() -> None:
    """Equal layers are built once, although a checkpoint lists hundreds of names."""
    equal = names([f"model.layers.{index}.mlp.gate" for index in range(94)], "m", "ignore")
    assert len(set(map(layer_keys([equal]), range(94)))) == 1
    some = names(["model.layers.0.self_attn*", "model.layers.1.mlp.down_proj", "lm_head"], "m", "ignore")
    key = layer_keys([some])
    assert [key(index) == key(9) for index in range(4)] == [False, False, True, True]


def test_layers_are_told_apart_by_any_of_several_lists() -> None:
    lists = [names([r"re:.*layers\.1\.mlp"], "m", "a"), names(["model.layers.2.mlp"], "m", "b"), Names()]
    key = layer_keys(lists)
    assert [key(index) == key(9) for index in range(4)] == [True, False, False, True]
    assert key(1) != key(2)


TOLD: dict[str, tuple[str, list[int]]] = {
    "none": (r"re:.*layers\.\d+\.mlp.*", []),
    "one": (r"re:.*layers\.3\.mlp.*", [3]),
    "some": (r"re:.*layers\.(0|3|12)\.mlp.*", [0, 3, 12]),
    "any, where a choice of patterns goes on": (r"re:.*layers\.1|nothing", list(range(20))),
    "any, of a range": (r"re:.*layers\.[0-3]\.mlp.*", list(range(20))),
    "any, of digits after one": (r"re:.*layers\.1\d\.mlp.*", list(range(20))),
    "any, where the number may go on": (r"re:.*layers\.1.*", list(range(20))),
    "any, where the choice may go on": (r"re:.*layers\.(0|1).*", list(range(20))),
    "any, where a dot is any character": (r"re:.*layers.1.mlp", list(range(20))),
    "some, in a group without a number": (r"re:.*layers\.(?:0|3)\.mlp.*", [0, 3]),
    "any, of a single digit": (r"re:.*layers\.\d\.mlp.*", list(range(20))),
}


@pytest.mark.parametrize(("pattern", "told"), TOLD.values(), ids=TOLD)
def test_a_regular_expression_tells_the_layers_apart_that_it_may_tell_apart(pattern: str, told: list[int]) -> None:
    """None is merged with a layer that it may be stored otherwise than."""
    made = names([pattern], "m", "ignore")
    key = layer_keys([made])
    others = {key(index) for index in range(20) if index not in told}
    assert len(others) == (1 if len(told) < 20 else 0)
    assert len({key(index) for index in told}) == len(told)
    assert not others & {key(index) for index in told}
    matched = [index for index in range(20) if made.match(f"model.layers.{index}.mlp.up_proj")]
    assert "\\d+" in pattern or set(matched) <= set(told)


def test_two_lists_are_as_good_as_one() -> None:
    both = names(["model.layers.0.mlp", "lm_head"], "m", "ignore").with_others(
        names([r"re:.*layers\.3\.self.*", "embed"], "m", "ignore")
    )
    whole = names(["model.layers.0.mlp", "lm_head", r"re:.*layers\.3\.self.*", "embed"], "m", "ignore")
    assert both == whole
    assert names([], "m", "ignore").with_others(whole) == whole


REFUSED = {
    "a group without an end": ("re:.*(mlp", "has a `(` that is not closed; `\\(` means the sign"),
    "a group that repeats without a bound": (
        "re:(mlp|attn)*",
        "repeats a group without a bound: use `.*`, or a count such as `{0,4}`",
    ),
    "a reference to a group": (r"re:(mlp)\1", r"has the escape `\1`: `\d`, `\w`, `\s`, `\b` and escaped signs are"),
    "a glob that is too long": ("*" + "x" * 5000, "has 5,001 characters: at most 4,096 are allowed"),
    "counts that multiply": ("re:(?:x{100}y{100}){50}", "takes 10,151 steps to match: at most 4,096 are allowed"),
}


@pytest.mark.parametrize(("pattern", "message"), REFUSED.values(), ids=REFUSED)
def test_a_pattern_that_cannot_be_matched_is_refused_with_its_field(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        names([pattern], "org/model", "quantization_config.ignore")
    said = str(raised.value)
    assert said.startswith(f"config of `org/model` has the pattern {repr(pattern)[:50]}")
    assert f"in `quantization_config.ignore`, which {message}" in said
    assert len(said) < 300


COUNTED = {
    "globs": ([f"*a{index}" for index in range(10_001)], "10,001 patterns in `ignore`: at most 10,000 are supported"),
    "expressions": ([f"re:a{index}" for index in range(10_001)], "10,001 patterns in `ignore`: at most 10,000"),
    "names": ([f"a.b{index}" for index in range(200_001)], "200,001 names in `ignore`: at most 200,000 are supported"),
}


@pytest.mark.parametrize(("listed", "message"), COUNTED.values(), ids=COUNTED)
def test_more_patterns_or_names_than_any_checkpoint_has_are_refused(listed: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"config of `m` has {message}"):
        names(listed, "m", "ignore")


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (None, []),
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([["a"], ["b", "c"]], ["a", "b", "c"]),
        ([1, None, {}, "a"], ["a"]),
        ({"a": 1}, []),
    ],
)
def test_lists_in_lists_are_read_as_one(value: object, texts: list[str]) -> None:
    assert list(flattened(value)) == texts
