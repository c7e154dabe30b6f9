"""Reading a :class:`~shardwise.domain.fleet.Fleet` from Node and Pod objects of Kubernetes. Pure."""

from shardwise.inventory.exclusions import SHARERS
from shardwise.inventory.fleet_reading import held_gpus, read_fleet
from shardwise.inventory.ledger import Ledger
from shardwise.inventory.nodes import read_node
from shardwise.inventory.pods import (
    CHANNEL_CLAIM,
    CLAIMED_GPUS,
    gpu_request,
    gpus_asked,
    holding,
    is_finished,
    other_requests,
    use,
)
from shardwise.inventory.sightings import settled, sighted
from shardwise.inventory.vendors import PRODUCT_LABELS

__all__ = [
    "CHANNEL_CLAIM",
    "CLAIMED_GPUS",
    "PRODUCT_LABELS",
    "SHARERS",
    "Ledger",
    "gpu_request",
    "gpus_asked",
    "held_gpus",
    "holding",
    "is_finished",
    "other_requests",
    "read_fleet",
    "read_node",
    "settled",
    "sighted",
    "use",
]
