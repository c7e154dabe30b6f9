"""The nodes that an object avoids for a while: its groups failed there twice, or the node took no pod."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BLAMES: Final = 2
"""Failures on a node after which the node is left out. A single failure may be chance."""

BLAMED_SECONDS: Final = 3600.0
"""How long a failure is held against a node."""

UNSCHEDULABLE_SECONDS: Final = 300.0
"""How long a node that took no pod is left out. The missing capacity may come back without an event."""

MOST: Final = 16
"""Nodes remembered; the latest."""


class ShunReason(StrEnum):
    """Why an object avoids a node."""

    FAILED = "Failed"
    UNSCHEDULABLE = "Unschedulable"


@dataclass(frozen=True, slots=True)
class Shunned:
    """A node, how often the reason occurred there, and until when (seconds since the epoch) that counts."""

    node: str
    why: ShunReason
    times: int
    until: float

    @property
    def counts(self) -> bool:
        """Whether this is reason enough to leave out the node."""
        return self.why is ShunReason.UNSCHEDULABLE or self.times >= BLAMES


Shuns = tuple[Shunned, ...]

_LASTS: Final[Mapping[ShunReason, float]] = {
    ShunReason.FAILED: BLAMED_SECONDS,
    ShunReason.UNSCHEDULABLE: UNSCHEDULABLE_SECONDS,
}


def still_shunned(shuns: Shuns, now: float) -> Shuns:
    """Leave out the entries that are over."""
    return tuple(shun for shun in shuns if shun.until > now)


def held_against(shuns: Shuns, nodes: Iterable[str], why: ShunReason, now: float) -> Shuns:
    """Count the reason once more for each node."""
    kept = list(shuns)
    for node in dict.fromkeys(nodes):
        known = next((shun for shun in kept if (shun.node, shun.why) == (node, why)), None)
        if known is not None:
            kept.remove(known)
        kept.append(Shunned(node, why, 1 if known is None else known.times + 1, now + _LASTS[why]))
    return tuple(kept[-MOST:])


def left_out(shuns: Shuns, why: ShunReason) -> frozenset[str]:
    """Name the nodes that are left out for a reason."""
    return frozenset(shun.node for shun in shuns if shun.why is why and shun.counts)
