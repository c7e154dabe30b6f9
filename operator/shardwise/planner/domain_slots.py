"""The free GPUs of a pool while groups are placed: by NVLink domain, and by each level above it.

A slot is room for a stage: as many free GPUs as the tensor degree. The number of slots of a domain is its free GPUs
divided by the degree, because a pod may hold as little as a single GPU. Slots therefore add up exactly: a group fits a
place if and only if the place has a slot for each stage.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shardwise.domain.fleet import Node
from shardwise.planner.pools import FreeCounts, Pool


@dataclass(slots=True, eq=False)
class Scope:
    """A place at some level: a rack, a zone or the whole pool. Level 0 is the nearest level above the domain.

    ``held`` lists the sorted numbers of its domains, by their free counts. ``inner`` lists the places of the next
    narrower level inside it. ``loose`` says whether some of its domains lie in none of these inner places. ``placed``
    says whether another scope already lists this scope in ``inner``.
    """

    name: str
    slots: int = 0
    held: dict[FreeCounts, list[int]] = field(default_factory=dict)
    inner: list["Scope"] = field(default_factory=list)
    loose: bool = False
    placed: bool = False
    level: int = 0


class DomainSlots:
    """The free GPUs and slots of each domain and place, for a single tensor degree. Domains are known by number.

    :meth:`take` keeps the counts up to date while groups are placed. ``share`` is the only share of GPUs that a pod may
    hold; ``None`` allows every share.
    """

    share: int | None = None

    def __init__(self, pool: Pool, tensor: int) -> None:
        self.tensor = tensor
        self.rack = pool.shares_stages
        self._taken: dict[str, int] = {}
        self.levels: list[dict[tuple[str, ...], Scope]] = [{} for _ in range(_height(pool) + 1)]
        self.nodes = [nodes for _, nodes in pool.domains]
        self.free_counts = self._counted(pool)
        self._scopes: list[tuple[Scope, ...]] = []
        known: dict[tuple[str, ...], tuple[Scope, ...]] = {}
        for number, ((bound, nodes), counts) in enumerate(zip(pool.domains, self.free_counts, strict=True)):
            place = (bound, *nodes[0].places)
            scopes = known.get(place) or known.setdefault(place, tuple(self._scopes_of(place)))
            self._scopes.append(scopes)
            for scope in scopes:
                scope.slots += sum(counts) // tensor
                scope.held.setdefault(counts, []).append(number)

    def free(self, node: Node) -> int:
        """Count the GPUs of a node that are still free."""
        return node.free - self._taken.get(node.name, 0)

    def slots(self, number: int) -> int:
        """Count the free slots of a domain."""
        return sum(self.free_counts[number]) // self.tensor

    def level_of(self, numbers: Iterable[int]) -> int:
        """Give the narrowest level at which domains lie in a single place; -1 for a single domain."""
        first, *others = numbers
        common = set(self._scopes[first]).intersection(*(self._scopes[number] for number in others))
        return min(scope.level for scope in common) if others else -1

    def take(self, number: int, node: str, gpus: int) -> None:
        """Take GPUs of a domain's node for a pod."""
        self._taken[node] = self._taken.get(node, 0) + gpus
        self.count_again(number)

    def count_again(self, number: int) -> None:
        """Count the free GPUs of a domain again, after GPUs of its nodes were taken."""
        before = self.free_counts[number]
        after = self.free_counts[number] = tuple(sorted(map(self.free, self.nodes[number])))
        for scope in self._scopes[number]:
            numbers = scope.held[before]
            del numbers[bisect_left(numbers, number)]
            if not numbers:
                del scope.held[before]
            insort(scope.held.setdefault(after, []), number)
            scope.slots += sum(after) // self.tensor - sum(before) // self.tensor

    def _counted(self, pool: Pool) -> list[FreeCounts]:
        return list(pool.free_counts)

    def _scopes_of(self, place: tuple[str, ...]) -> Iterator[Scope]:
        """Give the scopes that hold a domain, narrowest first. The name of a place includes the places above it."""
        bound, *places = place
        inner: Scope | None = None
        for level, known in enumerate(self.levels):
            if level < len(places) and not places[level]:
                continue
            name = (bound, *places[level:])
            scope = known.get(name) or known.setdefault(name, Scope("/".join(name), level=level))
            if inner is None:
                scope.loose = True
            elif not inner.placed:
                scope.inner.append(inner)
                inner.placed = True
            yield scope
            inner = scope


def _height(pool: Pool) -> int:
    return len(pool.nodes[0].places) if pool.nodes else 0
