"""Many layouts in few words: neighbours in depth are said as one range, ``TP2×PP3 to PP13``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.domain.layout import Layout

LISTED: Final = 5
"""How many of anything are said before the rest is counted."""


@dataclass(frozen=True, slots=True)
class Range:
    """The layouts of one tensor degree from one depth to another, both included."""

    tensor: int
    expert: bool
    first: int
    last: int

    @property
    def count(self) -> int:
        """Layouts in the range."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        """Say it as people do."""
        more = "" if self.first == self.last else f" to PP{self.last}"
        return f"TP{self.tensor}×PP{self.first}{more}{' EP' if self.expert else ''}"


def ranges(layouts: Iterable[Layout]) -> tuple[Range, ...]:
    """Join layouts into ranges, in the order of expert, tensor and depth. Each layout counts once."""
    found: list[Range] = []
    for one in sorted(set(layouts), key=lambda layout: (layout.expert, layout.tensor, layout.pipeline)):
        last = found[-1] if found else None
        if last and (last.tensor, last.expert, last.last + 1) == (one.tensor, one.expert, one.pipeline):
            found[-1] = Range(one.tensor, one.expert, last.first, one.pipeline)
        else:
            found.append(Range(one.tensor, one.expert, one.pipeline, one.pipeline))
    return tuple(found)


def listed(layouts: Iterable[Layout]) -> str:
    """Say layouts, five ranges at most: ``TP1×PP1 to PP5, TP2×PP1 and 3 others``."""
    joined = ranges(layouts)
    more = sum(one.count for one in joined[LISTED:])
    return ", ".join(map(str, joined[:LISTED])) + others(more)


def others(count: int) -> str:
    """Say how many more there are, after a list."""
    return f" and {count} other{'' if count == 1 else 's'}" if count else ""
