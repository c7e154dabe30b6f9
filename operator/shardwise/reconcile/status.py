"""The status of an object: conditions by the kstatus contract, the plan, the groups, and the one line to read.

Waiting for capacity is Reconciling, an object that cannot be honoured is Stalled, never both. The same facts give the
same status, so that nothing is written when nothing changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.explain import plan_message, refusal_message
from shardwise.reconcile.groups import GroupView, wait_seconds
from shardwise.reconcile.records import Record, State, format_time
from shardwise.render.manifest import leader_selector
from shardwise.render.names import serving_name

Status = dict[str, Any]

WRITE_REFUSED: Final = "WriteRefused"
"""The reason while the API server, a quota or a webhook refuses something that is to be made or deleted."""

_MOST_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything a status is made from: the plan in force and each group before and after this decision."""

    wanted: Wanted
    plan: Plan | None
    document: Mapping[str, Any] | None
    refusal: Refusal | None
    groups: tuple[tuple[GroupView, Record], ...]
    refused: str = ""

    @property
    def ready(self) -> int:
        """Groups that serve."""
        return sum(record.state is State.READY for _, record in self.groups)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where an object stands: the reason and message that Ready, Reconciling and Stalled share."""

    state: str
    reason: str
    message: str


def status_of(progress: Progress, before: Mapping[str, Any], now: float) -> Status:
    """Give the whole status after a decision."""
    verdict = _verdict(progress)
    owner = progress.wanted.launch.owner
    status: Status = {
        "observedGeneration": progress.wanted.generation,
        "message": verdict.message,
        "replicas": len(progress.groups),
        "readyReplicas": progress.ready,
        "selector": ",".join(f"{key}={value}" for key, value in leader_selector(progress.wanted.launch).items()),
        "endpoint": f"http://{serving_name(owner.name)}.{owner.namespace}.svc:{progress.wanted.launch.port}/v1",
        "restarts": _restarts(progress, before),
        "groups": [_group(view, record) for view, record in progress.groups],
    }
    if progress.document is not None:
        status["plan"] = dict(progress.document)
    wanted = [*_standing(verdict), _planned(progress), _launched(progress)]
    status["conditions"] = _conditions(wanted, before, progress.wanted.generation, now)
    return status


def invalid_status(before: Mapping[str, Any], generation: int, reason: str, message: str, now: float) -> Status:
    """Give the status of an object that cannot be honoured, or whose model is not known yet; the rest is kept."""
    message = message[:_MOST_MESSAGE]
    state = "Stalled" if reason == "InvalidSpec" else "Reconciling"
    wanted = [*_standing(Verdict(state, reason, message)), ("Planned", "False", reason, message)]
    kept = [one for one in before.get("conditions") or () if one.get("type") == "Launched"]
    conditions = _conditions(wanted, before, generation, now) + kept
    return dict(before) | {"observedGeneration": generation, "message": message, "conditions": conditions}


def paused_status(before: Mapping[str, Any], generation: int, now: float) -> Status:
    """Give the status of an object that is paused: as it was, and saying so."""
    message = "paused by the annotation `shardwise.dev/paused`; nothing is changed"
    kept = [one for one in before.get("conditions") or () if one.get("type") in ("Planned", "Launched")]
    conditions = _conditions(_standing(Verdict("Reconciling", "Paused", message)), before, generation, now) + kept
    return dict(before) | {"observedGeneration": generation, "message": message, "conditions": conditions}


def _verdict(progress: Progress) -> Verdict:
    held = next((record for _, record in progress.groups if record.state is State.HELD), None)
    if held is not None:
        text = f"replica {held.replica} is held after {held.failures} failures in a row: {held.message}"
        return Verdict("Stalled", "RestartsExhausted", text)
    if progress.refusal is not None:
        state = "Reconciling" if progress.refusal.waits else "Stalled"
        return Verdict(state, progress.refusal.reason.value, refusal_message(progress.refusal))
    if progress.refused:
        served = f"{progress.ready} of {len(progress.groups)} replicas serve"
        return Verdict("Reconciling", WRITE_REFUSED, f"{served}; {progress.refused}")
    if progress.ready == len(progress.groups) and progress.plan is not None:
        return _serving(progress, progress.plan)
    return Verdict("Reconciling", *_starting(progress))


def _serving(progress: Progress, plan: Plan) -> Verdict:
    if not progress.groups:
        return Verdict("Ready", "ScaledToZero", "scaled to 0 replicas")
    served = f"{progress.ready} of {len(progress.groups)} replicas serve"
    return Verdict("Ready", "AllReplicasReady", f"{served}: {plan_message(plan)}")


def _starting(progress: Progress) -> tuple[str, str]:
    view, record = next((view, record) for view, record in progress.groups if record.state is not State.READY)
    reason = "GroupBackoff" if record.state is State.BACKOFF else "GroupsStarting"
    return reason, f"{progress.ready} of {len(progress.groups)} replicas serve; {_waits(view, record)}"


def _waits(view: GroupView, record: Record) -> str:
    name = f"replica {record.replica}"
    if record.state is State.BACKOFF:
        at = format_time(record.since + wait_seconds(record.failures))
        return f"{name} starts again at {at}: {record.message}"
    pods = view.pods if record.attempt == view.record.attempt else ()
    ready = sum(pod.ready for pod in pods)
    waiting = next((f"pod {pod.index}: {pod.waiting}" for pod in pods if not pod.ready), "pods being created")
    progress = f"{ready} of {len(view.placed.pods)} pods ready{_loaded_of(view)}"
    return f"{name}, attempt {record.attempt}: {progress}; {waiting}"


def _loaded_of(view: GroupView) -> str:
    """Say on how many pods the weights have arrived, while they are fetched before anything else."""
    fetching = [pod for pod in view.pods if pod.loaded is not None]
    loaded = sum(pod.loaded is True for pod in fetching)
    return f", weights on {loaded} of {len(view.placed.pods)}" if fetching and loaded < len(view.placed.pods) else ""


def _standing(verdict: Verdict) -> list[tuple[str, str, str, str]]:
    """Say all three conditions every time, so that a waiter never meets a missing one."""
    return [
        (kind, "True" if kind == verdict.state else "False", verdict.reason, verdict.message)
        for kind in ("Ready", "Reconciling", "Stalled")
    ]


def _planned(progress: Progress) -> tuple[str, str, str, str]:
    if progress.plan is None:
        reason = progress.refusal.reason.value if progress.refusal is not None else "NoPlan"
        message = refusal_message(progress.refusal) if progress.refusal is not None else ""
        return "Planned", "False", reason, message
    return "Planned", "True", "PlanMade", plan_message(progress.plan)


def _launched(progress: Progress) -> tuple[str, str, str, str]:
    launched = sum(record.state in (State.STARTING, State.READY) for _, record in progress.groups)
    complete = progress.plan is not None and launched == progress.wanted.demand.replicas
    reason = "AllPodsCreated" if complete else "PodsMissing"
    message = f"{launched} of {progress.wanted.demand.replicas} replicas have all their pods"
    return "Launched", "True" if complete else "False", reason, message


def _conditions(
    wanted: list[tuple[str, str, str, str]], before: Mapping[str, Any], generation: int, now: float
) -> list[Status]:
    """Keep the time of the last change of a condition whose status is what it was."""
    old = {one.get("type"): one for one in before.get("conditions") or ()}
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message[:_MOST_MESSAGE],
            "lastTransitionTime": _changed(old.get(kind), status, now),
            "observedGeneration": generation,
        }
        for kind, status, reason, message in wanted
    ]


def _changed(old: Mapping[str, Any] | None, status: str, now: float) -> str:
    if old is not None and old.get("status") == status and old.get("lastTransitionTime"):
        return str(old["lastTransitionTime"])
    return format_time(now)


def _restarts(progress: Progress, before: Mapping[str, Any]) -> int:
    added = sum(max(0, record.attempt - view.record.attempt) for view, record in progress.groups)
    return int(before.get("restarts") or 0) + added


def _group(view: GroupView, record: Record) -> Status:
    return {
        "replica": record.replica,
        "attempt": record.attempt,
        "failures": record.failures,
        "since": format_time(record.since),
        "state": record.state.value,
        "readyPods": sum(pod.ready for pod in view.pods) if record.attempt == view.record.attempt else 0,
        "pods": len(view.placed.pods),
        **_loaded(view, record),
        "nodes": [pod.node for pod in view.placed.pods],
        "message": record.message,
    }


def _loaded(view: GroupView, record: Record) -> Status:
    """Count the pods that have their weights, where they are fetched before the ranks start."""
    if record.attempt != view.record.attempt or not any(pod.loaded is not None for pod in view.pods):
        return {}
    return {"loadedPods": sum(pod.loaded is True for pod in view.pods)}
