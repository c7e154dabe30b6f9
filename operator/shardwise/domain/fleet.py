"""The cluster as the planner sees it: nodes with free GPUs, in NVLink domains."""

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Final

from shardwise.domain.hardware import GpuKind, bare_product, gpu_kind

_name_of: Final = attrgetter("name")

NVIDIA: Final = "nvidia.com/gpu"
AMD: Final = "amd.com/gpu"
"""The extended resources that device plugins offer, one a GPU."""


class Exclusion(StrEnum):
    """Why nobody may use the GPUs of a node. Codes; ``shardwise.explain`` makes the words."""

    NO_GPUS = "NoGpus"
    OFFERS_NONE = "OffersNone"
    NO_PRODUCT = "NoProduct"
    NO_MEMORY = "NoMemory"
    MIXED = "Mixed"
    UNSETTLED = "Unsettled"
    SHARED = "Shared"
    PARTITIONED = "Partitioned"
    NOT_READY = "NotReady"
    CORDONED = "Cordoned"
    FAULTY = "Faulty"


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node. ``effect`` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node as a place for ranks.

    ``gpus`` are its usable GPUs, ``free`` those nobody holds, ``memory`` the bytes of one GPU, as its label reports.
    ``domain`` names its NVLink domain: the clique it belongs to, else the node itself. ``labels`` are all its labels.
    ``places`` are its places at the fleet's levels, in their order; empty where no label tells. ``resource`` is what a
    pod asks for to get one of its GPUs. ``detail`` says more of the exclusion, such as the condition that tells of it.
    """

    name: str
    product: str
    gpus: int
    free: int
    memory: int
    domain: str
    labels: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    taints: tuple[Taint, ...] = ()
    exclusion: Exclusion | None = None
    places: tuple[str, ...] = ()
    resource: str = NVIDIA
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A snapshot of all nodes, in name order.

    ``levels`` name what lies above the NVLink domain, nearest first. ``kinds`` are facts of products that win over the
    built-in table.
    """

    nodes: tuple[Node, ...]
    levels: tuple[str, ...] = ()
    kinds: tuple[GpuKind, ...] = ()

    def node(self, name: str) -> Node | None:
        """Give the node of a name; ``None`` where there is none. O(log nodes)."""
        at = bisect_left(self.nodes, name, key=_name_of)
        return self.nodes[at] if at < len(self.nodes) and self.nodes[at].name == name else None

    def place(self, node: Node, level: str) -> str:
        """Name a node's place at a level, at ``node`` or ``domain``, or by a label key; empty where it has none."""
        if level in self.levels:
            above = node.places[self.levels.index(level) :]
            return "/".join(above) if above[0] else ""  # a rack is named with its row: another row may have one, too
        if level == "node":
            return node.name
        return node.domain if level == "domain" else dict(node.labels).get(level, "")

    def kind(self, product: str) -> GpuKind:
        """Give the facts of a product."""
        bare = bare_product(product)
        return next((kind for kind in self.kinds if kind.product == bare), None) or gpu_kind(product)
