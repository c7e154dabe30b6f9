"""The groups of an object: groups that stay, go, begin or are replaced.

The order is this. Groups beyond the wanted number of replicas go: first the groups that serve least, then groups of old
content, then the newest. A group that begins keeps its place if the place can be used, else it gets another place.
Missing groups are placed, as many as budget and fleet allow; one at a time while the API server refuses pods, see
``refused``. Then groups of old content are replaced, see ``roll``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from shardwise.domain.launch import Wanted
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.reconcile.free_capacity import FreeCapacity, Place, place_of
from shardwise.reconcile.life import Terms, Trigger, decided
from shardwise.reconcile.observed import OtherRole
from shardwise.reconcile.plans import PlanInForce, over_budget, over_quota
from shardwise.reconcile.records import BEGINNING, SERVING, Record, State
from shardwise.reconcile.refused import holds_back, next_to_try, tried
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView

_WORTH: Final = (
    State.READY,
    State.UNREADY,
    State.STARTING,
    State.PENDING,
    State.QUEUED,
    State.BACKOFF,
    State.HELD,
    State.REFUSED,
    State.WAITING,
)
"""States by their worth to clients, highest first."""


@dataclass(frozen=True, slots=True)
class GroupSet:
    """The desired groups, by replica, groups of old content included; and why some groups have no place.

    ``obstacle`` is the reason if it does not lie in the plan.
    """

    groups: tuple[GroupView, ...]
    refusal: Refusal | None = None
    obstacle: Obstacle | None = None

    @property
    def no_place(self) -> Refusal | Obstacle | None:
        """Why some groups have no place; ``None`` if all have."""
        return self.refusal or self.obstacle

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of the groups."""
        return tuple(view.record for view in self.groups)


