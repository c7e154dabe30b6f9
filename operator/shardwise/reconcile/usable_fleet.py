"""The fleet as one object may use it: what it stays away from, and what is kept for others."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Exclusion, Fleet, Node
from shardwise.planner.pools import eligible


@dataclass(frozen=True, slots=True)
class UsableFleet:
    """The fleet as if the object held nothing, and its limits.

    ``barred`` nodes take no group of it, ``blamed`` ones only where there is no other. ``kept`` nodes have their free
    GPUs kept for objects before it in the queue; what it holds there, by ``own``, it may go on using.
    """

    fleet: Fleet
    barred: frozenset[str] = frozenset()
    blamed: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    own: Mapping[str, int] = field(default_factory=dict)

    def choices(self) -> Iterator[Fleet]:
        """Give the fleets to look for a place in, one after the other: without the blamed nodes, then with them."""
        if self.blamed:
            yield self._without(self.barred | self.blamed)
        yield self._without(self.barred)

    def _without(self, shut: frozenset[str]) -> Fleet:
        if not (shut or self.kept):
            return self.fleet
        return replace(self.fleet, nodes=tuple(self._left(node, shut) for node in self.fleet.nodes))

    def _left(self, node: Node, shut: frozenset[str]) -> Node:
        """Leave a node its GPUs, but none that are free: it is there, so that waiting for it makes sense."""
        if node.name in shut:
            return replace(node, free=0)
        return replace(node, free=min(node.free, self.own.get(node.name, 0))) if node.name in self.kept else node

    def exclusions(self, nodes: Collection[str]) -> tuple[tuple[str, Exclusion | None], ...]:
        """Say of nodes why nobody may use them; those that are gone are left out. In the order given, each once."""
        return tuple((name, node.exclusion) for name, node in self._known(nodes))

    def closed(self, demand: Demand, nodes: Collection[str]) -> frozenset[str]:
        """Name those of some nodes that a demand may not use now: tainted, cordoned, unhealthy, gone."""
        chosen = tuple(node for _, node in self._known(sorted(nodes)))
        pools = eligible(demand, replace(self.fleet, nodes=chosen)).pools
        return frozenset(nodes) - {node.name for pool in pools for node in pool.nodes}

    def suits(self, demand: Demand, nodes: Collection[str]) -> bool:
        """Tell whether nodes are such as a demand asks for, whatever their health: that may be better again."""
        chosen = [replace(node, exclusion=None, taints=()) for _, node in self._known(sorted(nodes))]
        fleet = replace(self.fleet, nodes=tuple(chosen))
        fit = [node for pool in eligible(demand, fleet).pools for node in pool.nodes]
        places = {fleet.place(node, demand.within) for node in fit} if demand.within is not None else {""}
        return len(fit) == len(set(nodes)) and len(places) == 1

    def domains(self, nodes: Iterable[str]) -> Mapping[str, str]:
        """Give the NVLink domain of nodes; those that are gone are left out."""
        return {name: node.domain for name, node in self._known(nodes)}

    def _known(self, names: Iterable[str]) -> Iterator[tuple[str, Node]]:
        """Find nodes by their names, each once. Looked up one by one: a fleet has thousands, a group a few."""
        found = ((name, self.fleet.node(name)) for name in dict.fromkeys(names))
        return ((name, node) for name, node in found if node is not None)
