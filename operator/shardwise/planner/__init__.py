"""The planner: ``plan(demand, fleet)`` gives a plan or a refusal, the same for the same inputs, byte for byte.

Pure: no I/O, no clock, no chance. Legality, memory and cost are functions of the demand; placement of the fleet; the
order of preference is one sort key; every layout that was tried is recorded with its fate.
"""

from dataclasses import replace
from functools import lru_cache

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.model import ModelFacts
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.planner.pools import eligible
from shardwise.planner.refuse import refuse
from shardwise.planner.shorten import with_shorter_context
from shardwise.planner.solve import solve, survey

__all__ = ["plan", "take"]


def plan(demand: Demand, fleet: Fleet) -> Plan | Refusal:
    """Plan one demand on a fleet.

    O(nodes) to sort the fleet, then O(layouts) to judge and O(domains · log domains) to place the chosen one.
    """
    demand = replace(demand, model=_first_alike(demand.model))
    pools = eligible(demand, fleet)
    surveyed = survey(demand, pools)
    solution = solve(demand, surveyed)
    if solution.plan is not None:
        return solution.plan
    return with_shorter_context(demand, surveyed) or refuse(demand, fleet, pools, surveyed, solution.rejected)


@lru_cache(maxsize=256)
def _first_alike(model: ModelFacts) -> ModelFacts:
    """Give the first model seen that equals this one.

    What is remembered of a model is found by comparing models: the same one is told at once, an equal one, read for
    another object, weight by weight and at every look-up.
    """
    return model


def take(fleet: Fleet, taken: Plan) -> Fleet:
    """Give the fleet with a plan's GPUs no longer free. Nodes it does not use are the same values. O(nodes)."""
    held = taken.gpus_by_node()
    nodes = tuple(
        replace(node, free=max(0, node.free - held[node.name])) if node.name in held else node for node in fleet.nodes
    )
    return replace(fleet, nodes=nodes)
