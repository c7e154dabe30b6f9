"""Dealing several equal groups to domains together, when each group must span domains, so that they cross the fewest.

If groups are placed in turn, each in as few domains as possible, later groups may be left with scattered slots. Groups
that share domains form a cluster. A cluster of d domains and g groups needs only d + g - 1 parts, because its groups
fill its domains in turn. The most clusters therefore give the fewest parts. The search for them is exhaustive: it takes
3**domains steps, and is made for few domains only.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final

MOST_DOMAINS: Final = 8
"""The most domains for which the search runs: 6561 steps, some milliseconds."""

Part = Mapping[int, int]
"""The stages of a group in each domain, by the position of the domain."""


def fewest_parts(slots: Sequence[int], stages: int, groups: int) -> tuple[Part, ...]:
    """Deal ``groups`` groups of ``stages`` stages to domains with ``slots``. The group in the fewest domains is first.

    Expects at most :data:`MOST_DOMAINS` domains and enough slots. No domain may hold a whole group.
    """
    everywhere = (1 << len(slots)) - 1
    held = [sum(slots[position] for position in _positions(mask)) for mask in range(everywhere + 1)]

    @cache
    def best(free: int, left: int) -> tuple[int, tuple[int, ...]] | None:
        if left <= 0 or free == 0:
            return (0, ()) if left <= 0 else None
        lowest = free & -free
        found = [best(free ^ lowest, left)]
        for cluster in _subsets(free ^ lowest):
            cluster |= lowest  # noqa: PLW2901 - every cluster of this round holds the first free domain
            inside = min(left, held[cluster] // stages)
            rest = best(free ^ cluster, left - inside) if inside else None
            if rest is not None:
                found.append((cluster.bit_count() + inside - 1 + rest[0], (cluster, *rest[1])))
        return min((split for split in found if split is not None), default=None)

    chosen = best(everywhere, groups)
    clusters = () if chosen is None else chosen[1]
    parts = [part for cluster in clusters for part in _in_turn(slots, _positions(cluster), stages)]
    return tuple(sorted(parts, key=len)[:groups])


def _positions(mask: int) -> Iterator[int]:
    return (position for position in range(mask.bit_length()) if mask >> position & 1)


def _subsets(mask: int) -> Iterator[int]:
    """Give all subsets of a set of bits, the empty one last."""
    subset = mask
    while subset:
        yield subset
        subset = (subset - 1) & mask
    yield 0


def _in_turn(slots: Sequence[int], positions: Iterator[int], stages: int) -> Iterator[Part]:
    """Fill the domains of a cluster in turn. A rest that is too small for another group stays free."""
    part: dict[int, int] = {}
    wanted = stages
    for position in positions:
        free = slots[position]
        while free:
            part[position] = min(wanted, free)
            free, wanted = free - part[position], wanted - part[position]
            if wanted == 0:
                yield part
                part, wanted = {}, stages
