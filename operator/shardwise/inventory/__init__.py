"""The fleet as Kubernetes shows it: Node and Pod objects in, a :class:`~shardwise.domain.fleet.Fleet` out. Pure."""

from shardwise.inventory.fleet import fleet_of, held_gpus, read_fleet
from shardwise.inventory.nodes import GPU_RESOURCE, read_node
from shardwise.inventory.pods import CLAIMED_GPUS, gpu_request, is_finished

__all__ = [
    "CLAIMED_GPUS",
    "GPU_RESOURCE",
    "fleet_of",
    "gpu_request",
    "held_gpus",
    "is_finished",
    "read_fleet",
    "read_node",
]
