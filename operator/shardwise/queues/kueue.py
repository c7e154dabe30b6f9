"""Kueue: a group of pods enters a LocalQueue, and Kueue's Workload of the same name says how far it has come.

The facts were observed with Kueue v0.19.2 on Kubernetes 1.36.2; docs/decisions/0061 has those that decide.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from shardwise.domain.fleet import AMD, NVIDIA
from shardwise.queues.protocol import (
    Json,
    Labels,
    Manifest,
    Offer,
    Phase,
    Position,
    QueuedGroup,
    QueueEntry,
    conditions_by_type,
    group_shown,
)

NAME: Final = "Kueue"
SERVED_BY: Final = ("kueue.x-k8s.io/v1beta2",)
GROUP_KIND: Final = "Workload"
FLAVOR_KIND: Final = "ResourceFlavor"

MOST_PODS: Final = 18
"""Pods with different node affinities are different roles, and a Workload has at most 18 (its CRD, v1beta2).

Kueue makes no Workload for more, and says nothing.
"""

_DOMAIN: Final = "kueue.x-k8s.io"
_QUEUE: Final = f"{_DOMAIN}/queue-name"
_GROUP: Final = f"{_DOMAIN}/pod-group-name"
_COUNT: Final = f"{_DOMAIN}/pod-group-total-count"
_RETRIABLE: Final = f"{_DOMAIN}/retriable-in-group"
"""Where it is ``false``, a group whose pods are all over gives its quota back; else Kueue waits for other pods."""


def entered(pod: Manifest, entry: QueueEntry) -> Manifest:
    """Give a pod with the labels and annotations of its group. Kueue reads them when the pod is created."""
    metadata = pod["metadata"]
    labels = metadata["labels"] | {_QUEUE: entry.queue, _GROUP: entry.group}
    annotations = metadata.get("annotations", {}) | {_COUNT: str(entry.pods), _RETRIABLE: "false"}
    return pod | {"metadata": metadata | {"labels": labels, "annotations": annotations}}


def steered(pod: Manifest, labels: Mapping[str, str], keys: Collection[str]) -> Manifest:
    """Select the labels of flavours that the pod's node has, and exclude those that the node lacks.

    Kueue chooses a flavour by nodeSelector and matchExpressions, and does not look at matchFields.
    """
    selected = {key: labels[key] for key in sorted(keys) if key in labels}
    lacking = [{"key": key, "operator": "DoesNotExist"} for key in sorted(keys) if key not in labels]
    spec = dict(pod["spec"])
    if selected:
        spec["nodeSelector"] = {**spec.get("nodeSelector", {}), **selected}
    if lacking:
        spec["affinity"] = _with_expressions(spec["affinity"], lacking)
    return pod | {"spec": spec}


def _with_expressions(affinity: Json, expressions: list[Manifest]) -> Manifest:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    node = affinity["nodeAffinity"]
    terms = [
        {**term, "matchExpressions": [*term.get("matchExpressions", ()), *expressions]}
        for term in node[required]["nodeSelectorTerms"]
    ]
    return {**affinity, "nodeAffinity": {**node, required: {"nodeSelectorTerms": terms}}}


def marks(key: str) -> bool:
    """Tell labels of Kueue, which it sets on the pods of Jobs as well."""
    return key.startswith(f"{_DOMAIN}/")


def read_group(obj: Json) -> QueuedGroup:
    """Read a Workload. A Workload without any condition waits: Kueue has not looked at it, or a like group waits."""
    conditions = conditions_by_type(obj)
    phase, told = _phase(conditions)
    return group_shown(obj, phase, _words(conditions.get(told)))


def _phase(conditions: Mapping[str, Json]) -> tuple[Phase, str]:
    """Give the phase, and the condition that says why. An evicted group that was reserved again is not evicted."""

    def holds(kind: str) -> bool:
        return (conditions.get(kind) or {}).get("status") == "True"

    if holds("Finished"):
        return Phase.FINISHED, "Finished"
    if holds("Evicted") and not holds("QuotaReserved"):
        return Phase.EVICTED, "Evicted"
    if holds("Admitted"):
        return Phase.ADMITTED, "Admitted"
    return Phase.WAITING, "QuotaReserved"


def _words(condition: Json | None) -> str:
    if condition is None:
        return ""
    return str(condition.get("message") or condition.get("reason") or "")


def read_positions(summary: Json) -> Iterator[tuple[tuple[str, str], Position]]:
    """Read the PendingWorkloadsSummary of a LocalQueue: the position of each group, by its namespace and name.

    Kueue counts from 0.
    """
    for item in summary.get("items") or ():
        metadata = item.get("metadata") or {}
        in_queue, in_quota = (
            int(item.get(field) or 0) + 1 for field in ("positionInLocalQueue", "positionInClusterQueue")
        )
        yield (metadata.get("namespace") or "", metadata.get("name") or ""), Position(in_queue, in_quota)


def offer(cluster_queue: Json, flavors: Mapping[str, Json]) -> Offer:
    """Read the nodes that a ClusterQueue offers. ``flavors`` are the ResourceFlavors by name.

    A ClusterQueue without quota for GPUs offers all nodes: Kueue itself says that nothing is admitted there. If none of
    its flavours with GPUs exists, the first is missing.
    """
    groups = (cluster_queue.get("spec") or {}).get("resourceGroups") or ()
    named = {name for group in groups for name in _names(group)}
    keys = frozenset(key for name in named for key, _ in _labels(flavors.get(name)))
    of_gpus: Json = next((group for group in groups if {NVIDIA, AMD} & set(group.get("coveredResources") or ())), {})
    wanted = tuple(_names(of_gpus))
    found = tuple(_labels(flavors[name]) for name in wanted if name in flavors)
    missing = (FLAVOR_KIND, wanted[0]) if wanted and not found else None
    return Offer(found if all(found) else (), keys, missing)


def closed(cluster_queue: Json | None) -> str:
    """Say why a ClusterQueue admits nobody, in the words of Kueue; empty if it is active, or nothing is known of it.

    A Workload that waits there says only that the ClusterQueue is inactive.
    """
    active = conditions_by_type(cluster_queue or {}).get("Active") or {}
    return _words(active).removesuffix(".") if active.get("status") == "False" else ""


def _names(group: Json) -> Iterator[str]:
    return (flavor["name"] for flavor in group.get("flavors") or ())


def _labels(flavor: Json | None) -> Labels:
    labels: Mapping[str, Any] = ((flavor or {}).get("spec") or {}).get("nodeLabels") or {}
    return tuple(sorted((key, str(value)) for key, value in labels.items()))
