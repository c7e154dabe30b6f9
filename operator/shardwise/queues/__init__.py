"""Queues of the cluster that admit groups of pods: how pods enter them, and how far groups have come. Pure.

Every system has a module. The modules keep the protocol in ``shardwise.queues.protocol`` and do not know each other.
"""

from collections.abc import Mapping
from typing import Any, Final

from shardwise.domain.launch import QueueSystem
from shardwise.queues import kueue
from shardwise.queues.protocol import Offer, Phase, QueuedGroup, QueueEntry, System

__all__ = ["SYSTEMS", "Offer", "Phase", "QueueEntry", "QueuedGroup", "System", "is_queued", "marks"]

SYSTEMS: Final[Mapping[QueueSystem, System]] = {QueueSystem.KUEUE: kueue}
"""Every system whose queues an object may name."""


def marks(key: str) -> bool:
    """Tell whether a label of pods says that a queue of the cluster decides when the pod runs."""
    return any(system.marks(key) for system in SYSTEMS.values())


def is_queued(pod: Mapping[str, Any]) -> bool:
    """Tell whether a queue of the cluster decides when a pod of any owner runs."""
    return any(map(marks, pod["metadata"].get("labels") or {}))
