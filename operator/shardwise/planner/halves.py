"""The two halves of an object with roles: their plans, and the demand and the fleet of a role beside the other role."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.roles import RoleName, SharedBudget
from shardwise.planner import plan


@dataclass(frozen=True, slots=True)
class Pair:
    """The plans of both roles. The replicas of an object have a number each: those of decode come first."""

    decode: Plan
    prefill: Plan

    def of(self, name: RoleName) -> Plan:
        """Give the plan of a role."""
        return self.decode if name is RoleName.DECODE else self.prefill

    @property
    def gpus(self) -> int:
        """The GPUs of both roles."""
        return self.decode.gpus + self.prefill.gpus


@dataclass(frozen=True, slots=True)
class PairRefusal:
    """Why there is no plan for both roles: the refusal of one role, beside the GPUs of the other."""

    role: RoleName
    refusal: Refusal
    beside: int = 0


def for_other(demand: Demand, other: Plan | None) -> Demand:
    """Give the demand of a role whose caches come from, or go to, groups of a plan.

    The part of the time to the first token that passes in decode is taken from the time of prefill.
    """
    if demand.half is None:
        return demand
    layout, sizing = (None, None) if other is None else (other.layout, other.sizing)
    elsewhere = 0.0 if sizing is None else sizing.of_first_token or 0.0
    return replace(demand, half=replace(demand.half, other=layout, elsewhere=elsewhere))


def beside(demand: Demand, other: Demand, made: Plan, fleet: Fleet) -> Plan | Refusal:
    """Plan a role with the budget and the fleet that the plan of the other role leaves."""
    return plan(sharing(demand, made.gpus), without(fleet, other, made), hinted=False)


def sharing(demand: Demand, taken: int) -> Demand:
    """Give the demand of a role, which has the budget of its object, the GPUs that the other role leaves of it."""
    shared = SharedBudget(demand.gpu_budget, taken)
    return replace(demand, gpu_budget=shared.left, half=demand.half and replace(demand.half, shared=shared))


def without(fleet: Fleet, demand: Demand, made: Plan) -> Fleet:
    """Give the fleet without the GPUs, and without all other resources, that the pods of a plan take."""
    return fleet.without(made.gpus_by_node(), made.needs_by_node(demand.needs))


def within_of(demand: Demand) -> str | None:
    """Give the bounding place of both roles, if the object states it."""
    return None if demand.half is None else demand.half.role.within


def inside_places(demand: Demand, fleet: Fleet) -> Iterator[Fleet]:
    """Give the fleet as each bounding place leaves it, the place with the most free GPUs first.

    Gives the whole fleet if the roles need not lie together.
    """
    level = within_of(demand)
    if level is None:
        yield fleet
        return
    free: dict[str, int] = {}
    for node in fleet.nodes:
        place = fleet.place(node, level)
        free[place] = free.get(place, 0) + node.free
    free.pop("", None)
    for place in sorted(free, key=lambda found: (-free[found], found)) or [""]:
        yield only_in(fleet, level, place)


def only_in(fleet: Fleet, level: str, place: str) -> Fleet:
    """Give the fleet without the free GPUs outside a place."""
    return fleet.with_nodes(
        node._replace(free=0) for node in fleet.nodes if node.free and fleet.place(node, level) != place
    )
