"""Hints on the target: the nearest times and the highest rate for which a plan was found, and an objective."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import floor, log10
from typing import Final

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.target import Target
from shardwise.domain.units import latency_text, parse_latency
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.trials import Trial, Trials

_LONGEST: Final = 3600.0
"""Seconds: a target of more than an hour is worth no hint."""

_MOST_TIMES: Final = 1000.0
_LOWEST_RATE: Final = 1e-3


def first_token(demand: Demand, tried_on: Trials) -> Iterator[Trial]:
    """Try the shortest time until the first token that some plan keeps."""
    if demand.target is not None and demand.target.first_token is not None:
        yield from _later(demand, demand.target.first_token, "timeToFirstToken", _with_first_token, tried_on)


def per_token(demand: Demand, tried_on: Trials) -> Iterator[Trial]:
    """Try the shortest time for each token that some plan keeps."""
    if demand.target is not None and demand.target.per_token is not None:
        yield from _later(demand, demand.target.per_token, "timePerToken", _with_per_token, tried_on)


def times(demand: Demand, tried_on: Trials) -> Iterator[Trial]:
    """Try to make both times longer by the same factor, the least that helps, where neither time alone helps."""
    target = demand.target
    if target is None or target.first_token is None or target.per_token is None:
        return
    alone = (replace(target, first_token=None), replace(target, per_token=None))
    if any(tried_on.fits(replace(demand, target=one)) for one in alone):
        return
    longer = [replace(demand, target=_longer(target, factor)) for factor in round_numbers(1.0, _MOST_TIMES)[::-1]]
    least = largest_that_fits(range(len(longer)), lambda at: tried_on.fits(longer[at]))
    if least is not None:
        yield Trial(longer[least], "spec.target", longer[least].target)


def _longer(target: Target, factor: float) -> Target:
    first, token = target.first_token or 0.0, target.per_token or 0.0
    return replace(target, first_token=_readable(first * factor), per_token=_readable(token * factor))


def _readable(seconds: float) -> float:
    return parse_latency(latency_text(seconds))


def rate(demand: Demand, tried_on: Trials) -> Iterator[Trial]:
    """Try the highest rate that some plan serves."""
    target = demand.target
    if target is None or target.rate is None:
        return
    lower = [value for value in round_numbers(_LOWEST_RATE, target.rate) if value < target.rate]
    highest = largest_that_fits(range(len(lower)), lambda at: tried_on.fits(_with_rate(demand, target, lower[at])))
    if highest is not None:
        found = lower[highest]
        value = int(found) if found >= 1 and found == int(found) else found
        yield Trial(_with_rate(demand, target, found), "spec.target.requestsPerSecond", value)


def objective(demand: Demand, _: Trials) -> Iterator[Trial]:
    """Try the fewest GPUs where no price is known."""
    if demand.objective is Objective.CHEAPEST:
        fewest = Objective.FEWEST_GPUS
        yield Trial(replace(demand, objective=fewest), "spec.objective", fewest.value)


def _later(
    demand: Demand, seconds: float, field: str, changed: Callable[[Demand, float], Demand], tried_on: Trials
) -> Iterator[Trial]:
    """Try longer times, the longest first: a plan that keeps a time keeps every longer time."""
    longer = [value for value in round_numbers(seconds, _LONGEST) if value > seconds][::-1]
    shortest = largest_that_fits(range(len(longer)), lambda at: tried_on.fits(changed(demand, longer[at])))
    if shortest is not None:
        yield Trial(changed(demand, longer[shortest]), f"spec.target.{field}", latency_text(longer[shortest]))


def _with_first_token(demand: Demand, seconds: float) -> Demand:
    assert demand.target is not None  # noqa: S101 - called only with a target
    return replace(demand, target=replace(demand.target, first_token=seconds))


def _with_per_token(demand: Demand, seconds: float) -> Demand:
    assert demand.target is not None  # noqa: S101 - called only with a target
    return replace(demand, target=replace(demand.target, per_token=seconds))


def _with_rate(demand: Demand, target: Target, value: float) -> Demand:
    return replace(demand, target=replace(target, rate=value))


def round_numbers(least: float, most: float) -> list[float]:
    """Give the numbers of two digits, such as 0.25 and 18, from ``least`` to ``most``, ascending."""
    powers = range(floor(log10(least)) - 1, floor(log10(most)) + 1)
    numbers = (
        digits * 10.0**power if power >= 0 else digits / 10.0**-power for power in powers for digits in range(10, 100)
    )
    return [number for number in numbers if least <= number <= most]
