"""The status of an object that is left alone, because it is paused or cannot be honoured.

Plan and groups stay as they were decided. The number of ready pods goes on changing, and the status reports it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shardwise.domain.reasons import Reason
from shardwise.reconcile.conditions import (
    MOST_MESSAGE,
    Condition,
    Summary,
    short_of,
    summary_conditions,
    write_conditions,
)
from shardwise.reconcile.observed import Observed, PodSeen

Status = dict[str, Any]

_PAUSED: Final = "paused by the annotation `shardwise.dev/paused`; nothing is changed"


def invalid_status(observed: Observed, generation: int, reason: Reason, message: str, now: float) -> Status:
    """Give the status of an object that cannot be honoured, or whose model is not known yet. The rest is kept."""
    kind = "Stalled" if reason is Reason.INVALID_SPEC else "Reconciling"
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
    kept = {name: value for name, value in before.items() if name != "waitingSince"} | counted
    if "readyReplicas" in counted:
        lacking = short_of(counted["readyReplicas"], len(counted["groups"]))
        conditions = [*conditions, lacking] if lacking is not None else conditions
    changed = {condition.kind for condition in conditions}
    others = [written for written in before.get("conditions") or () if written.get("type") not in changed]
    made = write_conditions(conditions, before, generation, now)
    message = conditions[0].message[:MOST_MESSAGE]
    return kept | {"observedGeneration": generation, "message": message, "conditions": made + others}


def _counted(before: Mapping[str, Any], pods: Iterable[PodSeen]) -> Status:
    """Count the ready pods of each group again, and the groups whose pods are all ready."""
    ready = Counter((pod.replica, pod.attempt) for pod in pods if pod.ready)
    groups = [_of(group, ready) for group in before.get("groups") or ()]
    serving = sum(0 < int(group.get("pods") or 0) <= group["readyPods"] for group in groups)
    return {"groups": groups, "readyReplicas": serving} if groups else {}


def _of(group: Mapping[str, Any], ready: Counter[tuple[int, int]]) -> Status:
    return {**group, "readyPods": ready[group.get("replica", 0), group.get("attempt", 0)]}
