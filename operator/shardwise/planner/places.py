"""The NVLink domains of a pool by the GPUs that are free in them, for each place in which they lie.

A place is a rack, a zone or the whole pool. It is kept up to date while single domains change. A copy shares all places
with the original until they change, so that a copy for a plan costs little on a large fleet.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from copy import copy
from typing import Any, TypeVar

T = TypeVar("T")

FreeCounts = tuple[int, ...]
"""The free GPUs of each node of a domain, sorted."""

Domain = tuple[str, str]
"""The name of an NVLink domain in a pool: its bounding place, where domains span nodes, and its own name."""

Path = tuple[str, ...]
"""The name of a place: the bounding place, then the place and all places above it, nearest first."""


class Scope:
    """A place at some level. Level 0 is the nearest level above the domain.

    ``held`` lists the sorted names of its domains, by their free counts. ``inner`` names the places of narrower levels
    inside it that lie in no other of them, with their levels. ``loose`` counts its domains that lie in none of these.
    """

    def __init__(self, path: Path, level: int) -> None:
        self.path = path
        self.level = level
        self.name = "/".join(path)
        self.held: dict[FreeCounts, list[Domain]] = {}
        self.inner: set[tuple[int, Path]] = set()
        self.loose = 0
        self._shared: set[FreeCounts] = set()
        self._slots: dict[int, int] = {}
        self._known: dict[Hashable, Any] = {}

    def copy(self) -> "Scope":
        """Give a copy that shares the lists of domains until they change."""
        found = copy(self)
        found.part()
        return found

    def part(self) -> None:
        """Keep changes from the original. Only for a copy that nobody has seen."""
        self.held, self.inner = dict(self.held), set(self.inner)
        self._shared, self._slots, self._known = set(self.held), dict(self._slots), {}

    def slots(self, tensor: int) -> int:
        """Count the slots for stages of so many GPUs. Counted once for each degree, then kept up to date."""
        known = self._slots.get(tensor)
        if known is None:
            known = self._slots[tensor] = self._count(tensor)
        return known

    def _count(self, tensor: int) -> int:
        return sum(len(domains) * (sum(counts) // tensor) for counts, domains in self.held.items())

    def once(self, question: Hashable, answer: Callable[["Scope"], T]) -> T:
        """Give the answer to a question about the place, worked out once until the place changes."""
        if question not in self._known:
            self._known[question] = answer(self)
        found: T = self._known[question]
        return found

    def first(self) -> Domain:
        """Give the first of its domains."""
        return min(domains[0] for domains in self.held.values())

    def put(self, held: Mapping[FreeCounts, list[Domain]]) -> None:
        """Take in domains, in any order. Only for a place that is being made: :meth:`sort` ends it."""
        for counts, domains in held.items():
            self.held.setdefault(counts, []).extend(domains)

    def sort(self) -> None:
        """Put the domains in order. It takes next to nothing where they came in order."""
        for domains in self.held.values():
            domains.sort()

    def move(self, domain: Domain, before: FreeCounts | None, after: FreeCounts | None) -> None:
        """Take in that a domain changed, came (``before`` is ``None``) or went (``after`` is ``None``)."""
        if before is not None:
            domains = self._own(before)
            del domains[bisect_left(domains, domain)]
            if not domains:
                del self.held[before]
        if after is not None:
            insort(self._own(after), domain)
        for tensor in self._slots:
            self._slots[tensor] += sum(after or ()) // tensor - sum(before or ()) // tensor
        self._known.clear()

    def _own(self, counts: FreeCounts) -> list[Domain]:
        if counts in self._shared or counts not in self.held:
            self._shared.discard(counts)
            self.held[counts] = list(self.held.get(counts, ()))
        return self.held[counts]


class PoolPlaces:
    """All places of a pool: ``levels`` from the nearest level above the domain to the bounding places at the top."""

    def __init__(self, height: int) -> None:
        self.levels: list[dict[Path, Scope]] = [{} for _ in range(height + 1)]
        self._own: set[tuple[int, Path]] = set()

    @classmethod
    def of(cls, height: int, domains: Iterable[tuple[Domain, Path, FreeCounts]]) -> "PoolPlaces":
        """Make the places of many domains at once, as if they came one after the other. O(domains · levels)."""
        by_place: defaultdict[Path, defaultdict[FreeCounts, list[Domain]]] = defaultdict(lambda: defaultdict(list))
        for domain, place, counts in domains:
            by_place[place][counts].append(domain)
        found = cls(height)
        for place, held in by_place.items():
            found._put(place, held)
        for scope in (scope for level in found.levels for scope in level.values()):
            scope.sort()
        return found

    def _put(self, place: Path, held: Mapping[FreeCounts, list[Domain]]) -> None:
        """Take in all domains of a place."""
        inner: tuple[int, Path] | None = None
        for level, path in self.paths(place):
            scope = self._writable(level, path)
            scope.put(held)
            if inner is None:
                scope.loose += sum(map(len, held.values()))
            else:
                scope.inner.add(inner)
            inner = level, path

    def copy(self) -> "PoolPlaces":
        """Give a copy that shares all places until they change."""
        found = PoolPlaces(len(self.levels) - 1)
        found.levels = [dict(known) for known in self.levels]
        return found

    @property
    def roots(self) -> list[Scope]:
        """The bounding places: a single place for a pool without a bounding level."""
        return list(self.levels[-1].values())

    def inside(self, scope: Scope) -> list[Scope]:
        """Give the places directly inside a place, in the order of their first domains."""
        return sorted((self.levels[level][path] for level, path in scope.inner), key=Scope.first)

    def paths(self, place: Path) -> Iterator[tuple[int, Path]]:
        """Give the places that hold a domain, narrowest first, by level. A domain may lack a place at some levels."""
        bound, *above = place
        for level in range(len(self.levels)):
            if level >= len(above) or above[level]:
                yield level, (bound, *above[level:])

    def move(self, domain: Domain, place: Path, before: FreeCounts | None, after: FreeCounts | None) -> None:
        """Take in that a domain of a place changed, came (``before`` is ``None``) or went (``after`` is ``None``)."""
        came = (after is not None) - (before is not None)
        inner: tuple[int, Path] | None = None
        for level, path in self.paths(place):
            scope = self._writable(level, path)
            scope.move(domain, before, after)
            if inner is None:
                scope.loose += came
            elif inner[1] in self.levels[inner[0]]:
                scope.inner.add(inner)
            else:
                scope.inner.discard(inner)
            if not scope.held:
                del self.levels[level][path]
            inner = level, path

    def _writable(self, level: int, path: Path) -> Scope:
        known = self.levels[level].get(path)
        if known is None or (level, path) not in self._own:
            known = Scope(path, level) if known is None else known.copy()
            self.levels[level][path] = known
            self._own.add((level, path))
        return known
