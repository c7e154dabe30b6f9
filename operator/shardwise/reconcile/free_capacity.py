"""The free GPUs and other resources of an object's usable fleet, as its own groups take them and give them back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shardwise.domain.exclusions import LeftOut, Mismatch
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.launch import Wanted
from shardwise.domain.needs import Amounts, added, needs_by_node, shortage
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.domain.refusal import Refusal, RefusalReason
from shardwise.planner import plan as plan_demand
from shardwise.reconcile.plans import one_more
from shardwise.reconcile.records import Record
from shardwise.reconcile.usable_fleet import UsableFleet

Place = tuple[tuple[str, ...], int]
"""Nodes of the pods in rank order, and the GPUs of each."""


class FreeCapacity:
    """The GPUs and other resources of the usable fleet that the object has not taken yet, for groups of a plan."""

    def __init__(self, wanted: Wanted, plan: Plan, usable: UsableFleet) -> None:
        self._wanted = wanted
        self._tensor = plan.nvlink_gpus
        self._usable = usable
        self._taken: Counter[str] = Counter()
        self._others: dict[str, dict[str, int]] = {}

    @property
    def taken(self) -> int:
        """GPUs the object's groups have taken."""
        return sum(self._taken.values())

    def take(self, nodes: Sequence[str], gpus: int) -> None:
        """Take GPUs for the pods of a group: of the node of each pod."""
        self._change(nodes, gpus, 1)

    def give_back(self, record: Record) -> None:
        """Give back the GPUs of a group."""
        self._change(record.nodes, record.gpus, -1)

    def _change(self, nodes: Sequence[str], gpus: int, sign: int) -> None:
        for node in nodes:
            self._taken[node] += sign * gpus
        for node, needs in self._needs(nodes, gpus).items():
            changed = ((name, sign * amount) for name, amount in needs)
            self._others[node] = added(self._others.get(node, {}).items(), changed)

    def _needs(self, nodes: Sequence[str], gpus: int) -> Mapping[str, Amounts]:
        return needs_by_node(self._wanted.demand.needs, self._tensor, [(nodes, gpus)])

    def holds(self, record: Record) -> bool:
        """Tell whether a group can begin in its place: all its nodes may be used, and have enough for its pods."""
        asked: Counter[str] = Counter()
        for node in record.nodes:
            asked[node] += record.gpus
        closed = self._usable.closed(self._wanted.demand, asked) | self._usable.barred
        needs = self._needs(record.nodes, record.gpus)
        return closed.isdisjoint(asked) and all(
            self._has(node, gpus, needs.get(node, ())) for node, gpus in asked.items()
        )

    def _has(self, name: str, gpus: int, needs: Amounts) -> bool:
        node = self._usable.at_most(name)
        if node is None or node.free - self._taken[name] < gpus:
            return False
        return shortage(needs, node.allocatable, self._used(node)) is None

    def _used(self, node: Node) -> Amounts:
        own = self._others.get(node.name)
        return tuple(sorted(added(node.taken, own.items()).items())) if own else node.taken

    def find(self, plan: Plan, *, but_blamed: bool = False, only: frozenset[str] | None = None) -> Place | Refusal:
        """Find a place for another group of a plan. Use blamed nodes only if there is no other place.

        With ``but_blamed``, never use blamed nodes. With ``only``, use no other nodes than these. Lent GPUs are used
        only if there is no other place, and not with ``but_blamed``.
        """
        demand = one_more(self._wanted, plan)
        fleets = (_part(fleet, only) for fleet in self._usable.choices())
        outcome = plan_demand(demand, self._left(next(fleets)), hinted=False)
        for fleet in fleets:
            if isinstance(outcome, Refusal) and not but_blamed:
                outcome = plan_demand(demand, self._left(fleet), hinted=False)
        widened = self._usable.widened
        if isinstance(outcome, Refusal) and widened is not None and not but_blamed:
            *_, widest = widened.choices()
            outcome = plan_demand(demand, self._left(_part(widest, only)), hinted=False)
        return _waiting(outcome) if isinstance(outcome, Refusal) else place_of(outcome.groups[0])

    def _left(self, fleet: Fleet) -> Fleet:
        if not self._taken:
            return fleet
        taken = (fleet.node(name) for name in self._taken)
        return fleet.with_nodes(self._rest(node) for node in taken if node is not None)

    def _rest(self, node: Node) -> Node:
        return node._replace(free=max(0, node.free - self._taken[node.name]), taken=self._used(node))


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
