"""kopf's event handlers: every change goes into the store, and wakes the objects it may concern."""

from collections.abc import Callable, Iterable
from typing import Any

import kopf

from shardwise.api.base import GROUP, PLURAL, VERSION
from shardwise.controller.queue import Queue
from shardwise.controller.store import Json, Key, Shelf, Store, is_relevant, key_of, owner_of, slim, version_of
from shardwise.render.manifest import MANAGED_BY, OPERATOR


class Watches:
    """Takes in what changed, from watches and relists alike."""

    def __init__(self, store: Store, queue: Queue[Key]) -> None:
        self._store = store
        self._queue = queue

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Register the handlers. Plain events: kopf writes nothing onto any object, no finalizer, no annotation."""
        ours = {MANAGED_BY: OPERATOR}
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="model")(self._handler(self.model))
        kopf.on.event("", "v1", "pods", registry=registry, id="pod")(self._handler(self.pod))
        kopf.on.event("", "v1", "services", registry=registry, id="service", labels=ours)(self._handler(self.service))
        kopf.on.event("", "v1", "nodes", registry=registry, id="node")(self._handler(self.node))

    @staticmethod
    def _handler(take: Callable[[Json, bool], None]) -> Callable[..., Any]:
        async def handle(event: Any, **_: object) -> None:  # noqa: ANN401 - kopf's raw event
            take(event["object"], event["type"] == "DELETED")

        return handle

    def model(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - the two things an event says
        """Take in a ShardedModel. One that is gone gives its GPUs back, which may be what another waits for."""
        key = key_of(obj)
        if self._taken(self._store.models, obj, deleted):
            self._queue.add(key)
        gone = deleted and key not in self._store.models.objects
        if gone and self._store.hold(key, None):
            self.wake_waiting()

    def pod(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a pod. Foreign pods matter while they hold GPUs."""
        known = self._store.pods.objects.get(key_of(obj))
        deleted = deleted or (known is not None and not is_relevant(obj))
        if (known is None and not is_relevant(obj)) or not self._taken(self._store.pods, slim(obj), deleted):
            return
        owners = (owner_of(obj), owner_of(known or obj))
        self._queue_all({owner for owner in owners if owner is not None})
        if deleted:
            self.wake_waiting()

    def service(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in one of our Services."""
        owner = owner_of(obj)
        if self._taken(self._store.services, slim(obj), deleted) and owner is not None:
            self._queue.add(owner)

    def node(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a node. A heartbeat changes nothing for anybody, so it wakes nobody."""
        name = obj["metadata"]["name"]
        before = self._store.node(name)
        if not self._taken(self._store.nodes, slim(obj), deleted):
            return
        if self._store.node(name) != before:
            self._queue_all(self._store.holders(name))
            self.wake_waiting()

    def wake_waiting(self) -> None:
        """Look again at every object that has no full plan: GPUs may have become free."""
        for key, model in self._store.models.objects.items():
            if not _is_placed(model):
                self._queue.add(key)

    def _queue_all(self, keys: Iterable[Key]) -> None:
        for key in sorted(keys):
            self._queue.add(key)

    @staticmethod
    def _taken(shelf: Shelf, obj: Json, deleted: bool) -> bool:  # noqa: FBT001 - as above
        return shelf.remove(key_of(obj), version_of(obj)) if deleted else shelf.put(obj)


def _is_placed(model: Json) -> bool:
    status = model.get("status") or {}
    replicas = (model.get("spec") or {}).get("replicas", 1)
    return len((status.get("plan") or {}).get("groups") or ()) == replicas and bool(status.get("plan"))
