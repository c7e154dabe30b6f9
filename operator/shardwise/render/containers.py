"""The containers of a pod: the engine, and the init containers that fetch weights and wait for other pods."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shardwise.domain.launch import EnvVar, Launch, Wanted
from shardwise.domain.plan import PodPlacement
from shardwise.domain.requests import requests_of
from shardwise.engines import GroupLaunch, PodLaunch, Probe, Script
from shardwise.engines.weights import pre_pulls
from shardwise.render.manifest import Manifest
from shardwise.render.volumes import CACHE_MOUNT, mounts

ENGINE: Final = "engine"
WEIGHTS: Final = "weights"
GPU_CLAIM: Final = "gpus"

_FETCHING: Final = ("HOME", "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables of the engine that fetching weights needs, too."""

FETCH_SCRIPT: Final = """\
import sys, time
from huggingface_hub import snapshot_download
name, revision = sys.argv[1:]
for pause in (10, 20, 40, 80, 160, 0):
    try:
        print(snapshot_download(name, revision=revision or None))
        break
    except Exception as error:
        status = getattr(getattr(error, 'response', None), 'status_code', None)
        passes = status is None or status == 429 or status >= 500
        if not pause or not passes or getattr(error, 'errno', None) in (13, 28):
            raise
        print('again in', pause, 'seconds:', error, flush=True)
        time.sleep(pause)
"""
"""Uses the same library as the engines, which resumes a download that was interrupted.

The pod ends with this script, because nothing in it is restarted. So errors that may pass (of the network, 429, 5xx)
are tried again for five minutes; a refusal, missing rights (EACCES) and a full disk (ENOSPC) end it at once.
"""


@dataclass(frozen=True, slots=True)
class ResourcesAsked:
    """How a pod asks for its devices: ``gpus`` by resource, with their count, and resource ``claims`` by name."""

    gpus: Mapping[str, str]
    claims: Collection[str]


def engine(
    wanted: Wanted, started: GroupLaunch, pod: PodLaunch, place: PodPlacement, asked: ResourcesAsked
) -> Manifest:
    """Make the container that runs the engine."""
    launch = wanted.launch
    container: Manifest = {
        "name": ENGINE,
        "image": started.image,
        "command": list(pod.command),
        "args": [literal(word) for word in pod.args],
        "env": [_env(variable) for variable in pod.env],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in started.ports],
        "resources": _resources(wanted, started, place.gpus, asked),
        "securityContext": _security(wanted, started),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(wanted, started),
    }
    if launch.extras.env_from:
        container["envFrom"] = list(map(dict, launch.extras.env_from))
    probes = {"startupProbe": pod.startup, "readinessProbe": pod.readiness, "livenessProbe": pod.liveness}
    container |= {key: _probe(probe, started.http_port) for key, probe in probes.items() if probe is not None}
    if pod.drain:
        container["lifecycle"] = {"preStop": {"exec": {"command": list(pod.drain)}}}
    return container | _pull_policy(launch)


def before_the_engine(wanted: Wanted, started: GroupLaunch, pod: PodLaunch) -> Iterator[Manifest]:
    """Make the init containers in the order they run: weights first, so that a pod is found only with its weights.

    The user's containers stand before ours, the sidecars first: what they prepare is there for all that follow.
    """
    for container in wanted.launch.extras.sidecars:
        yield dict(container) | {"restartPolicy": "Always", "securityContext": _security_of(wanted, container)}
    for container in wanted.launch.extras.init_containers:
        yield dict(container) | {"securityContext": _security_of(wanted, container)}
    if pre_pulls(wanted):
        yield _fetching(wanted, started, pod)
    if pod.waits is not None:
        yield _waiting(wanted, started, pod, pod.waits)


def literal(text: str) -> str:
    """Escape text for the kubelet, which expands ``$(NAME)`` and turns ``$$`` into ``$``."""
    return text.replace("$", "$$")


def _fetching(wanted: Wanted, started: GroupLaunch, pod: PodLaunch) -> Manifest:
    launch = wanted.launch
    env = [_env(variable) for variable in pod.env if variable.name in _FETCHING]
    return {
        "name": WEIGHTS,
        "image": started.image,
        "command": ["python3", "-c", FETCH_SCRIPT],
        "args": [literal(launch.model.name), literal(launch.model.source.revision or "")],
        "env": env,
        **({"envFrom": list(map(dict, launch.extras.env_from))} if launch.extras.env_from else {}),
        "securityContext": _security_of(wanted, {}),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [CACHE_MOUNT],
        **_pull_policy(launch),
    }


def _waiting(wanted: Wanted, started: GroupLaunch, pod: PodLaunch, waits: Script) -> Manifest:
    return {
        "name": "wait-for-followers" if pod.index == 0 else "wait-for-leader",
        "image": started.image,
        "command": ["python3", "-c", waits.text],
        "args": list(waits.args),
        "securityContext": _security_of(wanted, {}),
        **_pull_policy(wanted.launch),
    }


def _pull_policy(launch: Launch) -> Manifest:
    return {} if launch.container.image_pull_policy is None else {"imagePullPolicy": launch.container.image_pull_policy}


def _resources(wanted: Wanted, started: GroupLaunch, gpus: int, asked: ResourcesAsked) -> Manifest:
    """Request the planned GPUs, RDMA devices if the pod talks to other pods, and CPU, memory and disk."""
    needed = dict(wanted.site.rdma if _talks(wanted, started) else ()) | dict(asked.gpus)
    resources = {
        "requests": dict(requests_of(wanted.launch, wanted.site, wanted.demand.model, gpus)) | needed,
        "limits": dict(wanted.launch.extras.limits) | needed,
    }
    found: Manifest = {key: value for key, value in resources.items() if value}
    used = [{"name": name} for name in asked.claims]
    return found | ({"claims": used} if used else {})


def _talks(wanted: Wanted, started: GroupLaunch) -> bool:
    """Tell whether ranks talk to other pods: of their group, or of the other role."""
    return len(started.pods) > 1 or wanted.launch.role is not None


def _security(wanted: Wanted, started: GroupLaunch) -> Manifest:
    found = _security_of(wanted, {})
    if wanted.site.ipc_lock and _talks(wanted, started):
        found["capabilities"] = {**found.get("capabilities", {}), "add": ["IPC_LOCK"]}
    return found


def _security_of(wanted: Wanted, container: Mapping[str, Any]) -> Manifest:
    """Give the security context of a container: its own, without a way to more rights."""
    dropped: Manifest = {"capabilities": {"drop": ["ALL"]}} if wanted.launch.extras.drops_capabilities else {}
    return dropped | (container.get("securityContext") or {}) | {"allowPrivilegeEscalation": False}


def _env(variable: EnvVar) -> Manifest:
    for kind, reference in (("secretKeyRef", variable.secret), ("configMapKeyRef", variable.config_map)):
        if reference is not None:
            name, key = reference
            return {"name": variable.name, "valueFrom": {kind: {"name": name, "key": key}}}
    if variable.field is not None:
        return {"name": variable.name, "valueFrom": {"fieldRef": {"fieldPath": variable.field}}}
    return {"name": variable.name, "value": literal(variable.value or "")}


def _probe(probe: Probe, http_port: int) -> Manifest:
    port = probe.port or http_port
    how: Manifest = {"httpGet": {"path": probe.path, "port": port}} if probe.path else {"tcpSocket": {"port": port}}
    if probe.command:
        how = {"exec": {"command": list(probe.command)}}
    return how | {
        "periodSeconds": probe.period,
        "timeoutSeconds": probe.timeout,
        "failureThreshold": probe.failures,
    }
