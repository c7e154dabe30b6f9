"""The pods by node and by group. Changes of the store keep the index current, so that a step reads few objects."""

from collections import Counter
from typing import Final

from shardwise_sandbox.objects import JsonObject, dig, labels_of
from shardwise_sandbox.quantities import requests
from shardwise_sandbox.store import ObjectStore, Ref, ref_of
from shardwise_sandbox.watch import DELETED, ObjectChange

GROUP_LABEL: Final = "shardwise.dev/group"
"""The label of a group: the pods of a namespace with the same value start together."""

PODS: Final = ("", "pods")
NODES: Final = ("", "nodes")


_NOTHING: Final[Counter[str]] = Counter()


class PodIndex:
    """The pods of each node and of each group, and the resources that they take from their nodes."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._on_node: dict[str, set[Ref]] = {}
        self._in_group: dict[tuple[str, str], set[Ref]] = {}
        self._used: dict[str, Counter[str]] = {}
        store.listeners.insert(0, self.notice)

    def on_node(self, node: str) -> list[Ref]:
        """Return the pods bound to a node, sorted."""
        return sorted(self._on_node.get(node, ()))

    def used(self, node: str) -> Counter[str]:
        """Return the sum of the requests of a node's pods, without finished pods."""
        return self._used.get(node, _NOTHING)

    def group_of(self, pod: JsonObject) -> list[JsonObject]:
        """Return the pods in the group of the pod, sorted; only the pod itself if it has no group."""
        refs = self._in_group.get(_group(pod), ())
        found = [self._store.at((PODS, ref)) for ref in sorted(refs)]
        return [member for member in found if member is not None] or [pod]

    def notice(self, change: ObjectChange) -> None:
        """Update the index after a change."""
        if change.key != PODS:
            return
        if change.old is not None:
            self._forget(change.old)
        if change.kind != DELETED:
            self._remember(change.obj)

    def _remember(self, pod: JsonObject) -> None:
        node, group = dig(pod, "spec", "nodeName"), _group(pod)
        if group[1]:
            self._in_group.setdefault(group, set()).add(ref_of(pod))
        if node:
            self._on_node.setdefault(node, set()).add(ref_of(pod))
            if _takes(pod):
                self._used.setdefault(node, Counter()).update(requests(pod))

    def _forget(self, pod: JsonObject) -> None:
        node, group = dig(pod, "spec", "nodeName"), _group(pod)
        self._in_group.get(group, set()).discard(ref_of(pod))
        if node:
            self._on_node[node].discard(ref_of(pod))
            if _takes(pod):
                self._used[node].subtract(requests(pod))


def _takes(pod: JsonObject) -> bool:
    return dig(pod, "status", "phase") not in {"Succeeded", "Failed"}


def _group(pod: JsonObject) -> tuple[str, str]:
    return pod["metadata"].get("namespace", ""), labels_of(pod).get(GROUP_LABEL, "")
