"""The status of an object: conditions by the kstatus contract, the plan, the groups, and a message in a single line.

An object that waits for capacity is Reconciling. An object that cannot be honoured is Stalled. It is never both. The
same facts give the same status, so that nothing is written when nothing changed. The status stays small: the plan says
how groups are split, and each group says where it is.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from shardwise.domain.launch import Wanted
from shardwise.domain.node_changes import NodeChange
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.plan import Plan
from shardwise.domain.reasons import AnyReason, FailureKind, Reason
from shardwise.domain.refusal import Refusal
from shardwise.explain.cache_tokens import cache_text
from shardwise.explain.node_changes import node_changes_message
from shardwise.explain.plans import plan_message
from shardwise.explain.reasons import remedy
from shardwise.explain.refusals import refusal_message
from shardwise.reconcile.attached import unattached
from shardwise.reconcile.cluster_queue import queue_waits
from shardwise.reconcile.conditions import (
    MOST_MESSAGE,
    Condition,
    Summary,
    date_conditions,
    short_of,
    summary_conditions,
)
from shardwise.reconcile.far_back import as_written, place_told
from shardwise.reconcile.group_set import GroupSet
from shardwise.reconcile.object_status import GroupStatus, Status
from shardwise.reconcile.plans import with_group
from shardwise.reconcile.recorded_plan import RecordedPlan
from shardwise.reconcile.records import WORDLESS, Record, State, format_time
from shardwise.reconcile.refused import refusal_told
from shardwise.reconcile.roll import halted
from shardwise.reconcile.shunned import Shuns
from shardwise.reconcile.status_data import write_status
from shardwise.reconcile.turns import Turn
from shardwise.reconcile.views import GroupView
from shardwise.render.manifest import leader_selector
from shardwise.render.names import serving_name

_MOST_GROUP_MESSAGE: Final = 400
"""Characters a group may say: where it is, how it ended, and the last line of its log."""

_SHORTER_GROUP_MESSAGES: Final = (160, 60)
"""Characters a group may say where all of them together leave no room for more."""

UPDATE_FAILED: Final = "the update failed; the old replicas keep serving"
"""The message while an update is halted."""

MOST_BYTES: Final = 16_384
"""A status stays below this: every watcher of the objects gets it with every change."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The input of a status: the plan in force, the groups before and after, and the queue.

    ``refused`` is the last refused write, ``contested`` says which objects something changes again and again.
    ``changed`` are the nodes that changed under running groups. ``ganged`` says why a gang is bound pod by pod;
    ``missing`` are the kinds of attachments that the cluster does not serve.
    """

    wanted: Wanted
    plan: Plan | None
    recorded: RecordedPlan | None
    group_set: GroupSet
    before: tuple[GroupView, ...] = ()
    shuns: Shuns = ()
    turn: Turn = field(default_factory=Turn)
    refused: str = ""
    contested: str = ""
    changed: tuple[NodeChange, ...] = ()
    ganged: str = ""
    missing: frozenset[str] = frozenset()
    landed: Mapping[int, str] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[GroupView, ...]:
        """The groups that have a place."""
        return tuple(view for view in self.group_set.groups if view.record.nodes)

    @property
    def ready(self) -> int:
        """The number of groups that serve."""
        return sum(view.record.state is State.READY for view in self.group_set.groups)

    @property
    def replicas(self) -> int:
        """The number of groups that are wanted."""
        return self.wanted.demand.replicas


def status_of(progress: Progress, before: Status, now: float) -> Status:
    """Give the whole status after a decision."""
    summary, wanted = _summary(progress), progress.wanted
    owner = wanted.launch.owner
    conditions = [*summary_conditions(summary), _planned(progress), _launched(progress), _degraded(progress)]
    status = Status(
        generation=wanted.generation,
        message=summary.message[:MOST_MESSAGE],
        replicas=len(progress.groups),
        ready_replicas=progress.ready,
        selector=",".join(f"{key}={value}" for key, value in leader_selector(wanted.launch).items()),
        endpoint=f"http://{serving_name(owner.name)}.{owner.namespace}.svc:{wanted.launch.service.port}/v1",
        restarts=_restarts(progress, before),
        groups=tuple(_group(progress, view) for view in progress.group_set.groups if _is_told(view)),
        plan=progress.recorded,
        shuns=progress.shuns,
        waiting_since=(before.waiting_since or now) if _waits(progress) else 0.0,
        conditions=date_conditions(conditions, before.conditions, wanted.generation, now),
    )
    return as_written(small(status), before, progress.turn)


def located(progress: Progress) -> Plan:
    """Give the plan in force with its groups in their places. There must be a plan."""
    assert progress.plan is not None  # noqa: S101 - called only with a plan
    plan = progress.plan
    placed = (
        with_group(plan, record.replica, record.known_nodes, record.gpus, {}).groups[0] for record in _records(progress)
    )
    return replace(plan, groups=tuple(placed))


def _records(progress: Progress) -> tuple[Record, ...]:
    return tuple(view.record for view in progress.groups if not view.stale)


def _summary(progress: Progress) -> Summary:
    held = next((view.record for view in progress.group_set.groups if _is_held(view, progress.group_set)), None)
    if held is not None:
        text = f"replica {held.replica} is held after {held.failures} failures in a row: {held.message}"
        return Summary("Stalled", Reason.RESTARTS_EXHAUSTED, f"{text}; {remedy_for(held)}")
    if progress.group_set.no_place is not None:
        return _without_place(progress, progress.group_set.no_place)
    told = refusal_told(progress.group_set.groups)
    if told:
        served = f"{progress.ready} of {progress.replicas} replicas serve"
        return Summary("Reconciling", Reason.PODS_REFUSED, f"{served}; {told}")
    if progress.refused:
        served = f"{progress.ready} of {progress.replicas} replicas serve"
        return Summary("Reconciling", Reason.WRITE_REFUSED, f"{served}; {progress.refused}")
    if progress.plan is not None and _all_serve(progress):
        return _serving(progress)
    return Summary("Reconciling", *_under_way(progress))


def remedy_for(held: Record) -> str:
    """Give the remedy for a held group, by the kind of its failure."""
    return remedy(held.failure or FailureKind.OTHER)


def _is_held(view: GroupView, group_set: GroupSet) -> bool:
    """Tell whether a group is held for its failures. After an edit, a group may be held only for lack of a place."""
    return view.record.state is State.HELD and not (view.stale and group_set.no_place is not None)


def _all_serve(progress: Progress) -> bool:
    groups = progress.group_set.groups
    current = all(view.record.state is State.READY and not view.stale for view in groups)
    return current and len(groups) == progress.replicas


def _without_place(progress: Progress, why: Refusal | Obstacle) -> Summary:
    reason, message = _told(why)
    if progress.ready or progress.groups:
        message = f"{progress.ready} of {progress.replicas} replicas serve; {message}"
    if isinstance(why, Refusal) and not why.may_pass:
        return Summary("Stalled", reason, message)
    queue = _in_queue(progress) if isinstance(why, Refusal) and why.waits else ""
    return Summary("Reconciling", reason, f"{message}{queue}{_for_want_of(progress)}")


def _told(why: Refusal | Obstacle) -> tuple[AnyReason, str]:
    if isinstance(why, Refusal):
        return why.reason, refusal_message(why)
    return Reason(why.reason), why.message


def _in_queue(progress: Progress) -> str:
    """Give the position, if there is a queue, and the object that comes before."""
    place = place_told(progress.turn)
    return f"; {place}" if place else ""


def _for_want_of(progress: Progress) -> str:
    """Say why a group gave back its GPUs, if a group did."""
    waiting = [view.record for view in progress.group_set.groups if view.record.state is State.WAITING]
    said = next((record.message for record in waiting if record.message), "")
    return f"; {said}" if said else ""


def _serving(progress: Progress) -> Summary:
    if not progress.group_set.groups:
        return Summary("Ready", Reason.SCALED_TO_ZERO, "scaled to 0 replicas")
    served = f"{progress.ready} of {progress.replicas} replicas serve"
    return Summary("Ready", Reason.ALL_REPLICAS_READY, f"{served}: {plan_message(located(progress))}")


def _under_way(progress: Progress) -> tuple[Reason, str]:
    groups = progress.group_set.groups
    stale = sum(view.stale for view in groups)
    busy = next((view for view in groups if view.record.state is not State.READY), None)
    served = f"{progress.ready} of {progress.replicas} replicas serve"
    doing = f"; {_group_waits(progress.wanted, busy)}" if busy is not None else ""
    if busy is not None and busy.record.state is State.BACKOFF:
        reason = Reason.GROUP_BACKOFF
    elif busy is not None and busy.record.state is State.QUEUED:
        reason = Reason.QUEUED
    else:
        reason = Reason.UPDATING if stale else Reason.GROUPS_STARTING
    old = f", {stale} of old content" if stale else ""
    return reason, f"{served}{old}{doing}"


def _group_waits(wanted: Wanted, view: GroupView) -> str:
    record = view.record
    name = f"replica {record.replica}"
    if record.state is State.QUEUED:
        return f"{name}, attempt {record.attempt}, {queue_waits(wanted, view)}"
    if record.state is State.BACKOFF:
        return f"{name} starts again at {format_time(record.retry_at)}: {record.message}"
    return f"{name}, attempt {record.attempt}: {view.progress}"


def _waits(progress: Progress) -> bool:
    refusal = progress.group_set.refusal
    return refusal is not None and refusal.waits


def _planned(progress: Progress) -> Condition:
    """Tell whether there is a plan with a place for at least a single group.

    Without a plan there is a refusal or an obstacle.
    """
    why = progress.group_set.no_place
    if why is not None and (progress.plan is None or not _records(progress)):
        reason, message = _told(why)
        return Condition("Planned", holds=False, reason=reason, message=message)
    told = refusal_told(progress.group_set.groups)
    if told and not _records(progress):
        return Condition("Planned", holds=False, reason=Reason.PODS_REFUSED, message=told)
    return Condition("Planned", holds=True, reason=Reason.PLAN_MADE, message=plan_message(located(progress)))


def _launched(progress: Progress) -> Condition:
    up = (State.STARTING, State.READY, State.UNREADY)
    launched = sum(view.record.state in up or view.complete for view in progress.group_set.groups)
    complete = progress.plan is not None and launched >= progress.replicas
    reason = Reason.ALL_PODS_CREATED if complete else Reason.PODS_MISSING
    message = f"{launched} of {progress.replicas} replicas have all their pods"
    return Condition("Launched", complete, reason, message)


def _degraded(progress: Progress) -> Condition:
    """Say whether groups are lacking, nodes are faulty or changed, or something contests the fields of objects."""
    faulty = sorted({node for view in progress.groups for node in view.faulty_nodes})
    if progress.ready and halted(progress.group_set.groups):
        return Condition("Degraded", holds=True, reason=Reason.UPDATE_HALTED, message=UPDATE_FAILED)
    lacking = short_of(progress.ready, progress.replicas)
    if lacking is not None:
        return lacking
    if faulty:
        nodes = ", ".join(faulty[:5])
        message = f"{nodes} reports a GPU fault, and no other node is free"
        return Condition("Degraded", holds=True, reason=Reason.NODE_FAULTY, message=message)
    changed = f"{node_changes_message(progress.changed)}; the replicas there keep serving" if progress.changed else ""
    found = (
        (Reason.NODE_CHANGED, changed),
        (Reason.GANG_IGNORED, progress.ganged),
        (Reason.FIELDS_CONTESTED, progress.contested),
        *unattached(progress.wanted, progress.plan, progress.missing),
    )
    told = (Condition("Degraded", holds=True, reason=reason, message=message) for reason, message in found if message)
    return next(told, Condition("Degraded", holds=False, reason=Reason.AS_PLANNED))


def _restarts(progress: Progress, before: Status) -> int:
    """Count the attempts that begin after an attempt that ran."""
    ran = {view.record.replica: view.record.attempt for view in progress.before if not view.ends_without_restart}
    added = (record.attempt - ran.get(record.replica, record.attempt) for record in progress.group_set.records)
    return before.restarts + sum(max(0, count) for count in added)


def _is_told(view: GroupView) -> bool:
    """Tell whether a group has anything to remember. A group that only waits has nothing."""
    record = view.record
    return bool(record.nodes or record.attempt or record.failures or record.message or record.refused)


def _group(progress: Progress, view: GroupView) -> GroupStatus:
    record = view.record
    message = _progress(view) if record.state in WORDLESS else record.message
    if record.state is State.READY:
        message = "; ".join(filter(None, (message, progress.landed.get(record.replica, ""))))
    return GroupStatus(
        record=record,
        message=message[:_MOST_GROUP_MESSAGE],
        ready_pods=sum(pod.ready for pod in view.pods),
        loaded_pods=view.loaded,
    )


def _progress(view: GroupView) -> str:
    """Say what a group waits for; of a group that serves, how its KV cache differs from the plan."""
    if view.record.state is not State.READY:
        return view.progress
    cache = view.record.cache
    return cache_text(cache) if cache is not None and cache.differs else ""


def small(status: Status) -> Status:
    """Leave out explanations, then shorten messages, until the status is small enough."""
    shorter = [partial(_with_short_messages, most=most) for most in _SHORTER_GROUP_MESSAGES]
    steps: list[Callable[[Status], Status]] = [_without_alternatives, _without_notes, *shorter]
    for smaller in steps:
        if _size(status) < MOST_BYTES:
            return status
        status = smaller(status)
    return status


def _without_alternatives(status: Status) -> Status:
    roles = tuple(replace(role, plan=role.plan and replace(role.plan, alternatives=())) for role in status.roles)
    return replace(status, plan=status.plan and replace(status.plan, alternatives=()), roles=roles)


def _without_notes(status: Status) -> Status:
    roles = tuple(replace(role, plan=_noteless(role.plan)) for role in status.roles)
    return replace(status, plan=_noteless(status.plan), roles=roles)


def _noteless(recorded: RecordedPlan | None) -> RecordedPlan | None:
    return recorded and replace(recorded, plan=replace(recorded.plan, notes=()))


def _with_short_messages(status: Status, most: int) -> Status:
    groups = tuple(replace(group, message=group.message[:most]) for group in status.groups or ())
    return replace(status, groups=groups)


def _size(status: Status) -> int:
    return len(json.dumps(write_status(status), separators=(",", ":")))
