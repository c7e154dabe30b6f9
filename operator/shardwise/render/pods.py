"""The pods of a group: one for each equal share of GPUs on a node."""

from collections.abc import Mapping
from typing import Final

from shardwise.domain.demand import Toleration
from shardwise.domain.launch import EnvVar, Launch
from shardwise.domain.plan import Plan, PodPlacement
from shardwise.engines import GroupLaunch, PodLaunch, Probe
from shardwise.render.manifest import (
    GROUP_SIZE,
    INDEX,
    LEADER,
    REVISION,
    ROLE,
    WORKER,
    Manifest,
    group_labels,
    metadata,
)
from shardwise.render.names import group_name, pod_name
from shardwise.render.volumes import mounts, volumes

CONTAINER: Final = "engine"

_NODE_LOST_SECONDS: Final = 30
"""How long a pod stays on a node that went away; Kubernetes' own default would hold the group for five minutes."""

_WAIT_SCRIPT: Final = (
    "import socket, sys, time\n"
    "while True:\n"
    "    try:\n"
    "        socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()\n"
    "        break\n"
    "    except OSError as error:\n"
    "        print('waiting for', *sys.argv[1:], error, flush=True)\n"
    "        time.sleep(2)\n"
)
"""A worker started before its leader would give up; this constant text waits, and gets host and port as arguments."""


def pod(launch: Launch, plan: Plan, started: GroupLaunch, place: PodPlacement, replica: int, attempt: int) -> Manifest:
    """Make one pod, without its revision label."""
    one = started.pods[place.index]
    name = pod_name(launch.owner.name, replica, attempt, place.index)
    role = LEADER if place.index == 0 else WORKER
    labels = dict(launch.labels) | group_labels(launch, replica, attempt)
    labels |= {INDEX: str(place.index), ROLE: role, GROUP_SIZE: str(len(started.pods))}
    found = metadata(launch.owner, name, labels)
    found["annotations"] = dict(launch.annotations) | {
        "shardwise.dev/layout": str(plan.layout),
        "shardwise.dev/ranks": f"{place.ranks[0]}-{place.ranks[-1]}",
    }
    spec = _spec(launch, started, one, place, plan.resource) | {
        "hostname": name,
        "subdomain": group_name(launch.owner.name, replica, attempt),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": found, "spec": spec}


def with_revision(manifest: Manifest, revision: str) -> Manifest:
    """Give a pod with its revision label."""
    labels = manifest["metadata"]["labels"] | {REVISION: revision}
    return manifest | {"metadata": manifest["metadata"] | {"labels": labels}}


def _spec(launch: Launch, started: GroupLaunch, one: PodLaunch, place: PodPlacement, resource: str) -> Manifest:
    tolerations = (*launch.tolerations, Toleration(resource, "Exists"), *_TOLERATIONS)
    spec: Manifest = {
        "restartPolicy": "Always",
        "enableServiceLinks": False,
        "automountServiceAccountToken": launch.service_account is not None,
        "terminationGracePeriodSeconds": one.grace,
        "affinity": _affinity(place.node),
        "tolerations": [_toleration(toleration) for toleration in tolerations],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(launch, started, one, {resource: str(place.gpus)})],
        "volumes": volumes(launch),
    }
    if one.wait_for is not None:
        spec["initContainers"] = [_waiting(launch, started, one.wait_for)]
    return spec | _optional(launch)


def _optional(launch: Launch) -> Manifest:
    given = {
        "priorityClassName": launch.priority_class,
        "schedulerName": launch.scheduler_name,
        "serviceAccountName": launch.service_account,
        "runtimeClassName": launch.runtime_class,
        "imagePullSecrets": [{"name": name} for name in launch.image_pull_secrets] or None,
    }
    return {key: value for key, value in given.items() if value is not None}


def _container(launch: Launch, started: GroupLaunch, one: PodLaunch, gpus: Mapping[str, str]) -> Manifest:
    container: Manifest = {
        "name": CONTAINER,
        "image": started.image,
        "command": list(one.command),
        "args": [literal(word) for word in one.args],
        "env": [_pod_ip(), *(_env(variable) for variable in one.env)],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in started.ports],
        "resources": {"requests": {**dict(launch.requests), **gpus}, "limits": {**dict(launch.limits), **gpus}},
        "securityContext": {"allowPrivilegeEscalation": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(launch),
    }
    probes = {"startupProbe": one.startup, "readinessProbe": one.readiness, "livenessProbe": one.liveness}
    container |= {key: _probe(probe, started.http_port) for key, probe in probes.items() if probe is not None}
    if launch.image_pull_policy is not None:
        container["imagePullPolicy"] = launch.image_pull_policy
    return container


def _waiting(launch: Launch, started: GroupLaunch, wait_for: tuple[str, int]) -> Manifest:
    host, port = wait_for
    policy = {"imagePullPolicy": launch.image_pull_policy} if launch.image_pull_policy is not None else {}
    return {
        "name": "wait-for-leader",
        "image": started.image,
        "command": ["python3", "-c", _WAIT_SCRIPT],
        "args": [host, str(port)],
        "securityContext": {"allowPrivilegeEscalation": False},
        **policy,
    }


def literal(text: str) -> str:
    """Write text so that the kubelet leaves it alone: it would expand ``$(NAME)``, and read ``$$`` as ``$``."""
    return text.replace("$", "$$")


_TOLERATIONS: Final = (
    Toleration("node.kubernetes.io/not-ready", "Exists", effect="NoExecute", seconds=_NODE_LOST_SECONDS),
    Toleration("node.kubernetes.io/unreachable", "Exists", effect="NoExecute", seconds=_NODE_LOST_SECONDS),
)


def _pod_ip() -> Manifest:
    return {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def _env(variable: EnvVar) -> Manifest:
    if variable.secret is not None:
        name, key = variable.secret
        return {"name": variable.name, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
    if variable.config_map is not None:
        name, key = variable.config_map
        return {"name": variable.name, "valueFrom": {"configMapKeyRef": {"name": name, "key": key}}}
    return {"name": variable.name, "value": literal(variable.value or "")}


def _affinity(node: str) -> Manifest:
    """Require the planned node by its name: its hostname label may differ. The cluster's scheduler still binds."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _toleration(toleration: Toleration) -> Manifest:
    given: Manifest = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    found = {key: value for key, value in given.items() if value}
    return found if toleration.seconds is None else found | {"tolerationSeconds": toleration.seconds}


def _probe(probe: Probe, port: int) -> Manifest:
    return {
        "httpGet": {"path": probe.path, "port": port},
        "periodSeconds": probe.period,
        "timeoutSeconds": probe.timeout,
        "failureThreshold": probe.failures,
    }
