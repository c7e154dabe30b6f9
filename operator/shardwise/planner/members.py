"""The nodes of a pool, and the NVLink domains that they make. Both follow the changes of single nodes."""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from operator import attrgetter
from typing import Final, NamedTuple

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.needs import IdleGpus, PodNeeds, most_gpus, shortage
from shardwise.planner.alike import Classes, NodeClass
from shardwise.planner.places import Domain, FreeCounts, Path, PoolPlaces

Change = tuple[Node | None, Node | None]
"""A node before and after: ``None`` before it came, and after it went."""


_NAME: Final = attrgetter("name")
_MOST_KNOWN: Final = 8192
"""Different resources of nodes that are remembered."""


class Member(NamedTuple):
    """A node of a pool, with the free GPUs that pods can use, and its class."""

    node: Node
    alike: NodeClass


def free_counts_of(nodes: Sequence[Node]) -> FreeCounts:
    """Give the free GPUs of the nodes of a domain, sorted."""
    return (nodes[0].free,) if len(nodes) == 1 else tuple(sorted(node.free for node in nodes))


class Domains:
    """The NVLink domains of nodes, by the place they lie in.

    ``shared``: proven NVLink joins the nodes of a domain. Elsewhere each node is a domain of its own, and is not kept
    here. ``joined``: all nodes of a bounding place count as a single domain.
    """

    def __init__(
        self, nodes: Sequence[Node], bound: Callable[[Node], str], *, shared: bool, joined: bool = False
    ) -> None:
        """Sort nodes into domains. O(nodes)."""
        self.shared = shared
        self._bound = bound
        self._joined = joined
        self.nodes = self._shared(nodes) if shared else {}
        self.sizes = Counter(map(gpus_of, self.nodes.values()))
        self.places = PoolPlaces.of(len(nodes[0].places) if nodes else 0, self._placed(nodes))

    def _shared(self, nodes: Iterable[Node]) -> dict[Domain, tuple[Node, ...]]:
        found: defaultdict[Domain, list[Node]] = defaultdict(list)
        for node in nodes:
            found[self.domain(node)].append(node)
        return {domain: tuple(of) for domain, of in found.items()}

    def _placed(self, nodes: Iterable[Node]) -> Iterator[tuple[Domain, Path, FreeCounts]]:
        if self.shared:
            return ((domain, self.place(of), free_counts_of(of)) for domain, of in self.nodes.items())
        return ((self.domain(node), self.place((node,)), (node.free,)) for node in nodes)

    def changed(self, changes: Iterable[Change]) -> "Domains":
        """Give the domains after nodes have changed. O(changed nodes), and copies of references."""
        found = copy(self)
        found.take_in(changes)
        return found

    def take_in(self, changes: Iterable[Change]) -> None:
        """Take in the nodes that have changed. Only for a copy that nobody has seen."""
        self.places, self.nodes, self.sizes = self.places.copy(), dict(self.nodes), Counter(self.sizes)
        touched: dict[Domain, tuple[dict[str, Node], dict[str, Node]]] = {}
        for node, after in ((node, after) for pair in changes for after, node in enumerate(pair) if node is not None):
            touched.setdefault(self.domain(node), ({}, {}))[after][node.name] = node
        for domain, (gone, come) in touched.items():
            before = self.nodes.get(domain, ()) if self.shared else tuple(gone.values())
            left = {node.name: node for node in before if node.name not in gone} | come
            self._put(domain, before, tuple(left[name] for name in sorted(left)))

    def domain(self, node: Node) -> Domain:
        """Name the domain of a node."""
        if not self.shared:
            return "", node.name
        return self._bound(node), "" if self._joined else node.domain

    def place(self, nodes: Sequence[Node]) -> Path:
        """Name the place of the nodes of a domain: the bounding place, then the places from the nearest level on."""
        return (self._bound(nodes[0]), *nodes[0].places)

    def _put(self, domain: Domain, before: tuple[Node, ...], after: tuple[Node, ...]) -> None:
        place = self.place(before) if before else ()
        if before and after and place == self.place(after):
            self.places.move(domain, place, free_counts_of(before), free_counts_of(after))
        else:
            if before:
                self.places.move(domain, place, free_counts_of(before), None)
            if after:
                self.places.move(domain, self.place(after), None, free_counts_of(after))
        if self.shared:
            self._keep(domain, before, after)

    def _keep(self, domain: Domain, before: tuple[Node, ...], after: tuple[Node, ...]) -> None:
        self.sizes -= Counter([gpus_of(before)] if before else ())
        if after:
            self.nodes[domain] = after
            self.sizes[gpus_of(after)] += 1
        else:
            del self.nodes[domain]


def gpus_of(nodes: Sequence[Node]) -> int:
    """Count the GPUs of nodes, whether free or not."""
    return sum(node.gpus for node in nodes)


