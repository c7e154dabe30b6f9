"""The GPUs about which queues of the cluster decide: those of pods that entered such a queue, whoever made them.

A group may enter a queue for them: the queue says when, and who must go for it.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.needs import Amounts, added
from shardwise.inventory import use
from shardwise.observe.objects import Json, Key, owner_of
from shardwise.queues import is_queued

_Use = tuple[Hashable, str, int, Amounts]


class Lent:
    """The GPUs and other resources that bound pods in queues hold, by node and holder."""

    def __init__(self) -> None:
        self._held: dict[str, dict[Hashable, list[tuple[int, Amounts]]]] = {}

    def pod_changed(self, before: Json | None, after: Json | None) -> None:
        """Take in a pod as it was and as it is."""
        held = None if before is None else _held(before)
        holds = None if after is None else _held(after)
        if held == holds:
            return
        if held is not None:
            holder, node, gpus, others = held
            self._held[node][holder].remove((gpus, others))
            if not self._held[node][holder]:
                del self._held[node][holder]
        if holds is not None:
            holder, node, gpus, others = holds
            self._held.setdefault(node, {}).setdefault(holder, []).append((gpus, others))

    def widened(self, fleet: Fleet, key: Key, plans: Mapping[Key, Mapping[str, int]]) -> Fleet | None:
        """Give a fleet as if nobody but ``key`` held such GPUs; ``None`` if nobody else holds any.

        ``plans`` are the GPUs that other objects in queues hold on each node before all their pods are bound.
        """
        gpus: Counter[str] = Counter()
        others: dict[str, Mapping[str, int]] = {}
        for node, holders in self._held.items():
            uses = [use for holder, found in holders.items() if holder != key for use in found]
            gpus[node] += sum(count for count, _ in uses)
            others[node] = added(*(amounts for _, amounts in uses)) if uses else {}
        for other, planned in plans.items():
            for node, count in planned.items():
                bound = sum(held for held, _ in self._held.get(node, {}).get(other, ()))
                gpus[node] += max(0, count - bound) if other != key else 0
        gpus += Counter()  # drops the nodes of which nobody holds any
        if not gpus:
            return None
        known = (fleet.node(name) for name in gpus)
        return fleet.with_nodes(
            _freed(node, gpus[node.name], others.get(node.name, {})) for node in known if node is not None
        )


def _held(pod: Json) -> _Use | None:
    used = use(pod) if is_queued(pod) else None
    if used is None:
        return None
    holder: Hashable = owner_of(pod) or ("", pod["metadata"].get("uid") or pod["metadata"]["name"])
    node, gpus, others = used
    return holder, node, gpus, others


def _freed(node: Node, gpus: int, others: Mapping[str, int]) -> Node:
    left: Iterable[tuple[str, int]] = ((name, max(0, amount - others.get(name, 0))) for name, amount in node.taken)
    return node._replace(free=min(node.gpus, node.free + gpus), taken=tuple(left))
