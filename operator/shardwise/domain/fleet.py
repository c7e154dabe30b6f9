"""The cluster as the planner sees it: nodes with free GPUs, in NVLink domains."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple

from shardwise.domain.hardware import ComputeCapability, GpuKind, bare_product, gpu_kind
from shardwise.domain.needs import Amounts, added

_name_of: Final = attrgetter("name")

NVIDIA: Final = "nvidia.com/gpu"
AMD: Final = "amd.com/gpu"
"""The extended resources that device plugins offer, a unit for each GPU."""

GPU_PREFIXES: Final = (NVIDIA, "nvidia.com/mig-", AMD)
"""How the names of all extended resources begin that are GPUs, or parts of them."""


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


class Node(NamedTuple):
    """A node as a place for ranks.

    It is a tuple: thousands are made and compared, and a frozen dataclass takes six times as long to make.

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
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[Taint, ...] = ()
    exclusion: Exclusion | None = None
    places: tuple[str, ...] = ()
    resource: str = NVIDIA
    detail: str = ""
    compute_capability: ComputeCapability | None = None
    ipv6: bool = False
    allocatable: Amounts = ()
    taken: Amounts = ()
    source: GpuSource = GpuSource.DEVICE_PLUGIN
    withheld: tuple[Withheld, ...] = ()

    def with_left(self, free: int, taken: Amounts) -> "Node":
        """Give the node with other counts of what is left. ``_replace`` takes three times as long."""
        return Node(
            self.name,
            self.product,
            self.gpus,
            free,
            self.memory,
            self.domain,
            self.labels,
            self.taints,
            self.exclusion,
            self.places,
            self.resource,
            self.detail,
            self.compute_capability,
            self.ipv6,
            self.allocatable,
            taken,
            self.source,
            self.withheld,
        )


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

    def with_nodes(self, nodes: Iterable[Node]) -> "Fleet":
        """Give the fleet with other values of some of its nodes. O(changed nodes), and a copy of references."""
        found = list(self.nodes)
        for node in nodes:
            found[bisect_left(self.nodes, node.name, key=_name_of)] = node
        return replace(self, nodes=tuple(found))

    def without(self, gpus: Mapping[str, int], others: Mapping[str, Amounts] | None = None) -> "Fleet":
        """Give the fleet without GPUs, and without other resources, that are held on some of its nodes."""
        held = others or {}
        known = ((self.node(name), count) for name, count in gpus.items())
        return self.with_nodes(_less(node, count, held.get(node.name, ())) for node, count in known if node is not None)

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


_PART: Final = 64
"""Nodes that are compared at once: references that are the same are not looked at one by one."""


def changed_nodes(before: Fleet, after: Fleet) -> list[tuple[Node | None, Node | None]]:
    """Give the nodes of two fleets that are not equal, each before and after; ``None`` where it is not there.

    Nodes that are the same values in both fleets cost next to nothing.
    """
    old, new = before.nodes, after.nodes
    if len(old) != len(new):
        start = _alike(old, new)
        end = _alike(old[start:][::-1], new[start:][::-1])
        old, new = old[start : len(old) - end], new[start : len(new) - end]
    gone: dict[str, Node] = {}
    come: dict[str, Node] = {}
    for at in range(0, max(len(old), len(new)), _PART):
        some, others = old[at : at + _PART], new[at : at + _PART]
        if some != others:
            gone.update((node.name, node) for node in some)
            come.update((node.name, node) for node in others)
    pairs = ((gone.get(name), come.get(name)) for name in {**gone, **come})
    return [pair for pair in pairs if pair[0] != pair[1]]


def _alike(old: tuple[Node, ...], new: tuple[Node, ...]) -> int:
    """Count the equal nodes at the start of both."""
    at = 0
    while at < len(old) and old[at : at + _PART] == new[at : at + _PART]:
        at += _PART
    while at < min(len(old), len(new)) and old[at] == new[at]:
        at += 1
    return min(at, len(old), len(new))


def _less(node: Node, gpus: int, others: Amounts) -> Node:
    taken = tuple(sorted(added(node.taken, others).items())) if others else node.taken
    return node.with_left(max(0, node.free - gpus), taken)
