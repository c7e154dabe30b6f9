"""Whose turn it is: objects that wait for GPUs, in a fair order, and the nodes that are kept for them.

The order is priority, then age. A small object may pass a large object that waits, else GPUs would lie idle. An object
that has waited for ``PATIENCE`` seconds has the right of way: the GPUs that it could use are kept for it as they become
free, until it has enough. So no object waits for ever because of objects behind it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.planner.pools import eligible

PATIENCE: Final = 600.0
"""Seconds for which smaller objects may pass an object that waits: about the time that a model takes to load."""


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
    def order(self) -> tuple[int, float, str]:
        """Its place in the order: higher priority first, then older, then by name."""
        return (-self.priority, self.created, self.key)


@dataclass(frozen=True, slots=True)
class Turn:
    """The queue as an object sees it: the objects before it, in order, and the length of the queue with itself."""

    ahead: tuple[Waiter, ...] = ()
    length: int = 1

    @property
    def position(self) -> int:
        """Its own position, from 1."""
        return len(self.ahead) + 1

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Namespace and name of the objects before it."""
        return tuple((namespace, name) for waiter in self.ahead for namespace, _, name in [waiter.key.partition("/")])


def turn_of(me: Waiter, others: Iterable[Waiter]) -> Turn:
    """Give the place of ``me`` in the queue: the objects before it, in order."""
    standing = [waiter for waiter in others if waiter.key != me.key]
    ahead = sorted((waiter for waiter in standing if waiter.order < me.order), key=lambda waiter: waiter.order)
    return Turn(tuple(ahead), len(standing) + 1)


def kept_back(turn: Turn, fleet: Fleet, now: float) -> frozenset[str]:
    """Name the nodes whose free GPUs are kept for objects ahead. O(nodes) for each different wish among them."""
    kept: set[str] = set()
    seen: set[object] = set()
    for waiter in turn.ahead:
        if now - waiter.since < PATIENCE:
            continue
        if waiter.demand is None:
            return frozenset(node.name for node in fleet.nodes)
        wish = (waiter.demand.products, waiter.demand.node_selector, waiter.demand.tolerations, waiter.demand.within)
        if wish not in seen:
            seen.add(wish)
            kept |= {node.name for pool in eligible(waiter.demand, fleet).pools for node in pool.nodes}
    return frozenset(kept)
