"""Taking in changes: each goes into the store, and wakes the objects it may concern."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from shardwise.inventory import gpu_request
from shardwise.inventory.claims import read_claim, slim_claim
from shardwise.inventory.slices import pool_of
from shardwise.observe import (
    Json,
    Key,
    Shelf,
    Store,
    is_relevant,
    key_of,
    owner_of,
    reads_alike,
    slim,
    slim_model,
    slim_node,
    slim_owned,
    slim_pod,
    slim_pod_group,
    version_of,
)
from shardwise.observe.kinds import WORKLOAD, Kind
from shardwise.operate.queue import Queue


class Changes:
    """Takes in changed objects, from watches and lists alike.

    ``trims`` keep of each object in a list the fields that are read, by the kind of the list.
    """

    def __init__(self, store: Store, queue: Queue[Key]) -> None:
        self._store = store
        self._queue = queue
        store.gave_back = self.wake_waiting
        self.trims: Final[Mapping[str, Callable[[Json], dict[str, Any]]]] = {
            "NodeList": partial(store.nodes.slimmed, trim=slim_node),
            "PodList": partial(store.pods.slimmed, trim=slim_pod),
            "ShardedModelList": partial(store.sharded_models.slimmed, trim=slim_model),
        }

    def sharded_model(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - the two parts of an event
        """Take in a ShardedModel. An object that goes gives its GPUs back, and its place in the queue."""
        key, waiting = key_of(obj), self._store.waiting
        stood = waiting.place(key)
        if self._taken(self._store.sharded_models, obj, slim_model, deleted):
            self._queue.add(key)
        now = self._store.sharded_models.objects.get(key)
        if now is None or "deletionTimestamp" in now["metadata"]:
            self._store.hold(key, {})
        if stood is not None and stood != waiting.place(key):
            self.wake_waiting()

    def pod(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a pod. Foreign pods matter while they hold resources of a node, or ask for GPUs."""
        known = self._store.pods.objects.get(key_of(obj))
        deleted = deleted or (known is not None and not is_relevant(obj))
        if (known is None and not is_relevant(obj)) or not self._taken(self._store.pods, obj, slim_pod, deleted):
            return
        owners = (owner_of(obj), owner_of(known or obj))
        self._queue_all({owner for owner in owners if owner is not None})
        if deleted and self._may_help(known or obj):
            self.wake_waiting()

    def _may_help(self, pod: Json) -> bool:
        """Tell whether a pod that goes may free resources for pods with GPUs: it has GPUs, or its node has."""
        node = self._store.node((pod.get("spec") or {}).get("nodeName") or "")
        return owner_of(pod) is not None or gpu_request(pod) > 0 or (node is not None and node.gpus > 0)

    def service(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a Service of ours."""
        self._made(self._store.services, obj, deleted)

    def budget(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a disruption budget of ours."""
        self._made(self._store.budgets, obj, deleted)

    def _made(self, shelf: Shelf, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in an object that the operator made. Its owner is woken also when it is no longer named as the owner."""
        known = shelf.objects.get(key_of(obj), obj)
        if self._taken(shelf, obj, slim_owned, deleted):
            owners = (owner_of(known), owner_of(obj))
            self._queue_all({owner for owner in owners if owner is not None})

    def node(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a node. A heartbeat changes nothing for anybody, so it wakes nobody."""
        name = obj["metadata"]["name"]
        before = self._store.node(name)
        if not self._taken(self._store.nodes, obj, slim_node, deleted):
            return
        if self._store.node(name) != before:
            self._queue_all(self._store.holders(name))
            self.wake_waiting()

    def resource_slice(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a ResourceSlice: its node may offer other GPUs than before."""
        if pool_of(obj) is None:
            return
        mark, index = self._store.ledger.mark, self._store.devices.index
        before = index.nodes_of_slice(obj)
        if self._taken(self._store.devices.slices, obj, slim, deleted) and self._store.ledger.mark != mark:
            for name in before | index.nodes_of_slice(obj):
                self._queue_all(self._store.holders(name))
            self.wake_waiting()

    def device_class(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a DeviceClass: it may select other GPUs than before."""
        mark = self._store.ledger.mark
        if self._taken(self._store.devices.classes, obj, slim, deleted) and self._store.ledger.mark != mark:
            self._queue_all(self._store.sharded_models.objects)
            self.wake_waiting()

    def resource_claim(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a ResourceClaim. Claims of GPUs matter while they are allocated; then their GPUs are free."""
        known = self._store.devices.claims.objects.get(key_of(obj))
        holds = read_claim(obj) is not None
        mark = self._store.ledger.mark
        if (known is None and not holds) or not self._taken(
            self._store.devices.claims, obj, slim_claim, deleted or not holds
        ):
            return
        if self._store.ledger.gained(mark, lambda _: True):
            self.wake_waiting()

    def priority(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a PriorityClass: it may change whose turn it is."""
        if self._taken(self._store.priorities, obj, slim, deleted):
            self.wake_waiting()

    def quota(self, obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
        """Take in a ResourceQuota: the objects of its namespace may hold more GPUs, or fewer."""
        if self._taken(self._store.quotas, obj, slim, deleted):
            lacking = (key for key in self._store.waiting.lacking_from() if key[0] == key_of(obj)[0])
            for key in dict.fromkeys((*lacking, *sorted(self._store.excused))):
                self._queue.add(key)

    def kueue(self, kind: Kind) -> Callable[[Json, bool], None]:
        """Give the method that takes in objects of a kind of Kueue.

        A Workload concerns the object whose group has its name. All others may concern every object in a queue.
        """
        shelf, trim = next((shelf, trim) for known, shelf, trim in self._store.cluster_queues.shelves if known == kind)

        def take(obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
            before = shelf.objects.get(key_of(obj))
            if not self._taken(shelf, obj, trim, deleted):
                return
            if kind == WORKLOAD:
                service = self._store.services.objects.get(key_of(obj))
                owner = None if service is None else owner_of(service)
                self._queue_all(set() if owner is None else {owner})
            elif before is None or deleted or not reads_alike(before, obj):
                self._queue_all(self._store.cluster_queues.entered)

        return take

    def pod_group(self, kind: Kind) -> Callable[[Json, bool], None]:
        """Give the method that takes in the groups of a gang scheduler."""

        def take(obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
            trim = partial(slim_pod_group, api_version=kind.api_version)
            if self._taken(self._store.gangs.pod_groups, obj, trim, deleted):
                owner = owner_of(obj)
                self._queue_all(set() if owner is None else {owner})

        return take

    def attachment(self, kind: Kind) -> Callable[[Json, bool], None]:
        """Give the method that takes in the attachments of a kind."""

        def take(obj: Json, deleted: bool) -> None:  # noqa: FBT001 - as above
            self._made(self._store.attachments.shelves[kind.name], obj, deleted)

        return take

    def wake_waiting(self) -> None:
        """Look again at every object that could use more GPUs, in turn: some may have become free."""
        self._queue.sweep()

    def wake_behind(self, key: Key) -> None:
        """Look again at an object, and at the objects whose turn comes after: their turn has changed.

        Others may have begun to wait while the object's own wait was being written.
        """
        self._queue.sweep(key)

    def _queue_all(self, keys: Iterable[Key]) -> None:
        for key in sorted(keys):
            self._queue.add(key)

    @staticmethod
    def _taken(shelf: Shelf, obj: Json, trim: Callable[[Any], Json], deleted: bool) -> bool:  # noqa: FBT001 - as above
        """Keep of an object the fields that are read. Every list and watch tells again of most objects: they stay."""
        if deleted:
            return shelf.remove(key_of(obj), version_of(obj))
        return shelf.is_news(obj) and shelf.put(trim(obj))
