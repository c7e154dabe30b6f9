"""The protocols of the modules of the systems that decide about groups, so that nobody else tells the systems apart.

A queue keeper admits a group when there is quota for it. A gang scheduler binds all pods of a group or none.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Json = Mapping[str, Any]
Manifest = dict[str, Any]
Labels = tuple[tuple[str, str], ...]


class Phase(StrEnum):
    """How far a group has come: in a queue of the cluster, or with a gang scheduler, which admits what it binds."""

    WAITING = "Waiting"
    ADMITTED = "Admitted"
    EVICTED = "Evicted"
    FINISHED = "Finished"


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a waiting group, from 1: among the groups of its queue, and among all that want the same quota.

    Several queues may share a quota.
    """

    in_queue: int
    in_quota: int


@dataclass(frozen=True, slots=True)
class QueuedGroup:
    """A group as a system shows it. ``words`` is the reason of the system, for people.

    ``uid`` is that of the system's object for the group; ``deleting`` tells that this object is being deleted.
    ``position`` is known where the system tells it.
    """

    phase: Phase
    words: str = ""
    uid: str = ""
    deleting: bool = False
    position: Position | None = None


def group_shown(obj: Json, phase: Phase, words: str) -> QueuedGroup:
    """Give a group with the identity of the system's object that shows it."""
    metadata = obj["metadata"]
    return QueuedGroup(phase, words, metadata.get("uid", ""), "deletionTimestamp" in metadata)


def conditions_by_type(obj: Json) -> Mapping[str, Json]:
    """Give the conditions of a system's object by their types."""
    return {found.get("type"): found for found in (obj.get("status") or {}).get("conditions") or ()}


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """The entry of a group into a queue: the name of the queue, the name of the group, and the number of its pods."""

    queue: str
    group: str
    pods: int


@dataclass(frozen=True, slots=True)
class GangEntry:
    """A group as it is given to a gang scheduler: its name, the number of its pods, and what they request together.

    ``scheduler``, ``queue`` and ``priority_class`` are ``None`` where nobody names them. ``topology`` is the label of
    the NVLink domain that the gang must not leave; ``None`` if it may, or if the scheduler cannot be told.
    """

    group: str
    pods: int
    requests: tuple[tuple[str, str], ...] = ()
    scheduler: str | None = None
    queue: str | None = None
    priority_class: str | None = None
    topology: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """The nodes that a queue offers: those that have all labels of one of ``flavors``; empty: all nodes.

    ``keys`` are the keys of all labels by which the system tells nodes apart. ``missing`` is the kind and the name of
    the object of the system without which nobody knows the nodes yet; ``None`` if none is missing.
    """

    flavors: tuple[Labels, ...] = ()
    keys: frozenset[str] = field(default_factory=frozenset)
    missing: tuple[str, str] | None = None


class System(Protocol):
    """The module of a system: names and numbers, and pure functions on manifests and objects."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """The name of the system, as people write it."""

    @property
    def SERVED_BY(self) -> tuple[str, ...]:  # noqa: N802 - as above
        """The APIs of which the cluster must serve one, as group and version, newest first."""

    @property
    def GROUP_KIND(self) -> str:  # noqa: N802 - as above
        """The kind of the system's object for a group, which has the group's name."""

    def read_group(self, obj: Json, /) -> QueuedGroup:
        """Read the system's object for a group."""


class QueueKeeper(System, Protocol):
    """The module of a system that keeps queues, and makes the objects for groups itself."""

    @property
    def MOST_PODS(self) -> int:  # noqa: N802 - as above
        """The most pods that a group may have, each on a node of its own."""

    def entered(self, pod: Manifest, entry: QueueEntry, /) -> Manifest:
        """Give a pod with the fields by which it enters a queue with its group."""

    def steered(self, pod: Manifest, labels: Mapping[str, str], keys: Collection[str], /) -> Manifest:
        """Give a pod for which the system takes the flavour of a node with these labels."""

    def read_positions(self, summary: Json, /) -> Iterator[tuple[tuple[str, str], Position]]:
        """Read the system's list of groups that wait in a queue: positions by the namespace and name of each group."""

    def marks(self, key: str, /) -> bool:
        """Tell whether a label of pods with this key says that the system decides when the pod runs."""


class GangBinder(System, Protocol):
    """The module of a gang scheduler. Shardwise makes the objects for groups, before their pods."""

    @property
    def HAS_QUEUES(self) -> bool:  # noqa: N802 - as above
        """Whether a group may name a queue of the system."""

    def ganged(self, pod: Manifest, entry: GangEntry, /) -> Manifest:
        """Give a pod with the fields by which it belongs to its group."""

    def group_spec(self, entry: GangEntry, api_version: str, /) -> Manifest:
        """Give the spec of the system's object for a group."""

    def waits_for_others(self, scheduled: Json, /) -> bool:
        """Tell from the condition ``PodScheduled`` whether only others of its group keep a pod from being bound."""

    def ignored(self, group: QueuedGroup | None, *, kept: bool, bound: bool) -> str:
        """Say how the cluster binds the pods one by one in spite of their group; empty if nothing shows that.

        ``kept`` tells whether all pods have the field ``spec.schedulingGroup``, ``bound`` whether all are bound.
        """
