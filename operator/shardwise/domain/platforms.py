"""The node labels that name NVLink domains and the levels of the network above them, by the platform that writes them.

A preset lists the label keys whose value names an NVLink domain of several nodes, and the levels above, nearest first.
A key counts only on nodes that have it, so a preset can list all generations of a label. The presets are in
``data/platforms.toml``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from shardwise.data import table

CLIQUE: Final = "nvidia.com/gpu.clique"
"""``<cluster UUID>.<clique id>``, written by NVIDIA's GPU feature discovery: the NVLink partition itself."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the network above the NVLink domain, such as a rack.

    ``keys`` are label keys. The place of a node is the value of the first of these labels that the node has.
    """

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FaultCondition:
    """A node condition, and the status that it has while a GPU of the node is faulty."""

    type: str
    status: str


@dataclass(frozen=True, slots=True)
class Platform:
    """The labels of a platform. ``domains`` and ``levels`` are in the order of preference, levels nearest first.

    ``faults`` are the node conditions by which the platform reports a faulty GPU.
    """

    domains: tuple[str, ...]
    levels: tuple[Level, ...]
    faults: tuple[FaultCondition, ...] = ()


@dataclass(frozen=True, slots=True)
class PlatformRow:
    """An entry of ``platforms.toml``: the labels that the platform adds to those of every platform."""

    source: str
    domains: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    faults: tuple[str, ...] = ()

    def platform(self) -> Platform:
        """Make the preset: the clique before the platform's own domains, the zone after its own levels."""
        own = (Level(name, keys) for name, keys in self.levels.items())
        faults = tuple(fault_condition(text) for text in self.faults)
        return Platform((*GENERIC.domains, *self.domains), (*own, *GENERIC.levels), faults)


GENERIC: Final = Platform((CLIQUE,), (Level("zone", ("topology.kubernetes.io/zone",)),))
"""The labels that every platform may have."""


_HEALTHY: Final = ("Ready", "Healthy")
"""Ends of the types of conditions that are True while all is well, by Kubernetes' convention."""


def fault_condition(text: str) -> FaultCondition:
    """Read ``Type`` or ``Type=Status``. Without a status, a type that says that all is well is a fault when False."""
    kind, _, status = text.partition("=")
    return FaultCondition(kind, status or ("False" if kind.endswith(_HEALTHY) else "True"))


@cache
def platforms() -> Mapping[str, Platform]:
    """Give all presets by name."""
    return {"generic": GENERIC} | {name: row.platform() for name, row in table("platforms.toml", PlatformRow).items()}
