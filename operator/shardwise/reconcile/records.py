"""The records in the status from decision to decision: each group, and the nodes to avoid for a while."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from shardwise.domain.reasons import FailureKind


class State(StrEnum):
    """The states of a group; its life cycle is in ``shardwise.reconcile.life``."""

    WAITING = "Waiting"
    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    UNREADY = "Unready"
    BACKOFF = "Backoff"
    REFUSED = "Refused"
    HELD = "Held"


WORDLESS: Final = frozenset({State.STARTING, State.READY, State.UNREADY})
"""States that set no message. The status then reports the progress of the pods, new each time."""


@dataclass(frozen=True, slots=True)
class Record:
    """A group in the status. Times are seconds since the epoch; 0 means never.

    ``since`` is when the present state began, ``served`` when this attempt was first ready, ``retry_at`` when a group
    in Backoff begins its next attempt, or a Refused group may be tried again. ``failures`` counts failures in a row.
    ``refused`` counts the refused tries of the object in a row, up to the last try of this group; 0 if its pods are not
    refused. ``nodes`` are the nodes of its pods in rank order; ``gpus`` is the GPUs of each pod; both are empty without
    a place. ``content`` names the content of its pods. ``failure`` is the kind of its last failure, while the group
    waits in Backoff or is Held.
    """

    replica: int
    attempt: int = 0
    state: State = State.PENDING
    since: float = 0.0
    failures: int = 0
    served: float = 0.0
    retry_at: float = 0.0
    nodes: tuple[str, ...] = ()
    gpus: int = 0
    content: str = ""
    message: str = ""
    failure: FailureKind | None = None
    refused: int = 0

    @property
    def held_gpus(self) -> int:
        """The GPUs of its place, over all its pods."""
        return self.gpus * len(self.nodes)


def read_records(status: Mapping[str, Any]) -> dict[int, Record]:
    """Read the records of a status. An unreadable record is left out, and its group is found from its pods."""
    found = {}
    for group in status.get("groups") or ():
        try:
            record = _read(group, status.get("plan") or {})
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        found[record.replica] = record
    return found


def _read(group: Mapping[str, Any], plan: Mapping[str, Any]) -> Record:
    state = State(group["state"])
    nodes = tuple(str(node) for node in group.get("nodes", ()))
    return Record(
        replica=int(group["replica"]),
        attempt=int(group["attempt"]),
        state=state,
        since=parse_time(group.get("since", "")),
        failures=int(group.get("failures", 0)),
        served=parse_time(group.get("served", "")),
        retry_at=parse_time(group.get("retryAt", "")),
        nodes=nodes,
        gpus=int(group.get("gpusPerPod") or (_equal_share(plan, nodes) if nodes else 0)),
        content=str(group.get("content", "")),
        message="" if state in WORDLESS else str(group.get("message", "")),
        failure=_read_failure(group.get("failure")),
        refused=int(group.get("refused", 0)),
    )


def _read_failure(text: str | None) -> FailureKind | None:
    """Read a kind of failure. A kind that only another version knows counts as ``OTHER``."""
    if not text:
        return None
    return FailureKind(text) if text in tuple(FailureKind) else FailureKind.OTHER


def _equal_share(plan: Mapping[str, Any], nodes: tuple[str, ...]) -> int:
    """Work out the GPUs of each pod if the group does not say. The version before this version did not record them."""
    return int(plan.get("worldSize", 0)) // len(nodes)


def write_record(record: Record) -> dict[str, Any]:
    """Give a record in the format of the status. Empty fields are left out, so that the status stays small."""
    written = {
        "replica": record.replica,
        "attempt": record.attempt,
        "state": record.state.value,
        "since": format_time(record.since),
    }
    optional = {
        "failures": record.failures,
        "served": record.served and format_time(record.served),
        "retryAt": record.retry_at and format_time(record.retry_at),
        "nodes": list(record.nodes),
        "gpusPerPod": record.gpus,
        "content": record.content,
        "failure": record.failure and record.failure.value,
        "refused": record.refused,
    }
    return written | {name: value for name, value in optional.items() if value}


def holdings(status: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the GPUs that the groups of a status hold, in the format of a plan: groups of pods with node and GPUs.

    ``None`` if they hold nothing.
    """
    placed = [record for record in read_records(status).values() if record.nodes]
    return {"groups": [{"replica": record.replica, "pods": _pods(record)} for record in placed]} if placed else None


def planned_gpus(held: Mapping[str, Any] | None) -> Counter[str]:
    """Count the GPUs of such holdings on each node."""
    gpus: Counter[str] = Counter()
    for group in (held or {}).get("groups") or ():
        for pod in group.get("pods") or ():
            gpus[pod["node"]] += pod["gpus"]
    return gpus


def _pods(record: Record) -> list[dict[str, Any]]:
    return [{"index": index, "node": node, "gpus": record.gpus} for index, node in enumerate(record.nodes)]


def format_time(seconds: float) -> str:
    """Write a time in the format of Kubernetes: UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> float:
    """Read a time in this format. Any other text is the epoch."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
