"""Changes that may make a demand fit, and the fleet on which they are tried."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Protocol

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Change
from shardwise.planner.placement import has_room
from shardwise.planner.pools import Eligible, eligible
from shardwise.planner.shorten import at_least, with_shorter_context
from shardwise.planner.solve import SurveyedPool, fits, fitting, solve, survey

MOST_TRIES: Final = 4
"""The most values of a field that are tried, the smallest change first."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A change to try: the changed demand, and the field, value and change for the hint."""

    demand: Demand
    field: str
    value: Any
    change: Change = Change.SET


class Trials(Protocol):
    """Tells of changed demands whether they have a plan."""

    def fits(self, demand: Demand, /) -> bool:
        """Tell whether a changed demand has a plan."""


class TrialFleet:
    """A fleet to try changed demands on. Demands with the same choice of nodes share their pools.

    Each trial is a search through all layouts. After ``most_searches`` no further change is tried: none seems to fit.
    """

    def __init__(self, fleet: Fleet, demand: Demand, pools: Eligible, surveyed: tuple[SurveyedPool, ...]) -> None:
        self.fleet = fleet
        self.searches = 0
        self.most_searches: float = inf
        self._pools = {_choice_of_nodes(demand): pools}
        self._surveyed = {(_choice_of_nodes(demand), demand.pins.tensor): surveyed}

    def plan(self, demand: Demand) -> Plan | None:
        """Plan a changed demand, as if the object asked for it; ``None`` where there is no plan."""
        if self._is_spent():
            return None
        surveyed = self.surveyed(demand)
        return solve(demand, surveyed).plan or with_shorter_context(demand, surveyed)

    def fits(self, demand: Demand) -> bool:
        """Tell whether a changed demand has a plan."""
        return not self._is_spent() and fits(at_least(demand), self.surveyed(demand))

    def fitting(self, demand: Demand) -> Iterator[tuple[Layout, int]]:
        """Give the layouts that no cause rules out for a changed demand, and that fit the free GPUs.

        Each comes with its number of replicas.
        """
        if self._is_spent():
            return iter(())
        possible = fitting(at_least(demand), self.surveyed(demand))
        return ((layout, sized.replicas) for sized, layout, pool in possible if has_room(sized, pool, layout))

    def _is_spent(self) -> bool:
        """Count a search, and tell whether it is one too many."""
        self.searches += 1
        return self.searches > self.most_searches

    def surveyed(self, demand: Demand) -> tuple[SurveyedPool, ...]:
        """Give the pools a demand may use."""
        choice = _choice_of_nodes(demand)
        key = choice, demand.pins.tensor
        if key not in self._surveyed:
            if choice not in self._pools:
                self._pools[choice] = eligible(demand, self.fleet)
            self._surveyed[key] = survey(demand, self._pools[choice])
        return self._surveyed[key]


HintKind = Callable[[Demand, TrialFleet], Iterator[Trial]]
"""Gives the changes of a field that are worth a trial, the smallest change first."""


def _choice_of_nodes(demand: Demand) -> tuple[object, ...]:
    return demand.products, demand.node_selector, demand.tolerations, demand.within
