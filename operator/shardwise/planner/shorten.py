"""Shortening the context, where a demand allows it and no plan fits otherwise."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.notes import ContextShortened
from shardwise.domain.plan import Plan
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.solve import SurveyedPool, fits, solve

_STEP: Final = 1024
"""Tokens between the lengths that are tried: a finer step gains too little."""


def with_shorter_context(demand: Demand, surveyed: Sequence[SurveyedPool]) -> Plan | None:
    """Plan with the longest context that fits and that the demand allows; ``None`` where no context fits.

    A shorter context never needs more memory. O(log tokens) searches.
    """
    if demand.least_context is None:
        return None
    longest = largest_that_fits(
        _lengths(demand.least_context, demand.context_length),
        lambda tokens: fits(replace(demand, context_length=tokens), surveyed),
    )
    if longest is None:
        return None
    found = solve(replace(demand, context_length=longest), surveyed).plan
    return found and replace(found, notes=(*found.notes, ContextShortened(longest, demand.context_length)))


def _lengths(least: int, wanted: int) -> list[int]:
    """Give the lengths to try: the least, and every whole step above it and below the wanted length."""
    return [least, *range((least // _STEP + 1) * _STEP, wanted, _STEP)]


def at_least(demand: Demand) -> Demand:
    """Give the demand with the shortest context it accepts: where that context does not fit, no context does."""
    return demand if demand.least_context is None else replace(demand, context_length=demand.least_context)
