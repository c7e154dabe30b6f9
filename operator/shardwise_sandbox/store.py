"""The store: versioned objects by kind and name, their history and their owners. It knows no rules of the API."""

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, TypeAlias

from shardwise_sandbox.errors import not_found
from shardwise_sandbox.objects import JsonObject, meta, name_of, namespace_of, rfc3339, uid_of, with_meta
from shardwise_sandbox.resources import Registry, ResourceType, StorageKey
from shardwise_sandbox.watch import ADDED, DELETED, MODIFIED, EventLog, ObjectChange

Ref: TypeAlias = tuple[str, str]
"""The namespace (empty for cluster-scoped kinds) and the name of an object."""

Address: TypeAlias = tuple[StorageKey, Ref]
"""The address of an object: the key of its kind, and its reference."""

Listener: TypeAlias = Callable[[ObjectChange], None]

_UIDS: Final = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


class ObjectStore:
    """Objects in memory. Every write gets the next resource version, and goes to ``log`` and the listeners.

    Objects are shared, never copied: a reader must not change them.
    """

    def __init__(self, now: Callable[[], datetime], history: int = 10_000) -> None:
        self._now = now
        self._objects: dict[StorageKey, dict[Ref, JsonObject]] = {}
        self._by_uid: dict[str, Address] = {}
        self._dependents: dict[str, set[Address]] = {}
        self._uids = 0
        self.registry = Registry()
        self.log = EventLog(history)
        self.listeners: list[Listener] = []
        self.fresh_address = 0

    @property
    def version(self) -> int:
        """The current resource version of the whole store."""
        return self.log.current

    def now(self) -> str:
        """Return the current time in the form of the API."""
        return rfc3339(self._now())

    def new_uid(self) -> str:
        """Return the next uid. Every store has the same sequence."""
        self._uids += 1
        return str(uuid.uuid5(_UIDS, f"shardwise-sandbox-{self._uids}"))

    def find(self, resource: ResourceType, ref: Ref) -> JsonObject | None:
        """Return an object; ``None`` if it does not exist."""
        return self._objects.get(resource.key, {}).get(ref)

    def get(self, resource: ResourceType, ref: Ref) -> JsonObject:
        """Return an object. Raises ``ApiError`` 404 if it does not exist."""
        found = self.find(resource, ref)
        if found is None:
            raise not_found(resource, ref[1])
        return found

    def at(self, address: Address) -> JsonObject | None:
        """Return the object at an address; ``None`` if it does not exist."""
        return self._objects.get(address[0], {}).get(address[1])

    def all(self, key: StorageKey) -> list[JsonObject]:
        """Return all objects of a kind, sorted by namespace and name."""
        objects = self._objects.get(key, {})
        return [objects[ref] for ref in sorted(objects)]

    def kinds(self) -> list[StorageKey]:
        """Return the kinds that have objects, sorted."""
        return sorted(key for key, objects in self._objects.items() if objects)

    def by_uid(self, uid: str) -> JsonObject | None:
        """Return the object with a uid; ``None`` if it does not exist."""
        address = self._by_uid.get(uid)
        return self.at(address) if address is not None else None

    def dependents(self, uid: str) -> list[Address]:
        """Return the objects that name the uid as an owner, sorted."""
        return sorted(self._dependents.get(uid, ()))

    def insert(self, resource: ResourceType, obj: JsonObject) -> JsonObject:
        """Store a new object. Return the object with its version."""
        return self._write(ADDED, resource.key, obj, None)

    def update(self, resource: ResourceType, obj: JsonObject) -> JsonObject:
        """Store a new state of an object. Return the object with its version."""
        old = self.get(resource, ref_of(obj))
        return self._write(MODIFIED, resource.key, obj, old)

    def remove(self, resource: ResourceType, ref: Ref) -> JsonObject:
        """Remove an object. Return its last state, with the version of the deletion."""
        old = self.get(resource, ref)
        del self._objects[resource.key][ref]
        self._unindex((resource.key, ref), old)
        last = with_meta(old, resourceVersion=str(self.version + 1))
        self._publish(ObjectChange(DELETED, resource.key, last, old))
        return last

    def _write(self, kind: str, key: StorageKey, obj: JsonObject, old: JsonObject | None) -> JsonObject:
        address = (key, ref_of(obj))
        if old is not None:
            self._unindex(address, old)
        stored = with_meta(obj, resourceVersion=str(self.version + 1))
        self._objects.setdefault(key, {})[address[1]] = stored
        self._index(address, stored)
        self._publish(ObjectChange(kind, key, stored, old))
        return stored

    def _publish(self, change: ObjectChange) -> None:
        self.log.publish(change)
        for listener in tuple(self.listeners):
            listener(change)

    def _index(self, address: Address, obj: JsonObject) -> None:
        self._by_uid[uid_of(obj)] = address
        for owner in _owner_uids(obj):
            self._dependents.setdefault(owner, set()).add(address)

    def _unindex(self, address: Address, obj: JsonObject) -> None:
        self._by_uid.pop(uid_of(obj), None)
        for owner in _owner_uids(obj):
            owned = self._dependents.get(owner, set())
            owned.discard(address)
            if not owned:
                self._dependents.pop(owner, None)


def ref_of(obj: JsonObject) -> Ref:
    """Return the reference of an object."""
    return namespace_of(obj), name_of(obj)


def _owner_uids(obj: JsonObject) -> Iterator[str]:
    return (owner["uid"] for owner in meta(obj).get("ownerReferences") or ())
