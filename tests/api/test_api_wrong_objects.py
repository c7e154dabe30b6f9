"""Wrong objects, each with the message its user reads: the field, the value, what would be right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.api.support import PLAIN, changed, wrong_objects

from shardwise.api import InvalidObject, Problem, parse

WRONG = wrong_objects()


@pytest.mark.parametrize(("path", "value", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_object_is_refused_with_one_clear_message(path: str, value: object, message: str) -> None:
    """To the letter: it is what people read."""
    with pytest.raises(InvalidObject) as caught:
        parse(changed(path, value))
    assert str(caught.value) == message


def test_a_scaler_and_roles_do_not_go_together() -> None:
    """A scale subresource finds nothing where its path leads into a list (tests/cluster/test_cluster_schema.py)."""
    wrong = changed("spec.scaling", {"max": 1, "signal": "queue", "target": 5})
    wrong["spec"]["roles"] = [{"name": "prefill"}, {"name": "decode"}]
    with pytest.raises(InvalidObject) as caught:
        parse(wrong)
    assert str(caught.value) == (
        "spec.scaling: a scaler sets the one number of the scale subresource, which cannot be that of a role in a "
        "list; leave the field out and state `spec.target`, whose rate sizes both roles, or `spec.roles[].replicas`; "
        "or leave `spec.roles` out"
    )


def test_a_target_of_roles_needs_the_rate() -> None:
    """Both roles serve the same requests: times alone would size neither."""
    wrong = changed("spec.target", {"inputTokens": 100, "outputTokens": 100, "timePerToken": "50ms"})
    wrong["spec"]["roles"] = [{"name": "prefill"}, {"name": "decode"}]
    with pytest.raises(InvalidObject) as caught:
        parse(wrong)
    assert str(caught.value) == (
        "spec.target.requestsPerSecond: with roles, `requestsPerSecond` is needed: both roles serve the same requests, "
        "and each is sized by their rate"
    )


def test_all_problems_are_told_at_once_in_the_order_of_the_fields() -> None:
    """Nobody likes to be told one after the other."""
    wrong = changed("spec.model.concurrency", 0)
    wrong["spec"] |= {"gpuBudget": {"total": 0}, "replicas": -1, "zzz": 1}
    with pytest.raises(InvalidObject) as caught:
        parse(wrong)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["spec.model.concurrency", "spec.gpuBudget.total", "spec.replicas", "spec.zzz"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = sorted({path for path, _, _ in WRONG.values()} | {"spec.model", "metadata", "metadata.annotations", "status"})


@given(st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "spec", "x"]), json_values))
def test_whatever_is_no_object_is_refused_in_words(drawn: dict[str, object]) -> None:
    """And never with another exception."""
    with pytest.raises(InvalidObject) as caught:
        parse(drawn)
    assert caught.value.problems


@given(st.sampled_from(PATHS), json_values)
def test_whatever_stands_in_a_field_it_is_read_or_refused_in_words(path: str, value: object) -> None:
    """Messages stay short, whatever the value."""
    problems = problems_of(changed(path, value))
    assert all(len(problem.message) < 400 and problem.field for problem in problems)


def problems_of(manifest: dict[str, object]) -> tuple[Problem, ...]:
    try:
        parse(manifest)
    except InvalidObject as error:
        return error.problems
    return ()


def test_the_plain_object_is_right() -> None:
    """Else the table would prove nothing."""
    assert parse(PLAIN).key == "default/llama"
