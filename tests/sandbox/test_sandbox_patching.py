"""Merge patch, JSON patch and strategic merge patch as functions."""

from typing import Any

import pytest

from shardwise_sandbox import ApiError, builtin_schema, patching
from shardwise_sandbox.patching import json_patch, merge_patch, strategic_merge

MERGED: dict[str, tuple[Any, Any, Any]] = {
    # The examples of RFC 7386, appendix A.
    "a value is replaced": ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    "a member is added": ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    "null removes": ({"a": "b"}, {"a": None}, {}),
    "null removes only its member": ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    "a list is replaced by a value": ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    "a value is replaced by a list": ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    "objects merge, nulls inside remove": ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    "lists are never merged": ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    "a list is replaced whole": (["a", "b"], ["c", "d"], ["c", "d"]),
    "an object replaces a list": ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    "nulls inside a new object vanish": ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    "null in the target stays": ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
}


@pytest.mark.parametrize(("target", "patch", "expected"), MERGED.values(), ids=MERGED)
def test_a_merge_patch_gives_what_the_rfc_says(target: Any, patch: Any, expected: Any) -> None:
    before = repr(target)
    assert merge_patch(target, patch) == expected
    assert repr(target) == before


def test_a_json_patch_changes_a_copy() -> None:
    target = {"a": {"b": 1}}
    assert json_patch(target, [{"op": "replace", "path": "/a/b", "value": 2}]) == {"a": {"b": 2}}
    assert target == {"a": {"b": 1}}


FAILED: dict[str, tuple[Any, int]] = {
    "a failed test": ([{"op": "test", "path": "/a", "value": 2}], 422),
    "a test of an absent path": ([{"op": "test", "path": "/x/y", "value": 2}], 422),
    "a removal of an absent path": ([{"op": "remove", "path": "/x"}], 422),
    "an index out of range": ([{"op": "remove", "path": "/l/7"}], 422),
    "an unknown operation": ([{"op": "frobnicate", "path": "/a"}], 400),
    "an operation without a path": ([{"op": "add", "value": 1}], 400),
    "no list": ({"a": 1}, 400),
}


@pytest.mark.parametrize(("patch", "code"), FAILED.values(), ids=FAILED)
def test_a_json_patch_is_refused_for(patch: Any, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        json_patch({"a": 1, "l": []}, patch)
    assert refused.value.code == code


TARGET = {
    "metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}},
    "spec": {
        "containers": [{"name": "a", "image": "1", "args": ["p"]}, {"name": "b", "image": "1"}],
        "tolerations": [{"key": "t"}],
    },
    "status": {"conditions": [{"type": "Ready", "status": "False"}]},
}
STRATEGIC: dict[str, tuple[Any, Any]] = {
    "containers merge by name": (
        {"spec": {"containers": [{"name": "b", "image": "2"}]}},
        [{"name": "a", "image": "1", "args": ["p"]}, {"name": "b", "image": "2"}],
    ),
    "new containers are appended": (
        {"spec": {"containers": [{"name": "c"}]}},
        [{"name": "a", "image": "1", "args": ["p"]}, {"name": "b", "image": "1"}, {"name": "c"}],
    ),
    "a directive deletes an item": (
        {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}},
        [{"name": "b", "image": "1"}],
    ),
    "a directive replaces the list": (
        {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}},
        [{"name": "z"}],
    ),
    "args are replaced": (
        {"spec": {"containers": [{"name": "a", "args": ["q"]}], "$setElementOrder/containers": [{"name": "a"}]}},
        [{"name": "a", "image": "1", "args": ["q"]}, {"name": "b", "image": "1"}],
    ),
}


@pytest.mark.parametrize(("patch", "containers"), STRATEGIC.values(), ids=STRATEGIC)
def test_a_strategic_patch_of_containers(patch: Any, containers: Any) -> None:
    assert strategic_merge(builtin_schema.POD, TARGET, patch)["spec"]["containers"] == containers


def test_a_strategic_patch_replaces_atomic_lists_and_merges_conditions_by_type() -> None:
    patch = {
        "spec": {"tolerations": [{"key": "u"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "New"}]},
    }
    patched = strategic_merge(builtin_schema.POD, TARGET, patch)
    assert patched["spec"]["tolerations"] == [{"key": "u"}]
    assert patched["status"]["conditions"] == [{"type": "Ready", "status": "True"}, {"type": "New"}]


def test_a_strategic_patch_adds_to_sets_deletes_from_them_and_removes_by_null() -> None:
    patch = {
        "metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"x": None, "y": "2"}}
    }
    patched = strategic_merge(builtin_schema.POD, TARGET, patch)
    assert sorted(patched["metadata"]["finalizers"]) == ["b", "c"]
    assert patched["metadata"]["labels"] == {"y": "2"}


def test_a_strategic_patch_can_replace_a_map() -> None:
    patch = {"metadata": {"labels": {"$patch": "replace", "z": "1"}}}
    assert strategic_merge(builtin_schema.POD, TARGET, patch)["metadata"]["labels"] == {"z": "1"}


def test_a_strategic_patch_that_is_no_object_replaces() -> None:
    assert strategic_merge({}, {"a": 1}, 5) == 5


def test_the_media_types_are_those_of_the_protocol() -> None:
    assert {patching.MERGE, patching.JSON, patching.STRATEGIC, patching.APPLY} == {
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    }
