"""Who holds the GPUs of a node: the fleet as people want to see it."""

from collections.abc import Collection
from dataclasses import dataclass

from shardwise.domain.fleet import Node


@dataclass(frozen=True, slots=True)
class Holding:
    """GPUs that one holder has on a node. ``by`` is ``namespace/name`` of an object; empty for all who are none.

    Where a plan is to be shown, ``ranks`` are those of a ``replica`` on the node, in order; ``tensor`` of them make a
    stage.
    """

    by: str
    gpus: int
    ranks: tuple[int, ...] = ()
    tensor: int = 0
    replica: int = 0


@dataclass(frozen=True, slots=True)
class Occupied:
    """A node, as if nobody held its GPUs, and who does. Holders come in name order, strangers last."""

    node: Node
    holdings: tuple[Holding, ...] = ()

    @property
    def held(self) -> int:
        """GPUs that somebody holds; of a broken node they may be more than it has."""
        return sum(holding.gpus for holding in self.holdings)

    @property
    def free(self) -> int:
        """GPUs that a plan may have."""
        return max(0, self.node.free - self.held)

    @property
    def lost(self) -> int:
        """GPUs that nobody holds and nobody may have, as the node is left out."""
        return max(0, self.node.gpus - self.held) if self.node.exclusion is not None else 0


@dataclass(frozen=True, slots=True)
class Totals:
    """GPUs of several nodes together."""

    gpus: int
    free: int
    held: int
    lost: int


def totals(fleet: Collection[Occupied]) -> Totals:
    """Add up the GPUs of nodes."""
    return Totals(
        gpus=sum(occupied.node.gpus for occupied in fleet),
        free=sum(occupied.free for occupied in fleet),
        held=sum(occupied.held for occupied in fleet),
        lost=sum(occupied.lost for occupied in fleet),
    )
