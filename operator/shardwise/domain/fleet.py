"""The cluster as the planner sees it: nodes with free GPUs, in NVLink domains."""

from dataclasses import dataclass, field
from enum import StrEnum

from shardwise.domain.hardware import GpuKind, bare_product, gpu_kind


class Exclusion(StrEnum):
    """Why a node's GPUs cannot be used, whoever asks."""

    NO_GPUS = "has no GPUs"
    NO_PRODUCT = "lacks the label nvidia.com/gpu.product"
    NO_MEMORY = "lacks the label nvidia.com/gpu.memory"
    SHARED = "shares its GPUs (time-slicing or MPS)"
    PARTITIONED = "has its GPUs in MIG partitions"
    NOT_READY = "is not Ready"
    CORDONED = "is cordoned"
    FAULTY = "reports a GPU fault"


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
    ``places`` are its places at the fleet's levels, in their order; empty where no label tells.
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


@dataclass(frozen=True, slots=True)
class Fleet:
    """A snapshot of all nodes, in name order.

    ``levels`` name what lies above the NVLink domain, nearest first. ``kinds`` are facts of products that win over the
    built-in table.
    """

    nodes: tuple[Node, ...]
    levels: tuple[str, ...] = ()
    kinds: tuple[GpuKind, ...] = ()

    def place(self, node: Node, level: str) -> str:
        """Name a node's place at a level, at ``node`` or ``domain``, or by a label key; empty where it has none."""
        if level in self.levels:
            return node.places[self.levels.index(level)]
        if level == "node":
            return node.name
        return node.domain if level == "domain" else dict(node.labels).get(level, "")

    def kind(self, product: str) -> GpuKind:
        """Give the facts of a product."""
        bare = bare_product(product)
        return next((kind for kind in self.kinds if kind.product == bare), None) or gpu_kind(product)
