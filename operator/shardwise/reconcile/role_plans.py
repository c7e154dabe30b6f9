"""The plans of an object with roles, made together: one budget, one limit of the namespace, and layouts that agree."""

from collections.abc import Mapping
from dataclasses import replace

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.roles import RoleName
from shardwise.planner.halves import Pair, PairRefusal, for_other, sharing
from shardwise.planner.pairs import part_of_rate, plan_pair
from shardwise.reconcile.plans import over_quota
from shardwise.reconcile.usable_fleet import UsableFleet

Planned = Mapping[RoleName, tuple[Wanted, Plan | Refusal]]
"""Each role as it was planned, with its plan; or the only role that was refused, with its refusal."""


def planned_roles(wanted: Wanted, fleet: Fleet, limit: GpuLimit | None) -> Planned:
    """Plan the roles of an object within the limit of its namespace."""
    whole = _pair(wanted, fleet, wanted.demand.gpu_budget)
    if limit is None or isinstance(whole, PairRefusal) or whole.gpus <= limit.left:
        return _told(wanted, whole)
    smaller = _pair(wanted, fleet, limit.left) if limit.left else None
    if isinstance(smaller, Pair):
        return _told(wanted, smaller)
    part = part_of(wanted, RoleName.DECODE)
    return {RoleName.DECODE: (part, over_quota(whole.decode, whole.gpus, UsableFleet(fleet, limit=limit)))}


def planned_part(wanted: Wanted, fleet: Fleet, limit: GpuLimit | None) -> Planned:
    """Plan the largest part of the rate of a target for which both roles have a plan; empty where no part has one."""
    budget = wanted.demand.gpu_budget if limit is None else min(limit.left, wanted.demand.gpu_budget)
    found = part_of_rate(*_demands(wanted, budget), fleet)
    return {} if found is None else _told(wanted, found)


def part_of(wanted: Wanted, name: RoleName) -> Wanted:
    """Give a role of an object that has roles."""
    return next(part for part in wanted.roles if role_of(part) is name)


def role_of(part: Wanted) -> RoleName:
    """Name the role that an object, or its part, has. It must have one."""
    assert part.launch.role is not None  # noqa: S101 - called only with a role
    return part.launch.role.name


def beside(part: Wanted, other: Plan, replicas: int, taken: int) -> Wanted:
    """Give a role with its replicas, and with the budget less what is taken, beside groups of a plan."""
    demand = for_other(sharing(replace(part.demand, replicas=replicas), taken), other)
    return replace(part, demand=demand)


def _pair(wanted: Wanted, fleet: Fleet, budget: int) -> Pair | PairRefusal:
    return plan_pair(*_demands(wanted, budget), fleet)


def _demands(wanted: Wanted, budget: int) -> tuple[Demand, Demand]:
    """Give the demands of decode and of prefill with a budget for both."""
    decode, prefill = part_of(wanted, RoleName.DECODE), part_of(wanted, RoleName.PREFILL)
    return replace(decode.demand, gpu_budget=budget), replace(prefill.demand, gpu_budget=budget)


def _told(wanted: Wanted, found: Pair | PairRefusal) -> Planned:
    if isinstance(found, PairRefusal):
        return {found.role: (part_of(wanted, found.role), found.refusal)}
    return {
        name: (
            beside(
                part_of(wanted, name),
                found.of(name.other),
                found.of(name).replicas,
                found.of(name.other).gpus,
            ),
            found.of(name),
        )
        for name in (RoleName.DECODE, RoleName.PREFILL)
    }
