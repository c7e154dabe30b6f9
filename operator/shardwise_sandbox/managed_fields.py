"""Who owns which field: reading, writing and updating ``metadata.managedFields``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from shardwise_sandbox.builtin_schema import Schema
from shardwise_sandbox.fields import ITEM, FieldSet, Path, decode, encode, leaves
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
class Owner:
    """One line of ``managedFields``: a manager, how it writes and through which subresource."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What an owner owns, and since when the set is what it is."""

    fields: FieldSet
    time: str


Ownership: TypeAlias = Mapping[Owner, Share]
"""All owners of an object."""


def owned(schema: Schema, obj: JsonObject) -> dict[Path, Json]:
    """Flatten an object into the paths somebody can own."""
    return {path: value for path, value in leaves(schema, obj).items() if path not in _NOBODYS}


def read(obj: JsonObject) -> dict[Owner, Share]:
    """Read the owners of an object."""
    return {
        Owner(
            entry.get("manager", ""),
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        ): Share(decode(entry.get("fieldsV1") or {}), entry.get("time", ""))
        for entry in meta(obj).get("managedFields") or ()
    }


def write(ownership: Ownership) -> list[JsonObject]:
    """Write the owners as ``managedFields``; owners of nothing disappear."""
    return [_entry(owner, share) for owner, share in ownership.items() if share.fields]


def _entry(owner: Owner, share: Share) -> JsonObject:
    entry: JsonObject = {
        "manager": owner.manager,
        "operation": owner.operation,
        "apiVersion": owner.api_version,
        "time": share.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": encode(share.fields),
    }
    return {**entry, "subresource": owner.subresource} if owner.subresource else entry


def changed_paths(before: Mapping[Path, Json], after: Mapping[Path, Json]) -> FieldSet:
    """Return the paths that are new or hold another value."""
    # An item mark says that the item exists; the mark of one that existed before is no change.
    return frozenset(path for path, value in after.items() if path not in before or before[path] != value)


def record_update(schema: Schema, old: JsonObject | None, new: JsonObject, owner: Owner, now: str) -> list[JsonObject]:
    """Return ``managedFields`` after a create, PUT or patch: the writer takes what it changed, whoever had it."""
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
    mine = ownership.get(owner, Share(frozenset(), now))
    ownership[owner] = Share(mine.fields | gained, now) if gained else mine
    return write(ownership)


def is_written_through(subresource: str, path: Path) -> bool:
    """Say whether a path can be owned by writes through a subresource: status only by its own, all else by the rest.

    A status default that appears on creation is therefore nobody's, and no conflict for whoever applies status first.
    """
    return (path[0] == "f:status") is (subresource == "status")


def _shrunk(share: Share, lost: FieldSet, now: str) -> Share:
    # The existence of a keyed item is shared: changing one of its members takes no item from anybody.
    kept = share.fields - {path for path in lost if path in share.fields}
    return share if kept == share.fields else replace(share, fields=kept, time=now)


def differs(path: Path, before: Mapping[Path, Json], after: Mapping[Path, Json]) -> bool:
    """Say whether the value at a leaf path changes; the existence of an item never does."""
    return after.get(path) is not ITEM and before.get(path) != after.get(path)
