"""The disruption budget: of an object's replicas, one at a time may be drained.

Budgets count pods, and evicting any pod of a group ends the group. So all pods count, and all but one must stay: once
one is evicted its group goes, and no other pod may be evicted until the group serves again. The number is a plain one:
a budget that reads it off the scale subresource counts a pod of any group alike, and allows nothing until the cluster
has learnt of a fresh CRD. A pod that is not ready may always be evicted. It is for two replicas or more: of a single
one nothing would be left to keep.
"""

from typing import Final

from shardwise.domain.digest import json_digest
from shardwise.domain.launch import Launch, Wanted
from shardwise.render.manifest import MODEL, REVISION, Manifest, common_labels, metadata
from shardwise.render.names import label_value, serving_name

API_VERSION: Final = "policy/v1"
KIND: Final = "PodDisruptionBudget"


def has_budget(wanted: Wanted) -> bool:
    """Tell whether an object has replicas to keep while one is drained."""
    return wanted.demand.replicas > 1


def disruption_budget(launch: Launch, pods: int) -> Manifest:
    """Make the budget of an object whose replicas have so many pods; named as the Service to the leaders."""
    spec: Manifest = {
        "minAvailable": max(0, pods - 1),
        "selector": {"matchLabels": {MODEL: label_value(launch.owner.name)}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    labels = common_labels(launch) | {REVISION: json_digest(spec)}
    found = metadata(launch.owner, serving_name(launch.owner.name), labels)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": found, "spec": spec}
