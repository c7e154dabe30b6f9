"""The engine's own figures beside the plan: who is asked for them, when again, and what the answers say.

The leader of a group that serves is asked once in each attempt. If nothing answers, it is asked again after
``RETRY_SECONDS``, at most ``MOST_TRIES`` times: its address may not be reachable from the operator, and no engine is
blamed for that. docs/decisions/0056 has the reasons.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from shardwise.domain.cache_tokens import CacheTokens
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.engines import ENGINES
from shardwise.reconcile.asks import Ask
from shardwise.reconcile.group_set import GroupSet
from shardwise.reconcile.observed import Observed
from shardwise.reconcile.records import State
from shardwise.reconcile.views import GroupView

MOST_TRIES: Final = 3
"""Questions to a leader from which no answer comes."""

RETRY_SECONDS: Final = 60.0


def with_figures(plan: Plan | None, group_set: GroupSet, observed: Observed) -> GroupSet:
    """Note in the records the figures that engines have answered."""

    def measured(view: GroupView) -> GroupView:
        answer = observed.answers.get((view.record.replica, view.record.attempt))
        if plan is None or answer is None or answer.tokens is None or not _is_open(view):
            return view
        return replace(view, record=replace(view.record, cache=CacheTokens(plan.cache_tokens, answer.tokens)))

    return replace(group_set, groups=tuple(map(measured, group_set.groups)))


def asks(wanted: Wanted, plan: Plan | None, group_set: GroupSet, observed: Observed, now: float) -> Iterator[Ask]:
    """Give the questions that are due."""
    for view, left in _unanswered(wanted, plan, group_set, observed, now):
        engine = ENGINES[wanted.demand.engine]
        figures = engine.figures(wanted)
        if left <= 0 and figures is not None:
            yield Ask(view.record.replica, view.record.attempt, view.pods[0].address, engine.HTTP_PORT, figures)


def until_next_ask(
    wanted: Wanted, plan: Plan | None, group_set: GroupSet, observed: Observed, now: float
) -> float | None:
    """Give the seconds until a question is due again; ``None`` if none will be. Questions due now are asked now."""
    waits = (RETRY_SECONDS if left <= 0 else left for _, left in _unanswered(wanted, plan, group_set, observed, now))
    return min(waits, default=None)


def _unanswered(
    wanted: Wanted, plan: Plan | None, group_set: GroupSet, observed: Observed, now: float
) -> Iterator[tuple[GroupView, float]]:
    """Give the groups whose figures are still to be asked for, each with the seconds until then."""
    if plan is None or not plan.cache_tokens or ENGINES[wanted.demand.engine].figures(wanted) is None:
        return
    for view in group_set.groups:
        if _is_open(view) and view.pods and view.pods[0].index == 0 and view.pods[0].address:
            answer = observed.answers.get((view.record.replica, view.record.attempt))
            if answer is None:
                yield view, 0.0
            elif not answer.final and answer.tries < MOST_TRIES:
                yield view, answer.at + RETRY_SECONDS - now


def _is_open(view: GroupView) -> bool:
    """Tell whether a group serves what is wanted now, so that the plan is its own, and its figures are not known."""
    return view.record.state is State.READY and not view.stale and view.record.cache is None
