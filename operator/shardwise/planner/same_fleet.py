"""Results that hold for a fleet, kept while the same fleet, or one that differs in a few nodes, is asked about again.

Thousands of objects that wait are planned on the same fleet, and differ in a few wishes. Fleets are compared by
identity, which costs nothing; an equal fleet that was read anew counts as another. The nodes of a fleet are sorted once
for each wish, and for the next fleet only the nodes that differ are sorted again.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.planner.sorting import Sorting

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


MOST_WISHES: Final = 32
"""Wishes for which the sorted nodes of the latest fleet are kept."""

_sorted: Final[OrderedDict[Hashable, Sorting]] = OrderedDict()


def sorted_for(demand: Demand, fleet: Fleet, *, emptied: bool) -> Sorting:
    """Sort the nodes of a fleet for a demand, from the latest fleet that was sorted for the same wish."""
    choice = demand.products, demand.own_image, demand.node_selector, demand.node_affinity, demand.offered
    wish = (*choice, demand.tolerations, demand.within, demand.needs)
    key = wish, emptied, fleet.levels, fleet.kinds, fleet.compute_domains
    known = _sorted.get(key)
    found = Sorting(demand, fleet, emptied=emptied) if known is None else known.changed(fleet)
    _sorted[key] = found
    _sorted.move_to_end(key)
    if len(_sorted) > MOST_WISHES:
        _sorted.popitem(last=False)
    return found
