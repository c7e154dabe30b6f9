"""Conditions by the kstatus contract: of Ready, Reconciling and Stalled exactly one is True, and each has a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shardwise.domain.reasons import AnyReason, Reason
from shardwise.reconcile.records import format_time

MOST_MESSAGE: Final = 1024
"""Characters a message may have."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of the object, without its times. ``holds`` is its status."""

    kind: str
    holds: bool
    reason: AnyReason
    message: str = ""

    @property
    def status(self) -> str:
        """The status as Kubernetes writes it."""
        return "True" if self.holds else "False"


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of an object in short: ``kind`` says which of Ready, Reconciling and Stalled is True.

    The three conditions share the reason and the message.
    """

    kind: str
    reason: AnyReason
    message: str


def summary_conditions(summary: Summary) -> list[Condition]:
    """Give all three conditions every time, so that a client that waits always finds the condition.

    Only Ready and the condition that is True carry the message, to keep the status small.
    """
    return [
        Condition(
            kind, kind == summary.kind, summary.reason, summary.message if kind in ("Ready", summary.kind) else ""
        )
        for kind in ("Ready", "Reconciling", "Stalled")
    ]


def short_of(ready: int, replicas: int) -> Condition | None:
    """Give the condition ``Degraded`` where fewer replicas serve than are asked for; ``None`` where all serve."""
    if not ready:
        return Condition("Degraded", holds=False, reason=Reason.NOTHING_SERVES)
    if ready < replicas:
        message = f"{ready} of {replicas} replicas serve"
        return Condition("Degraded", holds=True, reason=Reason.REPLICAS_MISSING, message=message)
    return None


def write_conditions(
    conditions: list[Condition], before: Mapping[str, Any], generation: int, now: float
) -> list[dict[str, Any]]:
    """Give conditions as the status holds them. The time of a condition changes only with its status."""
    old = {written.get("type"): written for written in before.get("conditions") or ()}
    return [
        {
            "type": condition.kind,
            "status": condition.status,
            "reason": condition.reason.value,
            "message": condition.message[:MOST_MESSAGE],
            "lastTransitionTime": _changed(old.get(condition.kind), condition.status, now),
            "observedGeneration": generation,
        }
        for condition in conditions
    ]


def _changed(old: Mapping[str, Any] | None, status: str, now: float) -> str:
    if old is not None and old.get("status") == status and old.get("lastTransitionTime"):
        return str(old["lastTransitionTime"])
    return format_time(now)
