"""The status as JSON data. Only this module knows the names of the fields of ``status``.

Reading accepts everything that an API server may give. An entry of a list that this version cannot read is left out; a
plan or a group that it cannot read is kept apart. Times are written as Kubernetes writes them: UTC, whole seconds.
Thousands of objects are asked whether they wait or lack a place: these questions read single fields.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from shardwise.domain.cache_tokens import CacheTokens
from shardwise.domain.notes import Remark
from shardwise.domain.plan import LayoutOutcome
from shardwise.domain.plan_data import layout_data, plan_data, read_layout, read_plan
from shardwise.domain.reasons import FailureKind, Reason
from shardwise.explain.notes import note
from shardwise.explain.rules import rule
from shardwise.reconcile.conditions import DatedCondition
from shardwise.reconcile.object_status import GroupStatus, RoleStatus, Status
from shardwise.reconcile.recorded_plan import RecordedAlternative, RecordedPlan
from shardwise.reconcile.records import WORDLESS, Record, State, format_time, held_by, parse_time
from shardwise.reconcile.shunned import Shunned, ShunReason

Data = Mapping[str, Any]
T = TypeVar("T")

_UNREADABLE: Final = (AttributeError, KeyError, TypeError, ValueError)


def read_status(data: Data) -> Status:
    """Read a status. An empty status is that of an object that nobody has looked at."""
    plan = _read_recorded_plan(data.get("plan"))
    groups, unread_groups = _read_groups(data)
    return Status(
        generation=seen_generation(data),
        message=str(data.get("message") or ""),
        replicas=_whole(data.get("replicas")),
        ready_replicas=_whole(data.get("readyReplicas")),
        selector=str(data.get("selector") or ""),
        endpoint=str(data.get("endpoint") or ""),
        restarts=_whole(data.get("restarts")),
        groups=None if data.get("groups") is None else groups,
        plan=plan,
        shuns=_readable(_read_shunned, data.get("shunnedNodes"))[0],
        waiting_since=parse_time(str(data.get("waitingSince") or "")),
        conditions=_readable(_read_condition, data.get("conditions"))[0],
        unread_plan=data.get("plan") if plan is None else None,
        unread_groups=unread_groups,
        roles=_readable(_read_role, data.get("roles"))[0],
    )


def write_status(status: Status) -> dict[str, Any]:
    """Give a status as data. Fields that say nothing are left out, so that the status stays small."""
    written: dict[str, Any] = {"observedGeneration": status.generation, "message": status.message}
    if status.groups is not None:
        written |= {
            "replicas": status.replicas,
            "readyReplicas": status.ready_replicas,
            "selector": status.selector,
            "endpoint": status.endpoint,
            "restarts": status.restarts,
            "groups": [*map(_write_group, status.groups), *status.unread_groups],
        }
    optional = {
        "plan": status.unread_plan if status.plan is None else _write_recorded_plan(status.plan),
        "roles": [_write_role(role) for role in status.roles],
        "shunnedNodes": [_write_shunned(shun) for shun in status.shuns],
        "waitingSince": status.waiting_since and format_time(status.waiting_since),
    }
    written |= {name: value for name, value in optional.items() if value}
    return written | {"conditions": [_write_condition(condition) for condition in status.conditions]}


def is_waiting(data: Data) -> bool:
    """Tell whether a status says that its object waits for GPUs."""
    return "waitingSince" in data


def seen_generation(data: Data) -> int:
    """Read the generation that a status describes, -1 before the first look."""
    return _whole(data.get("observedGeneration"), -1)


def waiting_since(data: Data) -> float:
    """Read the time from which an object waits, in seconds since the epoch; 0 if it does not wait."""
    return parse_time(str(data.get("waitingSince") or ""))


def wants_place(model: Data) -> bool:
    """Tell from an object whether free GPUs may help it: it lacks a plan or a group, or waits.

    An object that serves on a faulty node can also use them. An object whose pods are refused cannot.
    """
    data = model.get("status") or {}
    replicas = (model.get("spec") or {}).get("replicas", 1)
    sizing = (data.get("plan") or {}).get("target") or {}
    replicas = max(replicas, _whole(sizing.get("replicas"))) if replicas else 0
    roles = data.get("roles") or ()
    if roles:
        replicas = sum(_whole(role.get("wantedReplicas")) for role in roles)
    groups = data.get("groups") or ()
    placed = sum(bool(group.get("nodes") or group.get("plannedNodes")) for group in groups)
    lacks = placed < replicas and not any(group.get("state") == State.REFUSED for group in groups)
    leaving = any(condition.get("reason") == Reason.NODE_FAULTY for condition in data.get("conditions") or ())
    planned = all(role.get("plan") for role in roles) if roles else bool(data.get("plan"))
    return not planned or lacks or is_waiting(data) or leaving


def holdings(data: Data) -> Mapping[str, int]:
    """Read the GPUs that the groups of a status hold, by node."""
    return held_by(read_records(data).values())


def coming(data: Data) -> int:
    """Read the GPUs that the groups of a status will hold on nodes that the scheduler has yet to pick."""
    return sum(record.coming_gpus for record in read_records(data).values())


def read_records(data: Data) -> dict[int, Record]:
    """Read the records of the groups of a status, by replica."""
    plan = data.get("plan") or {}
    records = _readable(lambda group: _read_record(group, plan), data.get("groups"))[0]
    return {record.replica: record for record in records}


def _read_groups(data: Data) -> tuple[tuple[GroupStatus, ...], tuple[object, ...]]:
    plan = data.get("plan") or {}
    return _readable(lambda group: _read_group(group, plan), data.get("groups"))


def _readable(read: Callable[[Any], T], entries: Iterable[Any] | None) -> tuple[tuple[T, ...], tuple[object, ...]]:
    """Read the entries of a list. Give the values, and apart from them the entries that cannot be read."""
    found, unread = [], []
    for entry in entries or ():
        try:
            found.append(read(entry))
        except _UNREADABLE:
            unread.append(entry)
    return tuple(found), tuple(unread)


def _whole(value: object, otherwise: int = 0) -> int:
    return value if isinstance(value, int) else otherwise


def _read_role(data: Data) -> RoleStatus:
    return RoleStatus(
        name=str(data["name"]),
        wanted=_whole(data.get("wantedReplicas")),
        replicas=_whole(data.get("replicas")),
        ready_replicas=_whole(data.get("readyReplicas")),
        plan=_read_recorded_plan(data.get("plan")),
    )


def _write_role(role: RoleStatus) -> dict[str, Any]:
    written = {
        "name": role.name,
        "wantedReplicas": role.wanted,
        "replicas": role.replicas,
        "readyReplicas": role.ready_replicas,
    }
    return written | ({} if role.plan is None else {"plan": _write_recorded_plan(role.plan)})


def _read_group(group: Data, plan: Data) -> GroupStatus:
    record, loaded = _read_record(group, plan), group.get("loadedPods")
    return GroupStatus(
        record=record,
        message=str(group.get("message") or ""),
        ready_pods=_whole(group.get("readyPods")),
        loaded_pods=None if loaded is None else int(loaded),
        older=bool(record.nodes and not group.get("gpusPerPod")),
    )


def _write_group(group: GroupStatus) -> dict[str, Any]:
    written = write_record(group.record)
    if group.record.nodes:
        written |= {"readyPods": group.ready_pods, "pods": len(group.record.nodes)}
        written |= {} if group.loaded_pods is None else {"loadedPods": group.loaded_pods}
    if group.older:
        written.pop("gpusPerPod", None)
    return written | ({"message": group.message} if group.message else {})


def _read_record(group: Data, plan: Data) -> Record:
    state = State(group["state"])
    bound, planned = (tuple(str(node) for node in group.get(name, ())) for name in ("nodes", "plannedNodes"))
    nodes = bound or planned
    return Record(
        replica=int(group["replica"]),
        attempt=int(group["attempt"]),
        state=state,
        since=parse_time(group.get("since", "")),
        failures=int(group.get("failures", 0)),
        served=parse_time(group.get("served", "")),
        retry_at=parse_time(group.get("retryAt", "")),
        nodes=nodes,
        gpus=int(group.get("gpusPerPod") or (_equal_share(plan, nodes) if nodes else 0)),
        content=str(group.get("content", "")),
        message="" if state in WORDLESS else str(group.get("message", "")),
        failure=_read_failure(group.get("failure")),
        refused=int(group.get("refused", 0)),
        cache=_read_cache(group.get("kvCacheTokens")),
        open=bool(planned) and not bound,
        planned=planned if bound else (),
        role=str(group.get("role") or ""),
        no_restart=group.get("noRestart") is True,
    )


def _read_cache(data: Data | None) -> CacheTokens | None:
    return CacheTokens(int(data["planned"]), int(data["measured"])) if data else None


def _write_cache(cache: CacheTokens | None) -> Data | None:
    return None if cache is None else {"planned": cache.planned, "measured": cache.measured}


def _read_failure(text: str | None) -> FailureKind | None:
    """Read a kind of failure. A kind that only another version knows counts as ``OTHER``."""
    if not text:
        return None
    return FailureKind(text) if text in tuple(FailureKind) else FailureKind.OTHER


def _equal_share(plan: Data, nodes: tuple[str, ...]) -> int:
    """Work out the GPUs of each pod if the group does not say. The version before this version did not record them."""
    return int(plan.get("worldSize", 0)) // len(nodes)


def write_record(record: Record) -> dict[str, Any]:
    """Give a record as data. Empty fields are left out. The message belongs to the group, which may say more."""
    written = {
        "replica": record.replica,
        "attempt": record.attempt,
        "state": record.state.value,
        "since": format_time(record.since),
    }
    optional = {
        "failures": record.failures,
        "served": record.served and format_time(record.served),
        "retryAt": record.retry_at and format_time(record.retry_at),
        "nodes": [] if record.open else list(record.nodes),
        "plannedNodes": list(record.nodes if record.open else record.planned),
        "gpusPerPod": record.gpus,
        "content": record.content,
        "failure": record.failure and record.failure.value,
        "refused": record.refused,
        "kvCacheTokens": _write_cache(record.cache),
        "role": record.role,
        "noRestart": record.no_restart,
    }
    return written | {name: value for name, value in optional.items() if value}


def _read_recorded_plan(data: Data | None) -> RecordedPlan | None:
    """Read a plan. A plan that this version cannot read counts as no plan."""
    if not data:
        return None
    try:
        return RecordedPlan(
            plan=replace(read_plan(data), notes=tuple(Remark(str(text)) for text in data.get("notes") or ())),
            demand=str(data.get("demand") or ""),
            made_at=parse_time(str(data.get("madeAt") or "")),
            alternatives=_readable(_read_alternative, data.get("alternatives"))[0],
            alternatives_total=_whole(data.get("alternativesTotal")),
        )
    except _UNREADABLE:
        return None


def _write_recorded_plan(recorded: RecordedPlan) -> dict[str, Any]:
    """Give a plan as data: its numbers and codes, and in words why it was chosen."""
    return plan_data(recorded.plan) | {
        "because": rule(recorded.plan.rule),
        "alternatives": [_write_alternative(other) for other in recorded.alternatives],
        "alternativesTotal": recorded.alternatives_total,
        "notes": [note(noted) for noted in recorded.plan.notes],
        "demand": recorded.demand,
        **({"madeAt": format_time(recorded.made_at)} if recorded.made_at else {}),
    }


def _read_alternative(data: Data) -> RecordedAlternative:
    outcome = LayoutOutcome(data["verdict"])
    return RecordedAlternative(read_layout(data), str(data["product"]), outcome, str(data["reason"]))


def _write_alternative(other: RecordedAlternative) -> dict[str, Any]:
    return {
        **layout_data(other.layout),
        "product": other.product,
        "verdict": other.outcome.value,
        "reason": other.reason,
    }


def _read_shunned(data: Data) -> Shunned:
    return Shunned(str(data["node"]), ShunReason(data["why"]), int(data["times"]), parse_time(data["until"]))


def _write_shunned(shun: Shunned) -> dict[str, Any]:
    return {"node": shun.node, "why": shun.why.value, "times": shun.times, "until": format_time(shun.until)}


def _read_condition(data: Data) -> DatedCondition:
    return DatedCondition(
        kind=str(data["type"]),
        status=str(data["status"]),
        reason=str(data.get("reason") or ""),
        message=str(data.get("message") or ""),
        since=parse_time(str(data.get("lastTransitionTime") or "")),
        generation=seen_generation(data),
    )


def _write_condition(condition: DatedCondition) -> dict[str, Any]:
    return {
        "type": condition.kind,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": format_time(condition.since),
        "observedGeneration": condition.generation,
    }
