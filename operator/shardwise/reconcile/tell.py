"""The Events of a decision. Each change is told once, by a stable reason; the old status shows whether it was told."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from shardwise.domain.reasons import Reason
from shardwise.domain.units import plural
from shardwise.explain.cache_tokens import cache_text
from shardwise.explain.plans import plan_message
from shardwise.explain.refusals import refusal_message
from shardwise.reconcile.actions import Emit
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.observed import Observed
from shardwise.reconcile.records import Record, State, format_time
from shardwise.reconcile.roll import halted
from shardwise.reconcile.shunned import Shunned, ShunReason
from shardwise.reconcile.status import UPDATE_FAILED, Progress, located, remedy_for
from shardwise.reconcile.views import GroupView

_DEGRADED: Final = (
    Reason.FIELDS_CONTESTED,
    Reason.NODE_CHANGED,
    Reason.GANG_IGNORED,
    Reason.ADD_ON_MISSING,
    Reason.SCALING_LIMITED,
)
"""Reasons of the condition ``Degraded`` that are told by an Event."""


def told(progress: Progress, status: Status, observed: Observed) -> Iterator[Emit]:
    """Give the Events for the changes of a decision. ``status`` is the status that the decision writes."""
    remembered = observed.status.records
    yield from _refused(progress, status, observed)
    yield from _hindered(progress, status, observed)
    if progress.plan is not None and _places(progress.group_set.records) - _places(remembered.values()):
        yield Emit(Reason.PLANNED, plan_message(located(progress)))
    yield from _pods_refused(progress)
    before = {view.record.replica: view for view in progress.before}
    for record in progress.group_set.records:
        old = before.pop(record.replica, None)
        events = list(_in_queue(old, record))
        if not (old is not None and old.evicted and events):
            events += _of_group(None if old is None else old.record, record)
        yield from (replace(event, replica=record.replica, attempt=record.attempt) for event in events)
    yield from (_gone(view) for view in before.values() if view.record.nodes and view.record.replica in remembered)
    known = {(shun.node, shun.why) for shun in observed.status.shuns if shun.counts}
    yield from (_shun(shun) for shun in progress.shuns if shun.counts and (shun.node, shun.why) not in known)
    yield from (event for reason in _DEGRADED for event in _newly(reason, status, observed))
    if halted(progress.group_set.groups) and not halted(progress.before):
        yield Emit(Reason.UPDATE_HALTED, UPDATE_FAILED, warning=True)


def write_refused(status: Status, observed: Observed) -> Iterator[Emit]:
    """Tell a refused write if the new status says it and the old status did not."""
    if status.gives(Reason.WRITE_REFUSED) and status.message != observed.status.message:
        yield Emit(Reason.WRITE_REFUSED, observed.refused, warning=True)


def _refused(progress: Progress, status: Status, observed: Observed) -> Iterator[Emit]:
    """Tell a refusal when its reason is new. Its numbers change whenever a pod comes or goes.

    A refusal that the status does not mention yet, as while a group is held, is told later, when the status does.
    """
    refusal = progress.group_set.refusal
    if refusal is None or not status.gives(refusal.reason):
        return
    if not observed.status.gives(refusal.reason) or _asked_anew(progress, observed):
        yield Emit(refusal.reason, refusal_message(refusal), warning=True)


def _hindered(progress: Progress, status: Status, observed: Observed) -> Iterator[Emit]:
    """Tell an obstacle once, as a refusal."""
    obstacle = progress.group_set.obstacle
    if obstacle is not None and status.gives(obstacle.reason) and not observed.status.gives(obstacle.reason):
        yield Emit(Reason(obstacle.reason), obstacle.message, warning=True)


def _pods_refused(progress: Progress) -> Iterator[Emit]:
    """Tell once for all groups that pods are refused, and again if the words of the refusal are others."""
    old = {view.record.replica: view.record for view in progress.before}
    known = {record.message for record in old.values() if record.refused}
    refused = [record for record in progress.group_set.records if record.state is State.REFUSED]
    words = next((record.message for record in refused if record.message), "")
    given_back = [old[record.replica] for record in refused if record.replica in old and old[record.replica].nodes]
    if given_back and words not in known:
        gpus = sum(record.held_gpus for record in given_back)
        gave = f"{plural(len(given_back), 'replica')} gave back {plural(gpus, 'GPU')}"
        yield Emit(Reason.PODS_REFUSED, f"{gave}: {words}", warning=True)


def _newly(reason: Reason, status: Status, observed: Observed) -> Iterator[Emit]:
    """Tell the message of a condition whose reason the old status did not have."""
    if observed.status.gives(reason):
        return
    for condition in status.conditions:
        if (condition.reason, condition.status) == (reason, "True"):
            yield Emit(reason, condition.message, warning=True)


def _asked_anew(progress: Progress, observed: Observed) -> bool:
    return observed.status.generation != progress.wanted.generation


def _places(records: Iterable[Record]) -> set[tuple[int, tuple[str, ...]]]:
    """Give the places of groups, as far as they are known."""
    return {(record.replica, record.nodes) for record in records if record.nodes and not record.open}


def _in_queue(old: GroupView | None, record: Record) -> Iterator[Emit]:
    """Tell what a queue of the cluster did with a group: it admitted the group, or took it away."""
    name = f"replica {record.replica}"
    if old is not None and old.evicted and (record.state, record.attempt) != (old.record.state, old.record.attempt):
        yield Emit(Reason.GROUP_EVICTED, f"{name}: {record.message}; it enters the queue again", warning=True)
    if old is not None and old.record.state is State.QUEUED and record.state is State.STARTING:
        yield Emit(Reason.GROUP_ADMITTED, f"{name} is admitted by its queue, attempt {record.attempt}")


def _of_group(old: Record | None, record: Record) -> Iterator[Emit]:
    name = f"replica {record.replica}"
    state = None if old is None else old.state
    if record.state is State.READY and state not in (State.READY, State.UNREADY):
        yield Emit(Reason.GROUP_READY, f"{name} serves, attempt {record.attempt}")
    if record.state is State.UNREADY and state is State.READY:
        yield Emit(Reason.GROUP_UNREADY, f"{name} stopped serving", warning=True)
    if record.state is State.BACKOFF and state is not State.BACKOFF:
        again = f"starting again at {format_time(record.retry_at)}"
        yield Emit(Reason.GROUP_FAILED, f"{name}: {record.message}; {again}", warning=True)
    if record.state is State.HELD and state is not State.HELD:
        held = f"held after {record.failures} failures in a row; {remedy_for(record)}"
        yield Emit(Reason.GROUP_HELD, f"{name}: {record.message}; {held}", warning=True)
    if record.cache is not None and record.cache.differs and (old is None or old.cache is None):
        yield Emit(Reason.CACHE_DIFFERS, f"{name}: {cache_text(record.cache)}", warning=record.cache.share < 0)
    if old is not None and record.attempt > old.attempt and record.state is not State.REFUSED and not old.no_restart:
        yield _restarted(f"{name}: {record.message}", record)


def _restarted(why: str, record: Record) -> Emit:
    if record.state is State.WAITING:
        return Emit(Reason.GROUP_WAITING, f"{why}; its GPUs are given back", warning=True)
    return Emit(Reason.GROUP_RESTARTED, f"{why}; starting attempt {record.attempt}", warning=True)


def _gone(view: GroupView) -> Emit:
    why = "goes: another has taken its place" if view.leaving else "is no longer wanted"
    return Emit(Reason.GROUP_REMOVED, f"replica {view.record.replica} {why}")


def _shun(shun: Shunned) -> Emit:
    did = f"failed here {shun.times} times" if shun.why is ShunReason.FAILED else "found no place here"
    message = f"{shun.node} is left out until {format_time(shun.until)}: a pod of this object {did}"
    return Emit(Reason.NODE_LEFT_OUT, message, warning=True)
