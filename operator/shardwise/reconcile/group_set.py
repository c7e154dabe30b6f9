"""Which groups an object has: those that stay, those that go, those that are made, and those that are replaced.

In this order. Groups beyond the replicas asked for go: those that serve least, then those of old content, then the
newest. A group that begins keeps its place where that can be used, else it gets another. Missing groups are placed, as
many as budget and fleet allow. Then those of old content are replaced, see ``roll``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.reconcile.free_capacity import FreeCapacity, Place, place_of
from shardwise.reconcile.life import Terms, Trigger, decided
from shardwise.reconcile.plans import PlanInForce, over_budget
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView

_WORTH: Final = (
    State.READY,
    State.UNREADY,
    State.STARTING,
    State.PENDING,
    State.BACKOFF,
    State.HELD,
    State.WAITING,
)
"""States by what a group in it is worth to clients, most first."""


@dataclass(frozen=True, slots=True)
class GroupSet:
    """The groups as they shall be, by replica; those of old content; and why some have no place."""

    groups: tuple[GroupView, ...]
    refusal: Refusal | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """Their records."""
        return tuple(view.record for view in self.groups)


class GroupSetBuilder:
    """Works the groups of an object out, step by step. Groups are views whose record is that after the steps so far.

    Of a place just found nothing has been seen. ``named`` are replica numbers that pods have.
    """

    def __init__(self, wanted: Wanted, plan: Plan, usable: UsableFleet, terms: Terms, named: frozenset[int]) -> None:
        self.wanted = wanted
        self.plan = plan
        self.terms = terms
        self.capacity = FreeCapacity(wanted, usable)
        self.groups: dict[int, GroupView] = {}
        self.refusal: Refusal | None = None
        self._usable = usable
        self._named = named

    def keep(self, groups: tuple[GroupView, ...]) -> None:
        """Take in the groups that stay; what they hold is taken first, so that nobody else begins there."""
        self.groups = {view.record.replica: view for view in groups}
        begun = [view for view in groups if not _begins(view)]
        for view in begun:
            self.capacity.take(view.record.nodes, view.record.gpus)
        for view in groups:
            if _begins(view):
                self._begin(view)

    def _begin(self, view: GroupView) -> None:
        """Let a group begin where it was, where it can; a node it failed on twice is left if there is another."""
        record = view.record
        if record.nodes and self.capacity.holds(record):
            elsewhere = None if view.pods else self._elsewhere(record)
            if elsewhere is not None:
                record = replace(record, nodes=elsewhere[0], gpus=elsewhere[1], content="")
            self.capacity.take(record.nodes, record.gpus)
            self.set(replace(view, record=record))
        else:
            self.set(replace(view, record=decided(view, Trigger.DISPLACED, self.terms)))

    def _elsewhere(self, record: Record) -> Place | None:
        if self._usable.blamed.isdisjoint(record.nodes):
            return None
        found = self.capacity.find(self.plan, but_blamed=True)
        return None if isinstance(found, Refusal) else found

    def set(self, view: GroupView) -> None:
        """Replace a group by what became of it."""
        self.groups[view.record.replica] = view

    def fill(self, fresh: tuple[Place, ...]) -> None:
        """Place groups that have no place, and make those that are missing, until budget or fleet end.

        ``fresh`` are places already found.
        """
        places = iter(fresh)
        waiting = [view for view in self.groups.values() if view.record.state is State.WAITING]
        missing = self.wanted.demand.replicas - len(self.groups)
        for view in (*waiting, *self.newcomers(missing)):
            place = next(places, None) or self.place_for_one()
            if isinstance(place, Refusal):
                self.refusal = place
                return
            self.put(view, place)

    def newcomers(self, count: int) -> Iterator[GroupView]:
        """Make groups that wait for a place, under the lowest numbers that nobody has, also no pod that is going."""
        used = self._named.union(self.groups)
        free = [number for number in range(len(used) + max(0, count)) if number not in used]
        for replica in free[: max(0, count)]:
            yield GroupView(Record(replica, 0, State.WAITING, since=self.terms.now), ())

    def place_for_one(self) -> Place | Refusal:
        """Find a place for one group more, inside the budget."""
        if self.capacity.taken + self.plan.layout.world_size > self.wanted.demand.gpu_budget:
            return over_budget(self.wanted, self.plan, self._usable.fleet)
        return self.capacity.find(self.plan)

    def put(self, view: GroupView, place: Place) -> None:
        """Give a group that waits a place."""
        nodes, gpus = place
        self.capacity.take(nodes, gpus)
        placed = decided(view, Trigger.PLACED, self.terms)
        self.set(GroupView(replace(placed, nodes=nodes, gpus=gpus), ()))

    def place_anew(self, view: GroupView) -> Place | Refusal:
        """Find a place for the next attempt of a group that has given its own back: the same, where that will do.

        Its weights may lie in a cache there. A node that is blamed will not do while there is another.
        """
        if self.capacity.taken + self.plan.layout.world_size > self.wanted.demand.gpu_budget:
            return over_budget(self.wanted, self.plan, self._usable.fleet)
        same = self.capacity.find(self.plan, but_blamed=True, only=frozenset(view.record.nodes))
        return self.capacity.find(self.plan) if isinstance(same, Refusal) else same

    def renew(self, view: GroupView, place: Place) -> None:
        """Replace a group by its next attempt, in a place."""
        nodes, gpus = place
        self.capacity.take(nodes, gpus)
        renewed = replace(decided(view, Trigger.RENEWED, self.terms), nodes=nodes, gpus=gpus)
        self.set(GroupView(renewed, ()))

    def build(self) -> GroupSet:
        """Give what was worked out."""
        return GroupSet(tuple(view for _, view in sorted(self.groups.items())), self.refusal)


def _begins(view: GroupView) -> bool:
    return view.record.state is State.PENDING


def retained(wanted: Wanted, groups: tuple[GroupView, ...]) -> tuple[GroupView, ...]:
    """Choose the groups that stay: as many as are asked for, and what is being started to replace old ones of them."""
    replicas = wanted.demand.replicas
    ordered = sorted(groups, key=_worth)
    kept, rest = ordered[:replicas], ordered[replicas:]
    if any(view.leaving for view in kept):
        kept += [view for view in rest if not view.leaving][: wanted.update.max_surge]
    return tuple(_within_budget(wanted.demand.gpu_budget, kept))


def _within_budget(budget: int, ordered: list[GroupView]) -> Iterator[GroupView]:
    held = 0
    for view in ordered:
        held += view.record.held_gpus
        if held <= budget:
            yield view


def _worth(view: GroupView) -> tuple[int, bool, float, int]:
    record = view.record
    return _WORTH.index(record.state), view.leaving, record.served or float("inf"), record.replica


def without_plan(wanted: Wanted, in_force: PlanInForce, groups: tuple[GroupView, ...]) -> GroupSet:
    """Keep what runs while nothing new can be begun: what is asked for now may come to have a place, or be mended."""
    running = tuple(view for view in groups if view.record.nodes and view.record.state is not State.PENDING)
    return GroupSet(tuple(sorted(retained(wanted, running), key=lambda view: view.record.replica)), in_force.refusal)


def places_of(in_force: PlanInForce) -> tuple[Place, ...]:
    """Give the places of a plan just made."""
    return tuple(place_of(group) for group in in_force.fresh)
