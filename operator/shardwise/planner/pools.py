"""Which nodes a demand may use, grouped by GPU product; and why the others may not."""

from collections import Counter
from dataclasses import dataclass

from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.fleet import Fleet, Node, Taint
from shardwise.domain.hardware import GpuKind, bare_product

_DEVICE_TAINT = Toleration(key="nvidia.com/gpu", operator="Exists")
"""The taint GPU operators put on GPU nodes; every rendered pod tolerates it."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The eligible nodes of one product, in name order.

    ``memory`` is that of the smallest GPU among them, ``node_sizes`` the GPU counts their nodes come with.
    ``places`` are the nodes' places at the level a group must stay inside, where there is one.
    """

    kind: GpuKind
    product: str
    memory: int
    nodes: tuple[Node, ...]
    node_sizes: frozenset[int]
    places: tuple[str, ...] = ()


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
        why_not = _why_not(demand, fleet, products, node)
        if why_not is None:
            pools.setdefault(node.product, []).append(node)
        else:
            excluded[why_not] += 1
    return Eligible(
        tuple(_pool(demand, fleet, name, nodes) for name, nodes in sorted(pools.items())),
        tuple(sorted(excluded.items())),
    )


def _pool(demand: Demand, fleet: Fleet, product: str, nodes: list[Node]) -> Pool:
    sizes = frozenset(node.gpus for node in nodes)
    places = () if demand.within is None else tuple(fleet.place(node, demand.within) for node in nodes)
    return Pool(fleet.kind(product), product, min(node.memory for node in nodes), tuple(nodes), sizes, places)


def _why_not(demand: Demand, fleet: Fleet, products: frozenset[str], node: Node) -> str | None:
    if node.exclusion is not None:
        return node.exclusion.value
    if products and bare_product(node.product) not in products:
        return "has a product `spec.gpuBudget.products` does not list"
    if demand.node_selector and not set(demand.node_selector) <= set(node.labels):
        return "does not match `spec.placement.nodeSelector`"
    if demand.within is not None and not fleet.place(node, demand.within):
        lacks = "has no place at the level" if demand.within in fleet.levels else "lacks the label"
        return f"{lacks} `{demand.within}` of `spec.placement.within`"
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