class UsableGpus:
    """The free GPUs of nodes as far as pods of a demand can use them. Nodes with equal resources are looked at once.

    ``emptied``: as if nobody held anything of a node.
    """

    def __init__(self, needs: PodNeeds, *, emptied: bool) -> None:
        self._needs = needs
        self._emptied = emptied
        self._known: dict[object, int] = {}

    def of(self, node: Node) -> Node:
        """Give a node with the free GPUs that pods can use."""
        if self._emptied and (node.free < node.gpus or node.taken):
            node = node._replace(free=node.gpus, taken=())
        if not node.free or not (node.allocatable or node.taken):
            return node
        alike = node.free, node.allocatable, node.taken
        usable = self._known.get(alike)
        if usable is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            usable = self._known[alike] = most_gpus(self._needs, node.allocatable, node.taken, node.free)
        return node if usable == node.free else node._replace(free=usable)

    def idle(self, node: Node) -> IdleGpus | None:
        """Give the free GPUs of a node that no pod can use for want of another resource, if there are any."""
        gpus = node.free - self.of(node).free
        if gpus <= 0:
            return None
        whole = self._needs.of_pod(node.free, 1, node.free)
        short = shortage(whole, node.allocatable, node.taken)
        return None if short is None else IdleGpus(short.resource, gpus, 1, node.name, short.asked, short.left)


class Members:
    """The nodes of a pool: the names, the number of nodes of each class, and the GPUs that pods can use.

    ``alone`` counts the nodes that no label puts into an NVLink domain.
    """

    def __init__(
        self, fleet: Fleet, classes: Classes, usable: UsableGpus, nodes: Mapping[NodeClass, Sequence[Node]]
    ) -> None:
        """Take in nodes of the fleet, by class. O(nodes)."""
        found = sorted((usable.of(node) for alike in nodes.values() for node in alike), key=_NAME)
        self.names = [node.name for node in found]
        self.counts = Counter({alike: len(some) for alike, some in nodes.items()})
        self.free = sum(node.free for node in found)
        self.alone = sum(node.domain == node.name for node in found)
        self._fleet = fleet
        self._classes = classes
        self._usable = usable
        self._domains: dict[bool, Domains] = {}
        self._all: tuple[Node, ...] | None = tuple(found)

    def changed(self, fleet: Fleet, changes: Sequence[tuple[Member | None, Member | None]]) -> "Members":
        """Give the nodes of the pool in a fleet, after some of them have changed."""
        found = copy(self)
        found.turn_to(fleet, changes)
        return found

    def turn_to(self, fleet: Fleet, changes: Sequence[tuple[Member | None, Member | None]]) -> None:
        """Take in the nodes that have changed. Only for a copy that nobody has seen."""
        self._fleet, self._all = fleet, None
        if not changes:
            return
        self.counts = Counter(self.counts)
        if any(before is None or after is None for before, after in changes):
            self.names = list(self.names)
        for before, after in changes:
            self._count(before, -1, comes=after is None)
            self._count(after, 1, comes=before is None)
        nodes = [(before and before.node, after and after.node) for before, after in changes]
        self._domains = {shared: known.changed(nodes) for shared, known in self._domains.items()}

    def _count(self, member: Member | None, sign: int, *, comes: bool) -> None:
        """Count a node in or out; ``comes``: it was not there before, or is not there any more."""
        if member is None:
            return
        node, alike = member
        self.counts[alike] += sign
        if not self.counts[alike]:
            del self.counts[alike]
        self.free += sign * node.free
        self.alone += sign * (node.domain == node.name)
        if comes and sign > 0:
            insort(self.names, node.name)
        elif comes:
            del self.names[bisect_left(self.names, node.name)]

    def node(self, name: str) -> Node:
        """Give a node by its name. O(log nodes)."""
        found = self._fleet.node(name) or self._searched(name)
        return self._usable.of(found)

    def _searched(self, name: str) -> Node:
        """Find a node of a fleet that was made by hand, and is not in name order."""
        return next(node for node in self._fleet.nodes if node.name == name)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in name order. O(nodes), once."""
        if self._all is None:
            names = set(self.names)
            found = (self._usable.of(node) for node in self._fleet.nodes if node.name in names)
            self._all = tuple(sorted(found, key=_NAME))
        return self._all

    def domains(self, *, shared: bool) -> Domains:
        """Give the NVLink domains of the nodes: where they are not ``shared``, each node is its own."""
        known = self._domains.get(shared)
        if known is None:
            known = self._domains[shared] = Domains(self.nodes, self._classes.bound, shared=shared)
        return known

    def joined(self) -> Domains:
        """Give the nodes of each bounding place as a single domain. O(nodes)."""
        return Domains(self.nodes, self._classes.bound, shared=True, joined=True)
