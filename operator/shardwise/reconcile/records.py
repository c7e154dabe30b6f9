"""What the status remembers of each group from one decision to the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The states of a group's attempt; the life cycle is in ``shardwise.reconcile.groups``."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    BACKOFF = "Backoff"
    HELD = "Held"


@dataclass(frozen=True, slots=True)
class Record:
    """One group, as the status remembers it.

    ``failures`` counts attempts in a row that ended before the group was ready. ``since`` is the time, in seconds
    since the epoch, at which the present state began.
    """

    replica: int
    attempt: int = 0
    failures: int = 0
    since: float = 0.0
    state: State = State.PENDING
    message: str = ""


def read_records(status: Mapping[str, Any]) -> dict[int, Record]:
    """Read the records a status holds. What cannot be read is left out, and its group found again from its pods."""
    found = {}
    for group in status.get("groups") or ():
        try:
            record = _read(group)
        except (KeyError, TypeError, ValueError):
            continue
        found[record.replica] = record
    return found


def _read(group: Mapping[str, Any]) -> Record:
    return Record(
        replica=int(group["replica"]),
        attempt=int(group["attempt"]),
        failures=int(group.get("failures", 0)),
        since=parse_time(group.get("since", "")),
        state=State(group["state"]),
        message=str(group.get("message", "")),
    )


def format_time(seconds: float) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> float:
    """Read such a time; what is none is the epoch."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
