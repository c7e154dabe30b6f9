"""Whose turn it is: objects that wait for GPUs, in a fair order.

The order is priority, then age. A small object may pass a large object that waits, else GPUs would lie idle. An object
that has waited for ``PATIENCE`` seconds has the right of way: the GPUs that it could use are kept for it as they become
free, until it has enough. So no object waits for ever because of objects behind it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shardwise.domain.demand import Demand

PATIENCE: Final = 600.0
"""Seconds for which smaller objects may pass an object that waits: about the time that a model takes to load."""

Order = tuple[int, float, str]
"""The sort key of an object among those that wait: higher priority first, then older, then by ``namespace/name``."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """An object that waits. ``created`` and ``since`` (the start of its wait) are in seconds since the epoch.

    ``demand`` is ``None`` if the object has not been read yet, as after a start of the operator.
    """

    key: str
    priority: int
    created: float
    since: float
    demand: Demand | None = None

    @property
    def order(self) -> Order:
        """Its place in the order."""
        return (-self.priority, self.created, self.key)


@dataclass(frozen=True, slots=True)
class Turn:
    """The queue as an object sees it: its position, from 1, and the length of the queue with itself.

    ``first`` is the first object of the queue, as ``namespace/name``; empty if the object is the first itself. ``kept``
    names the nodes whose free GPUs are kept for objects before it.
    """

    position: int = 1
    length: int = 1
    first: str = ""
    kept: frozenset[str] = frozenset()


class Places:
    """Objects in the order of their turns. A change moves O(N) references and compares O(log N) of them."""

    def __init__(self) -> None:
        self._orders: list[Order] = []
        self._known: dict[str, Order] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def order_of(self, key: str) -> Order | None:
        """Give the place of an object in the order; ``None`` for an unknown object."""
        return self._known.get(key)

    def put(self, order: Order) -> int:
        """Add an object that is not there. Give the number of objects before it."""
        before = bisect_left(self._orders, order)
        self._orders.insert(before, order)
        self._known[order[2]] = order
        return before

    def drop(self, key: str) -> int | None:
        """Remove an object. Give the number of objects before it; ``None`` for an unknown object."""
        order = self._known.pop(key, None)
        if order is None:
            return None
        before = bisect_left(self._orders, order)
        del self._orders[before]
        return before

    def before(self, order: Order) -> int:
        """Count the objects before a place in the order."""
        return bisect_left(self._orders, order)

    def following(self, order: Order) -> Order | None:
        """Give the first object at a place in the order or after it; ``None`` where no object follows."""
        at = bisect_left(self._orders, order)
        return self._orders[at] if at < len(self._orders) else None

    def part(self, first: int, end: int | None = None) -> Sequence[Order]:
        """Give the objects from a position, from 0, to before another position, or to the last."""
        return self._orders[first:end]
