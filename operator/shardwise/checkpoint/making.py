"""Making the weights of one layer, each with the precision the checkpoint stores it in."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from shardwise.domain.model import Experts, Precision, Split, Weight

HEADS = "attention heads"
KV_HEADS = "KV heads"
COLUMNS = "feed-forward columns"
EXPERT_COLUMNS = "expert columns"
SHARED_COLUMNS = "shared-expert columns"
STATE_HEADS = "state-space heads"
STATE_GROUPS = "state-space groups"
CHANNELS = "state-space channels"
LINEAR_HEADS = "linear-attention heads"
LINEAR_KEY_HEADS = "linear-attention key heads"
MEMORY_HEADS = "memory heads"
OUTPUT_GROUPS = "output groups"
ENTRIES = "vocabulary entries"


def _alike(_: int) -> Hashable:
    return None


@dataclass(frozen=True, slots=True)
class Storage:
    """How a checkpoint stores its weights.

    ``linear`` gives the precision of a linear weight by its full name. ``layer`` tells layers apart: those of equal
    value store weights of equal names alike, so that one may be built for all of them.
    """

    plain: Precision
    linear: Callable[[str], Precision]
    layer: Callable[[int], Hashable] = _alike


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes weights under a prefix, such as ``model.layers.3.``; the names they carry leave it out."""

    storage: Storage
    prefix: str = ""

    def linear(
        self,
        name: str,
        shape: tuple[int, int],
        split: Split = Split.WHOLE,
        units: int = 1,
        what: str = "",
        *,
        experts: Experts | None = None,
        bias: bool = False,
    ) -> tuple[Weight, ...]:
        """Make a linear layer of ``(outputs, inputs)``, with its bias where it has one.

        A row-parallel bias is added once, and held by every rank.
        """
        precision = self.storage.linear(self.prefix + name)
        made = Weight(f"{name}.weight", *shape, split, units, what, precision, experts)
        if not bias:
            return (made,)
        along = Split.WHOLE if split is Split.INPUTS else split
        return (
            made,
            Weight(f"{name}.bias", shape[0], 1, along, units, what, self.storage.plain, experts, linear=False),
        )

    def plain(
        self, name: str, shape: tuple[int, int], split: Split = Split.WHOLE, units: int = 1, what: str = ""
    ) -> tuple[Weight, ...]:
        """Make a matrix that no engine quantises: a router, an embedding."""
        return (Weight(f"{name}.weight", *shape, split, units, what, self.storage.plain, linear=False),)

    def vector(
        self, name: str, size: int, split: Split = Split.WHOLE, units: int = 1, what: str = ""
    ) -> tuple[Weight, ...]:
        """Make a norm, or another vector."""
        return (Weight(name, size, 1, split, units, what, self.storage.plain, linear=False),)
