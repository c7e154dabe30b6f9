"""The fleet as Kubernetes shows it: Node and Pod objects in, a :class:`~shardwise.domain.fleet.Fleet` out. Pure."""

from shardwise.inventory.fleet import held_gpus, read_fleet
from shardwise.inventory.nodes import GPU_RESOURCE
from shardwise.inventory.pods import gpu_request, is_finished

__all__ = ["GPU_RESOURCE", "gpu_request", "held_gpus", "is_finished", "read_fleet"]
