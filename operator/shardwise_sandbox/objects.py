"""JSON objects of Kubernetes, and the functions that read their common fields."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar, cast

_T = TypeVar("_T")

Json: TypeAlias = Any
"""Any JSON value."""

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object. Objects held by the store are immutable by convention: copy before changing."""


def dig(value: Json, *path: str) -> Json:
    """Follow keys into nested objects; ``None`` where the path ends early."""
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def copied(value: _T) -> _T:
    """Copy a JSON value, with all values in it. Several times faster than ``copy.deepcopy``, which knows any object."""
    if isinstance(value, dict):
        return cast(_T, {key: copied(member) for key, member in value.items()})
    if isinstance(value, list):
        return cast(_T, [copied(item) for item in value])
    return value


def meta(obj: JsonObject) -> JsonObject:
    """Return the metadata of the object; empty if it has none."""
    return obj.get("metadata") or {}


def name_of(obj: JsonObject) -> str:
    """Return ``metadata.name``, or an empty string."""
    return str(meta(obj).get("name") or "")


def namespace_of(obj: JsonObject) -> str:
    """Return ``metadata.namespace``, or an empty string for cluster-scoped objects."""
    return str(meta(obj).get("namespace") or "")


def uid_of(obj: JsonObject) -> str:
    """Return ``metadata.uid``, or an empty string."""
    return str(meta(obj).get("uid") or "")


def version_of(obj: JsonObject) -> int:
    """Return ``metadata.resourceVersion`` as a number; 0 if it is absent."""
    return int(meta(obj).get("resourceVersion") or 0)


def labels_of(obj: JsonObject) -> Mapping[str, str]:
    """Return the labels."""
    return meta(obj).get("labels") or {}


def condition(obj: JsonObject, kind: str) -> JsonObject:
    """Return the status condition of a type; empty if there is none."""
    conditions = dig(obj, "status", "conditions") or []
    return next((c for c in conditions if c.get("type") == kind), {})


def is_deleting(obj: JsonObject) -> bool:
    """Return whether the deletion of the object has begun."""
    return bool(meta(obj).get("deletionTimestamp"))


def rfc3339(moment: datetime) -> str:
    """Write a time as the API does: UTC, whole seconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def compact_json(value: Json) -> bytes:
    """Encode without spaces. The keys keep their order."""
    return json.dumps(value, separators=(",", ":")).encode()


def canonical(value: Json) -> str:
    """Encode equal values as equal texts."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def with_meta(obj: JsonObject, **changes: Json) -> JsonObject:
    """Copy the object with some metadata changed; ``None`` removes a key. Nested values stay shared."""
    merged = {**meta(obj), **changes}
    return {**obj, "metadata": {key: value for key, value in merged.items() if value is not None}}


def without_nulls(value: Json) -> Json:
    """Copy a value without the members that are null, because typed decoding drops them."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
