"""A refusal as a derivation: a few causes that together cover every rejected layout once."""

from dataclasses import dataclass

from shardwise.domain.layout import Layout
from shardwise.domain.refusal import Refusal, RejectedLayout
from shardwise.explain.causes import sentence


@dataclass(frozen=True, slots=True)
class Clause:
    """A stated cause and the rejected layouts that it covers; ``closest`` is the nearest miss among them.

    ``product`` is ``None`` where the cause holds for GPUs of every product.
    """

    product: str | None
    rejected: tuple[RejectedLayout, ...]
    closest: RejectedLayout

    @property
    def kind(self) -> str:
        """Name of the cause's kind, as in data."""
        return type(self.closest.cause).__name__

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The covered layouts, each once, although a layout may be rejected on several products."""
        return tuple(dict.fromkeys(covered.layout for covered in self.rejected))


def derive(refusal: Refusal) -> tuple[Clause, ...]:
    """Give the clauses of a refusal, in the order of the text. Each rejected layout is in exactly one clause."""
    grouped: dict[tuple[str, ...], list[RejectedLayout]] = {}
    for layout in refusal.rejected:
        grouped.setdefault(_key(layout), []).append(layout)
    return tuple(_clause(layouts) for _, layouts in sorted(grouped.items()))


def _key(rejected: RejectedLayout) -> tuple[str, ...]:
    """Give a sort key that layouts share exactly if the same sentence says why they are rejected."""
    cause = rejected.cause
    place = f"{cause.area.order}{cause.order:02}{type(cause).__name__}"
    return place, _product(rejected) or "", *map(str, sentence(cause).apart(cause))


def _product(rejected: RejectedLayout) -> str | None:
    return rejected.product if rejected.cause.area.of_product else None


def _clause(rejected: list[RejectedLayout]) -> Clause:
    closest = min(rejected, key=lambda layout: layout.distance)
    return Clause(_product(closest), tuple(rejected), closest)
