"""Conditions by the kstatus contract: of Ready, Reconciling and Stalled exactly one is True, and each has a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.domain.reasons import AnyReason, Reason

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
class DatedCondition:
    """A condition as the status holds it.

    ``since`` is when its status last changed, in seconds since the epoch. ``generation`` is the generation that it
    describes. Its reason may be one that only another version knows.
    """

    kind: str
    status: str
    reason: str
    message: str
    since: float
    generation: int


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


def date_conditions(
    conditions: Iterable[Condition], before: Iterable[DatedCondition], generation: int, now: float
) -> tuple[DatedCondition, ...]:
    """Give conditions as the status holds them. The time of a condition changes only with its status."""
    old = {(known.kind, known.status): known.since for known in before}
    return tuple(
        DatedCondition(
            kind=condition.kind,
            status=condition.status,
            reason=condition.reason.value,
            message=condition.message[:MOST_MESSAGE],
            since=old.get((condition.kind, condition.status)) or now,
            generation=generation,
        )
        for condition in conditions
    )
