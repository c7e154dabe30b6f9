"""Who owns which field: reading, writing and updating ``metadata.managedFields``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from shardwise_sandbox.builtin_schema import Schema
from shardwise_sandbox.fields import ITEM, FieldPath, FieldSet, decode, encode, leaves
from shardwise_sandbox.objects import Json, JsonObject, meta

_SERVER_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "generateName",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
)
_NOBODYS: Final = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",), ()} | {("f:metadata", f"f:{key}") for key in _SERVER_METADATA}
)


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """The owner in an entry of ``managedFields``: a manager, its operation and the subresource."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class OwnedFields:
    """The fields of an owner, and the time of the last change of that set."""

    fields: FieldSet
    time: str


Ownership: TypeAlias = Mapping[FieldOwner, OwnedFields]
"""All owners of an object."""


def owned(schema: Schema, obj: JsonObject) -> dict[FieldPath, Json]:
    """Flatten an object into the paths that a manager can own."""
    return {path: value for path, value in leaves(schema, obj).items() if path not in _NOBODYS}


def read(obj: JsonObject) -> dict[FieldOwner, OwnedFields]:
    """Read the owners of an object."""
    return {
        FieldOwner(
            entry.get("manager", ""),
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        ): OwnedFields(decode(entry.get("fieldsV1") or {}), entry.get("time", ""))
        for entry in meta(obj).get("managedFields") or ()
    }


def write(ownership: Ownership) -> list[JsonObject]:
    """Write the owners as ``managedFields``, without owners that own nothing."""
    return [_entry(owner, share) for owner, share in ownership.items() if share.fields]


def _entry(owner: FieldOwner, share: OwnedFields) -> JsonObject:
    entry: JsonObject = {
        "manager": owner.manager,
        "operation": owner.operation,
        "apiVersion": owner.api_version,
        "time": share.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": encode(share.fields),
    }
    return {**entry, "subresource": owner.subresource} if owner.subresource else entry


def changed_paths(before: Mapping[FieldPath, Json], after: Mapping[FieldPath, Json]) -> FieldSet:
    """Return the paths that are new or have another value."""
    # The mark of an item says that the item exists. If it existed before, the mark is not a change.
    return frozenset(path for path, value in after.items() if path not in before or before[path] != value)


def record_update(
    schema: Schema, old: JsonObject | None, new: JsonObject, owner: FieldOwner, now: str
) -> list[JsonObject]:
    """Return ``managedFields`` after a create, PUT or patch: the writer takes every field that it changed."""
    before = owned(schema, old) if old is not None else {}
    after = owned(schema, new)
    changed = changed_paths(before, after)
    gone = frozenset(before) - frozenset(after)
    ownership = read(old) if old is not None else {}
    if not changed and not gone:
        return write(ownership)
    for other, share in list(ownership.items()):
        lost = gone if other == owner else gone | changed
        ownership[other] = _shrunk(share, lost, now)
    gained = frozenset(path for path in changed if is_written_through(owner.subresource, path))
    mine = ownership.get(owner, OwnedFields(frozenset(), now))
    ownership[owner] = OwnedFields(mine.fields | gained, now) if gained else mine
    return write(ownership)


def is_written_through(subresource: str, path: FieldPath) -> bool:
    """Return whether writes through a subresource can own a path: status belongs to the status subresource alone.

    A status default that appears on creation therefore has no owner, and the first apply of the status has no conflict.
    """
    return (path[0] == "f:status") is (subresource == "status")


def _shrunk(share: OwnedFields, lost: FieldSet, now: str) -> OwnedFields:
    # The existence of a keyed item is shared: a changed member does not take the item from its owners.
    kept = share.fields - {path for path in lost if path in share.fields}
    return share if kept == share.fields else replace(share, fields=kept, time=now)


def differs(path: FieldPath, before: Mapping[FieldPath, Json], after: Mapping[FieldPath, Json]) -> bool:
    """Return whether the value at a leaf path changes. The existence of an item never changes."""
    return after.get(path) is not ITEM and before.get(path) != after.get(path)
