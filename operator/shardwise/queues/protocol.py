"""The protocol that the module of every queue system keeps, so that no other module needs to know the systems apart."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Json = Mapping[str, Any]
Manifest = dict[str, Any]
Labels = tuple[tuple[str, str], ...]


class Phase(StrEnum):
    """How far a group has come in a queue of the cluster."""

    WAITING = "Waiting"
    ADMITTED = "Admitted"
    EVICTED = "Evicted"
    FINISHED = "Finished"


@dataclass(frozen=True, slots=True)
class QueuedGroup:
    """A group as a queue of the cluster shows it. ``words`` is the reason of the system, for people.

    ``uid`` is that of the system's object for the group; ``deleting`` tells that this object is being deleted.
    """

    phase: Phase
    words: str = ""
    uid: str = ""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """The entry of a group into a queue: the name of the queue, the name of the group, and the number of its pods."""

    queue: str
    group: str
    pods: int


@dataclass(frozen=True, slots=True)
class Offer:
    """The nodes that a queue offers: those that have all labels of one of ``flavors``; empty: all nodes.

    ``keys`` are the keys of all labels by which the system tells nodes apart.
    """

    flavors: tuple[Labels, ...] = ()
    keys: frozenset[str] = field(default_factory=frozenset)


class System(Protocol):
    """The module of a queue system: names and numbers, and pure functions on manifests and objects."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """The name of the system, as people write it."""

    @property
    def SERVED_BY(self) -> str:  # noqa: N802 - as above
        """The API that the cluster must serve, as group and version."""

    @property
    def GROUP_KIND(self) -> str:  # noqa: N802 - as above
        """The kind of the system's object for a group, which has the group's name."""

    @property
    def MOST_PODS(self) -> int:  # noqa: N802 - as above
        """The most pods that a group may have, each on a node of its own."""

    def entered(self, pod: Manifest, entry: QueueEntry, /) -> Manifest:
        """Give a pod with the fields by which it enters a queue with its group."""

    def steered(self, pod: Manifest, labels: Mapping[str, str], keys: Collection[str], /) -> Manifest:
        """Give a pod for which the system takes the flavour of a node with these labels."""

    def marks(self, key: str, /) -> bool:
        """Tell whether a label of pods with this key says that the system decides when the pod runs."""

    def read_group(self, obj: Json, /) -> QueuedGroup:
        """Read the system's object for a group."""
