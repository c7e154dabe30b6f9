"""The status of an object that is left alone, because it is paused or cannot be honoured.

Plan and groups stay as they were decided. The number of ready pods goes on changing, and the status reports it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from shardwise.domain.reasons import Reason
from shardwise.reconcile.conditions import (
    MOST_MESSAGE,
    Condition,
    Summary,
    date_conditions,
    short_of,
    summary_conditions,
)
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.observed import Observed, PodSeen

_PAUSED: Final = "paused by the annotation `shardwise.dev/paused`; nothing is changed"


def invalid_status(observed: Observed, generation: int, reason: Reason, message: str, now: float) -> Status:
    """Give the status of an object that cannot be honoured, or whose model is not known yet. The rest is kept."""
    kind = "Stalled" if reason in (Reason.INVALID_SPEC, Reason.GROUP_TOO_LARGE) else "Reconciling"
    planned = Condition("Planned", holds=False, reason=reason, message=message)
    return _left_alone([*summary_conditions(Summary(kind, reason, message)), planned], observed, generation, now)


def paused_status(observed: Observed, generation: int, now: float) -> Status:
    """Give the status of a paused object: the old status, with a condition that says so."""
    summary = Summary("Reconciling", Reason.PAUSED, _PAUSED)
    return _left_alone(summary_conditions(summary), observed, generation, now)


def _left_alone(conditions: list[Condition], observed: Observed, generation: int, now: float) -> Status:
    """Keep the decided status, but no place in the queue: an object that cannot begin must not block others."""
    before = observed.status
    counted = _counted(before, observed.pods)
    if counted.groups:
        lacking = short_of(counted.ready_replicas, len(counted.groups))
        conditions = [*conditions, lacking] if lacking is not None else conditions
    changed = {condition.kind for condition in conditions}
    others = tuple(condition for condition in before.conditions if condition.kind not in changed)
    return replace(
        counted,
        generation=generation,
        message=conditions[0].message[:MOST_MESSAGE],
        waiting_since=0.0,
        conditions=date_conditions(conditions, before.conditions, generation, now) + others,
    )


def _counted(before: Status, pods: Iterable[PodSeen]) -> Status:
    """Count the ready pods of each group again, and the groups whose pods are all ready."""
    if not before.groups:
        return before
    ready = Counter((pod.replica, pod.attempt) for pod in pods if pod.ready)
    groups = tuple(
        replace(group, ready_pods=ready[group.record.replica, group.record.attempt]) for group in before.groups
    )
    return replace(before, groups=groups, ready_replicas=sum(group.serves for group in groups))
