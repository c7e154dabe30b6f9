"""The free GPUs of an object's usable fleet, as its own groups take them and give them back."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from shardwise.domain.exclusions import LeftOut, Mismatch
from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.domain.refusal import Refusal, RefusalReason
from shardwise.planner import plan as plan_demand
from shardwise.reconcile.plans import one_more
from shardwise.reconcile.records import Record
from shardwise.reconcile.usable_fleet import UsableFleet

Place = tuple[tuple[str, ...], int]
"""Nodes of the pods in rank order, and the GPUs of each."""


class FreeCapacity:
    """The GPUs of the usable fleet that the object has not taken yet."""

    def __init__(self, wanted: Wanted, usable: UsableFleet) -> None:
        self._wanted = wanted
        self._usable = usable
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """GPUs the object's groups have taken."""
        return sum(self._taken.values())

    def take(self, nodes: Collection[str], gpus: int) -> None:
        """Take GPUs of nodes, once for each time a node is named."""
        for node in nodes:
            self._taken[node] += gpus

    def give_back(self, record: Record) -> None:
        """Give back the GPUs of a group."""
        self.take(record.nodes, -record.gpus)

    def holds(self, record: Record) -> bool:
        """Tell whether a group can begin in its place: all its nodes may be used, and have enough GPUs for it."""
        asked: Counter[str] = Counter()
        for node in record.nodes:
            asked[node] += record.gpus
        closed = self._usable.closed(self._wanted.demand, asked) | self._usable.barred
        return closed.isdisjoint(asked) and all(self._has(node, gpus) for node, gpus in asked.items())

    def _has(self, name: str, gpus: int) -> bool:
        node = self._usable.fleet.node(name)
        return node is not None and node.free - self._taken[name] >= gpus

    def find(self, plan: Plan, *, but_blamed: bool = False, only: frozenset[str] | None = None) -> Place | Refusal:
        """Find a place for another group of a plan. Use blamed nodes only if there is no other place.

        With ``but_blamed``, never use blamed nodes. With ``only``, use no other nodes than these.
        """
        demand = one_more(self._wanted, plan)
        fleets = (_part(fleet, only) for fleet in self._usable.choices())
        outcome = plan_demand(demand, self._left(next(fleets)), hinted=False)
        for fleet in fleets:
            if isinstance(outcome, Refusal) and not but_blamed:
                outcome = plan_demand(demand, self._left(fleet), hinted=False)
        return _waiting(outcome) if isinstance(outcome, Refusal) else place_of(outcome.groups[0])

    def _left(self, fleet: Fleet) -> Fleet:
        if not self._taken:
            return fleet
        nodes = (replace(node, free=max(0, node.free - self._taken[node.name])) for node in fleet.nodes)
        return replace(fleet, nodes=tuple(nodes))


def place_of(group: GroupPlacement) -> Place:
    """Give the place of a planned group: its pods hold equal shares."""
    return tuple(pod.node for pod in group.pods), group.pods[0].gpus


def _part(fleet: Fleet, only: frozenset[str] | None) -> Fleet:
    return fleet if only is None else replace(fleet, nodes=tuple(node for node in fleet.nodes if node.name in only))


def _waiting(refusal: Refusal) -> Refusal:
    """Let a refusal wait for GPUs: groups of this shape had a place before.

    The plan asked for a single product, not the object.
    """
    nowhere = refusal.reason is RefusalReason.NO_MATCHING_NODES
    return replace(
        refusal,
        waits=True,
        reason=refusal.reason if nowhere else RefusalReason.CAPACITY_SHORT,
        excluded=tuple((_seen_from_the_plan(why), count) for why, count in refusal.excluded),
    )


def _seen_from_the_plan(why: LeftOut) -> LeftOut:
    return Mismatch.OTHER_PRODUCT if why is Mismatch.UNLISTED_PRODUCT else why
