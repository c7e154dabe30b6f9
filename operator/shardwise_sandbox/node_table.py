"""The nodes by name and host name, with their allocatable resources, for the scheduler."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from typing import Final

from shardwise_sandbox.objects import JsonObject, labels_of, name_of
from shardwise_sandbox.pod_index import NODES
from shardwise_sandbox.quantities import allocatable
from shardwise_sandbox.store import ObjectStore
from shardwise_sandbox.watch import DELETED, ObjectChange

HOSTNAME: Final = "kubernetes.io/hostname"


class NodeTable:
    """The nodes, sorted by name. Changes of the store keep the table current."""

    def __init__(self, store: ObjectStore) -> None:
        self._nodes: dict[str, JsonObject] = {}
        self._names: list[str] = []
        self._by_host: dict[str, set[str]] = {}
        self._offers: dict[str, Counter[str]] = {}
        store.listeners.insert(0, self.notice)

    def __len__(self) -> int:
        return len(self._names)

    def all(self) -> list[JsonObject]:
        """Return all nodes, sorted by name."""
        return [self._nodes[name] for name in self._names]

    def some(self, names: Iterable[str], hosts: Iterable[str]) -> list[JsonObject]:
        """Return the nodes with these names or host names, sorted by name."""
        wanted = set(names).union(*(self._by_host.get(host, ()) for host in hosts))
        return [self._nodes[name] for name in sorted(wanted) if name in self._nodes]

    def offer(self, name: str) -> Counter[str]:
        """Return the resources of a node that pods can use."""
        return self._offers[name]

    def notice(self, change: ObjectChange) -> None:
        """Update the table after a change."""
        if change.key != NODES:
            return
        name = name_of(change.obj)
        if change.old is not None:
            self._by_host.get(labels_of(change.old).get(HOSTNAME, ""), set()).discard(name)
        if change.kind == DELETED:
            self._forget(name)
            return
        if name not in self._nodes:
            insort(self._names, name)
        self._nodes[name] = change.obj
        self._offers[name] = allocatable(change.obj)
        self._by_host.setdefault(labels_of(change.obj).get(HOSTNAME, ""), set()).add(name)

    def _forget(self, name: str) -> None:
        del self._nodes[name], self._offers[name]
        del self._names[bisect_left(self._names, name)]
