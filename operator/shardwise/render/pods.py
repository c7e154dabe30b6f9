"""The pods of a group: a pod for each equal share of GPUs on a node."""

from collections.abc import Iterator, Mapping
from typing import Final

from shardwise.domain.demand import Requirement, Toleration
from shardwise.domain.launch import Launch, Wanted
from shardwise.domain.plan import GroupPlacement, Plan, PodPlacement
from shardwise.engines import GroupLaunch
from shardwise.inventory import CHANNEL_CLAIM, CLAIMED_GPUS
from shardwise.queues import SYSTEMS, QueueEntry
from shardwise.render.companions import channel_name, claim_template_name, needs_compute_domain
from shardwise.render.containers import GPU_CLAIM, ResourcesAsked, before_the_engine, engine
from shardwise.render.gangs import ganged
from shardwise.render.manifest import (
    GROUP_SIZE,
    INDEX,
    LEADER,
    REVISION,
    ROLE,
    ROUTER_ROLE,
    SERVER,
    SERVES,
    WORKER,
    Manifest,
    group_labels,
    metadata,
)
from shardwise.render.names import group_name, pod_name
from shardwise.render.volumes import volumes

_NODE_LOST_SECONDS: Final = 30
"""Seconds that a pod stays on a lost node; Kubernetes' own default would hold the group for five minutes."""


OpenTo = Mapping[str, tuple[tuple[Requirement, ...], ...]]
"""The terms on nodes for the pods of a planned node whose node the scheduler picks. Other pods name their node."""


def pods(
    wanted: Wanted, plan: Plan, placed: GroupPlacement, started: GroupLaunch, attempt: int, open_to: OpenTo
) -> list[Manifest]:
    """Make the pods of an attempt of a replica, in rank order, without their revision label."""
    made = (_pod(wanted, plan, placed, started, place, attempt) for place in placed.pods)
    return [_opened(wanted, pod, open_to.get(place.node)) for pod, place in zip(made, placed.pods, strict=True)]


def _opened(wanted: Wanted, pod: Manifest, terms: tuple[tuple[Requirement, ...], ...] | None) -> Manifest:
    """Let the scheduler pick the node of a pod among those that meet a term; without terms, the pod names its node."""
    if terms is None:
        return pod
    chosen = [{"matchExpressions": list(map(_expression, term))} for term in terms]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": chosen}}
    spec = pod["spec"] | {"affinity": {"nodeAffinity": required}}
    selector = dict(wanted.demand.node_selector)
    return pod | {"spec": spec | {"nodeSelector": selector} if selector else spec}


def _expression(wanted: Requirement) -> Manifest:
    expression: Manifest = {"key": wanted.key, "operator": wanted.operator.value}
    return expression | {"values": list(wanted.values)} if wanted.values else expression


def with_revision(manifest: Manifest, revision: str) -> Manifest:
    """Give a pod with its revision label."""
    labels = manifest["metadata"]["labels"] | {REVISION: revision}
    return manifest | {"metadata": manifest["metadata"] | {"labels": labels}}


def _pod(
    wanted: Wanted, plan: Plan, placed: GroupPlacement, started: GroupLaunch, place: PodPlacement, attempt: int
) -> Manifest:
    launch = wanted.launch
    name = pod_name(launch.owner.name, placed.replica, attempt, place.index)
    role = LEADER if place.index == 0 else SERVER if started.pods[place.index].serves else WORKER
    labels = {key: value for key, value in launch.extras.labels if key != SERVES}
    labels |= group_labels(launch, placed.replica, attempt)
    labels |= {INDEX: str(place.index), ROLE: role, GROUP_SIZE: str(len(started.pods))}
    if wanted.site.gpu_device_class is not None:
        labels[CLAIMED_GPUS] = str(place.gpus)
    found = metadata(launch.owner, name, labels)
    found["annotations"] = dict(launch.extras.annotations) | {
        "shardwise.dev/layout": str(plan.layout),
        "shardwise.dev/ranks": f"{place.ranks[0]}-{place.ranks[-1]}",
    }
    if role != WORKER:
        found["annotations"] |= dict(started.annotations)
        found["labels"] |= {} if launch.role is None else {ROUTER_ROLE: launch.role.name.value}
    claims = dict(_claims(wanted, plan, placed, place))
    spec = _spec(wanted, plan, started, place, claims) | {
        "hostname": name,
        "subdomain": group_name(launch.owner.name, placed.replica, attempt),
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": found, "spec": spec}
    if wanted.queue is None:
        return ganged(wanted, pod, placed, attempt)
    entry = QueueEntry(wanted.queue.name, group_name(launch.owner.name, placed.replica, attempt), len(started.pods))
    return SYSTEMS[wanted.queue.system].entered(pod, entry)


def _claims(wanted: Wanted, plan: Plan, placed: GroupPlacement, place: PodPlacement) -> Iterator[tuple[str, str]]:
    """Give the resource claims of a pod, with the templates they are made from."""
    if wanted.site.gpu_device_class is not None:
        yield GPU_CLAIM, claim_template_name(wanted.launch, wanted.site.gpu_device_class, place)
    if needs_compute_domain(wanted, plan, placed):
        yield CHANNEL_CLAIM, channel_name(wanted.launch, placed)


def _spec(wanted: Wanted, plan: Plan, started: GroupLaunch, place: PodPlacement, claims: dict[str, str]) -> Manifest:
    launch, pod = wanted.launch, started.pods[place.index]
    tolerations = (*launch.scheduling.tolerations, Toleration(plan.resource, "Exists"), *_TOLERATIONS)
    spec: Manifest = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": launch.scheduling.service_account_name is not None,
        "terminationGracePeriodSeconds": pod.grace,
        "affinity": _affinity(place.node),
        "tolerations": [_toleration(toleration) for toleration in tolerations],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, **launch.extras.security_context},
        "containers": [engine(wanted, started, pod, place, ResourcesAsked(_gpus(wanted, plan, place), claims))],
        "volumes": volumes(wanted, started),
    }
    before = list(before_the_engine(wanted, started, pod))
    if before:
        spec["initContainers"] = before
    if claims:
        spec["resourceClaims"] = [
            {"name": name, "resourceClaimTemplateName": template} for name, template in claims.items()
        ]
    return spec | _optional(launch)


def _gpus(wanted: Wanted, plan: Plan, place: PodPlacement) -> dict[str, str]:
    """Give the GPU resource that a pod requests, with its count; empty if the pod claims its GPUs."""
    return {plan.resource: str(place.gpus)} if wanted.site.gpu_device_class is None else {}


def _optional(launch: Launch) -> Manifest:
    extras = launch.extras
    given = {
        "hostNetwork": extras.host_network or None,
        "dnsPolicy": extras.dns_policy or ("ClusterFirstWithHostNet" if extras.host_network else None),
        "schedulingGates": [{"name": gate} for gate in extras.scheduling_gates] or None,
        "priorityClassName": launch.scheduling.priority_class_name,
        "schedulerName": launch.scheduling.scheduler_name,
        "serviceAccountName": launch.scheduling.service_account_name,
        "runtimeClassName": launch.scheduling.runtime_class_name,
        "imagePullSecrets": [{"name": name} for name in launch.container.image_pull_secrets] or None,
    }
    return {key: value for key, value in given.items() if value is not None}


_TOLERATIONS: Final = (
    Toleration("node.kubernetes.io/not-ready", "Exists", effect="NoExecute", seconds=_NODE_LOST_SECONDS),
    Toleration("node.kubernetes.io/unreachable", "Exists", effect="NoExecute", seconds=_NODE_LOST_SECONDS),
)


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
