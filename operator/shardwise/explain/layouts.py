"""Many layouts in few words: layouts of neighbouring depths form a range, ``TP2×PP3 to PP13``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.domain.layout import Layout

LISTED: Final = 5
"""The most items of any list that are said; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Range:
    """The layouts of a tensor degree, from depth ``first`` to depth ``last``, both included."""

    tensor: int
    expert: bool
    first: int
    last: int

    @property
    def count(self) -> int:
        """Layouts in the range."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        """Say the range as people do."""
        more = "" if self.first == self.last else f" to PP{self.last}"
        return f"TP{self.tensor}×PP{self.first}{more}{' EP' if self.expert else ''}"


def ranges(layouts: Iterable[Layout]) -> tuple[Range, ...]:
    """Join layouts into ranges, in the order of expert, tensor and depth. Each layout counts once."""
    found: list[Range] = []
    for layout in sorted(set(layouts), key=lambda layout: (layout.expert, layout.tensor, layout.pipeline)):
        last = found[-1] if found else None
        if last and (last.tensor, last.expert, last.last + 1) == (layout.tensor, layout.expert, layout.pipeline):
            found[-1] = Range(layout.tensor, layout.expert, last.first, layout.pipeline)
        else:
            found.append(Range(layout.tensor, layout.expert, layout.pipeline, layout.pipeline))
    return tuple(found)


def listed(layouts: Iterable[Layout]) -> str:
    """Say layouts, five ranges at most: ``TP1×PP1 to PP5, TP2×PP1 and 3 others``."""
    joined = ranges(layouts)
    more = sum(unsaid.count for unsaid in joined[LISTED:])
    return ", ".join(map(str, joined[:LISTED])) + others(more)


def others(count: int) -> str:
    """Say how many others there are, after a list."""
    return f" and {count} other{'' if count == 1 else 's'}" if count else ""
