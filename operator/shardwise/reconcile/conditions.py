"""Conditions by the kstatus contract: of Ready, Reconciling and Stalled just one is True, and each says since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shardwise.reconcile.records import format_time

Said = tuple[str, str, str, str]
"""A condition's type, status, reason and message."""

MOST_MESSAGE: Final = 1024
"""Characters a message may have."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where an object stands: the reason and message that Ready, Reconciling and Stalled share."""

    state: str
    reason: str
    message: str


def standing(verdict: Verdict) -> list[Said]:
    """Say all three conditions every time, so that a waiter never meets a missing one.

    Ready and the one that is True carry the message; the status would hold it four times else.
    """
    return [
        (kind, "True" if kind == verdict.state else "False", verdict.reason, verdict.message)
        if kind in ("Ready", verdict.state)
        else (kind, "False", verdict.reason, "")
        for kind in ("Ready", "Reconciling", "Stalled")
    ]


def short_of(ready: int, replicas: int) -> Said | None:
    """Say ``Degraded`` of too few replicas that serve; ``None`` where they are not too few."""
    if not ready:
        return "Degraded", "False", "NothingServes", ""
    if ready < replicas:
        return "Degraded", "True", "ReplicasMissing", f"{ready} of {replicas} replicas serve"
    return None


def conditions(wanted: list[Said], before: Mapping[str, Any], generation: int, now: float) -> list[dict[str, Any]]:
    """Keep the time of the last change of a condition whose status is what it was."""
    old = {one.get("type"): one for one in before.get("conditions") or ()}
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message[:MOST_MESSAGE],
            "lastTransitionTime": _changed(old.get(kind), status, now),
            "observedGeneration": generation,
        }
        for kind, status, reason, message in wanted
    ]


def _changed(old: Mapping[str, Any] | None, status: str, now: float) -> str:
    if old is not None and old.get("status") == status and old.get("lastTransitionTime"):
        return str(old["lastTransitionTime"])
    return format_time(now)
