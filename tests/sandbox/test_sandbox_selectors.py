"""Label and field selectors."""

from typing import Any

import pytest

from shardwise_sandbox import ApiError
from shardwise_sandbox.selectors import Selection, all_hold, from_object, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "n": "5"}
LABEL_CASES = {
    "": True,
    "app": True,
    "!app": False,
    "other": False,
    "!other": True,
    "app=web": True,
    "app==web": True,
    "app=db": False,
    "app!=db": True,
    "app!=web": False,
    "other!=x": True,
    "app in (web, db)": True,
    "app in (db)": False,
    "app notin (db)": True,
    "app notin (web)": False,
    "other notin (x)": True,
    "app=web,tier=front": True,
    "app=web,tier=back": False,
    "app in (web,db),tier notin (back,middle),!other": True,
    "n>4": True,
    "n>5": False,
    "n<6": True,
    "app>4": False,
    "other=": False,
}


@pytest.mark.parametrize(("text", "expected"), LABEL_CASES.items(), ids=LABEL_CASES)
def test_a_label_selector_selects(text: str, expected: bool) -> None:
    assert all_hold(parse_labels(text), LABELS) is expected


@pytest.mark.parametrize("text", ["app in web", "=x", "a=b c", "!!a", "a in (b", "-a=b"])
def test_an_unreadable_label_selector_is_400(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_labels(text)
    assert refused.value.code == 400


OBJECTS: dict[str, tuple[Any, bool]] = {
    "nothing selects everything": (None, True),
    "labels": ({"matchLabels": {"app": "web"}}, True),
    "other labels": ({"matchLabels": {"app": "db"}}, False),
    "expressions": (
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}, {"key": "n", "operator": "Exists"}]},
        True,
    ),
    "both": (
        {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "n", "operator": "Lt", "values": ["5"]}]},
        False,
    ),
    "absence": ({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}, True),
}


@pytest.mark.parametrize(("selector", "expected"), OBJECTS.values(), ids=OBJECTS)
def test_a_selector_object_selects(selector: Any, expected: bool) -> None:
    assert all_hold(from_object(selector), LABELS) is expected


POD = {
    "metadata": {"name": "p", "namespace": "ns"},
    "spec": {"nodeName": "n1", "unschedulable": True},
    "status": {"phase": "Running"},
}
FIELD_CASES = {
    "": True,
    "metadata.name=p": True,
    "metadata.name==p,metadata.namespace=ns": True,
    "metadata.name!=p": False,
    "spec.nodeName=n1": True,
    "spec.nodeName=": False,
    "spec.other=": True,
    "status.phase!=Failed,status.phase!=Succeeded": True,
    "spec.unschedulable=true": True,
}


@pytest.mark.parametrize(("text", "expected"), FIELD_CASES.items(), ids=FIELD_CASES)
def test_a_field_selector_selects(text: str, expected: bool) -> None:
    assert Selection(fields=parse_fields(text, lambda _: True)).matches(POD) is expected


@pytest.mark.parametrize("text", ["spec.nodeName=n1", "what", "=x"])
def test_a_field_selector_that_the_kind_does_not_know_or_nobody_can_read_is_400(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_fields(text, lambda _: False)
    assert refused.value.code == 400


@pytest.mark.parametrize(("namespace", "expected"), [("", True), ("ns", True), ("other", False)])
def test_a_selection_is_of_one_namespace_or_all(namespace: str, expected: bool) -> None:
    assert Selection(namespace).matches(POD) is expected
