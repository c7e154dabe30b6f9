"""The free GPUs of a pool while groups are placed: by NVLink domain, and by each level above it.

A slot is room for a stage: as many free GPUs as the tensor degree. The number of slots of a domain is its free GPUs
divided by the degree, because a pod may hold as little as a single GPU. Slots therefore add up exactly: a group fits a
place if and only if the place has a slot for each stage.
"""

from collections.abc import Iterable, Mapping, Sequence

from shardwise.domain.fleet import Node
from shardwise.planner.places import Domain, FreeCounts, Path, PoolPlaces, Scope
from shardwise.planner.pools import Pool


class DomainSlots:
    """The free GPUs and slots of each domain and place, for a single tensor degree.

    :meth:`take` keeps the counts up to date while groups are placed. ``share`` is the only share of GPUs that a pod may
    hold; ``None`` allows every share.
    """

    share: int | None = None

    def __init__(self, pool: Pool, tensor: int) -> None:
        self.tensor = tensor
        self.rack = pool.shares_stages
        self.places = self._placed(pool)
        self._pool = pool
        self._taken: dict[str, int] = {}

    @property
    def levels(self) -> Sequence[Mapping[Path, Scope]]:
        """The places by level, narrowest level first."""
        return self.places.levels

    def nodes(self, domain: Domain) -> Sequence[Node]:
        """Give the nodes of a domain, in name order."""
        return self._pool.nodes_of(domain)

    def free(self, node: Node) -> int:
        """Count the GPUs of a node that are still free."""
        return node.free - self._taken.get(node.name, 0)

    def free_counts(self, domain: Domain) -> FreeCounts:
        """Give the free GPUs of the nodes of a domain, sorted."""
        return tuple(sorted(map(self.free, self.nodes(domain))))

    def slots(self, domain: Domain) -> int:
        """Count the free slots of a domain."""
        return sum(self.free_counts(domain)) // self.tensor

    def level_of(self, domains: Iterable[Domain]) -> int:
        """Give the narrowest level at which domains lie in a single place; -1 for a single domain."""
        first, *others = (set(self.places.paths(self._place(domain))) for domain in domains)
        return min(level for level, _ in first.intersection(*others)) if others else -1

    def take(self, domain: Domain, node: str, gpus: int) -> None:
        """Take GPUs of a domain's node for a pod."""
        before = self.free_counts(domain)
        self._taken[node] = self._taken.get(node, 0) + gpus
        self._move(domain, before)

    def _move(self, domain: Domain, before: FreeCounts) -> None:
        self.places.move(domain, self._place(domain), before, self.free_counts(domain))

    def _place(self, domain: Domain) -> Path:
        return self._pool.domains.place(self.nodes(domain))

    def _placed(self, pool: Pool) -> PoolPlaces:
        return pool.domains.places.copy()
