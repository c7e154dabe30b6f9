"""The life of a pod as its status shows it: the next step, and the status after each step. Pure functions."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from shardwise_sandbox.objects import JsonObject, condition, dig


class Step(StrEnum):
    """The steps that a kubelet takes with a pod."""

    PREPARE = "prepare"
    START = "start"
    READY = "ready"
    UNREADY = "unready"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """The end of a container. An empty container name means the first container."""

    exit_code: int
    message: str
    container: str
    time: str


def is_running(pod: JsonObject) -> bool:
    """Return whether all containers of the pod run."""
    statuses = dig(pod, "status", "containerStatuses") or ()
    return dig(pod, "status", "phase") == "Running" and all(
        dig(container, "state", "running") is not None for container in statuses
    )


def next_step(
    pod: JsonObject, *, may_start: Callable[[JsonObject], bool], is_ready: Callable[[JsonObject], bool]
) -> Step | None:
    """Return the next step of a bound pod that is not in deletion; ``None`` if nothing is to be done."""
    phase = dig(pod, "status", "phase")
    if phase in {"Succeeded", "Failed"}:
        return None
    if not dig(pod, "status", "containerStatuses"):
        return Step.PREPARE
    if not is_running(pod):
        if not may_start(pod):
            return None
        return Step.START if phase == "Pending" else Step.RESTART
    wanted = not _has_readiness_probe(pod) or is_ready(pod)
    if wanted == (condition(pod, "Ready").get("status") == "True"):
        return None
    return Step.READY if wanted else Step.UNREADY


def _has_readiness_probe(pod: JsonObject) -> bool:
    return any(container.get("readinessProbe") for container in pod["spec"]["containers"])


def prepared(pod: JsonObject, host: str, now: str) -> JsonObject:
    """Return the status of a pod whose containers are being created."""
    creating = {"waiting": {"reason": "ContainerCreating"}}
    statuses = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "started": False,
            "restartCount": 0,
            "state": creating,
            "lastState": {},
        }
        for container in pod["spec"]["containers"]
    ]
    conditions = _conditions(pod, now, Initialized=True, ContainersReady=False, Ready=False)
    return {
        "phase": "Pending",
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": now,
        "containerStatuses": statuses,
        "conditions": conditions,
    }


def started(pod: JsonObject, address: str, now: str) -> JsonObject:
    """Return the status of a pod whose containers all run. Readiness comes in a later step."""
    statuses = [
        container
        if dig(container, "state", "running") is not None
        else {**container, "started": True, "ready": False, "state": {"running": {"startedAt": now}}}
        for container in pod["status"]["containerStatuses"]
    ]
    return {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": statuses}


def with_readiness(pod: JsonObject, *, ready: bool, now: str) -> JsonObject:
    """Return the status of a pod that becomes ready or unready."""
    statuses = [{**container, "ready": ready} for container in dig(pod, "status", "containerStatuses") or ()]
    return {
        "containerStatuses": statuses,
        "conditions": _conditions(pod, now, Initialized=True, ContainersReady=ready, Ready=ready),
    }


def ended(pod: JsonObject, end: ContainerEnd) -> JsonObject:
    """Return the status of a pod after the end of a container."""
    statuses = dig(pod, "status", "containerStatuses") or []
    wanted = end.container or pod["spec"]["containers"][0]["name"]
    restarts = _restarts(pod["spec"].get("restartPolicy", "Always"), end.exit_code)
    changed = [
        _ended(container, end, restarts=restarts) if container["name"] == wanted else container
        for container in statuses
    ]
    status: JsonObject = {
        "containerStatuses": changed,
        "conditions": _conditions(pod, end.time, Initialized=True, ContainersReady=False, Ready=False),
    }
    over = not restarts and all("terminated" in container["state"] for container in changed)
    if over:
        failed = any(container["state"]["terminated"]["exitCode"] for container in changed)
        status["phase"] = "Failed" if failed else "Succeeded"
    return status


def _restarts(policy: str, exit_code: int) -> bool:
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _ended(status: JsonObject, end: ContainerEnd, *, restarts: bool) -> JsonObject:
    terminated: JsonObject = {
        "exitCode": end.exit_code,
        "reason": "Error" if end.exit_code else "Completed",
        "startedAt": dig(status, "state", "running", "startedAt"),
        "finishedAt": end.time,
    }
    if end.message:
        terminated["message"] = end.message
    down = {**status, "ready": False, "started": False}
    if not restarts:
        # A merge patch replaces lists as a whole, so that `running` does not stay.
        return {**down, "state": {"terminated": terminated}}
    waiting = {"reason": "CrashLoopBackOff", "message": f"back-off restarting failed container={status['name']}"}
    return {
        **down,
        "restartCount": status.get("restartCount", 0) + 1,
        "state": {"waiting": waiting},
        "lastState": {"terminated": terminated},
    }


def evicted(pod: JsonObject, message: str, now: str) -> JsonObject:
    """Return the status of a pod that its kubelet evicted."""
    terminated = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": now}}
    statuses = [
        {**container, "ready": False, "state": terminated}
        for container in dig(pod, "status", "containerStatuses") or ()
    ]
    disrupted = {"reason": "TerminationByKubelet", "message": message}
    conditions = [
        {**item, **disrupted} if item["type"] == "DisruptionTarget" else item
        for item in _conditions(pod, now, DisruptionTarget=True, ContainersReady=False, Ready=False)
    ]
    return {
        "phase": "Failed",
        "reason": "Evicted",
        "message": message,
        "containerStatuses": statuses,
        "conditions": conditions,
    }


def _conditions(pod: JsonObject, now: str, **values: bool) -> list[JsonObject]:
    found = {item["type"]: item for item in dig(pod, "status", "conditions") or ()}
    for kind, value in values.items():
        said = str(value)
        if found.get(kind, {}).get("status") != said:
            found[kind] = {"type": kind, "status": said, "lastTransitionTime": now, **_why(kind, said, pod)}
    return list(found.values())


def _why(kind: str, status: str, pod: JsonObject) -> JsonObject:
    if status == "True" or kind not in {"Ready", "ContainersReady"}:
        return {}
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    return {"reason": "ContainersNotReady", "message": f"containers with unready status: [{names}]"}
