"""The disruption budget: at most one replica of an object may be drained at a time.

Budgets count pods, and the eviction of any pod ends its whole group. So the budget counts all pods and lets a single
pod go: after its eviction the group ends, and no other pod may be evicted until the group serves again. The budget has
a fixed number, because a budget that reads the number from the scale subresource allows no eviction until the cluster
knows a new CRD. A pod that is not ready may always be evicted. An object with a single replica has no budget: there is
no other replica to keep.
"""

from typing import Final

from shardwise.domain.digest import json_digest
from shardwise.domain.launch import Launch, Wanted
from shardwise.render.manifest import MODEL, REVISION, Manifest, common_labels, metadata
from shardwise.render.names import label_value, serving_name

API_VERSION: Final = "policy/v1"
KIND: Final = "PodDisruptionBudget"


def has_budget(wanted: Wanted) -> bool:
    """Tell whether an object has other replicas, of any role, to keep while a replica is drained."""
    return wanted.demand.replicas > 1 or wanted.launch.role is not None


def disruption_budget(launch: Launch, pods: int) -> Manifest:
    """Make the budget of an object with ``pods`` pods in all replicas. It is named like the Service to the leaders."""
    spec: Manifest = {
        "minAvailable": max(0, pods - 1),
        "selector": {"matchLabels": {MODEL: label_value(launch.owner.name)}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    labels = common_labels(launch) | {REVISION: json_digest(spec)}
    found = metadata(launch.owner, serving_name(launch.owner.name), labels)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": found, "spec": spec}
