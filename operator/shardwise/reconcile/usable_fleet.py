"""The fleet as an object may use it, without the nodes that it avoids and the GPUs that are kept for others."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Exclusion, Fleet, Node
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.needs import PodNeeds
from shardwise.planner.pools import eligible
from shardwise.planner.same_fleet import on_same_fleet


@dataclass(frozen=True, slots=True)
class UsableFleet:
    """The fleet as if the object held nothing, and its limits.

    The object never uses ``barred`` nodes, and uses ``blamed`` nodes only if there is no other place. The free GPUs of
    ``kept`` nodes are kept for objects before it in the queue. The object may go on using its own GPUs there, which
    ``own`` counts. ``limit`` bounds the GPUs that the object may hold, for its namespace. ``lent`` is the fleet as if
    nobody held the GPUs about which a queue of the cluster decides: a group may enter the queue for them.
    """

    fleet: Fleet
    barred: frozenset[str] = frozenset()
    blamed: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    own: Mapping[str, int] = field(default_factory=dict)
    limit: GpuLimit | None = None
    lent: Fleet | None = None

    @property
    def widened(self) -> "UsableFleet | None":
        """The same with the lent GPUs; ``None`` if there are none."""
        return None if self.lent is None else replace(self, fleet=self.lent, lent=None)

    def at_most(self, name: str) -> Node | None:
        """Give a node with all GPUs that a group may begin on, lent GPUs included."""
        return (self.lent or self.fleet).node(name)

    def allows(self, gpus: int) -> bool:
        """Tell whether the object may hold so many GPUs."""
        return self.limit is None or gpus <= self.limit.left

    def choices(self) -> Iterator[Fleet]:
        """Give the fleets to search for a place, in order: without the blamed nodes, then with them."""
        if self.blamed:
            yield self._without(self.barred | self.blamed)
        yield self._without(self.barred)

    def _without(self, shut: frozenset[str]) -> Fleet:
        if not (shut or self.kept):
            return self.fleet
        limits = shut, self.kept, frozenset(self.own.items())
        return on_same_fleet(self.fleet, ("usable", limits), lambda: self._limited(shut))

    def _limited(self, shut: frozenset[str]) -> Fleet:
        limited = (self.fleet.node(name) for name in shut | self.kept)
        return self.fleet.with_nodes(self._left(node, shut) for node in limited if node is not None)

    def _left(self, node: Node, shut: frozenset[str]) -> Node:
        """Give a node without free GPUs. The node stays in the fleet, so that an object can wait for it."""
        if not node.free:
            return node
        if node.name in shut:
            return node._replace(free=0)
        return node._replace(free=min(node.free, self.own.get(node.name, 0))) if node.name in self.kept else node

    def exclusions(self, nodes: Collection[str]) -> tuple[tuple[str, Exclusion | None], ...]:
        """Say why nodes may not be used. Unknown nodes are left out. Nodes keep their order, each once."""
        return tuple((name, node.exclusion) for name, node in self._known(nodes))

    def closed(self, demand: Demand, nodes: Collection[str]) -> frozenset[str]:
        """Name the nodes that a demand may not use now, because they are tainted, cordoned, unhealthy or gone.

        A node that has fewer GPUs left than the object planned there is closed, too: a pod of a stranger took them, or
        the node has lost them.
        """
        chosen = tuple(node for _, node in self._known(sorted(nodes)))
        pools = eligible(replace(demand, needs=PodNeeds()), replace(self.fleet, nodes=chosen)).pools
        open_to_all = (node for pool in pools for node in pool.nodes)
        return frozenset(nodes) - {node.name for node in open_to_all if node.free >= self.own.get(node.name, 0)}

    def suits(self, demand: Demand, nodes: Collection[str]) -> bool:
        """Tell whether nodes suit a demand, apart from their health. Their health may get better."""
        chosen = [node._replace(exclusion=None, taints=()) for _, node in self._known(sorted(nodes))]
        fleet = replace(self.fleet, nodes=tuple(chosen))
        fit = [node for pool in eligible(replace(demand, needs=PodNeeds()), fleet).pools for node in pool.nodes]
        places = {fleet.place(node, demand.within) for node in fit} if demand.within is not None else {""}
        return len(fit) == len(set(nodes)) and len(places) == 1

    def domains(self, nodes: Iterable[str]) -> Mapping[str, str]:
        """Give the NVLink domains of nodes. Unknown nodes are left out."""
        return {name: node.domain for name, node in self._known(nodes)}

    def _known(self, names: Iterable[str]) -> Iterator[tuple[str, Node]]:
        """Find nodes by name, each once. Single look-ups are fast: a fleet has thousands of nodes, a group few."""
        found = ((name, self.fleet.node(name)) for name in dict.fromkeys(names))
        return ((name, node) for name, node in found if node is not None)
