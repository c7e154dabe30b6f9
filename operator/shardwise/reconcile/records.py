"""The record of a group, which the status keeps from decision to decision, and the times that statuses hold."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from shardwise.domain.cache_tokens import CacheTokens
from shardwise.domain.reasons import FailureKind

_TIMES: Final = 4096
"""Times that are kept with their texts. A status repeats few times, and each decision reads and writes all of them."""


class State(StrEnum):
    """The states of a group; its life cycle is in ``shardwise.reconcile.life``."""

    WAITING = "Waiting"
    PENDING = "Pending"
    QUEUED = "Queued"
    STARTING = "Starting"
    READY = "Ready"
    UNREADY = "Unready"
    BACKOFF = "Backoff"
    REFUSED = "Refused"
    HELD = "Held"


BEGINNING: Final = frozenset({State.PENDING, State.QUEUED})
"""States in which the pods of an attempt are made, and may be made again."""

SERVING: Final = (State.READY, State.UNREADY)
"""States of an attempt that serves, or has served until just now."""

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
    waits in Backoff or is Held. ``cache`` is the size of this attempt's KV cache, once the engine has said it. ``open``
    tells that the scheduler has yet to pick the nodes: ``nodes`` then are those of the plan, which only show that there
    is room. When all pods are bound, ``planned`` keeps them. ``role`` is the role of the group, in an object with
    roles. ``no_restart`` tells of a group in Backoff that its next attempt is no restart: the last attempt never ran,
    or a queue of the cluster took the attempt away.
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
    cache: CacheTokens | None = None
    open: bool = False
    planned: tuple[str, ...] = ()
    role: str = ""
    no_restart: bool = False

    @property
    def known_nodes(self) -> tuple[str, ...]:
        """The nodes of its pods; a name is empty if the scheduler has yet to pick the node."""
        return ("",) * len(self.nodes) if self.open else self.nodes

    @property
    def held_gpus(self) -> int:
        """The GPUs of its place, over all its pods."""
        return self.gpus * len(self.nodes)

    @property
    def held_nodes(self) -> tuple[str, ...]:
        """The nodes on which it holds GPUs: none while a queue of the cluster has not admitted it, or they are open."""
        return () if self.state is State.QUEUED or self.open else self.nodes

    @property
    def coming_gpus(self) -> int:
        """The GPUs that it will hold on nodes that the scheduler has yet to pick."""
        return self.held_gpus if self.open and self.state is not State.QUEUED else 0


def held_by(records: Iterable[Record]) -> Mapping[str, int]:
    """Count the GPUs that groups hold, by node. Groups without a place, Queued groups and open places hold none."""
    gpus: Counter[str] = Counter()
    for record in records:
        for node in record.held_nodes:
            gpus[node] += record.gpus
    return gpus


@lru_cache(maxsize=_TIMES)
def format_time(seconds: float) -> str:
    """Write a time in the format of Kubernetes: UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=_TIMES)
def parse_time(text: str) -> float:
    """Read a time in this format. Any other text is the epoch."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
