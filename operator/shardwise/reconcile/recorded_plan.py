"""The plan as the status records it: how each group is split, for which demand, and why."""

from dataclasses import dataclass, replace

from shardwise.domain.layout import Layout
from shardwise.domain.notes import Remark
from shardwise.domain.plan import LayoutOutcome, Plan
from shardwise.explain.alternatives import telling
from shardwise.explain.causes import cause
from shardwise.explain.notes import note


@dataclass(frozen=True, slots=True)
class RecordedAlternative:
    """A layout that was not chosen, with the reason in words: a status does not hold the numbers of a cause."""

    layout: Layout
    product: str
    outcome: LayoutOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class RecordedPlan:
    """A plan in the status.

    ``plan`` has neither places, which the groups record, nor alternatives. Its notes are sentences. ``demand`` names
    the demand that the plan answers. ``made_at`` is in seconds since the epoch; 0 if the time was not recorded.
    ``alternatives`` are the few that explain most, of ``alternatives_total``.
    """

    plan: Plan
    demand: str = ""
    made_at: float = 0.0
    alternatives: tuple[RecordedAlternative, ...] = ()
    alternatives_total: int = 0


def record_plan(plan: Plan, demand: str) -> RecordedPlan:
    """Give a plan as a status records it. ``demand`` names the demand that it answers."""
    sentences = tuple(Remark(note(noted)) for noted in plan.notes)
    return RecordedPlan(
        plan=replace(plan, groups=(), alternatives=(), notes=sentences),
        demand=demand,
        alternatives=tuple(
            RecordedAlternative(other.layout, other.product, other.outcome, cause(other.cause))
            for other in telling(plan)
        ),
        alternatives_total=len(plan.alternatives),
    )
