"""A refusal as a derivation: a few causes that together cover every layout that was tried, each layout once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.domain.layout import Layout
from shardwise.domain.refusal import (
    BlockSplit,
    Cause,
    DomainTooSmall,
    MemoryShort,
    NoExperts,
    NoRoom,
    NotDivisible,
    OverBudget,
    PipelineUnsupported,
    Refusal,
    RejectedLayout,
    TooManyStages,
)
from shardwise.planner.refuse import distance

_ORDER: Final = (
    NotDivisible,
    BlockSplit,
    NoExperts,
    TooManyStages,
    PipelineUnsupported,
    MemoryShort,
    DomainTooSmall,
    OverBudget,
    NoRoom,
)
"""What lies in the model first, what more free GPUs would mend last: the narrowing a reader follows."""

_OF_A_PRODUCT: Final = (MemoryShort, DomainTooSmall, NoRoom)
"""Causes that are about the GPUs of one product."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One stated cause, and the rejected layouts it covers, of which ``closest`` is the nearest miss.

    ``product`` is ``None`` where it holds whatever the GPUs are.
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
        """The layouts it covers, each once, though it may cover them on several products."""
        return tuple(dict.fromkeys(covered.layout for covered in self.rejected))


def derive(refusal: Refusal) -> tuple[Clause, ...]:
    """Give the clauses of a refusal in the order in which they are said. Every rejected layout is in exactly one."""
    grouped: dict[tuple[object, ...], list[RejectedLayout]] = {}
    for rejected in refusal.rejected:
        grouped.setdefault(_key(rejected), []).append(rejected)
    return tuple(_clause(covered) for _, covered in sorted(grouped.items(), key=lambda item: tuple(map(str, item[0]))))


def _key(rejected: RejectedLayout) -> tuple[object, ...]:
    place = f"{_ORDER.index(type(rejected.cause)):02}"
    product = rejected.product if isinstance(rejected.cause, _OF_A_PRODUCT) else ""
    return place, product, *_facet(rejected.cause)


def _facet(cause: Cause) -> Iterable[object]:
    """Tell apart what one sentence cannot say together."""
    match cause:
        case NotDivisible(what=what, by=by):
            return what, by
        case BlockSplit(what=what, tensor=tensor):
            return what, tensor
        case TooManyStages(pipeline=pipeline):
            return (pipeline,)
        case NoRoom(wanted=wanted, slots=slots):
            return (slots >= wanted,)
        case _:
            return ()


def _clause(rejected: list[RejectedLayout]) -> Clause:
    closest = min(rejected, key=distance)
    product = closest.product if isinstance(closest.cause, _OF_A_PRODUCT) else None
    return Clause(product, tuple(rejected), closest)
