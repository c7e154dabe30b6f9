"""The objects that are looked at in the order of their turns: those that wait, and all that lack a place."""

import heapq
from collections.abc import Callable

from shardwise.observe import FRONT, Key, Waiting, key_at
from shardwise.reconcile.turns import Order


class InTurn:
    """Objects that were asked for and wait, and a sweep along all objects that lack a place.

    A sweep is only a place in the order, from which on the objects are still to be looked at. So it begins in O(1), and
    a sweep that begins while another is under way goes back to the first object and reaches every object once.
    """

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._asked: dict[Key, Order] = {}
        self._heap: list[Order] = []
        self._from: Order | None = None

    def offer(self, key: Key) -> bool:
        """Ask for work on an object; ``False`` if it does not wait, so that it is looked at as it comes."""
        order = self._waiting.place(key)
        if order is None:
            return key in self._asked
        if self._asked.get(key) != order:
            self._asked[key] = order
            heapq.heappush(self._heap, order)
        return True

    def sweep(self, first: Key | None) -> None:
        """Ask for work on every object that lacks a place: from an object's place on, or from the first."""
        order = FRONT if first is None else self._waiting.order_of(first) or FRONT
        self._from = order if self._from is None else min(self._from, order)

    def take(self) -> Key | None:
        """Give the next object, once: of those asked for and those of the sweep, the one whose turn is first."""
        asked, swept = self._first_asked(), self._next_of(self._waiting.lacking.following)
        if asked is None and swept is None:
            self._from = None
            return None
        order = min(found for found in (asked, swept) if found is not None)
        if order == asked:
            heapq.heappop(self._heap)
            del self._asked[key_at(order)]
        if order == swept:
            self._from = (*order[:2], f"{order[2]}\0")
        return key_at(order)

    def first(self) -> Key | None:
        """Give the first object that waits and is still to be looked at."""
        found = (self._first_asked(), self._next_of(self._waiting.line.places.following))
        order = min((order for order in found if order is not None), default=None)
        return None if order is None else key_at(order)

    def is_ahead(self, key: Key, other: Key) -> bool:
        """Tell whether both wait, and the turn of the first comes before the turn of the other."""
        mine, others = self._waiting.place(key), self._waiting.place(other)
        return mine is not None and others is not None and mine < others

    def _first_asked(self) -> Order | None:
        """Give the first of the objects that were asked for. Entries of a place that an object has left are dropped."""
        while self._heap and self._asked.get(key_at(self._heap[0])) != self._heap[0]:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def _next_of(self, following: Callable[[Order], Order | None]) -> Order | None:
        return None if self._from is None else following(self._from)
