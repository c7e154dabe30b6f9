"""Structural schemas: defaults, pruning, validation, and the rules for the schema of a CRD."""

import copy
from typing import Any

import pytest
from tests.sandbox.support import Json, widget, widget_crd

from shardwise_sandbox import ApiError, Sandbox, WriteOptions
from shardwise_sandbox.schema import prune, set_defaults, structural_errors
from shardwise_sandbox.selectors import Selection
from shardwise_sandbox.validation import violations

DEFAULTED: dict[str, tuple[Json, Any, Any]] = {
    "an absent member": ({"properties": {"a": {"default": 1}}}, {}, {"a": 1}),
    "nothing that is given": ({"properties": {"a": {"default": 1}}}, {"a": 2}, {"a": 2}),
    "a null that may not be": ({"properties": {"a": {"default": 1}}}, {"a": None}, {"a": 1}),
    "no null that may be": ({"properties": {"a": {"default": 1, "nullable": True}}}, {"a": None}, {"a": None}),
    "inside a default": (
        {"properties": {"a": {"default": {}, "properties": {"b": {"default": 2}}}}},
        {},
        {"a": {"b": 2}},
    ),
    "no defaults inside an absent object": ({"properties": {"a": {"properties": {"b": {"default": 2}}}}}, {}, {}),
    "inside items": (
        {"properties": {"l": {"items": {"properties": {"b": {"default": 2}}}}}},
        {"l": [{}, {"b": 3}]},
        {"l": [{"b": 2}, {"b": 3}]},
    ),
    "inside additional properties": (
        {"additionalProperties": {"properties": {"b": {"default": 2}}}},
        {"x": {}},
        {"x": {"b": 2}},
    ),
}


@pytest.mark.parametrize(("schema", "value", "expected"), DEFAULTED.values(), ids=DEFAULTED)
def test_defaults_fill(schema: Json, value: Any, expected: Any) -> None:
    filled = copy.deepcopy(value)
    set_defaults(schema, filled)
    assert filled == expected


PRUNED: dict[str, tuple[Json, Any, Any, list[str]]] = {
    "an unknown member": ({"properties": {"a": {}}}, {"a": 1, "b": 2}, {"a": 1}, ["b"]),
    "nothing of the root's own": (
        {"properties": {}},
        {"apiVersion": "v", "kind": "k", "metadata": {"x": {"y": 1}}},
        {"apiVersion": "v", "kind": "k", "metadata": {"x": {"y": 1}}},
        [],
    ),
    "a nested member": (
        {"properties": {"a": {"properties": {"b": {}}}}},
        {"a": {"b": 1, "c": {"d": 2}}},
        {"a": {"b": 1}},
        ["a.c"],
    ),
    "inside items": (
        {"properties": {"l": {"items": {"properties": {"b": {}}}}}},
        {"l": [{"b": 1}, {"c": 2}]},
        {"l": [{"b": 1}, {}]},
        ["l[1].c"],
    ),
    "nothing that is preserved": (
        {"properties": {"a": {"x-kubernetes-preserve-unknown-fields": True}}},
        {"a": {"x": {"y": 1}}},
        {"a": {"x": {"y": 1}}},
        [],
    ),
    "nothing with additional properties": (
        {"properties": {"a": {"additionalProperties": {"type": "string"}}}},
        {"a": {"x": "1"}},
        {"a": {"x": "1"}},
        [],
    ),
    "inside additional properties": (
        {"properties": {"a": {"additionalProperties": {"properties": {"k": {}}}}}},
        {"a": {"x": {"k": 1, "q": 2}}},
        {"a": {"x": {"k": 1}}},
        ["a.x.q"],
    ),
    "nothing of an embedded object's identity": (
        {"properties": {"a": {"x-kubernetes-embedded-resource": True, "properties": {}}}},
        {"a": {"apiVersion": "v1", "kind": "K", "metadata": {}, "z": 1}},
        {"a": {"apiVersion": "v1", "kind": "K", "metadata": {}}},
        ["a.z"],
    ),
}


