"""Which nodes a demand may use, grouped by GPU product; and why the others may not."""

from collections import Counter
from dataclasses import dataclass

from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.fleet import Fleet, Node, Taint
from shardwise.domain.hardware import GpuKind, bare_product, gpu_kind

_DEVICE_TAINT = Toleration(key="nvidia.com/gpu", operator="Exists")
"""The taint GPU operators put on GPU nodes; every rendered pod tolerates it."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The eligible nodes of one product, in name order.

    ``memory`` is that of the smallest GPU among them, ``node_sizes`` the GPU counts their nodes come with.
    """

    kind: GpuKind
    product: str
    memory: int
    nodes: tuple[Node, ...]
    node_sizes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Eligible:
    """The pools of a demand, and how many nodes each reason excluded."""

    pools: tuple[Pool, ...]
    excluded: tuple[tuple[str, int], ...]


def eligible(demand: Demand, fleet: Fleet) -> Eligible:
    """Sort a fleet's nodes into the pools a demand may use. O(nodes)."""
    excluded: Counter[str] = Counter()
    pools: dict[str, list[Node]] = {}
    products = frozenset(bare_product(product) for product in demand.products)
    for node in fleet.nodes:
        why_not = _why_not(demand, products, node)
        if why_not is None:
            pools.setdefault(node.product, []).append(node)
        else:
            excluded[why_not] += 1
    return Eligible(tuple(_pool(name, nodes) for name, nodes in sorted(pools.items())), tuple(sorted(excluded.items())))


def _pool(product: str, nodes: list[Node]) -> Pool:
    sizes = frozenset(node.gpus for node in nodes)
    return Pool(gpu_kind(product), product, min(node.memory for node in nodes), tuple(nodes), sizes)


def _why_not(demand: Demand, products: frozenset[str], node: Node) -> str | None:
    if node.exclusion is not None:
        return node.exclusion.value
    if products and bare_product(node.product) not in products:
        return "has a product `spec.gpuBudget.products` does not list"
    if demand.node_selector and not set(demand.node_selector) <= set(node.labels):
        return "does not match `spec.placement.nodeSelector`"
    if demand.within is not None and demand.within not in dict(node.labels):
        return f"lacks the label `{demand.within}` of `spec.placement.within`"
    taint = next((taint for taint in node.taints if not _tolerated(taint, demand.tolerations)), None)
    return None if taint is None else f"has the taint `{taint.key}={taint.value}:{taint.effect}`"


def _tolerated(taint: Taint, tolerations: tuple[Toleration, ...]) -> bool:
    return taint.effect == "PreferNoSchedule" or any(_tolerates(one, taint) for one in (*tolerations, _DEVICE_TAINT))


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Follow Kubernetes: an empty effect or key matches all, Exists matches every value."""
    if toleration.effect not in ("", taint.effect):
        return False
    if toleration.key not in ("", taint.key):
        return False
    return toleration.operator == "Exists" or (toleration.key != "" and toleration.value == taint.value)
