"""The nodes whose free GPUs are kept for objects that have waited for a long time."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet, Node
from shardwise.planner.pools import usable
from shardwise.reconcile.turns import PATIENCE, Order, Waiter

Wish = tuple[object, ...] | None
"""The parts of a demand that choose nodes; ``None`` for an object that has not been read: it may want any node."""

MOST_WISHES: Final = 1024
"""The most different wishes whose nodes are remembered."""


def wish_of(demand: Demand | None) -> Wish:
    """Give the parts of a demand that choose nodes: equal wishes may use the same nodes."""
    if demand is None:
        return None
    choice = demand.products, demand.own_image, demand.node_selector, demand.node_affinity
    return (*choice, demand.tolerations, demand.within, demand.needs)


class KeptNodes:
    """The nodes that are kept, each with the first object that it is kept for.

    The objects are gone through once, in order, and only as far as anybody asks. A change of the order discards the
    results if it is in the part that was gone through. The nodes of each wish are found once, and follow the changes
    of single nodes. So a look costs O(1) while nothing changes, and O(N) after a change.
    """

    def __init__(self) -> None:
        self._usable: dict[Wish, tuple[Demand | None, set[str]]] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._seen = 0
        self._now = float("-inf")
        self._impatient = float("inf")
        self._wishes: set[Wish] = set()
        self._kept: set[str] = set()
        self._orders: list[Order] = []
        self._added: list[set[str]] = []
        self._told: tuple[int, frozenset[str]] = (0, frozenset())

    @property
    def seen(self) -> int:
        """The number of objects, from the first, that have been gone through."""
        return self._seen

    def order_changed(self, position: int) -> None:
        """Take in that an object came to, or left, a position, counted from 0; or that its wish changed there."""
        if position < self._seen:
            self._begin_anew()

    def node_changed(self, name: str, fleet: Callable[[], Fleet]) -> None:
        """Take in that a node changed, came or went. O(wishes)."""
        if self._seen:
            self._begin_anew()
        if not self._usable:
            return
        now = fleet()
        node = now.node(name)
        for demand, names in self._usable.values():
            if node is not None and _may_use(demand, now)(node):
                names.add(name)
            else:
                names.discard(name)

    def begin(self, now: float) -> None:
        """Say the time of the next look. Going through the objects begins anew if a wait has become a long wait."""
        if now < self._now or now - self._impatient >= PATIENCE:
            self._begin_anew()
        self._now = now

    def go_on(self, waiters: Iterable[Waiter], fleet: Fleet) -> None:
        """Go through the next objects in order. ``fleet`` has all nodes; the number of free GPUs does not matter."""
        for waiter in waiters:
            self._seen += 1
            wish = wish_of(waiter.demand)
            if wish in self._wishes:
                continue
            if self._now - waiter.since < PATIENCE:
                self._impatient = min(self._impatient, waiter.since)
                continue
            self._wishes.add(wish)
            added = self._nodes_of(wish, waiter.demand, fleet) - self._kept
            if added:
                self._kept |= added
                self._orders.append(waiter.order)
                self._added.append(added)

    def before(self, order: Order) -> frozenset[str]:
        """Name the nodes that are kept for objects before a place in the order, all of which were gone through."""
        steps = bisect_left(self._orders, order)
        if steps != self._told[0]:
            self._told = steps, frozenset().union(*self._added[:steps])
        return self._told[1]

    def _nodes_of(self, wish: Wish, demand: Demand | None, fleet: Fleet) -> set[str]:
        if wish not in self._usable:
            if len(self._usable) >= MOST_WISHES:
                self._usable.clear()
            may_use = _may_use(demand, fleet)
            self._usable[wish] = demand, {node.name for node in fleet.nodes if may_use(node)}
        return self._usable[wish][1]


def _may_use(demand: Demand | None, fleet: Fleet) -> Callable[[Node], bool]:
    return usable(demand, fleet) if demand is not None else lambda _: True
