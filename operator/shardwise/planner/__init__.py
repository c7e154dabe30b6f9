"""The planner: ``plan(demand, fleet)`` gives a plan or a refusal, the same for the same inputs, byte for byte.

The planner is pure: it does no I/O, reads no clock and draws no random numbers. Legality, memory and cost depend on the
demand alone; placement depends on the fleet too. A single sort key orders the layouts. The answer lists every layout
that was tried, and why it lost.
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

    O(nodes) to sort the fleet, O(layouts) to judge, and O(domains · log domains) to place the chosen layout.
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

    The caches of the planner compare models. Comparing a model with itself is quick. Comparing it with an equal copy,
    read for another object, goes through all weights at every look-up.
    """
    return model


def take(fleet: Fleet, taken: Plan) -> Fleet:
    """Give the fleet without the GPUs that a plan takes. Nodes that the plan does not use are unchanged. O(nodes)."""
    held = taken.gpus_by_node()
    nodes = tuple(
        replace(node, free=max(0, node.free - held[node.name])) if node.name in held else node for node in fleet.nodes
    )
    return replace(fleet, nodes=nodes)
