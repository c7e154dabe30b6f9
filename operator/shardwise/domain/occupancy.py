"""The holders of a node's GPUs: the fleet as people want to see it."""

from collections.abc import Collection
from dataclasses import dataclass

from shardwise.domain.fleet import Node


@dataclass(frozen=True, slots=True)
class Holding:
    """The GPUs that a holder has on a node. ``by`` is ``namespace/name`` of an object; empty for all other holders.

    If a plan is shown, ``ranks`` are the ranks of a ``replica`` on the node, in order; ``tensor`` ranks make a stage.
    """

    by: str
    gpus: int
    ranks: tuple[int, ...] = ()
    tensor: int = 0
    replica: int = 0


@dataclass(frozen=True, slots=True)
class Occupied:
    """A node, as if nobody held its GPUs, and its holders in name order, strangers last."""

    node: Node
    holdings: tuple[Holding, ...] = ()

    @property
    def held(self) -> int:
        """GPUs that somebody holds. A broken node may have fewer GPUs than are held."""
        return sum(holding.gpus for holding in self.holdings)

    @property
    def free(self) -> int:
        """GPUs that a plan may use."""
        return max(0, self.node.free - self.held)

    @property
    def lost(self) -> int:
        """GPUs that nobody holds and nobody may use, because the node is left out."""
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
