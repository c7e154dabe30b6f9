"""kopf's event handlers: every change goes into the store, and wakes the objects it may concern."""

from collections.abc import Callable, Iterable
from typing import Any

import kopf

from shardwise.api.base import GROUP, PLURAL, VERSION
from shardwise.controller.queue import Queue
from shardwise.controller.store import Json, Key, Shelf, Store, is_relevant, key_of, owner_of, slim, version_of
from shardwise.controller.waiting import Waiting, waits
from shardwise.reconcile import wants_place
from shardwise.render.manifest import MANAGED_BY, OPERATOR


class Watches:
    """Takes in what changed, from watches and relists alike."""

    def __init__(self, store: Store, queue: Queue[Key], waiting: Waiting | None = None) -> None:
        self._store = store
        self._queue = queue
        self.waiting = waiting or Waiting(store.models, store.priorities)

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Register the handlers. Plain events: kopf writes nothing onto any object, no finalizer, no annotation."""
        ours = {MANAGED_BY: OPERATOR}
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="model")(self._handler(self.model))
        kopf.on.event("", "v1", "pods", registry=registry, id="pod")(self._handler(self.pod))
        kopf.on.event("", "v1", "services", registry=registry, id="service", labels=ours)(self._handler(self.service))
        budgets = ("policy", "v1", "poddisruptionbudgets")
        kopf.on.event(*budgets, registry=registry, id="budget", labels=ours)(self._handler(self.budget))
        kopf.on.event("", "v1", "nodes", registry=registry, id="node")(self._handler(self.node))
        classes = ("scheduling.k8s.io", "v1", "priorityclasses")
        kopf.on.event(*classes, registry=registry, id="priority")(self._handler(self.priority))

    @staticmethod
    def _handler(take: Callable[[Json, bool], None]) -> Callable[..., Any]:
        async def handle(event: Any, **_: object) -> None:  # noqa: ANN401 - kopf's raw event
            take(event["object"], event["type"] == "DELETED")

        return handle

    def model(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - the two things an event says
        """Take in a ShardedModel. One that goes gives its GPUs back, and its place in the queue: another may wait."""
        key = key_of(obj)
        stood = self.waiting.place(self._store.models.objects.get(key, obj))
        if self._taken(self._store.models, obj, deleted):
            self._queue.add(key)
        now = self._store.models.objects.get(key)
        held = False
        if now is None or "deletionTimestamp" in now["metadata"]:
            held = self._store.hold(key, None)
            self.waiting.demands.pop(key, None)
        if held or (stood is not None and stood != self.waiting.place(now)):
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
        self._made(self._store.services, obj, deleted)

    def budget(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in one of our disruption budgets."""
        self._made(self._store.budgets, obj, deleted)

    def _made(self, shelf: Shelf, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        owner = owner_of(obj)
        if self._taken(shelf, slim(obj), deleted) and owner is not None:
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

    def priority(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a PriorityClass: it may change whose turn it is."""
        if self._taken(self._store.priorities, slim(obj), deleted):
            self.wake_waiting()

    def wake_waiting(self) -> None:
        """Look again at every object that could use more GPUs, in turn: some may have become free."""
        lacking = [key for key, model in self._store.models.objects.items() if wants_place(model)]
        for key in self.waiting.in_turn(lacking):
            self._queue.add(key)

    def wake_behind(self, key: Key) -> None:
        """Look again at those that wait behind an object: their turn is another.

        And at itself, where it waits: others may have begun to while its own wait was being written.
        """
        waiting = {one for one, model in self._store.models.objects.items() if waits(model)}
        turns = self.waiting.in_turn([*waiting | {key}])
        for one in turns[turns.index(key) :]:
            if one in waiting:
                self._queue.add(one)

    def _queue_all(self, keys: Iterable[Key]) -> None:
        for key in sorted(keys):
            self._queue.add(key)

    @staticmethod
    def _taken(shelf: Shelf, obj: Json, deleted: bool) -> bool:  # noqa: FBT001 - as above
        return shelf.remove(key_of(obj), version_of(obj)) if deleted else shelf.put(obj)
