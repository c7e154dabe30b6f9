"""Racks of a cluster that does not serve ComputeDomains: the plan that NVIDIA's DRA driver would make possible."""

from collections.abc import Iterable
from dataclasses import replace

from shardwise.domain.demand import Demand
from shardwise.domain.notes import WithDriver
from shardwise.domain.plan import Plan
from shardwise.planner.pools import Eligible
from shardwise.planner.solve import SurveyedPool, solve, survey


def noted_without_driver(demand: Demand, pools: Eligible, surveyed: Iterable[SurveyedPool], made: Plan) -> Plan:
    """Add to a plan whose nodes are apart the plan that the driver would make possible, if that plan differs."""
    if not any(facts.pool.apart and facts.pool.product == made.product for facts in surveyed):
        return made
    other = solve(demand, survey(demand, pools, with_driver=True)).plan
    if other is None or other.layout == made.layout:
        return made
    note = WithDriver(other.layout, len(other.groups[0].pods) if other.groups else 0, other.product)
    return replace(made, notes=(*made.notes, note))


def plan_for_driver(demand: Demand, pools: Eligible, surveyed: Iterable[SurveyedPool]) -> Plan | None:
    """Plan as if the cluster served ComputeDomains; ``None`` if that changes nothing. Such a plan cannot start yet."""
    if not any(facts.pool.apart for facts in surveyed):
        return None
    return solve(demand, survey(demand, pools, with_driver=True)).plan
