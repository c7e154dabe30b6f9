"""The classes of nodes that are alike, and which of them a demand may use.

Nodes of a class differ at most in their names, their NVLink domains, their places, and what is free on them. Nothing
else of a node is looked at to decide whether a demand may use it, so that each class is decided once.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from shardwise.domain.demand import Demand, QueueOffer, Toleration
from shardwise.domain.exclusions import (
    ClaimsUnread,
    LeftOut,
    Mismatch,
    NoFlavor,
    NoLabel,
    NoPlace,
    OtherVendor,
    TooSmall,
    Untolerated,
)
from shardwise.domain.fleet import NVIDIA, Exclusion, Fleet, Node, Taint
from shardwise.domain.hardware import ComputeCapability, bare_product
from shardwise.domain.needs import Amounts, shortage
from shardwise.planner.affinity import matches_any


class NodeClass(NamedTuple):
    """What makes nodes alike. ``labels`` are the labels that the demand asks for, as far as the node has them.

    ``placed``: the node has a place at the level inside which the groups of the demand must stay.
    """

    product: str
    resource: str
    gpus: int
    memory: int
    compute_capability: ComputeCapability | None
    ipv6: bool
    exclusion: Exclusion | None
    taints: tuple[Taint, ...]
    allocatable: Amounts
    labels: tuple[tuple[str, str], ...]
    placed: bool


_FACTS: Final[Callable[[Node], tuple[Any, ...]]] = itemgetter(*map(Node._fields.index, NodeClass._fields[:-2]))
"""Gives the fields of a class that nodes have under the same names: all but those that depend on the demand."""


class Classes:
    """The classes of nodes as a demand tells them apart, each with the reason why the demand may not use it."""

    def __init__(self, demand: Demand, fleet: Fleet) -> None:
        self._demand = demand
        self._fleet = fleet
        self._products = frozenset(bare_product(product) for product in demand.products)
        terms = (requirement for term in demand.node_affinity for requirement in term)
        self._asked = frozenset(key for key, _ in demand.node_selector) | {requirement.key for requirement in terms}
        self._decided: dict[NodeClass, LeftOut | None] = {}

    def of(self, node: Node) -> NodeClass:
        """Give the class of a node."""
        asked = self._asked
        labels = tuple(label for label in node.labels if label[0] in asked) if asked else ()
        placed = self._demand.within is None or self.bound(node) != ""
        return NodeClass._make((*_FACTS(node), labels, placed))

    def sort(self, nodes: Iterable[Node]) -> dict[NodeClass, list[Node]]:
        """Give nodes by class, in their order. It is quicker for a demand that asks for no label and no place."""
        key: Callable[[Node], Hashable] = self.of if self._asked or self._demand.within is not None else _FACTS
        found: defaultdict[Hashable, list[Node]] = defaultdict(list)
        for node in nodes:
            found[key(node)].append(node)
        return {self.of(alike[0]): alike for alike in found.values()}

    def bound(self, node: Node) -> str:
        """Give the bounding place of a node; empty without a bounding level, and for a node without a place there."""
        return "" if self._demand.within is None else self._fleet.place(node, self._demand.within)

    def why_not(self, alike: NodeClass) -> LeftOut | None:
        """Give the reason why the nodes of a class may not be used, or ``None``."""
        if alike not in self._decided:
            self._decided[alike] = self._decide(alike)
        return self._decided[alike]

    def _decide(self, alike: NodeClass) -> LeftOut | None:
        if alike.exclusion is not None:
            uncounted = self._demand.needs.claims and alike.exclusion in _UNCOUNTED
            return ClaimsUnread(alike.resource) if uncounted else alike.exclusion
        if self._products and bare_product(alike.product) not in self._products:
            return Mismatch.UNLISTED_PRODUCT
        if alike.resource != NVIDIA and not (self._products and self._demand.own_image):
            return OtherVendor(alike.resource)
        return self._unplaced(alike) or _untolerated(alike, self._demand.tolerations) or self._too_small(alike)

    def _unplaced(self, alike: NodeClass) -> LeftOut | None:
        demand = self._demand
        if not set(demand.node_selector) <= set(alike.labels):
            return Mismatch.NODE_SELECTOR
        if demand.node_affinity and not matches_any(demand.node_affinity, dict(alike.labels)):
            return _no_flavor(demand.offered, alike) or Mismatch.NODE_AFFINITY
        if demand.within is not None and not alike.placed:
            return _no_place(demand.within, self._fleet.levels)
        return None

    def _too_small(self, alike: NodeClass) -> TooSmall | None:
        """Tell whether even the smallest pod needs more than the nodes offer."""
        found = shortage(self._demand.needs.of_the_least_pod, alike.allocatable, ())
        return None if found is None else TooSmall(found.resource, found.asked, found.left)


_UNCOUNTED: Final = frozenset({Exclusion.OFFERS_NONE, Exclusion.NO_GPUS})
"""Exclusions of nodes that may have GPUs which no device plugin counts."""


def _no_flavor(offered: QueueOffer | None, alike: NodeClass) -> NoFlavor | None:
    if offered is None or any(set(labels) <= set(alike.labels) for labels in offered.flavors):
        return None
    return NoFlavor(offered.queue, tuple(",".join(map("=".join, labels)) for labels in sorted(offered.flavors)))


def _no_place(within: str, levels: tuple[str, ...]) -> NoPlace | NoLabel:
    if within in levels:
        return NoPlace(within)
    # Users' label keys have a prefix. A plain word is more likely the name of a level that is not configured.
    return NoLabel(within, () if "/" in within else ("node", "domain", *levels))


def _untolerated(alike: NodeClass, tolerations: Sequence[Toleration]) -> Untolerated | None:
    """Give the first taint that keeps pods away. Every pod tolerates the taint that GPU operators set on nodes."""
    for taint in alike.taints:
        given = (*tolerations, Toleration(key=alike.resource, operator="Exists"))
        if taint.effect != "PreferNoSchedule" and not any(_tolerates(toleration, taint) for toleration in given):
            return Untolerated(taint)
    return None


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Decide as Kubernetes does: an empty effect or key matches all, Exists matches every value."""
    if toleration.effect not in ("", taint.effect):
        return False
    if toleration.key not in ("", taint.key):
        return False
    return toleration.operator == "Exists" or (toleration.key != "" and toleration.value == taint.value)
