"""Sorting the nodes of a fleet into the pools that a demand may use.

A fleet is sorted once for each wish. After that, only the nodes that have changed are sorted again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

from shardwise.domain.demand import Demand
from shardwise.domain.exclusions import LeftOut, TooSmall
from shardwise.domain.fleet import Fleet, Node, changed_nodes
from shardwise.domain.hardware import bare_product
from shardwise.domain.needs import IdleGpus
from shardwise.planner.alike import Classes, NodeClass
from shardwise.planner.members import Change, Member, Members, UsableGpus

T = TypeVar("T")

_NAME: Final = attrgetter("name")

MOST_CHANGES: Final = 256
"""Changed nodes that are sorted again one by one. For more, the whole fleet is sorted."""

PoolKey = tuple[str, str]
"""The bare product of the nodes, and the extended resource that pods request."""


class _Sorted(NamedTuple):
    """A node with its class, and its pool; ``None`` for a node that is left out."""

    member: Member
    pool: PoolKey | None
    idle: IdleGpus | None


class Sorting:
    """The nodes of a fleet as a demand may use them.

    ``left_out`` counts the nodes that may not be used, by bare product and NVLink domain. ``emptied``: as if nobody
    held any GPU.
    """

    def __init__(self, demand: Demand, fleet: Fleet, *, emptied: bool = False) -> None:
        """Sort a fleet. O(nodes)."""
        self.fleet = fleet
        self.left_out: dict[str, Counter[str]] = {}
        self._demand = demand
        self._emptied = emptied
        self._classes = Classes(demand, fleet)
        self._usable = UsableGpus(demand.needs, emptied=emptied)
        self._out: Counter[NodeClass] = Counter()
        self._idle: dict[str, IdleGpus] = {}
        self._members: dict[PoolKey, Members] = {}
        self._answer: Any = None
        self._sort()

    def changed(self, fleet: Fleet) -> "Sorting":
        """Sort another fleet, of which most nodes are the same values. O(changed nodes), and copies of references."""
        if fleet is self.fleet:
            return self
        changes = changed_nodes(self.fleet, fleet)
        if len(changes) > MOST_CHANGES:
            return Sorting(self._demand, fleet, emptied=self._emptied)
        found = copy(self)
        found.turn_to(fleet, changes)
        return found

    def turn_to(self, fleet: Fleet, changes: Sequence[Change]) -> None:
        """Sort the nodes of a fleet that have changed. Only for a copy that nobody has seen."""
        self.fleet, self._answer = fleet, None
        self.left_out = {product: Counter(domains) for product, domains in self.left_out.items()}
        self._out = Counter(self._out)
        self._idle, self._members = dict(self._idle), dict(self._members)
        self._take_in(changes)

    def _sort(self) -> None:
        """Take in all nodes, class by class."""
        pools: dict[PoolKey, dict[NodeClass, list[Node]]] = {}
        for alike, nodes in self._classes.sort(self.fleet.nodes).items():
            if self._classes.why_not(alike) is None:
                pools.setdefault(_pool_of(alike), {})[alike] = nodes
                continue
            self._out[alike] = len(nodes)
            for node in nodes:
                self._leave_out(bare_product(node.product), node.domain, 1)
        for pool, by_class in pools.items():
            members = self._members[pool] = Members(self.fleet, self._classes, self._usable, by_class)
            self._idle |= self._idle_on(chain(*by_class.values()), members)

    def _idle_on(self, nodes: Iterable[Node], members: Members) -> dict[str, IdleGpus]:
        """Give the idle GPUs of the nodes of a pool, by node. Most nodes have none."""
        usable = zip(sorted(nodes, key=_NAME), members.nodes, strict=True)
        found = ((node.name, self._usable.idle(node)) for node, left in usable if left.free < node.free)
        return {name: idle for name, idle in found if idle is not None}

    def _take_in(self, changes: Sequence[Change]) -> None:
        moved: dict[PoolKey, list[tuple[Member | None, Member | None]]] = {}
        for before, after in changes:
            old, new = self._sorted(before), self._sorted(after)
            if old != new:
                self._note(old, -1)
                self._note(new, 1)
                for pool, change in _moves(old, new):
                    moved.setdefault(pool, []).append(change)
        for pool in {**self._members, **moved}:
            known = self._members.get(pool) or Members(self.fleet, self._classes, self._usable, {})
            self._members[pool] = known.changed(self.fleet, moved.get(pool, ()))
            if not self._members[pool].names:
                del self._members[pool]

    def _sorted(self, node: Node | None) -> _Sorted | None:
        if node is None:
            return None
        alike = self._classes.of(node)
        if self._classes.why_not(alike) is not None:
            return _Sorted(Member(node, alike), None, None)
        return _Sorted(Member(self._usable.of(node), alike), _pool_of(alike), self._usable.idle(node))

    def _note(self, found: _Sorted | None, sign: int) -> None:
        """Count a node that is left out, and keep the idle GPUs of a node that is not."""
        if found is None:
            return
        node, alike = found.member
        if found.pool is None:
            self._out[alike] += sign
            self._leave_out(bare_product(node.product), node.domain, sign)
        elif sign > 0 and found.idle is not None:
            self._idle[node.name] = found.idle
        else:
            self._idle.pop(node.name, None)

    def _leave_out(self, product: str, domain: str, sign: int) -> None:
        counted = self.left_out.setdefault(product, Counter())
        counted[domain] += sign
        if not counted[domain]:
            del counted[domain]
        if not counted:
            del self.left_out[product]

    def once(self, answer: Callable[[], T]) -> T:
        """Give what the nodes come to, worked out once."""
        if self._answer is None:
            self._answer = answer()
        found: T = self._answer
        return found

    @property
    def members(self) -> Iterator[Members]:
        """The nodes of each pool."""
        return iter(self._members.values())

    @property
    def excluded(self) -> tuple[tuple[LeftOut, int], ...]:
        """The number of nodes left out for each reason, most nodes first, then by reason."""
        counted: Counter[LeftOut] = Counter()
        for alike, count in self._out.items():
            why = self._classes.why_not(alike)
            if count and why is not None:
                counted[why] += count
        return tuple(sorted(_with_most(counted).items(), key=lambda found: (-found[1], str(found[0]))))

    @property
    def idle(self) -> tuple[IdleGpus, ...]:
        """The idle GPUs by the resource that is short, most GPUs first. The example is the first node by name."""
        found: dict[str, IdleGpus] = {}
        for name in sorted(self._idle):
            here = self._idle[name]
            known = found.get(here.resource)
            found[here.resource] = (
                here if known is None else replace(known, gpus=known.gpus + here.gpus, nodes=known.nodes + 1)
            )
        return tuple(sorted(found.values(), key=lambda idle: (-idle.gpus, idle.resource)))


def _pool_of(alike: NodeClass) -> PoolKey:
    return bare_product(alike.product), alike.resource


def _moves(old: _Sorted | None, new: _Sorted | None) -> Iterator[tuple[PoolKey, tuple[Member | None, Member | None]]]:
    """Give the pools that a node leaves, enters or stays in, with the node before and after."""
    if old and new and old.pool and old.pool == new.pool:
        yield old.pool, (old.member, new.member)
        return
    if old and old.pool:
        yield old.pool, (old.member, None)
    if new and new.pool:
        yield new.pool, (None, new.member)


def _with_most(excluded: Mapping[LeftOut, int]) -> Mapping[LeftOut, int]:
    """Count nodes that offer too little of a resource together, with the most that any of them offers."""
    found: Counter[LeftOut] = Counter()
    most: dict[str, int] = {}
    for why in excluded:
        if isinstance(why, TooSmall):
            most[why.resource] = max(why.offered, most.get(why.resource, 0))
    for why, count in excluded.items():
        found[replace(why, offered=most[why.resource]) if isinstance(why, TooSmall) else why] += count
    return found
