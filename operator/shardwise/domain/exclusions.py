"""The reasons why a demand may not use a node, as values. ``shardwise.explain`` has the words."""

from dataclasses import dataclass
from enum import StrEnum

from shardwise.domain.fleet import Exclusion, Taint


class Mismatch(StrEnum):
    """Why a demand, or a plan in force, does not suit a node. Codes without numbers."""

    UNLISTED_PRODUCT = "UnlistedProduct"
    OTHER_PRODUCT = "OtherProduct"
    NODE_SELECTOR = "NodeSelector"
    NODE_AFFINITY = "NodeAffinity"


@dataclass(frozen=True, slots=True)
class OtherVendor:
    """The node offers GPUs under a resource that a demand must ask for by product and with an image of its own."""

    resource: str


@dataclass(frozen=True, slots=True)
class NoPlace:
    """The node has no place at the level inside which a group must stay."""

    level: str


@dataclass(frozen=True, slots=True)
class NoLabel:
    """The node lacks the label whose value a group must share.

    ``levels`` lists the known levels if ``label`` looks like a level that is not configured; otherwise it is empty.
    """

    label: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoFlavor:
    """The node has the labels of no flavour of the queue that the groups go through; ``labels`` are those of each."""

    queue: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Untolerated:
    """The node has a taint that the pods do not tolerate."""

    taint: Taint


@dataclass(frozen=True, slots=True)
class TooSmall:
    """The node offers less of a resource than the smallest pod needs, also if nobody holds any of it.

    ``offered`` is the most that such a node offers. Counts are in thousandths.
    """

    resource: str
    asked: int
    offered: int


@dataclass(frozen=True, slots=True)
class ClaimsUnread:
    """The pods claim GPUs, the node counts none as ``resource``, and nothing is known of its ResourceSlices."""

    resource: str


LeftOut = Exclusion | Mismatch | OtherVendor | NoPlace | NoLabel | NoFlavor | Untolerated | TooSmall | ClaimsUnread
"""Why a node is left out: for every demand, or for this demand."""
