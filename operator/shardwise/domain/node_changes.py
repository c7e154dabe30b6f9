"""A change of a node under a group that runs there: the node is no longer as the plan took it."""

from dataclasses import dataclass
from enum import StrEnum


class NodeFact(StrEnum):
    """The fact of a node that changed. ``USE``: the node is excluded now, by the exclusion that ``now`` names."""

    GPUS = "Gpus"
    PRODUCT = "Product"
    DOMAIN = "Domain"
    USE = "Use"


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A fact of a node as it was and as it is.

    For ``DOMAIN``, ``was`` names another node of the former NVLink domain. An absent fact is empty.
    """

    node: str
    fact: NodeFact
    was: str
    now: str
