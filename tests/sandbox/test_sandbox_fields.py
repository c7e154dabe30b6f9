"""Field sets: the owned paths of an object, and their form in ``fieldsV1``."""

from typing import Any

import pytest
from tests.sandbox.support import widget_crd

from shardwise_sandbox import builtin_schema, fields

WIDGET = widget_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
POD = builtin_schema.POD

OWNED = {
    "scalars are leaves": (WIDGET, {"spec": {"size": 1}}, {("f:spec", "f:size")}),
    "an empty map is a leaf": (WIDGET, {"spec": {"free": {}}}, {("f:spec", "f:free")}),
    "maps are owned key by key": (WIDGET, {"spec": {"tags": {"a": "x"}}}, {("f:spec", "f:tags", "f:a")}),
    "lists without a type are one leaf": (WIDGET, {"spec": {"args": ["a", "b"]}}, {("f:spec", "f:args")}),
    "sets are owned value by value": (WIDGET, {"spec": {"set": ["a"]}}, {("f:spec", "f:set", 'v:"a"')}),
    "keyed items are owned, and their members": (
        WIDGET,
        {"spec": {"parts": [{"name": "a", "count": 2}]}},
        {
            ("f:spec", "f:parts", 'k:{"name":"a"}'),
            ("f:spec", "f:parts", 'k:{"name":"a"}', "f:name"),
            ("f:spec", "f:parts", 'k:{"name":"a"}', "f:count"),
        },
    ),
    "keys with a default are filled": (
        POD,
        {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}},
        {
            ("f:spec", "f:containers", 'k:{"name":"c"}'),
            ("f:spec", "f:containers", 'k:{"name":"c"}', "f:name"),
            ("f:spec", "f:containers", 'k:{"name":"c"}', "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}'),
            (
                *("f:spec", "f:containers", 'k:{"name":"c"}', "f:ports"),
                *('k:{"containerPort":80,"protocol":"TCP"}', "f:containerPort"),
            ),
        },
    ),
    "atomic maps are one leaf": (POD, {"spec": {"nodeSelector": {"a": "b"}}}, {("f:spec", "f:nodeSelector")}),
    "args of containers are one leaf": (
        POD,
        {"spec": {"containers": [{"name": "c", "args": ["x"]}]}},
        {
            ("f:spec", "f:containers", 'k:{"name":"c"}'),
            ("f:spec", "f:containers", 'k:{"name":"c"}', "f:name"),
            ("f:spec", "f:containers", 'k:{"name":"c"}', "f:args"),
        },
    ),
}


@pytest.mark.parametrize(("schema", "value", "expected"), OWNED.values(), ids=OWNED)
def test_the_owned_paths_of_an_object_follow_its_schema(schema: Any, value: Any, expected: Any) -> None:
    assert set(fields.leaves(schema, value)) == expected


@pytest.mark.parametrize(("schema", "value", "expected"), OWNED.values(), ids=OWNED)
def test_fields_v1_reads_back_what_it_wrote(schema: Any, value: Any, expected: Any) -> None:
    assert fields.decode(fields.encode(frozenset(expected))) == frozenset(expected)


def test_fields_v1_marks_an_item_that_is_owned_beside_its_members() -> None:
    item = ("f:spec", "f:parts", 'k:{"name":"a"}')
    assert fields.encode(frozenset({item, (*item, "f:count")})) == {
        "f:spec": {"f:parts": {'k:{"name":"a"}': {".": {}, "f:count": {}}}}
    }


SPOKEN = {
    ".spec.size": ("f:spec", "f:size"),
    '.spec.containers[name="c"].image': ("f:spec", "f:containers", 'k:{"name":"c"}', "f:image"),
    '.p[containerPort=80,protocol="TCP"]': ("f:p", 'k:{"containerPort":80,"protocol":"TCP"}'),
    '.metadata.finalizers[="a"]': ("f:metadata", "f:finalizers", 'v:"a"'),
}


@pytest.mark.parametrize(("words", "path"), SPOKEN.items(), ids=SPOKEN)
def test_paths_are_said_as_the_server_says_them(words: str, path: fields.FieldPath) -> None:
    assert fields.spoken(path) == words


REMOVED = {
    "a member": ({"a": 1, "b": 2}, ("f:a",), {"b": 2}),
    "a member of a member, and the container left empty": ({"m": {"a": 1}}, ("f:m", "f:a"), {}),
    "nothing where the path leads nowhere": ({"m": {"a": 1}}, ("f:x", "f:a"), {"m": {"a": 1}}),
    "nothing below a scalar": ({"m": 1}, ("f:m", "f:a"), {"m": 1}),
    "a value of a set": ({"spec": {"set": ["a", "b"]}}, ("f:spec", "f:set", 'v:"a"'), {"spec": {"set": ["b"]}}),
    "a keyed item": (
        {"spec": {"parts": [{"name": "a"}, {"name": "b"}]}},
        ("f:spec", "f:parts", 'k:{"name":"a"}'),
        {"spec": {"parts": [{"name": "b"}]}},
    ),
    "a member of a keyed item": (
        {"spec": {"parts": [{"name": "a", "count": 1}]}},
        ("f:spec", "f:parts", 'k:{"name":"a"}', "f:count"),
        {"spec": {"parts": [{"name": "a"}]}},
    ),
}


@pytest.mark.parametrize(("value", "path", "expected"), REMOVED.values(), ids=REMOVED)
def test_removing_a_path_leaves_a_changed_copy(value: Any, path: fields.FieldPath, expected: Any) -> None:
    before = repr(value)
    assert fields.remove(WIDGET, value, path) == expected
    assert repr(value) == before