@pytest.mark.parametrize(("schema", "value", "expected", "paths"), PRUNED.values(), ids=PRUNED)
def test_pruning_removes(schema: Json, value: Any, expected: Any, paths: list[str]) -> None:
    pruned = copy.deepcopy(value)
    assert prune(schema, pruned) == paths
    assert pruned == expected


INVALID: dict[str, tuple[Json, Any, list[str]]] = {
    "type": (
        {"type": "integer"},
        "x",
        ['Invalid value: "string": f in body must be of type integer: "string"'],
    ),
    "a boolean is no integer": (
        {"type": "integer"},
        True,
        ['Invalid value: "boolean": f in body must be of type integer: "boolean"'],
    ),
    "null": ({"type": "object"}, None, ['Invalid value: "null": f in body must be of type object: "null"']),
    "nullable": ({"type": "object", "nullable": True}, None, []),
    "an integer is a number": ({"type": "number"}, 3, []),
    "a whole float is an integer": ({"type": "integer"}, 3.0, []),
    "int or string takes an integer": ({"x-kubernetes-int-or-string": True}, 3, []),
    "int or string takes a string": ({"x-kubernetes-int-or-string": True}, "3%", []),
    "int or string takes no list": (
        {"x-kubernetes-int-or-string": True},
        [],
        ['Invalid value: "array": f in body must be of type integer,string: "array"'],
    ),
    "enum": ({"enum": ["a", "b"]}, "c", ['Unsupported value: "c": supported values: "a", "b"']),
    "minimum": ({"minimum": 1}, 0, ["Invalid value: 0: f in body should be greater than or equal to 1"]),
    "maximum": ({"maximum": 1}, 2, ["Invalid value: 2: f in body should be less than or equal to 1"]),
    "exclusive minimum": (
        {"minimum": 1, "exclusiveMinimum": True},
        1,
        ["Invalid value: 1: f in body should be greater than 1"],
    ),
    "exclusive maximum": (
        {"maximum": 1, "exclusiveMaximum": True},
        1,
        ["Invalid value: 1: f in body should be less than 1"],
    ),
    "multiple": ({"multipleOf": 4}, 6, ["Invalid value: 6: f in body should be a multiple of 4"]),
    "pattern": ({"pattern": "^a$"}, "b", ["Invalid value: \"b\": f in body should match '^a$'"]),
    "a date and time": ({"format": "date-time"}, "2027-01-15T08:00:00Z", []),
    "no date and time": (
        {"format": "date-time"},
        "",
        ['Invalid value: "": f in body must be of type date-time: ""'],
    ),
    "too short": ({"minLength": 2}, "a", ['Invalid value: "a": f in body should be at least 2 chars long']),
    "too long": ({"maxLength": 1}, "ab", ["Too long: may not be more than 1 bytes"]),
    "too few items": ({"minItems": 1}, [], ["Invalid value: 0: f in body should have at least 1 items"]),
    "too many items": ({"maxItems": 1}, [1, 2], ["Too many: 2: must have at most 1 items"]),
    "too few properties": (
        {"minProperties": 1},
        {},
        ["Invalid value: 0: f in body should have at least 1 properties"],
    ),
    "too many properties": ({"maxProperties": 1}, {"a": 1, "b": 2}, ["Too many: 2: must have at most 1 items"]),
    "required": ({"required": ["a"]}, {}, ["Required value"]),
    "duplicate in a set": ({"x-kubernetes-list-type": "set"}, ["a", "a"], ['Duplicate value: "a"']),
    "duplicate key in a keyed list": (
        {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]},
        [{"n": 1, "v": 1}, {"n": 1, "v": 2}],
        ['Duplicate value: {"n":1}'],
    ),
    "all of": (
        {"allOf": [{"minimum": 2}, {"maximum": 0}]},
        1,
        ["greater than or equal to 2", "less than or equal to 0"],
    ),
    "any of": ({"anyOf": [{"minimum": 2}, {"maximum": 0}]}, 1, ["must validate at least one schema (anyOf)"]),
    "any of, one fits": ({"anyOf": [{"minimum": 2}, {"maximum": 1}]}, 1, []),
    "one of": ({"oneOf": [{"minimum": 0}, {"maximum": 2}]}, 1, ["must validate one and only one schema (oneOf)"]),
    "not": ({"not": {"minimum": 0}}, 1, ["must not validate the schema (not)"]),
}


