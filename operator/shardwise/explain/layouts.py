"""Many layouts in few words: layouts of neighbouring depths form a range, ``TP2×PP3 to PP13``."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from shardwise.domain.layout import Layout

LISTED: Final = 5
"""The most items of any list that are said; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Range:
    """Layouts that differ in their depth only, from ``first`` to depth ``last``, both included."""

    tensor: int
    expert: bool
    first: int
    last: int
    data: int = 1
    context: int = 1

    @property
    def count(self) -> int:
        """Layouts in the range."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        """Say the range as people do."""
        shallowest = str(self.layout(self.first))
        depth = f"×PP{self.first}"
        return shallowest if self.first == self.last else shallowest.replace(depth, f"{depth} to PP{self.last}")

    def layout(self, depth: int) -> Layout:
        """Give the layout of a depth."""
        return Layout(self.tensor, depth, self.expert, self.data, self.context)


def ranges(layouts: Iterable[Layout]) -> tuple[Range, ...]:
    """Join layouts into ranges, in the order of data, expert, tensor and depth. Each layout counts once."""
    found: list[Range] = []
    for layout in sorted(set(layouts), key=_order):
        last = found[-1] if found else None
        if last and last.layout(last.last + 1) == layout:
            found[-1] = replace(last, last=layout.pipeline)
        else:
            depth = layout.pipeline
            found.append(Range(layout.tensor, layout.expert, depth, depth, layout.data, layout.context))
    return tuple(found)


def _order(layout: Layout) -> tuple[int, ...]:
    return layout.data, layout.expert, layout.context, layout.tensor, layout.pipeline


def listed(layouts: Iterable[Layout]) -> str:
    """Say layouts, five ranges at most: ``TP1×PP1 to PP5, TP2×PP1 and 3 others``."""
    joined = ranges(layouts)
    more = sum(unsaid.count for unsaid in joined[LISTED:])
    return ", ".join(map(str, joined[:LISTED])) + others(more)


def others(count: int) -> str:
    """Say how many others there are, after a list."""
    return f" and {count} other{'' if count == 1 else 's'}" if count else ""
