"""The order of turns: the objects that wait, sorted, kept up to date by events."""

from collections.abc import Callable

from shardwise.domain.fleet import Fleet
from shardwise.reconcile.kept_nodes import KeptNodes, wish_of
from shardwise.reconcile.turns import Order, Places, Turn, Waiter


class TurnOrder:
    """The objects that wait, in the order of their turns. No look at it goes through all of them again."""

    def __init__(self) -> None:
        self.places = Places()
        self._waiters: dict[str, Waiter] = {}
        self._kept = KeptNodes()

    def waiter(self, key: str) -> Waiter | None:
        """Give an object that waits; ``None`` for an object that does not."""
        return self._waiters.get(key)

    def put(self, waiter: Waiter) -> None:
        """Add an object, or its changes."""
        known = self._waiters.get(waiter.key)
        if known == waiter:
            return
        self._waiters[waiter.key] = waiter
        if known is None or known.order != waiter.order:
            self._moved(self.places.drop(waiter.key))
            self._moved(self.places.put(waiter.order))
        elif known.since != waiter.since or wish_of(known.demand) != wish_of(waiter.demand):
            self._moved(self.places.before(waiter.order))

    def drop(self, key: str) -> None:
        """Remove an object that no longer waits. An unknown object is fine."""
        self._waiters.pop(key, None)
        self._moved(self.places.drop(key))

    def _moved(self, position: int | None) -> None:
        if position is not None:
            self._kept.order_changed(position)

    def node_changed(self, name: str, fleet: Callable[[], Fleet]) -> None:
        """Take in that a node changed, came or went, apart from the number of its free GPUs."""
        self._kept.node_changed(name, fleet)

    def turn(self, me: Waiter, fleet: Fleet, now: float) -> Turn:
        """Give the queue as an object sees it, whether or not it waits yet. ``now`` is in seconds since the epoch."""
        before = self.places.before(me.order)
        length = len(self.places) + (me.key not in self.places)
        first = self.places.part(0, 1)[0][2] if before else ""
        return Turn(before + 1, length, first, self._kept_before(me.order, before, fleet, now))

    def _kept_before(self, order: Order, before: int, fleet: Fleet, now: float) -> frozenset[str]:
        self._kept.begin(now)
        if self._kept.seen < before:
            rest = self.places.part(self._kept.seen, before)
            self._kept.go_on((self._waiters[key] for _, _, key in rest), fleet)
        return self._kept.before(order)