@pytest.mark.parametrize(("schema", "value", "words"), INVALID.values(), ids=INVALID)
def test_a_value_is_judged_by_its_schema(schema: Json, value: Any, words: list[str]) -> None:
    found = [cause.message for cause in violations(schema, value, "f")]
    assert len(found) == len(words)
    assert all(said in message for message, said in zip(found, words, strict=True))


def test_violations_name_the_field_they_are_about() -> None:
    schema = {
        "properties": {
            "a": {"items": {"properties": {"b": {"type": "string"}}}},
            "m": {"additionalProperties": {"type": "integer"}},
        }
    }
    value = {"a": [{}, {"b": 1}], "m": {"k": "x"}}
    assert [cause.field for cause in violations(schema, value)] == ["a[1].b", "m.k"]


STRUCTURAL: dict[str, tuple[Json, list[str]]] = {
    "a sound schema": ({"type": "object", "properties": {"a": {"type": "string"}}}, []),
    "no type": ({"properties": {}}, ["s.type"]),
    "int or string needs no type": ({"x-kubernetes-int-or-string": True}, []),
    "a reference": ({"type": "object", "$ref": "#/x"}, ["s.$ref"]),
    "properties beside additional properties": (
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
        ["s.additionalProperties"],
    ),
    "unique items": ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, ["s.uniqueItems"]),
    "a list without items": ({"type": "array"}, ["s.items"]),
    "a key of a list that items may lack": (
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}},
        },
        ["s.items.properties[k].default"],
    ),
    "inside items": ({"type": "array", "items": {}}, ["s.items.type"]),
    "inside properties": ({"type": "object", "properties": {"a": {}}}, ["s.properties[a].type"]),
    "inside additional properties": (
        {"type": "object", "additionalProperties": {}},
        [],
    ),
}


@pytest.mark.parametrize(("schema", "fields"), STRUCTURAL.values(), ids=STRUCTURAL)
def test_a_schema_is_structural_or_says_where_not(schema: Json, fields: list[str]) -> None:
    found = [cause.field for cause in structural_errors(schema, "s")]
    if schema.get("additionalProperties") == {}:
        assert found == ["s.additionalProperties.type"]
    else:
        assert found == fields


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"type": "string", "format": "date-time", "default": ""}, "must be of type date-time"),
        ({"type": "integer", "default": "1"}, "must be of type integer"),
        ({"type": "array", "items": {"type": "string", "default": 1}}, "must be of type string"),
        ({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1, "default": 0}}}, "or equal to 1"),
    ],
)
def test_a_default_its_own_schema_would_refuse_is_refused_with_the_crd(field: Json, words: str) -> None:
    crd = widget_crd()
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["new"] = field
    with pytest.raises(ApiError, match=words):
        Sandbox(objects=[crd])


def test_a_crd_with_a_schema_that_is_not_structural_is_refused() -> None:
    crd = widget_crd()
    del crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"]
    with pytest.raises(ApiError, match=r"properties\[spec\].type: Required value"):
        Sandbox(objects=[crd])


def _crd(change: Any) -> Json:
    crd = widget_crd()
    change(crd)
    return crd


def _drop_schema(crd: Json) -> None:
    del crd["spec"]["versions"][0]["schema"]


