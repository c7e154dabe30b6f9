"""A ledger of the holders of GPUs. Events keep it up to date: after the first reading, only changed nodes are read.

A pod holds GPUs of the node that it is bound to. A plan holds GPUs too, before its pods are bound: otherwise two
objects would get the same GPUs. On each node an object therefore holds the larger of two counts: the GPUs of its bound
pods, and the GPUs of its plan. Other holders hold the GPUs of their bound pods. The other resources of nodes, such as
memory, are counted in the same way.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.needs import Amounts
from shardwise.domain.occupancy import Holding, Occupied
from shardwise.domain.site import FleetSite
from shardwise.inventory.devices import NodeDevices
from shardwise.inventory.nodes import KubernetesNode, NodeReader
from shardwise.inventory.sightings import settled, sighted
from shardwise.inventory.uses import Uses

H = TypeVar("H")

REMEMBERED: Final = 512
"""Changes of nodes that are remembered."""

_NONE: Final[Mapping[str, int]] = {}


class Ledger(Generic[H]):
    """The nodes of a fleet, and the GPUs that each holder has on each node. A holder is any hashable value.

    ``moves`` grows when a node changes, and when the GPUs of a holder change. The free GPUs of a node are computed when
    anybody asks for them: once, however many pods were bound to the node since.
    """

    def __init__(self, site: FleetSite | None = None) -> None:
        self.site = site or FleetSite()
        self._reader = NodeReader(self.site)
        self._levels = tuple(level.name for level in self.site.levels)
        self._kinds = tuple(stated.kind for stated in self.site.products)
        self._names: list[str] = []
        self._empty: list[Node] = []
        self._left: list[Node] = []
        self._products: dict[str, tuple[str, ...]] = {}
        self._bound: dict[H, dict[str, int]] = {}
        self._planned: dict[H, dict[str, int]] = {}
        self._holders: dict[str, dict[H, int]] = {}
        self._mark = 0
        self.moves = 0
        self.compute_domains = True
        self._whole: tuple[tuple[int, bool], Fleet] | None = None
        self._log: deque[tuple[int, str, Node | None]] = deque(maxlen=REMEMBERED)
        self._others = Uses[H]()
        self._unsettled: dict[str, None] = {}

    @property
    def mark(self) -> int:
        """A number that grows with every change of a node or of what is free on it."""
        self._settle()
        return self._mark

    def put(self, node: KubernetesNode, devices: NodeDevices | None = None) -> bool:
        """Add a node or its changes. Tell whether anything changed but a heartbeat. O(log nodes) for a known node.

        ``devices`` are the GPUs that ResourceSlices list of it.
        """
        read = self._reader.read(node, devices)
        products = self._products[read.name] = sighted(self._products.get(read.name, ()), read)
        read = settled(products, read)
        at, known = self._find(read.name)
        if not known:
            self._names.insert(at, read.name)
            self._empty.insert(at, read)
            self._left.insert(at, read)
        elif self._empty[at] == read:
            return False
        self._note(read.name, self._left[at] if known else None)
        self._empty[at] = read
        self._left[at] = _less(read, self._held(read.name), self._others.taken(read.name))
        return True

    def drop(self, name: str) -> None:
        """Remove a node. Its holders keep their GPUs, in case the node comes back."""
        at, known = self._find(name)
        self._products.pop(name, None)
        if known:
            self._note(name, self._left[at])
            del self._names[at], self._empty[at], self._left[at]

    def node(self, name: str) -> Node | None:
        """Give a node as if nobody held its GPUs; ``None`` for an unknown name."""
        at, known = self._find(name)
        return self._empty[at] if known else None

    def bind(self, holder: H, node: str, gpus: int, others: Amounts = ()) -> None:
        """Add the GPUs and other resources of a pod that was bound to a node. Negative counts take a gone pod away."""
        if gpus:
            bound = self._bound.get(holder) or self._bound.setdefault(holder, {})
            bound[node] = bound.get(node, 0) + gpus
            if not bound[node]:
                del bound[node]
            if not bound:
                del self._bound[holder]
            self._count(holder, node)
        self._others.bind(holder, node, others)
        self._unsettled[node] = None

    def plan(self, holder: H, gpus: Mapping[str, int], others: Mapping[str, Amounts] | None = None) -> None:
        """Note the GPUs and other resources that a plan gives its object on each node, in place of the plan before."""
        before = self._planned.pop(holder, _NONE)
        if gpus:
            self._planned[holder] = dict(gpus)
        changed = self._others.plan(holder, others or {})
        for node in {**before, **gpus}:
            self._count(holder, node)
        self._unsettled |= dict.fromkeys((*before, *gpus, *changed))

    def release(self, holder: H) -> None:
        """Free all GPUs and other resources of a holder."""
        self.plan(holder, {})
        for node in self._others.release(holder) | set(self._bound.get(holder, {})):
            self.bind(holder, node, -self._bound.get(holder, _NONE).get(node, 0))

    def planners(self, node: str) -> set[H]:
        """Give the holders whose plans use GPUs of a node."""
        return {holder for holder in self.holdings(node) if node in self._planned.get(holder, ())}

    def holdings(self, node: str) -> Mapping[H, int]:
        """Give the number of GPUs of a node, for each holder."""
        return self._holders.get(node, {})

    def fleet(self, without: H | None = None) -> Fleet:
        """Give the fleet, as if the holder ``without`` held no GPUs. Unchanged nodes are the same values.

        For all holders of nothing, and while nothing changes, it is the same fleet.
        """
        self._settle()
        if without in self._bound or without in self._planned or (without is not None and self._others.nodes(without)):
            return self._fleet_of(self._freed(without))
        state = self._mark, self.compute_domains
        if self._whole is None or self._whole[0] != state:
            self._whole = state, self._fleet_of(self._left)
        return self._whole[1]

    def _fleet_of(self, nodes: Iterable[Node]) -> Fleet:
        return Fleet(tuple(nodes), self._levels, self._kinds, self.compute_domains)

    def occupied(self, name: Callable[[H], str]) -> tuple[Occupied, ...]:
        """Give every node with its holders. ``name`` names a holder; the name of strangers is empty."""
        return tuple(Occupied(node, tuple(self._named(node.name, name))) for node in self._empty)

    def occupancy(self) -> list[tuple[Node, Mapping[H, int]]]:
        """Give every node, as if nobody held its GPUs, and a copy of its holdings. O(nodes): 2 ms for 5,000 nodes."""
        holders = self._holders
        return [(node, {**holders[node.name]} if node.name in holders else {}) for node in self._empty]

    def _named(self, node: str, name: Callable[[H], str]) -> Iterator[Holding]:
        held = Counter[str]()
        for holder, gpus in self.holdings(node).items():
            held[name(holder)] += gpus
        return (Holding(by, held[by]) for by in sorted(held, key=lambda by: (not by, by)))

    def _freed(self, holder: H) -> list[Node]:
        left = list(self._left)
        own = {**self._bound.get(holder, {}), **self._planned.get(holder, {})}
        for node in self._others.nodes(holder).union(own):
            at, known = self._find(node)
            if known:
                held = self._held(node) - self.holdings(node).get(holder, 0)
                left[at] = _less(self._empty[at], held, self._others.taken(node, without=holder))
        return left

    def _count(self, holder: H, node: str) -> None:
        """Compute again the GPUs that a holder has on a node."""
        self.moves += 1
        has = max(self._bound.get(holder, _NONE).get(node, 0), self._planned.get(holder, _NONE).get(node, 0))
        holders = self._holders.setdefault(node, {})
        if has > 0:
            holders[holder] = has
        else:
            holders.pop(holder, None)
        if not holders:
            del self._holders[node]

    def _settle(self) -> None:
        """Compute again what is free on the nodes on which holders have changed since."""
        unsettled, self._unsettled = self._unsettled, {}
        for name in unsettled:
            at, known = self._find(name)
            if known:
                before = self._left[at]
                left = _less(self._empty[at], self._held(name), self._others.taken(name))
                if left.free != before.free or left.taken != before.taken:
                    self._note(name, before)
                    self._left[at] = left

    def gained(self, mark: int, matters: Callable[[Node], bool]) -> bool:
        """Tell whether any node that matters has more free than at a mark, or has changed otherwise.

        ``mark`` is an earlier value of the ledger's ``mark``. GPUs that became free and were taken again are no gain.
        Gives ``True`` for a mark from so long ago that the changes since are forgotten. O(changes since the mark).
        """
        self._settle()
        if self._log and self._log[0][0] > mark + 1:
            return True
        before: dict[str, Node | None] = {}
        for at, name, node in reversed(self._log):
            if at <= mark:
                break
            before[name] = node
        return any(self._is_gain(name, node, matters) for name, node in before.items())

    def _is_gain(self, name: str, before: Node | None, matters: Callable[[Node], bool]) -> bool:
        at, known = self._find(name)
        if before is None or not known:
            return before is not None or known
        now = self._left[at]
        if now._replace(free=before.free, taken=before.taken) != before:
            return True
        taken = dict(now.taken)
        less = any(taken.get(name, 0) < amount for name, amount in before.taken)
        return (now.free > before.free or (less and now.free > 0)) and matters(now)

    def _note(self, name: str, before: Node | None) -> None:
        """Remember a node as it was before a change."""
        self._mark += 1
        self.moves += 1
        self._log.append((self._mark, name, before))

    def _held(self, node: str) -> int:
        holders = self._holders.get(node)
        return sum(holders.values()) if holders else 0

    def _find(self, name: str) -> tuple[int, bool]:
        at = bisect_left(self._names, name)
        return at, at < len(self._names) and self._names[at] == name


def _less(node: Node, held: int, taken: Amounts) -> Node:
    """Give a node without the GPUs and other resources that are held. Those of a node without GPUs matter to nobody."""
    if not node.gpus:
        return node
    free = max(0, node.free - held)
    return node if free == node.free and not taken else node.with_left(free, taken)
