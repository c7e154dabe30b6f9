"""Systems of the cluster that decide about groups: queues that admit them, schedulers that bind them as gangs. Pure.

Every system has a module. The modules keep the protocols in ``shardwise.queues.protocol`` and do not know each other.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from shardwise.domain.launch import GangSystem, QueueSystem
from shardwise.queues import coscheduling, kai, kueue, native, volcano
from shardwise.queues.protocol import (
    GangBinder,
    GangEntry,
    Offer,
    Phase,
    Position,
    QueuedGroup,
    QueueEntry,
    QueueKeeper,
    System,
)

__all__ = [
    "GANGS",
    "SYSTEMS",
    "GangBinder",
    "GangEntry",
    "Offer",
    "Phase",
    "Position",
    "QueueEntry",
    "QueueKeeper",
    "QueuedGroup",
    "System",
    "gang_of",
    "is_queued",
    "marks",
    "waits_for_gang",
]

SYSTEMS: Final[Mapping[QueueSystem, QueueKeeper]] = {QueueSystem.KUEUE: kueue}
"""Every system whose queues an object may name."""

GANGS: Final[Mapping[GangSystem, GangBinder]] = {
    GangSystem.NATIVE: native,
    GangSystem.VOLCANO: volcano,
    GangSystem.KAI: kai,
    GangSystem.COSCHEDULING: coscheduling,
}
"""Every gang scheduler that an object may name."""


@lru_cache(maxsize=4096)
def marks(key: str) -> bool:
    """Tell whether a label of pods says that a queue of the cluster decides when the pod runs."""
    return any(system.marks(key) for system in SYSTEMS.values())


def is_queued(pod: Mapping[str, Any]) -> bool:
    """Tell whether a queue of the cluster decides when a pod of any owner runs."""
    labels = pod["metadata"].get("labels")
    return bool(labels) and any(map(marks, labels))


def gang_of(api_version: str) -> GangSystem:
    """Give the gang scheduler whose groups have an API version. Raises ``LookupError`` for any other version."""
    for system, module in GANGS.items():
        if api_version in module.SERVED_BY:
            return system
    raise LookupError(f"no gang scheduler has groups of `{api_version}`")


def waits_for_gang(scheduled: Mapping[str, Any]) -> bool:
    """Tell from the condition ``PodScheduled`` of a pod whether only others of its group keep it from being bound."""
    return any(system.waits_for_others(scheduled) for system in GANGS.values())
