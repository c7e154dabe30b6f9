"""The disruption budget: of an object's replicas, one at a time may be drained.

It counts leaders, one a replica, against the replicas the object's scale subresource asks for; evicting any other pod
of a group ends the group all the same, which no budget can say. A pod that is not ready may always be evicted. It is
for two replicas or more: of a single one nothing would be left to keep.
"""

from typing import Final

from shardwise.domain.launch import Launch, Wanted
from shardwise.render.manifest import REVISION, Manifest, common_labels, digest, leader_selector, metadata
from shardwise.render.names import serving_name

API_VERSION: Final = "policy/v1"
KIND: Final = "PodDisruptionBudget"


def has_budget(wanted: Wanted) -> bool:
    """Tell whether an object has replicas to keep while one is drained."""
    return wanted.demand.replicas > 1


def disruption_budget(launch: Launch) -> Manifest:
    """Make the budget; named as the Service to the leaders."""
    spec: Manifest = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": leader_selector(launch)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    labels = common_labels(launch) | {REVISION: digest(spec)}
    found = metadata(launch.owner, serving_name(launch.owner.name), labels)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": found, "spec": spec}
