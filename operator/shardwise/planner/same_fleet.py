"""Results that hold for a fleet, kept while the same fleet is asked about again.

Thousands of objects that wait are planned on the same fleet, and differ in a few wishes. Fleets are compared by
identity, which costs nothing; an equal fleet that was read anew counts as another.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from shardwise.domain.fleet import Fleet

T = TypeVar("T")

MOST_FLEETS: Final = 4
"""Fleets whose results are kept: those of decisions that run side by side."""

MOST_RESULTS: Final = 64
"""Results that are kept for a fleet."""

_recent: Final[deque[tuple[Fleet, dict[Hashable, Any]]]] = deque(maxlen=MOST_FLEETS)


def on_same_fleet(fleet: Fleet, question: Hashable, answer: Callable[[], T]) -> T:
    """Give the answer to a question about a fleet, worked out once while the fleet is among the latest."""
    known = next((results for other, results in tuple(_recent) if other is fleet), None)
    if known is None:
        known = {}
        _recent.append((fleet, known))
    if question not in known:
        if len(known) >= MOST_RESULTS:
            known.clear()
        found = known[question] = answer()
        return found
    result: T = known[question]
    return result
