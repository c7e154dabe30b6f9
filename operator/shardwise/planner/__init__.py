"""The planner: ``plan(demand, fleet)`` gives a plan or a refusal, the same for the same inputs, byte for byte.

The planner is pure: it does no I/O, reads no clock and draws no random numbers. Legality, memory and cost depend on the
demand alone; placement depends on the fleet too. A single sort key orders the layouts. The answer lists every layout
that was tried, and why it lost.
"""

from dataclasses import replace
from functools import lru_cache, partial

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.model import ModelFacts
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.planner.driver import noted_without_driver, plan_for_driver
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.pools import eligible
from shardwise.planner.refuse import refuse
from shardwise.planner.shorten import with_shorter_context
from shardwise.planner.solve import solve, survey
from shardwise.planner.trials import TrialFleet

__all__ = ["most_replicas", "plan", "take"]


def plan(demand: Demand, fleet: Fleet, *, hinted: bool = True) -> Plan | Refusal:
    """Plan one demand on a fleet. Without ``hinted``, a refusal has no hints: for callers that would drop them.

    On a cluster without ComputeDomains, the layers of a model are shared over the nodes of a rack only if no other plan
    is possible there, or if a pin asks for it.

    O(nodes) to sort the fleet for the first demand of a wish, then O(nodes that have changed since). O(layouts) to
    judge. To place the chosen layout, O(places), and O(different free counts) in a place.
    """
    demand = replace(demand, model=_first_alike(demand.model))
    pools = eligible(demand, fleet)
    surveyed = survey(demand, pools)
    solution = solve(demand, surveyed)
    made = solution.plan or with_shorter_context(demand, surveyed)
    if made is not None:
        return noted_without_driver(demand, pools, surveyed, made)
    refusal = refuse(demand, fleet, pools, surveyed, solution.rejected, hinted=hinted)
    return refusal if refusal.waits else plan_for_driver(demand, pools, surveyed) or refusal


def most_replicas(demand: Demand, fleet: Fleet, shared: int | None = None) -> Plan | None:
    """Plan as many replicas as fit, but not all, each with its share of the budget; ``None`` where no replica fits.

    ``shared`` is the number of GPUs that all replicas share, if it is not the budget of the demand. Together they get
    no more than the budget.
    If no replica fits its share, each may use the whole budget. O(log(replicas)) searches, and a single plan: the
    searches only tell whether a number of replicas fits, and share the pools.
    """
    demand = replace(demand, model=_first_alike(demand.model))
    pools = eligible(demand, fleet)
    searched = TrialFleet(fleet, demand, pools, survey(demand, pools))
    for shares in (True, False):
        fewer = partial(_with_replicas, demand, shared=(shared or demand.gpu_budget) if shares else None)
        counts = range(1, min(demand.replicas, demand.gpu_budget + 1))
        # mypy cannot infer the type of a lambda's default.
        most = largest_that_fits(counts, lambda replicas, fewer=fewer: searched.fits(fewer(replicas)))  # type: ignore[misc]
        if most is not None:
            return searched.plan(fewer(most))
    return None


def _with_replicas(demand: Demand, replicas: int, *, shared: int | None) -> Demand:
    share = demand.gpu_budget if shared is None else shared * replicas // demand.replicas
    return replace(demand, replicas=replicas, gpu_budget=min(share, demand.gpu_budget))


@lru_cache(maxsize=256)
def _first_alike(model: ModelFacts) -> ModelFacts:
    """Give the first model seen that equals this one.

    The caches of the planner compare models. Comparing a model with itself is quick. Comparing it with an equal copy,
    read for another object, goes through all weights at every look-up.
    """
    return model


def take(fleet: Fleet, taken: Plan) -> Fleet:
    """Give the fleet without the GPUs that a plan takes, but with all its other resources.

    Nodes that the plan does not use are unchanged.
    """
    held = taken.gpus_by_node()
    known = (fleet.node(name) for name in held)
    return fleet.with_nodes(replace(node, free=max(0, node.free - held[node.name])) for node in known if node)
