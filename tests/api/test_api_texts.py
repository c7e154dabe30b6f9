"""Texts with control characters are refused wherever they stand, and no message shows them as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.api.support import PLAIN, Json, changed
from tests.checkpoint.support import BASE

from shardwise.api import InvalidObject, parse
from shardwise.api.problems import MOST_TOLD
from shardwise.checkpoint import ConfigError, from_config

LINE = "has control characters: a text in a single line is needed"
LABEL = "is not a valid label value: use letters and digits, with `-`, `_` and `.` between them"
SEVERAL = "has control characters: only tabs and line breaks are allowed"

REFUSED: dict[str, tuple[str, object, str]] = {
    "an image in two lines": ("spec.engine.image", "a/b\n:1", rf"spec.engine.image: `a/b\n:1` {LINE}"),
    "a name with an escape": ("spec.model.servedName", "a\x1b[31m", rf"spec.model.servedName: `a\x1b[31m` {LINE}"),
    "an argument in two lines": ("spec.engine.args", ["--a", "b\nc"], rf"spec.engine.args.1: `b\nc` {LINE}"),
    "a variable with a bell": (
        "spec.engine.env", [{"name": "A", "value": "\a"}], rf"spec.engine.env.0.value: `\x07` {SEVERAL}",
    ),
    "a label": ("spec.podTemplate.labels", {"a": "b\tc"}, rf"spec.podTemplate.labels.a: `b\tc` {LABEL}"),
    "the key of a label": ("spec.podTemplate.labels", {"a\nb": "c"}, rf"spec.podTemplate.labels.a\nb: `a\nb` {LINE}"),
    "an annotation with an escape": (
        "spec.podTemplate.annotations", {"a": "\x1b"}, rf"spec.podTemplate.annotations.a: `\x1b` {SEVERAL}",
    ),
    "a limit": ("spec.podTemplate.limits", {"memory": "1\n"}, rf"spec.podTemplate.limits.memory: `1\n` {LINE}"),
    "a node label": ("spec.placement.nodeSelector", {"a": "\x7f"}, rf"spec.placement.nodeSelector.a: `\x7f` {LINE}"),
    "a revision": (
        "spec.model.source", {"huggingFace": {"revision": "a\u2028b"}},
        rf"spec.model.source.huggingFace.revision: `a\u2028b` {LINE}",
    ),
    "a folder": (
        "spec.model.source", {"hostPath": {"path": "/a\r"}}, rf"spec.model.source.hostPath.path: `/a\r` {LINE}",
    ),
    "a product": ("spec.gpuBudget.products", ["\x00"], rf"spec.gpuBudget.products.0: `\x00` {LINE}"),
    "an option": ("spec.engine.options", {"a": ["b\x1b"]}, rf"spec.engine.options.a.0: `b\x1b` {SEVERAL}"),
    "a value of another kind": (
        "spec.objective", "a\nb",
        r"spec.objective: unknown value `a\nb` (known values: fewest-gpus, latency, throughput, cheapest)",
    ),
    "an unknown field": ("spec.service", {"a\nb": 1}, r"spec.service.a\nb: unknown field (known fields: port, type)"),
    "an API version": ("apiVersion", "v1\n", r"apiVersion: `v1\n` is not `shardwise.dev/v1alpha1`"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), REFUSED.values(), ids=REFUSED)
def test_a_text_with_control_characters_is_refused_and_shown_escaped(path: str, value: object, message: str) -> None:
    with pytest.raises(InvalidObject) as caught:
        parse(changed(path, value))
    assert str(caught.value) == message


ALLOWED: dict[str, tuple[str, object]] = {
    "a variable in several lines": ("spec.engine.env", [{"name": "A", "value": "a\n\tb\n"}]),
    "an annotation in several lines": ("spec.podTemplate.annotations", {"a": '{\n\t"b": 1\n}'}),
    "an option in several lines": ("spec.engine.options", {"a": {"b": "c\nd"}}),
    "letters of any language": ("spec.model.servedName", "模型-é"),
}


@pytest.mark.parametrize(("path", "value"), ALLOWED.values(), ids=ALLOWED)
def test_texts_that_nobody_prints_may_have_several_lines(path: str, value: object) -> None:
    parse(changed(path, value))


PLACES = ("spec.engine.image", "spec.model.servedName", "spec.placement.within", "spec.gpuBudget.products")


@given(st.sampled_from(PLACES), st.text(min_size=1, max_size=20))
def test_no_text_of_an_object_and_no_message_breaks_a_line(path: str, text: str) -> None:
    said = text
    try:
        parse(changed(path, [text] if path.endswith("products") else text))
    except InvalidObject as error:
        said = str(error)
    assert len(said.splitlines()) == 1
    assert "\x1b" not in said


def test_the_depth_of_free_fields_is_bounded() -> None:
    deep: Json = {}
    for _ in range(60):
        deep = {"a": deep}
    with pytest.raises(InvalidObject) as caught:
        parse(changed("spec.engine.options", deep))
    assert str(caught.value) == "spec.engine.options.a: is nested more than 32 levels deep"


@pytest.mark.parametrize("config", [{"x": "a\x1b"}, {"x": ["a\x00"]}, {"a\x1b": 1}], ids=["a text", "a list", "a key"])
def test_a_config_with_control_characters_is_refused(config: Json) -> None:
    with pytest.raises(ConfigError, match=r"has control characters in 'a\\x..': only tabs and line breaks are"):
        from_config(BASE | config, name="m", origin="test")
    from_config(BASE | {"x": "a\n\tb"}, name="m", origin="test")


def test_of_very_many_problems_the_first_are_told() -> None:
    """Each takes a search for the known field that was meant, and a status holds no megabyte of them."""
    wrong = PLAIN | {"spec": PLAIN["spec"] | {f"x{index}": 1 for index in range(1000)}}
    with pytest.raises(InvalidObject) as caught:
        parse(wrong)
    assert len(caught.value.problems) == MOST_TOLD + 1
    assert str(caught.value.problems[-1]) == f"spec.x{MOST_TOLD}: is wrong, and so are 949 further fields"
