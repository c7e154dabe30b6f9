"""The planner: ``plan(demand, fleet)`` gives a plan or a refusal, the same for the same inputs, byte for byte.

The planner is pure: it does no I/O, reads no clock and draws no random numbers. Legality, memory and cost depend on the
demand alone; placement depends on the fleet too. A single sort key orders the layouts. The answer lists every layout
that was tried, and why it lost.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.fleet import Fleet
from shardwise.domain.model import ModelFacts
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.target import Sizing
from shardwise.planner.driver import noted_without_driver, plan_for_driver
from shardwise.planner.judging import weighed
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.pools import eligible
from shardwise.planner.refuse import refuse
from shardwise.planner.shorten import with_shorter_context
from shardwise.planner.solve import solve, survey
from shardwise.planner.trials import TrialFleet

__all__ = ["RATE_PARTS", "most_replicas", "plan", "resized", "sizing_of", "take", "with_part_of_rate"]

RATE_PARTS: Final = 64
"""The parts into which the rate of a target is cut where the fleet has no room for all of it."""

Share = Callable[[Demand, int | None, int], Demand]
"""Gives a demand with some of its parts, and with their share of the GPUs that all parts share, if they share any."""


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
    whole, part = _parts(demand)
    for shares in (True, False):
        fewer = partial(part, demand, (shared or demand.gpu_budget) if shares else None)
        counts = range(1, whole)
        # mypy cannot infer the type of a lambda's default.
        most = largest_that_fits(counts, lambda replicas, fewer=fewer: searched.fits(fewer(replicas)))  # type: ignore[misc]
        if most is not None:
            made = searched.plan(fewer(most))
            return made and resized(demand, made, fleet)
    return None


def resized(demand: Demand, made: Plan, fleet: Fleet) -> Plan:
    """Give the plan of a part of a demand with the sizing of the whole."""
    return replace(made, sizing=sizing_of(demand, fleet, made))


def sizing_of(demand: Demand, fleet: Fleet, made: Plan) -> Sizing | None:
    """Size the layout of a plan for the target of a demand, on any GPUs of its product, free or not.

    ``None`` without a target, and where the layout misses it. The budget does not count.
    """
    if demand.target is None:
        return None
    layout = made.layout
    pinned = replace(demand, products=(made.product,), pins=Pins.of(layout), context_length=made.context_length)
    tried = (
        found
        for facts in survey(pinned, eligible(pinned, fleet, emptied=True))
        for found in weighed(pinned, facts.gpus)
    )
    return next((found.sizing(demand) for found in tried if found.layout == layout), None)


def _parts(demand: Demand) -> tuple[int, Share]:
    """Give into how many parts a demand can be cut, and the function that gives some of them."""
    if demand.target is not None and demand.target.rate is not None and demand.replicas:
        return RATE_PARTS, with_part_of_rate
    return min(demand.replicas, demand.gpu_budget + 1), _with_replicas


def with_part_of_rate(demand: Demand, shared: int | None, parts: int) -> Demand:
    """Give a demand, which has a rate, some of the :data:`RATE_PARTS` parts of it, and of the GPUs that all share."""
    assert demand.target is not None and demand.target.rate is not None  # noqa: S101, PT018 - called only with a rate
    target = replace(demand.target, rate=demand.target.rate * parts / RATE_PARTS)
    share = demand.gpu_budget if shared is None else shared * parts // RATE_PARTS
    return replace(demand, replicas=1, target=target, gpu_budget=min(share, demand.gpu_budget))


def _with_replicas(demand: Demand, shared: int | None, replicas: int) -> Demand:
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
    return fleet.without(taken.gpus_by_node())
