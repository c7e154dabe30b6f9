"""Whose turn it is: objects that wait for GPUs, in a fair order, and what that keeps from those behind.

The order is priority, then age. A small object may pass a large one that waits: else GPUs would lie idle. But one that
has waited for ``PATIENCE`` seconds has the right of way: the GPUs it could use are kept for it as they become free,
until it has enough. So none waits for ever because of those behind it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.planner.pools import eligible

PATIENCE: Final = 600.0
"""Seconds for which smaller objects may pass one that waits: about what a model takes to load."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """An object that waits. ``created`` and ``since`` (when its wait began) are seconds since the epoch.

    ``demand`` is ``None`` where the object has not been read yet, as when the operator has just started.
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
    """The queue as one object meets it: those before it, in order, and how many stand in it, itself included."""

    ahead: tuple[Waiter, ...] = ()
    length: int = 1

    @property
    def position(self) -> int:
        """Its own position, from 1."""
        return len(self.ahead) + 1

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Namespace and name of those before it."""
        return tuple((namespace, name) for one in self.ahead for namespace, _, name in [one.key.partition("/")])


def turn_of(me: Waiter, others: Iterable[Waiter]) -> Turn:
    """Stand in the queue: those before ``me``, in order."""
    standing = [one for one in others if one.key != me.key]
    ahead = sorted((one for one in standing if one.order < me.order), key=lambda one: one.order)
    return Turn(tuple(ahead), len(standing) + 1)


def kept_back(turn: Turn, fleet: Fleet, now: float) -> frozenset[str]:
    """Name the nodes whose free GPUs are kept for those ahead. O(nodes) for each different wish among them."""
    kept: set[str] = set()
    seen: set[object] = set()
    for one in turn.ahead:
        if now - one.since < PATIENCE:
            continue
        if one.demand is None:
            return frozenset(node.name for node in fleet.nodes)
        wish = (one.demand.products, one.demand.node_selector, one.demand.tolerations, one.demand.within)
        if wish not in seen:
            seen.add(wish)
            kept |= {node.name for pool in eligible(one.demand, fleet).pools for node in pool.nodes}
    return frozenset(kept)
