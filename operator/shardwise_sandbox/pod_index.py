"""Pods by node, by group and by what is to be done: kept from changes, so that no step reads everything."""

from collections import Counter
from typing import Final

from shardwise_sandbox.objects import JsonObject, dig, labels_of
from shardwise_sandbox.quantities import requests
from shardwise_sandbox.store import Ref, Store, ref_of
from shardwise_sandbox.watch import DELETED, Change

GROUP_LABEL: Final = "shardwise.dev/group"
"""Pods with the same value, in one namespace, start together or not at all."""

PODS: Final = ("", "pods")
NODES: Final = ("", "nodes")


_NOTHING: Final[Counter[str]] = Counter()


class PodIndex:
    """Which pods are where, and what they take from their nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._on_node: dict[str, set[Ref]] = {}
        self._in_group: dict[tuple[str, str], set[Ref]] = {}
        self._used: dict[str, Counter[str]] = {}
        store.listeners.insert(0, self.notice)

    def on_node(self, node: str) -> list[Ref]:
        """Return the pods bound to a node, sorted."""
        return sorted(self._on_node.get(node, ()))

    def used(self, node: str) -> Counter[str]:
        """Return what the pods of a node that are not over request together."""
        return self._used.get(node, _NOTHING)

    def group_of(self, pod: JsonObject) -> list[JsonObject]:
        """Return the pods of the pod's group, itself included, sorted; only itself where it has none."""
        refs = self._in_group.get(_group(pod), ())
        found = [self._store.at((PODS, ref)) for ref in sorted(refs)]
        return [member for member in found if member is not None] or [pod]

    def notice(self, change: Change) -> None:
        """Keep up with a change."""
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