WRONG_DEFINITIONS: dict[str, tuple[Any, str]] = {
    "its name": (lambda crd: crd["metadata"].update(name="other.test.dev"), "metadata.name: Invalid value"),
    "no stored version": (lambda crd: crd["spec"]["versions"][0].update(storage=False), "exactly one version marked"),
    "two stored versions": (
        lambda crd: crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v2"}),
        "exactly one version marked",
    ),
    "no schema": (_drop_schema, "openAPIV3Schema: Required value"),
}


@pytest.mark.parametrize(("change", "words"), WRONG_DEFINITIONS.values(), ids=WRONG_DEFINITIONS)
def test_a_definition_is_refused_for(change: Any, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        Sandbox(objects=[_crd(change)])


def test_a_kind_in_two_versions_shows_its_objects_in_both() -> None:
    crd = widget_crd()
    crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v2", "storage": False})
    cluster = Sandbox(objects=[crd, widget()])
    both = cluster.store.registry
    assert both.groups()["test.dev"] == ["v1", "v2"]
    newer = both.at("test.dev", "v2", "widgets")
    page = cluster.api.reader.page(newer, Selection()).body(newer)
    assert [item["apiVersion"] for item in page["items"]] == ["test.dev/v2"]


def test_a_definition_that_changes_is_served_as_it_is_now(still: Sandbox) -> None:
    versions = widget_crd()["spec"]["versions"]
    versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["maximum"] = 100
    still.patch("crd", "", "widgets.test.dev", {"spec": {"versions": versions}})
    assert still.create(widget(size=50))["spec"]["size"] == 50


def test_a_version_that_is_not_served_is_unknown() -> None:
    crd = widget_crd()
    crd["spec"]["versions"][0]["served"] = False
    cluster = Sandbox(objects=[crd])
    with pytest.raises(ApiError, match="no matches for kind"):
        cluster.create(widget())


def test_an_object_of_a_custom_kind_is_defaulted_and_pruned_on_creation(still: Sandbox) -> None:
    created = still.create(widget(bogus=1, parts=[{"name": "a", "odd": 2}], free={"any": {"thing": 1}}))
    assert created["spec"] == {
        "size": 1,
        "mode": "fast",
        "replicas": 1,
        "parts": [{"name": "a", "count": 1}],
        "free": {"any": {"thing": 1}},
    }


def test_a_strict_writer_is_told_of_unknown_fields(still: Sandbox) -> None:
    kind = still.store.registry.named("widgets")
    with pytest.raises(ApiError, match='strict decoding error: unknown field "spec.bogus"') as refused:
        still.api.writer.create(kind, "default", widget(bogus=1), WriteOptions(validation="Strict"))
    assert refused.value.code == 400


def test_every_violation_of_an_object_is_one_cause(still: Sandbox) -> None:
    with pytest.raises(ApiError) as refused:
        still.create(widget(size=11, mode="odd", tags={"a": "long"}))
    assert refused.value.code == 422
    assert refused.value.message.startswith('Widget.test.dev "w" is invalid: [spec.size: Invalid value: 11')
    assert [cause["field"] for cause in refused.value.details["causes"]] == ["spec.size", "spec.mode", "spec.tags.a"]


def test_cel_rules_are_not_evaluated_unless_an_evaluator_is_given() -> None:
    crd = widget_crd()
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [
        {"rule": "self.size < 3", "message": "too big"},
        {"rule": "self.size >= oldSelf.size"},
    ]
    Sandbox(objects=[crd, widget("a", size=5)])

    def evaluate(rule: str, value: Any, old: Any) -> bool:
        return bool(value["size"] < 3 if rule == "self.size < 3" else value["size"] >= old["size"])

    judged = Sandbox(objects=[crd, widget("a", size=2)], cel_evaluator=evaluate)
    with pytest.raises(ApiError, match="too big"):
        judged.create(widget("b", size=5))
    with pytest.raises(ApiError, match="failed rule: self.size >= oldSelf.size"):
        judged.patch("widget", "default", "a", {"spec": {"size": 1}})
