"""Hints: changes of the object that would help. The planner has found a plan with each of them.

The kinds are ordered by how little they change: first where the model may run and how it is split, then how much is
served, then the precision, last the engine. Each hint is the smallest change of its kind. A kind is tried only if it
may remove the causes of the refusal. The searched values ascend: if a value fits, every lower value fits.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.refusal import Area, Hint, RejectedLayout
from shardwise.planner.hints_on_load import (
    cache_as_stored,
    cache_in_fp8,
    concurrency,
    context,
    engine,
    exchange,
    least_context,
    replicas,
    reserve,
    weights_in_fp8,
)
from shardwise.planner.hints_on_place import budget, node_selector, pins, products, tolerations, within
from shardwise.planner.hints_on_target import first_token, objective, per_token, rate, times
from shardwise.planner.trials import MOST_TRIES, HintKind, Trial, TrialFleet

MOST_HINTS: Final = 5

MOST_JUDGED: Final = 100_000
"""Layouts that all searches for the hints of a refusal may judge: about two seconds of work."""

FEWEST_SEARCHES: Final = 8
"""Searches that are made for hints, however many layouts each of them judges."""

_ALWAYS: Final = frozenset[Area]()

_KINDS: Final[tuple[tuple[HintKind, frozenset[Area]], ...]] = (
    (pins, _ALWAYS),
    (exchange, frozenset({Area.LAW, Area.MEMORY, Area.DOMAIN})),
    (budget, frozenset({Area.BUDGET})),
    (products, _ALWAYS),
    (within, _ALWAYS),
    (node_selector, _ALWAYS),
    (tolerations, _ALWAYS),
    (objective, frozenset({Area.PRICE})),
    (first_token, frozenset({Area.TARGET})),
    (per_token, frozenset({Area.TARGET})),
    (times, frozenset({Area.TARGET})),
    (rate, frozenset({Area.BUDGET, Area.ROOM})),
    (replicas, frozenset({Area.BUDGET, Area.DOMAIN, Area.ROOM})),
    (cache_in_fp8, frozenset({Area.MEMORY})),
    (cache_as_stored, frozenset({Area.PRODUCT})),
    (reserve, frozenset({Area.MEMORY})),
    (concurrency, frozenset({Area.MEMORY})),
    (context, frozenset({Area.MEMORY})),
    (least_context, frozenset({Area.MEMORY})),
    (weights_in_fp8, frozenset({Area.MEMORY})),
    (engine, frozenset({Area.LAW})),
)
"""The kinds of hints in their order, each with the areas whose causes it may remove."""


def hints(demand: Demand, tried_on: TrialFleet, rejected: tuple[RejectedLayout, ...]) -> tuple[Hint, ...]:
    """Give at most five changes that work, in the order of the kinds. No two are of the same kind.

    A search judges about as many layouts as were rejected. That bounds the number of searches.
    """
    tried_on.most_searches = max(FEWEST_SEARCHES, MOST_JUDGED // max(1, len(rejected)))
    areas = {layout.cause.area for layout in rejected}
    kinds = (kind for kind, helps in _KINDS if not helps or areas & helps)
    found = (_first(kind(demand, tried_on), tried_on) for kind in kinds)
    return tuple(islice((hint for hint in found if hint is not None), MOST_HINTS))


def _first(tried: Iterable[Trial], tried_on: TrialFleet) -> Hint | None:
    """Give the first change the planner finds a plan with."""
    for trial in islice(tried, MOST_TRIES):
        plan = tried_on.plan(trial.demand)
        if plan is not None:
            return Hint(trial.field, trial.value, plan.layout, plan.product, plan.gpus, trial.change, plan.tight)
    return None
