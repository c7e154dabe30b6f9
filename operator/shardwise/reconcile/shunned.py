"""Nodes an object stays away from for a while, and why: those its groups failed on twice, those that took no pod."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from shardwise.reconcile.records import format_time, parse_time

BLAMES: Final = 2
"""Failures on one node after which it is left out: one may be chance."""

BLAMED_SECONDS: Final = 3600.0
"""How long a failure is held against a node."""

UNSCHEDULABLE_SECONDS: Final = 300.0
"""How long a node that took no pod is left out: what the scheduler missed may come back, and nobody would tell us."""

MOST: Final = 16
"""Nodes remembered; the latest."""


class ShunReason(StrEnum):
    """What a node did to an object."""

    FAILED = "Failed"
    UNSCHEDULABLE = "Unschedulable"


@dataclass(frozen=True, slots=True)
class Shunned:
    """One node, how often it did so, and until when (seconds since the epoch) that counts."""

    node: str
    why: ShunReason
    times: int
    until: float

    @property
    def counts(self) -> bool:
        """Whether it is reason enough to leave the node out."""
        return self.why is ShunReason.UNSCHEDULABLE or self.times >= BLAMES


Shuns = tuple[Shunned, ...]

_LASTS: Final[Mapping[ShunReason, float]] = {
    ShunReason.FAILED: BLAMED_SECONDS,
    ShunReason.UNSCHEDULABLE: UNSCHEDULABLE_SECONDS,
}


def read_shunned(status: Mapping[str, Any], now: float) -> Shuns:
    """Read the nodes a status holds something against, less what is forgotten by now."""
    found = []
    for one in status.get("shunnedNodes") or ():
        try:
            read = Shunned(str(one["node"]), ShunReason(one["why"]), int(one["times"]), parse_time(one["until"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        found.append(read)
    return tuple(one for one in found if one.until > now)


def write_shunned(shuns: Shuns) -> list[dict[str, Any]]:
    """Give them as the status holds them."""
    return [
        {"node": one.node, "why": one.why.value, "times": one.times, "until": format_time(one.until)} for one in shuns
    ]


def held_against(shuns: Shuns, nodes: Iterable[str], why: ShunReason, now: float) -> Shuns:
    """Add one time for each node."""
    kept = list(shuns)
    for node in dict.fromkeys(nodes):
        known = next((one for one in kept if (one.node, one.why) == (node, why)), None)
        if known is not None:
            kept.remove(known)
        kept.append(Shunned(node, why, 1 if known is None else known.times + 1, now + _LASTS[why]))
    return tuple(kept[-MOST:])


def left_out(shuns: Shuns, why: ShunReason) -> frozenset[str]:
    """Name the nodes that are left out for a reason."""
    return frozenset(one.node for one in shuns if one.why is why and one.counts)
