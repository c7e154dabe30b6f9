"""Sets of field paths: the fields that a manager owns, in the form of ``fieldsV1``.

A path is a tuple of steps as in ``fieldsV1``: ``f:name`` for a member, ``k:{"name":"a"}`` for an item of a keyed list,
``v:"x"`` for an item of a set. The steps keep the text of the wire, so that a path needs no translation.
"""

import json
from functools import lru_cache
from typing import Final, TypeAlias

from shardwise_sandbox.builtin_schema import Schema
from shardwise_sandbox.objects import Json, JsonObject, canonical

FieldPath: TypeAlias = tuple[str, ...]
"""The steps from the root of the object."""

FieldSet: TypeAlias = frozenset[FieldPath]
"""Owned paths: leaves, and items of keyed lists."""

ITEM: Final = "item"
"""The value that ``leaves`` yields for the existence of a keyed item, apart from its members."""


def child(schema: Schema, key: str) -> Schema:
    """Return the schema of a member, or an empty schema if there is none."""
    found = (schema.get("properties") or {}).get(key)
    if found is None and isinstance(schema.get("additionalProperties"), dict):
        found = schema["additionalProperties"]
    return found or {}


def is_granular_map(schema: Schema, value: Json) -> bool:
    """Return whether each member of the object has its own owners."""
    return isinstance(value, dict) and schema.get("x-kubernetes-map-type") != "atomic"


def list_keys(schema: Schema) -> tuple[str, ...]:
    """Return the keys that identify the items of a keyed list; empty for other lists."""
    if schema.get("x-kubernetes-list-type") != "map":
        return ()
    return tuple(schema.get("x-kubernetes-list-map-keys") or ())


def is_set(schema: Schema) -> bool:
    """Return whether the list is a set of scalars."""
    return schema.get("x-kubernetes-list-type") == "set"


def item_step(schema: Schema, item: JsonObject) -> str:
    """Return the step of an item of a keyed list; absent keys take their defaults."""
    items = schema.get("items") or {}
    keys = {key: item.get(key, child(items, key).get("default")) for key in list_keys(schema)}
    return "k:" + canonical({key: value for key, value in keys.items() if value is not None})


def leaves(schema: Schema, value: Json, path: FieldPath = ()) -> dict[FieldPath, Json]:
    """Flatten a value into its owned paths and their values."""
    found: dict[FieldPath, Json] = {}
    _collect(schema, value, path, found)
    return found


def _collect(schema: Schema, value: Json, path: FieldPath, found: dict[FieldPath, Json]) -> None:
    if value and is_granular_map(schema, value):
        for key, item in value.items():
            _collect(child(schema, key), item, (*path, f"f:{key}"), found)
    elif value and isinstance(value, list) and (list_keys(schema) or is_set(schema)):
        _collect_items(schema, value, path, found)
    else:
        found[path] = value


def _collect_items(schema: Schema, value: list[Json], path: FieldPath, found: dict[FieldPath, Json]) -> None:
    for item in value:
        if is_set(schema):
            found[*path, f"v:{canonical(item)}"] = item
        else:
            step = (*path, item_step(schema, item))
            found[step] = ITEM
            _collect(schema.get("items") or {}, item, step, found)


@lru_cache(maxsize=1024)
def encode(paths: FieldSet) -> JsonObject:
    """Write paths as ``fieldsV1``. Who changes the result copies it first.

    Kept, because most writes leave most owners as they were.
    """
    root: JsonObject = {}
    # Sorted: a path comes before the paths below it, and only then needs the mark `.`.
    for path in sorted(paths):
        node = root
        for step in path:
            node = node.setdefault(step, {})
        node["."] = {}
    return _without_leaf_marks(root)


def _without_leaf_marks(node: JsonObject) -> JsonObject:
    if set(node) == {"."}:
        return {}
    return {step: below if step == "." else _without_leaf_marks(below) for step, below in node.items()}


def decode(raw: JsonObject, path: FieldPath = ()) -> FieldSet:
    """Read ``fieldsV1``."""
    found: set[FieldPath] = set()
    for step, below in raw.items():
        if step == ".":
            found.add(path)
        elif below:
            found |= decode(below, (*path, step))
        else:
            found.add((*path, step))
    return frozenset(found)


def spoken(path: FieldPath) -> str:
    """Write a path as in the messages of the server: ``.spec.containers[name="a"].image``."""
    return "".join(map(_spoken_step, path))


def _spoken_step(step: str) -> str:
    mark, rest = step.split(":", 1)
    if mark == "f":
        return f".{rest}"
    if mark == "v":
        return f"[={rest}]"
    return "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items()) + "]"


def is_within(path: FieldPath, above: FieldPath) -> bool:
    """Return whether a path equals another path or lies below it."""
    return path[: len(above)] == above


def remove(schema: Schema, value: Json, path: FieldPath) -> Json:
    """Copy a value without the part at the path, and without the objects and lists that become empty."""
    step, rest = path[0], path[1:]
    if isinstance(value, dict) and step.startswith("f:"):
        return _remove_member(schema, value, step[2:], rest)
    if isinstance(value, list) and not step.startswith("f:"):
        return _remove_item(schema, value, step, rest)
    return value


def _remove_member(schema: Schema, value: JsonObject, key: str, rest: FieldPath) -> Json:
    if key not in value:
        return value
    kept = {name: item for name, item in value.items() if name != key}
    if rest:
        below = remove(child(schema, key), value[key], rest)
        if below not in ({}, [], None):
            return {**value, key: below}
    return kept


def _remove_item(schema: Schema, value: list[Json], step: str, rest: FieldPath) -> list[Json]:
    if step.startswith("v:"):
        return [item for item in value if canonical(item) != step[2:]]
    result = []
    for item in value:
        if item_step(schema, item) != step:
            result.append(item)
        elif rest:
            result.append(remove(schema.get("items") or {}, item, rest))
    return result
