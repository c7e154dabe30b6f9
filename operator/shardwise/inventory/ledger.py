"""Who holds which GPUs, kept up to date event by event: the fleet is read once, and then only where it changes.

Pods hold the GPUs of the node they are bound to. What a plan has decided beyond the bound pods of its object is held
as well, or two objects would be given the same GPUs. So an object holds on a node what its bound pods hold or what its
plan gives it there, whichever is more; strangers hold what their bound pods do.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.occupancy import Holding, Occupied
from shardwise.domain.site import FleetSite
from shardwise.inventory.nodes import KubernetesNode, read_node
from shardwise.inventory.sightings import settled, sighted

H = TypeVar("H")


class Ledger(Generic[H]):
    """The nodes of a fleet, and what each holder has on each. Holders may be anything that compares and hashes."""

    def __init__(self, site: FleetSite | None = None) -> None:
        self.site = site or FleetSite()
        self._levels = tuple(level.name for level in self.site.levels)
        self._kinds = tuple(one.kind for one in self.site.products)
        self._names: list[str] = []
        self._empty: list[Node] = []
        self._left: list[Node] = []
        self._products: dict[str, tuple[str, ...]] = {}
        self._bound: dict[H, Counter[str]] = {}
        self._planned: dict[H, Counter[str]] = {}
        self._holders: dict[str, dict[H, int]] = {}

    def put(self, node: KubernetesNode) -> None:
        """Take in a node that is new or has changed. O(log nodes) for one that is known."""
        read = read_node(node, 0, self.site)
        products = self._products[read.name] = sighted(self._products.get(read.name, ()), read)
        read = settled(products, read)
        at, known = self._find(read.name)
        if not known:
            self._names.insert(at, read.name)
            self._empty.insert(at, read)
            self._left.insert(at, read)
        self._empty[at] = read
        self._left[at] = _less(read, self._held(read.name))

    def drop(self, name: str) -> None:
        """Forget a node. What is held on it is held again should it come back."""
        at, known = self._find(name)
        self._products.pop(name, None)
        if known:
            del self._names[at], self._empty[at], self._left[at]

    def node(self, name: str) -> Node | None:
        """Give a node as if nobody held its GPUs; ``None`` where there is none of that name."""
        at, known = self._find(name)
        return self._empty[at] if known else None

    def bind(self, holder: H, node: str, gpus: int) -> None:
        """Count GPUs of a pod that was bound to a node; less than none when it is gone."""
        bound = self._bound.setdefault(holder, Counter())
        bound[node] += gpus
        if not bound[node]:
            del bound[node]
        if not bound:
            del self._bound[holder]
        self._settle(holder, node)

    def plan(self, holder: H, gpus: Mapping[str, int]) -> None:
        """Note what a plan gives its object on each node, in place of what the one before gave."""
        before = self._planned.pop(holder, Counter())
        if gpus:
            self._planned[holder] = Counter(gpus)
        for node in {**before, **gpus}:
            self._settle(holder, node)

    def release(self, holder: H) -> None:
        """Let a holder hold nothing any more."""
        self.plan(holder, {})
        for node, gpus in dict(self._bound.get(holder, {})).items():
            self.bind(holder, node, -gpus)

    def planners(self, node: str) -> set[H]:
        """Name the holders whose plans give them GPUs of a node."""
        return {one for one in self.holdings(node) if node in self._planned.get(one, ())}

    def holdings(self, node: str) -> Mapping[H, int]:
        """Give how many GPUs of a node each holder has."""
        return self._holders.get(node, {})

    def fleet(self, without: H | None = None) -> Fleet:
        """Give the fleet, as if one holder held nothing. Nodes that did not change are the same values."""
        left = self._left if without is None else self._freed(without)
        return Fleet(tuple(left), self._levels, self._kinds)

    def occupied(self, name: Callable[[H], str]) -> tuple[Occupied, ...]:
        """Give every node with who holds its GPUs, holders by their ``name``, which is empty for strangers."""
        return tuple(Occupied(node, tuple(self._named(node.name, name))) for node in self._empty)

    def _named(self, node: str, name: Callable[[H], str]) -> Iterator[Holding]:
        held = Counter[str]()
        for holder, gpus in self.holdings(node).items():
            held[name(holder)] += gpus
        return (Holding(by, held[by]) for by in sorted(held, key=lambda by: (not by, by)))

    def _freed(self, holder: H) -> list[Node]:
        left = list(self._left)
        for node in {**self._bound.get(holder, {}), **self._planned.get(holder, {})}:
            at, known = self._find(node)
            if known:
                left[at] = _less(self._empty[at], self._held(node) - self.holdings(node).get(holder, 0))
        return left

    def _settle(self, holder: H, node: str) -> None:
        """Work out anew what a holder has on a node, and what is left there."""
        has = max(self._bound.get(holder, Counter())[node], self._planned.get(holder, Counter())[node])
        holders = self._holders.setdefault(node, {})
        if has > 0:
            holders[holder] = has
        else:
            holders.pop(holder, None)
        if not holders:
            del self._holders[node]
        at, known = self._find(node)
        if known:
            self._left[at] = _less(self._empty[at], self._held(node))

    def _held(self, node: str) -> int:
        return sum(self.holdings(node).values())

    def _find(self, name: str) -> tuple[int, bool]:
        at = bisect_left(self._names, name)
        return at, at < len(self._names) and self._names[at] == name


def _less(node: Node, held: int) -> Node:
    return node if held == 0 or node.free == 0 else replace(node, free=max(0, node.free - held))
