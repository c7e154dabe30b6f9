"""Lowering the context where a demand allows it and nothing fits otherwise."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.plan import Plan
from shardwise.planner.solve import Surveyed, solve

_STEP: Final = 1024
"""Tokens between the lengths that are tried: finer steps gain nothing worth a word."""


def with_shorter_context(demand: Demand, surveyed: Sequence[Surveyed]) -> Plan | None:
    """Plan with the longest context that fits, no shorter than the demand allows; ``None`` where none does.

    A shorter context never needs more, so that the longest is found by halving: O(log(tokens)) searches.
    """
    if demand.least_context is None:
        return None
    found = _planned(demand, surveyed, demand.least_context)
    if found is None:
        return None
    fits, too_long = demand.least_context, demand.context_length
    while too_long - fits > _STEP:
        middle = (fits + too_long) // 2 // _STEP * _STEP
        middle = middle if middle > fits else fits + _STEP
        tried = _planned(demand, surveyed, middle)
        if tried is None:
            too_long = middle
        else:
            fits, found = middle, tried
    return replace(found, notes=(*found.notes, _lowered(demand, found)))


def at_least(demand: Demand) -> Demand:
    """Give the demand at the shortest context it takes: where that does not fit, nothing does."""
    return demand if demand.least_context is None else replace(demand, context_length=demand.least_context)


def _planned(demand: Demand, surveyed: Sequence[Surveyed], context: int) -> Plan | None:
    return solve(replace(demand, context_length=context), surveyed).plan


def _lowered(demand: Demand, plan: Plan) -> str:
    return (
        f"{plan.context_length} tokens a sequence: nothing fits {demand.context_length}, "
        "and `spec.model.minContextLength` allows less"
    )
