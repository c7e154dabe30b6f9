"""The containers of a pod: the engine, and before it those that fetch weights and wait for the others."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from shardwise.domain.launch import EnvVar, Launch, Wanted
from shardwise.engines import GroupLaunch, PodLaunch, Probe
from shardwise.engines.meeting import WAIT_SCRIPT
from shardwise.engines.weights import pre_pulls
from shardwise.render.manifest import Manifest
from shardwise.render.volumes import CACHE_MOUNT, mounts

ENGINE: Final = "engine"
WEIGHTS: Final = "weights"
GPU_CLAIM: Final = "gpus"
CHANNEL_CLAIM: Final = "nvlink"

_FETCHING: Final = ("HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables of the engine that fetching needs, too."""

_FETCH_SCRIPT: Final = """\
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], revision=sys.argv[2] or None))
"""
"""The library every engine itself fetches with; a download that broke off goes on where it ended."""


def engine(
    wanted: Wanted, started: GroupLaunch, one: PodLaunch, gpus: Mapping[str, str], claims: Iterable[str]
) -> Manifest:
    """Make the container that runs the engine. ``gpus`` are asked for by resource, or else by one of the claims."""
    launch = wanted.launch
    container: Manifest = {
        "name": ENGINE,
        "image": started.image,
        "command": list(one.command),
        "args": [literal(word) for word in one.args],
        "env": [_env(variable) for variable in one.env],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in started.ports],
        "resources": _resources(wanted, started, gpus, claims),
        "securityContext": _security(wanted, started),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(wanted, started),
    }
    probes = {"startupProbe": one.startup, "readinessProbe": one.readiness, "livenessProbe": one.liveness}
    container |= {key: _probe(probe, started.http_port) for key, probe in probes.items() if probe is not None}
    if one.drain:
        container["lifecycle"] = {"preStop": {"exec": {"command": list(one.drain)}}}
    return container | _pull_policy(launch)


def before_the_engine(wanted: Wanted, started: GroupLaunch, one: PodLaunch) -> Iterator[Manifest]:
    """Make the init containers, in the order they run: weights first, so that a pod others find has them."""
    if pre_pulls(wanted):
        yield _fetching(wanted, started, one)
    if one.wait_for:
        yield _waiting(wanted.launch, started, one)


def literal(text: str) -> str:
    """Write text so that the kubelet leaves it alone: it would expand ``$(NAME)``, and read ``$$`` as ``$``."""
    return text.replace("$", "$$")


def _fetching(wanted: Wanted, started: GroupLaunch, one: PodLaunch) -> Manifest:
    launch = wanted.launch
    env = [_env(variable) for variable in one.env if variable.name in _FETCHING]
    return {
        "name": WEIGHTS,
        "image": started.image,
        "command": ["python3", "-c", _FETCH_SCRIPT],
        "args": [literal(launch.model.name), literal(launch.model.source.revision or "")],
        "env": env,
        "securityContext": {"allowPrivilegeEscalation": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [CACHE_MOUNT],
        **_pull_policy(launch),
    }


def _waiting(launch: Launch, started: GroupLaunch, one: PodLaunch) -> Manifest:
    return {
        "name": "wait-for-followers" if one.index == 0 else "wait-for-leader",
        "image": started.image,
        "command": ["python3", "-c", WAIT_SCRIPT],
        "args": [str(one.present), *(f"{host}:{port}" for host, port in one.wait_for)],
        "securityContext": {"allowPrivilegeEscalation": False},
        **_pull_policy(launch),
    }


def _pull_policy(launch: Launch) -> Manifest:
    return {} if launch.container.image_pull_policy is None else {"imagePullPolicy": launch.container.image_pull_policy}


def _resources(wanted: Wanted, started: GroupLaunch, gpus: Mapping[str, str], claims: Iterable[str]) -> Manifest:
    """Ask for the planned GPUs, and for RDMA devices where ranks talk between pods."""
    needed = dict(wanted.site.rdma if len(started.pods) > 1 else ()) | dict(gpus)
    asked = {
        "requests": dict(wanted.launch.extras.requests) | needed,
        "limits": dict(wanted.launch.extras.limits) | needed,
    }
    found: Manifest = {key: value for key, value in asked.items() if value}
    used = [{"name": name} for name in claims]
    return found | ({"claims": used} if used else {})


def _security(wanted: Wanted, started: GroupLaunch) -> Manifest:
    found: Manifest = {"allowPrivilegeEscalation": False}
    if wanted.site.ipc_lock and len(started.pods) > 1:
        found["capabilities"] = {"add": ["IPC_LOCK"]}
    return found


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
    return how | {
        "periodSeconds": probe.period,
        "timeoutSeconds": probe.timeout,
        "failureThreshold": probe.failures,
    }
