"""Structural schemas of custom resources: defaults, pruning, and the rules for the schema itself."""

from collections.abc import Iterator
from typing import Final

from shardwise_sandbox.builtin_schema import Schema
from shardwise_sandbox.errors import StatusCause
from shardwise_sandbox.objects import Json, JsonObject, copied

_ROOT_KEYS: Final = ("apiVersion", "kind", "metadata")


def set_defaults(schema: Schema, value: Json) -> None:
    """Fill absent members with the defaults of the schema, in place. A null counts as absent unless nullable."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for key, below in properties.items():
            _default_member(below, value, key)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for key in value.keys() - properties.keys():
                set_defaults(extra, value[key])
    elif isinstance(value, list):
        for item in value:
            set_defaults(schema.get("items") or {}, item)


def _default_member(schema: Schema, value: JsonObject, key: str) -> None:
    absent = key not in value or (value[key] is None and not schema.get("nullable"))
    if absent and "default" in schema:
        value[key] = copied(schema["default"])
    if key in value:
        set_defaults(schema, value[key])


def prune(schema: Schema, obj: JsonObject) -> list[str]:
    """Remove members that the schema does not name, in place. Return their paths. Metadata is never pruned."""
    properties = {**dict.fromkeys(_ROOT_KEYS, _KEEP), **(schema.get("properties") or {}), "metadata": _KEEP}
    return list(_prune({**schema, "properties": properties}, obj, ""))


_KEEP: Final[Schema] = {"x-kubernetes-preserve-unknown-fields": True}


def _prune(schema: Schema, value: Json, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _prune_object(schema, value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _prune(schema.get("items") or {}, item, f"{path}[{index}]")


def _prune_object(schema: Schema, value: JsonObject, path: str) -> Iterator[str]:
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    preserve = schema.get("x-kubernetes-preserve-unknown-fields") or extra is True
    if schema.get("x-kubernetes-embedded-resource"):
        properties = {**dict.fromkeys(_ROOT_KEYS, _KEEP), **properties}
    for key in list(value):
        here = f"{path}.{key}" if path else key
        if key in properties:
            yield from _prune(properties[key], value[key], here)
        elif isinstance(extra, dict):
            yield from _prune(extra, value[key], here)
        elif not preserve:
            del value[key]
            yield here


def structural_errors(schema: Schema, path: str = "openAPIV3Schema") -> Iterator[StatusCause]:
    """Yield the rules of structural schemas that the schema of a CRD breaks."""
    for word in ("$ref", "definitions", "dependencies", "deprecated", "id", "patternProperties", "readOnly", "xml"):
        if word in schema:
            yield StatusCause("FieldValueForbidden", f"Forbidden: {word} is not supported", f"{path}.{word}")
    open_type = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if "type" not in schema and not open_type:
        yield StatusCause(
            "FieldValueRequired", "Required value: must not be empty for specified object fields", f"{path}.type"
        )
    if schema.get("properties") and schema.get("additionalProperties"):
        why = "Forbidden: additionalProperties and properties are mutual exclusive"
        yield StatusCause("FieldValueForbidden", why, f"{path}.additionalProperties")
    if schema.get("uniqueItems"):
        why = "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield StatusCause("FieldValueForbidden", why, f"{path}.uniqueItems")
    yield from _errors_below(schema, path)


def _errors_below(schema: Schema, path: str) -> Iterator[StatusCause]:
    for key, below in (schema.get("properties") or {}).items():
        yield from structural_errors(below, f"{path}.properties[{key}]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from structural_errors(schema["additionalProperties"], f"{path}.additionalProperties")
    if schema.get("type") == "array":
        if "items" not in schema:
            yield StatusCause("FieldValueRequired", "Required value: must be specified", f"{path}.items")
        else:
            yield from _loose_keys(schema, f"{path}.items")
            yield from structural_errors(schema["items"], f"{path}.items")


def _loose_keys(schema: Schema, path: str) -> Iterator[StatusCause]:
    """Yield a fault for each key of a keyed list that an item may lack."""
    items = schema["items"]
    for key in schema.get("x-kubernetes-list-map-keys") or ():
        field = (items.get("properties") or {}).get(key) or {}
        if key not in (items.get("required") or ()) and "default" not in field:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield StatusCause("FieldValueRequired", f"Required value: {why}", f"{path}.properties[{key}].default")
