"""Garbage collection: dependants without owners, owners that wait for dependants, namespaces and kinds in deletion.

The collector notes the objects that a change may have made garbage, and deletes them when ``step`` is called. A test
decides when it runs. As on a real cluster, collection is never part of the deletion itself.
"""

from shardwise_sandbox.builtin_defaults import CRD_FINALIZER
from shardwise_sandbox.deletion import FOREGROUND, ORPHAN, DeleteOptions, Deleter
from shardwise_sandbox.objects import JsonObject, is_deleting, meta, name_of, namespace_of, uid_of, with_meta
from shardwise_sandbox.resources import CRD_KEY, ResourceType
from shardwise_sandbox.store import Address, ObjectStore, ref_of
from shardwise_sandbox.watch import DELETED, ObjectChange

_NAMESPACES = ("", "namespaces")


class Collector:
    """Deletes the objects that nothing holds."""

    def __init__(self, store: ObjectStore, deleter: Deleter) -> None:
        self._store = store
        self._deleter = deleter
        self._pending: set[Address] = set()
        store.listeners.append(self.notice)

    @property
    def pending(self) -> bool:
        """Whether the collector has noted an object."""
        return bool(self._pending)

    def notice(self, change: ObjectChange) -> None:
        """Note the objects that a change may have made garbage."""
        if change.kind == DELETED:
            self._pending.update(self._store.dependents(uid_of(change.obj)))
            self._notice_holders(change)
        elif is_deleting(change.obj) or _owners(change.obj) != _owners(change.old or {}):
            self._pending.add((change.key, ref_of(change.obj)))

    def _notice_holders(self, change: ObjectChange) -> None:
        holders = [self._store.by_uid(owner["uid"]) for owner in _owners(change.obj)]
        namespace = namespace_of(change.obj)
        holders.append(self._store.at((_NAMESPACES, ("", namespace))) if namespace else None)
        holders.append(self._store.at((CRD_KEY, ("", f"{change.key[1]}.{change.key[0]}"))))
        for holder in holders:
            if holder is not None and is_deleting(holder):
                self._pending.add((self._store.registry.of(holder).key, ref_of(holder)))

    def step(self) -> bool:
        """Check every noted object once. Return whether there was any."""
        pending, self._pending = sorted(self._pending), set()
        for address in pending:
            obj = self._store.at(address)
            if obj is not None:
                self._look_at(obj)
        return bool(pending)

    def _look_at(self, obj: JsonObject) -> None:
        resource = self._store.registry.of(obj)
        if not is_deleting(obj):
            self._look_at_owners(resource, obj)
        elif ORPHAN in _finalizers(obj):
            self._orphan(resource, obj)
        elif FOREGROUND in _finalizers(obj):
            self._delete_dependents_first(resource, obj)
        elif resource.key == _NAMESPACES:
            self._empty_namespace(resource, obj)
        elif CRD_FINALIZER in _finalizers(obj):
            self._empty_kind(resource, obj)

    def _look_at_owners(self, resource: ResourceType, obj: JsonObject) -> None:
        owners = _owners(obj)
        present = [owner for owner in owners if self._is_present(owner, obj)]
        if owners and not present:
            self._deleter.delete(resource, ref_of(obj))
        elif len(present) < len(owners):
            self._store.update(resource, with_meta(obj, ownerReferences=present))

    def _is_present(self, owner: JsonObject, obj: JsonObject) -> bool:
        found = self._store.by_uid(owner["uid"])
        # The real collector treats an owner in another namespace as absent.
        return found is not None and namespace_of(found) in {"", namespace_of(obj)}

    def _dependents(self, obj: JsonObject) -> list[tuple[ResourceType, JsonObject]]:
        found = [self._store.at(address) for address in self._store.dependents(uid_of(obj))]
        return [(self._store.registry.of(item), item) for item in found if item is not None]

    def _orphan(self, resource: ResourceType, obj: JsonObject) -> None:
        for kind, dependent in self._dependents(obj):
            left = [owner for owner in _owners(dependent) if owner["uid"] != uid_of(obj)]
            self._store.update(kind, with_meta(dependent, ownerReferences=left or None))
        self._deleter.release(resource, obj, ORPHAN)

    def _delete_dependents_first(self, resource: ResourceType, obj: JsonObject) -> None:
        for kind, dependent in self._dependents(obj):
            others = [owner for owner in _owners(dependent) if owner["uid"] != uid_of(obj)]
            if not is_deleting(dependent) and not any(self._is_present(owner, dependent) for owner in others):
                self._deleter.delete(kind, ref_of(dependent), DeleteOptions(propagation="Foreground"))
        if not any(_blocks(dependent, obj) for _, dependent in self._dependents(obj)):
            self._deleter.release(resource, obj, FOREGROUND)

    def _empty_namespace(self, resource: ResourceType, obj: JsonObject) -> None:
        self._delete_all([item for item in self._everything() if namespace_of(item) == name_of(obj)])
        left = any(namespace_of(item) == name_of(obj) for item in self._everything())
        if not left and obj["spec"].get("finalizers"):
            self._deleter.finish(resource, {**obj, "spec": {**obj["spec"], "finalizers": []}})

    def _empty_kind(self, resource: ResourceType, obj: JsonObject) -> None:
        key = (obj["spec"]["group"], obj["spec"]["names"]["plural"])
        self._delete_all(self._store.all(key))
        if not self._store.all(key):
            self._deleter.release(resource, obj, CRD_FINALIZER)

    def _everything(self) -> list[JsonObject]:
        return [obj for key in self._store.kinds() for obj in self._store.all(key)]

    def _delete_all(self, objects: list[JsonObject]) -> None:
        for obj in objects:
            if not is_deleting(obj):
                self._deleter.delete(self._store.registry.of(obj), ref_of(obj))


def _owners(obj: JsonObject) -> list[JsonObject]:
    return meta(obj).get("ownerReferences") or []


def _finalizers(obj: JsonObject) -> list[str]:
    return meta(obj).get("finalizers") or []


def _blocks(dependent: JsonObject, owner: JsonObject) -> bool:
    return any(ref["uid"] == uid_of(owner) and ref.get("blockOwnerDeletion") for ref in _owners(dependent))
