"""Kueue's objects, and what an object's queue looks like to a decision. They are empty unless Kueue is configured.

Other systems have no objects of their own that a decision reads.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import ClusterQueue
from shardwise.observe.kinds import CLUSTER_QUEUE, FLAVOR, LOCAL_QUEUE, WORKLOAD, Kind
from shardwise.observe.lent import Lent
from shardwise.observe.objects import Json, Key, part, slim
from shardwise.observe.shelf import Shelf
from shardwise.queues import SYSTEMS, Offer, Phase, Position, QueuedGroup, QueueKeeper
from shardwise.queues.kueue import closed, offer
from shardwise.reconcile.observed import QueueSeen, evicted_by
from shardwise.render.manifest import GROUP


class QueueShelves:
    """The objects of Kueue, and the queues that objects go through.

    ``served`` tells whether the cluster serves Kueue's objects; ``None`` while nothing shows it, or if Kueue is not
    configured. ``positions`` are those of waiting groups in their queues, where Kueue tells them.
    """

    def __init__(self) -> None:
        self.workloads: Final = Shelf()
        self.local_queues: Final = Shelf()
        self.cluster_queues: Final = Shelf()
        self.flavors: Final = Shelf()
        self.served: bool | None = None
        self.lent: Final = Lent()
        self.positions: Final[dict[Key, Position]] = {}
        self._entered: Final[dict[Key, ClusterQueue]] = {}
        self._evicted: Final[dict[Key, str]] = {}

    @property
    def shelves(self) -> tuple[tuple[Kind, Shelf, Callable[[Any], dict[str, Any]]], ...]:
        """The kinds, each with its shelf and the function that keeps the fields that are read."""
        return (
            (FLAVOR, self.flavors, slim),
            (CLUSTER_QUEUE, self.cluster_queues, slim),
            (LOCAL_QUEUE, self.local_queues, slim),
            (WORKLOAD, self.workloads, slim_workload),
        )

    def enter(self, key: Key, queue: ClusterQueue | None) -> None:
        """Note the queue that an object goes through; ``None`` if it goes through none, or is gone."""
        self._entered.pop(key, None)
        if queue is not None:
            self._entered[key] = queue

    def pod_changed(self, before: Json | None, after: Json | None) -> None:
        """Take in a pod as it was and as it is. Why a queue takes a group away is kept: its pods may soon be gone."""
        pod = after or before or {"metadata": {}}
        labels = pod["metadata"].get("labels")
        if not labels and (before is None or not before["metadata"].get("labels")):
            return  # most pods of others
        self.lent.pod_changed(before, after)
        if labels and GROUP in labels:
            words = evicted_by(pod.get("status") or {})
            if words:
                self._evicted[pod["metadata"].get("namespace") or "", labels[GROUP]] = words

    def group_gone(self, group: Key) -> None:
        """Forget a group by its namespace and name."""
        self._evicted.pop(group, None)

    def seen(
        self, key: Key, names: Callable[[], Iterable[str]], fleet: Fleet, plans: Mapping[Key, Mapping[str, int]]
    ) -> QueueSeen:
        """Give what a decision about an object looks at. ``names`` gives the names that its groups have.

        ``plans`` are the GPUs that objects hold as decided. O(bound pods in queues) for an object in a queue.
        """
        queue = self._entered.get(key)
        shut = closed(self._cluster_queue(key[0], queue))
        groups = dict(self._groups(key[0], names(), shut)) if self.workloads.objects or self._evicted else {}
        if queue is None and not groups:
            return QueueSeen(WORKLOAD.name, self._api_version)
        lent = None
        if queue is not None:
            lent = self.lent.widened(fleet, key, {other: plans[other] for other in self._entered if other in plans})
        return QueueSeen(WORKLOAD.name, self._api_version, groups, self._offer(key[0], queue), lent)

    @property
    def entered(self) -> Collection[Key]:
        """The objects that go through a queue."""
        return self._entered.keys()

    @property
    def queues(self) -> Mapping[Key, ClusterQueue]:
        """The queues of the objects that go through one."""
        return self._entered

    @property
    def _api_version(self) -> str | None:
        return None if self.served is None else WORKLOAD.api_version if self.served else ""

    def _groups(self, namespace: str, names: Iterable[str], shut: str) -> Iterable[tuple[str, QueuedGroup]]:
        """Give the groups by name. ``shut`` says why their ClusterQueue admits nobody."""
        for name in names:
            workload = self.workloads.objects.get((namespace, name))
            words = self._evicted.get((namespace, name))
            if words is not None:
                yield name, replace(self._read(workload), phase=Phase.EVICTED, words=words)
            elif workload is not None and _is_of_group(workload, name):
                group = self._read(workload)
                told = f"{group.words} ({shut})" if shut and group.phase is Phase.WAITING else group.words
                yield name, replace(group, words=told, position=self.positions.get((namespace, name)))

    def _read(self, workload: Json | None) -> QueuedGroup:
        return QueuedGroup(Phase.EVICTED, deleting=True) if workload is None else self._system.read_group(workload)

    @property
    def _system(self) -> QueueKeeper:
        return next(system for system in SYSTEMS.values() if WORKLOAD.name == system.GROUP_KIND)

    def _local_queue(self, namespace: str, queue: ClusterQueue | None) -> Json | None:
        return None if queue is None else self.local_queues.objects.get((namespace, queue.name))

    def _cluster_queue(self, namespace: str, queue: ClusterQueue | None) -> Json | None:
        return self.cluster_queues.objects.get(("", _name_of_cluster_queue(self._local_queue(namespace, queue))))

    def _offer(self, namespace: str, queue: ClusterQueue | None) -> Offer:
        """Give the nodes that a queue offers. All nodes where Kueue's objects are not read."""
        if queue is None or not self.served:
            return Offer()
        local, found = self._local_queue(namespace, queue), self._cluster_queue(namespace, queue)
        if local is None:
            return Offer(missing=(LOCAL_QUEUE.name, queue.name))
        if found is None:
            return Offer(missing=(CLUSTER_QUEUE.name, _name_of_cluster_queue(local)))
        return offer(found, {flavor: obj for (_, flavor), obj in self.flavors.objects.items()})


def _name_of_cluster_queue(local_queue: Json | None) -> str:
    return ((local_queue or {}).get("spec") or {}).get("clusterQueue") or ""


def reads_alike(before: Json, after: Json) -> bool:
    """Tell whether a queue or a flavour reads as before: the counts in its status change with every group."""
    return before.get("spec") == after.get("spec") and closed(before) == closed(after)


def _is_of_group(workload: Json, name: str) -> bool:
    """Tell whether a Workload is that of a group: Kueue names it like the group, and its pods own it."""
    owners = workload["metadata"].get("ownerReferences") or ()
    return any(owner.get("kind") == "Pod" and str(owner.get("name")).startswith(f"{name}-") for owner in owners)


def slim_workload(obj: Json) -> dict[str, Any]:
    """Keep of a Workload the fields that are read: the templates of its pods fill the memory."""
    metadata = part(obj["metadata"], ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp"))
    owners = [
        {name: owner.get(name) for name in ("kind", "name")} for owner in obj["metadata"].get("ownerReferences") or ()
    ]
    conditions = [
        {name: condition.get(name) for name in ("type", "status", "reason", "message")}
        for condition in (obj.get("status") or {}).get("conditions") or ()
    ]
    return {"metadata": metadata | {"ownerReferences": owners[:1]}, "status": {"conditions": conditions}}
