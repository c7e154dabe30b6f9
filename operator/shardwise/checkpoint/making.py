"""Making the weights of a layer, each with the precision in which the checkpoint stores it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from shardwise.domain.model import Experts, Precision, Split, Weight

KV_HEADS = "KV heads"
EXPERT_COLUMNS = "expert columns"
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

    ``linear`` gives the precision of a linear weight by its full name. ``layer`` gives a key for the index of a layer:
    layers with the same key store weights of the same names alike, so a single layer is built for all of them.
    ``size`` counts the steps in which the precision of a weight is found.
    """

    plain: Precision
    linear: Callable[[str], Precision]
    layer: Callable[[int], Hashable] = _alike
    size: int = 0


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes weights under a prefix, such as ``model.layers.3.``. The names of the weights leave the prefix out."""

    storage: Storage
    prefix: str = ""

    def linear(
        self,
        name: str,
        shape: tuple[int, int],
        split: Split = Split.WHOLE,
        units: int = 1,
        unit_name: str = "",
        *,
        experts: Experts | None = None,
        bias: bool = False,
    ) -> tuple[Weight, ...]:
        """Make a linear layer of ``(outputs, inputs)``, with a bias if it has any.

        Every rank holds the bias of a row-parallel layer; only a single rank adds it.
        """
        precision = self.storage.linear(self.prefix + name)
        made = Weight(f"{name}.weight", *shape, split, units, unit_name, precision, experts)
        if not bias:
            return (made,)
        along = Split.WHOLE if split is Split.INPUTS else split
        return (
            made,
            Weight(f"{name}.bias", shape[0], 1, along, units, unit_name, self.storage.plain, experts, linear=False),
        )

    def plain(
        self, name: str, shape: tuple[int, int], split: Split = Split.WHOLE, units: int = 1, unit_name: str = ""
    ) -> tuple[Weight, ...]:
        """Make a matrix that no engine quantises: a router, an embedding."""
        return (Weight(f"{name}.weight", *shape, split, units, unit_name, self.storage.plain, linear=False),)

    def vector(
        self, name: str, size: int, split: Split = Split.WHOLE, units: int = 1, unit_name: str = ""
    ) -> tuple[Weight, ...]:
        """Make a norm, or another vector."""
        return (Weight(name, size, 1, split, units, unit_name, self.storage.plain, linear=False),)
