"""The cluster as the planner sees it: nodes with free GPUs, in NVLink domains."""

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Final

from shardwise.domain.hardware import ComputeCapability, GpuKind, bare_product, gpu_kind
from shardwise.domain.needs import Amounts

_name_of: Final = attrgetter("name")

NVIDIA: Final = "nvidia.com/gpu"
AMD: Final = "amd.com/gpu"
"""The extended resources that device plugins offer, a unit for each GPU."""


class Exclusion(StrEnum):
    """Why nobody may use the GPUs of a node, as codes. ``shardwise.explain`` has the words."""

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
    NO_DEVICES = "NoDevices"
    CLASS_UNREAD = "ClassUnread"
    INCOMPLETE = "Incomplete"
    TAINTED = "Tainted"
    TWO_ALLOCATORS = "TwoAllocators"


class GpuSource(StrEnum):
    """The part of the cluster that offers the GPUs of a node to pods: a device plugin, DRA by ResourceSlices, or both.

    Both offer the same GPUs, and neither knows of the GPUs that the other has given to pods.
    """

    DEVICE_PLUGIN = "devicePlugin"
    DRA = "dra"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Withheld:
    """GPUs of a node that nobody may use beside GPUs that may be used, and why."""

    reason: Exclusion
    gpus: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node. ``effect`` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node as a place for ranks.

    ``gpus`` counts its usable GPUs, ``free`` the GPUs that nobody holds. ``memory`` is the bytes of a GPU, as the label
    reports. ``domain`` names its NVLink domain: its clique, else the node itself. ``labels`` are all its labels.
    ``places`` are its places at the fleet's levels, in their order; a place is empty without a label. ``resource`` is
    the extended resource that a pod requests. ``detail`` adds to the exclusion, such as the condition that shows it.
    ``compute_capability`` is that of its GPUs, as its labels or the facts of the product say; ``None`` if unknown.
    ``ipv6``: the first address of its pods is of IPv6. ``allocatable`` counts the other resources that it offers to
    pods, ``taken`` the counts that pods and plans hold of them. ``source`` says what offers the GPUs to pods.
    ``withheld`` are GPUs besides ``gpus`` that ResourceSlices list and nobody may use.
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
    compute_capability: ComputeCapability | None = None
    ipv6: bool = False
    allocatable: Amounts = field(default=(), repr=False)
    taken: Amounts = field(default=(), repr=False)
    source: GpuSource = GpuSource.DEVICE_PLUGIN
    withheld: tuple[Withheld, ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """A snapshot of all nodes, in name order.

    ``levels`` names the levels above the NVLink domain, nearest first. ``kinds`` are facts of products; they win over
    the built-in table. ``compute_domains``: NVIDIA's DRA driver may be there, which joins nodes by NVLink.
    """

    nodes: tuple[Node, ...]
    levels: tuple[str, ...] = ()
    kinds: tuple[GpuKind, ...] = ()
    compute_domains: bool = True

    def node(self, name: str) -> Node | None:
        """Give the node with a name; ``None`` for an unknown name. O(log nodes)."""
        at = bisect_left(self.nodes, name, key=_name_of)
        return self.nodes[at] if at < len(self.nodes) and self.nodes[at].name == name else None

    def place(self, node: Node, level: str) -> str:
        """Give a node's place at a level, at ``node`` or ``domain``, or by a label key; empty without a place."""
        if level in self.levels:
            above = node.places[self.levels.index(level) :]
            return (
                "/".join(above) if above[0] else ""
            )  # the name of a rack includes its row: rows may use the same names
        if level == "node":
            return node.name
        return node.domain if level == "domain" else dict(node.labels).get(level, "")

    def kind(self, product: str) -> GpuKind:
        """Give the facts of a product."""
        bare = bare_product(product)
        return next((kind for kind in self.kinds if kind.product == bare), None) or gpu_kind(product)