class GroupSetBuilder:
    """Builds the groups of an object, step by step. Each group is a view whose record is up to date after each step.

    Nothing has been observed yet of a new place. ``named`` are the replica numbers that pods have.
    """

    def __init__(self, wanted: Wanted, plan: Plan, usable: UsableFleet, terms: Terms, named: frozenset[int]) -> None:
        self.wanted = wanted
        self.plan = plan
        self.terms = terms
        self.capacity = FreeCapacity(wanted, plan, usable)
        self.groups: dict[int, GroupView] = {}
        self.refusal: Refusal | None = None
        self._usable = usable
        self._named = named

    def keep(self, groups: tuple[GroupView, ...], *, may_begin: bool = True) -> None:
        """Add the groups that stay. Groups that run take their GPUs first, so that no other group begins there.

        Unless groups may begin, a group whose pods are not all made gives its place back.
        """
        self.groups = {view.record.replica: view for view in groups}
        begun = [view for view in groups if not _begins(view)]
        for view in begun:
            self.capacity.take(view.record.nodes, view.record.gpus)
        for view in groups:
            if _begins(view) and (may_begin or not view.lacks_pods):
                self._begin(view)
            elif _begins(view):
                self._displace(view)

    def _begin(self, view: GroupView) -> None:
        """Let a group begin in its old place if it can. It leaves a blamed node if there is another place."""
        record = view.record
        begun = record.open and bool(view.pods)  # the scheduler looks for the nodes of the other pods, too
        if record.nodes and (begun or self.capacity.holds(record)):
            elsewhere = None if view.pods else self._elsewhere(record)
            if elsewhere is not None:
                record = replace(record, nodes=elsewhere[0], gpus=elsewhere[1], content="")
            self.capacity.take(record.nodes, record.gpus)
            self.set(replace(view, record=record))
        else:
            self._displace(view)

    def _displace(self, view: GroupView) -> None:
        self.set(replace(view, record=decided(view, Trigger.DISPLACED, self.terms)))

    def _elsewhere(self, record: Record) -> Place | None:
        if self._usable.blamed.isdisjoint(record.nodes):
            return None
        found = self.capacity.find(self.plan, but_blamed=True)
        return None if isinstance(found, Refusal) else found

    def set(self, view: GroupView) -> None:
        """Replace a group by its new state."""
        self.groups[view.record.replica] = view

    def fill(self, fresh: tuple[Place, ...]) -> None:
        """Place groups that have no place, and make missing groups, until the budget or the fleet is used up.

        ``fresh`` are places that the planner has found already.
        """
        places = iter(fresh)
        for view in self._without_place():
            place = next(places, None) or self.place_for_one()
            if isinstance(place, Refusal):
                self.refusal = place
                return
            self.put(view, place)

    def _without_place(self) -> tuple[GroupView, ...]:
        """Give the groups that are to get a place now. While pods are refused, that is the group to try, if any."""
        groups = tuple(self.groups.values())
        if holds_back(groups):
            trial = tried(groups) or self._let_try(next_to_try(groups, self.terms.now))
            return () if trial is None or trial.record.nodes else (trial,)
        waiting = [view for view in groups if view.record.state is State.WAITING]
        return (*waiting, *self.newcomers(self.wanted.demand.replicas - len(groups)))

    def _let_try(self, view: GroupView | None) -> GroupView | None:
        if view is None:
            return None
        self.set(replace(view, record=decided(view, Trigger.RETRIED, self.terms)))
        return self.groups[view.record.replica]

    def newcomers(self, count: int) -> Iterator[GroupView]:
        """Make groups that wait for a place, with the lowest numbers that no group and no leaving pod has."""
        used = self._named.union(self.groups)
        free = [number for number in range(len(used) + max(0, count)) if number not in used]
        for replica in free[: max(0, count)]:
            yield GroupView(Record(replica, 0, State.WAITING, since=self.terms.now), ())

    def place_for_one(self) -> Place | Refusal:
        """Find a place for another group, inside the budget."""
        return self._too_many() or self.capacity.find(self.plan)

    def _too_many(self) -> Refusal | None:
        """Say why the object may not hold the GPUs of another group; ``None`` if it may."""
        gpus = self.capacity.taken + self.plan.layout.world_size
        if gpus > self.wanted.demand.gpu_budget:
            return over_budget(self.wanted, self.plan, self._usable.fleet)
        return None if self._usable.allows(gpus) else over_quota(self.plan, gpus, self._usable)

    def put(self, view: GroupView, place: Place) -> None:
        """Give a place to a group that waits."""
        nodes, gpus = place
        self.capacity.take(nodes, gpus)
        placed = decided(view, Trigger.PLACED, self.terms)
        self.set(GroupView(replace(placed, nodes=nodes, gpus=gpus), ()))

    def place_anew(self, view: GroupView) -> Place | Refusal:
        """Find a place for the next attempt of a group that has given back its GPUs: the same place, if possible.

        The weights may lie in a cache there. A blamed node is used only if there is no other place.
        """
        too_many = self._too_many()
        if too_many is not None:
            return too_many
        same = self.capacity.find(self.plan, but_blamed=True, only=frozenset(view.record.nodes))
        return self.capacity.find(self.plan) if isinstance(same, Refusal) else same

    def renew(self, view: GroupView, place: Place) -> None:
        """Replace a group by its next attempt, in a place."""
        nodes, gpus = place
        self.capacity.take(nodes, gpus)
        renewed = replace(decided(view, Trigger.RENEWED, self.terms), nodes=nodes, gpus=gpus)
        self.set(GroupView(renewed, ()))

    def build(self) -> GroupSet:
        """Give the finished group set."""
        return GroupSet(tuple(view for _, view in sorted(self.groups.items())), self.refusal)


def _begins(view: GroupView) -> bool:
    return view.record.state in BEGINNING


def retained(wanted: Wanted, groups: tuple[GroupView, ...], other: OtherRole | None = None) -> tuple[GroupView, ...]:
    """Choose the groups that stay: the wanted number, and groups that are starting to replace old groups.

    While the other role of an object still serves with old content alone, and its new content begins, a group of old
    content stays too: groups of different content may not be able to exchange KV caches.
    """
    replicas = wanted.demand.replicas
    ordered = sorted(groups, key=_worth)
    kept, rest = ordered[:replicas], ordered[replicas:]
    if any(view.leaving for view in kept):
        kept += [view for view in rest if not view.leaving][: wanted.update.max_surge]
    elif other is not None and other.waits_for_a_pair:
        kept += [view for view in rest if view.leaving and view.record.state in SERVING][:1]
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
    """Keep the groups that run while no group can begin. The demand may find a place later, or the user may fix it."""
    running = tuple(view for view in groups if view.record.nodes and not _begins(view))
    return GroupSet(tuple(sorted(retained(wanted, running), key=lambda view: view.record.replica)), in_force.refusal)


def hindered(wanted: Wanted, group_set: GroupSet, obstacle: Obstacle) -> GroupSet:
    """Give a group set with the obstacle that keeps groups from beginning, if any is to begin."""
    placed = sum(bool(view.record.nodes) and not view.leaving for view in group_set.groups)
    return replace(group_set, obstacle=obstacle) if placed < wanted.demand.replicas else group_set


def places_of(in_force: PlanInForce) -> tuple[Place, ...]:
    """Give the places of a plan that was just made."""
    return tuple(place_of(group) for group in in_force.fresh)
