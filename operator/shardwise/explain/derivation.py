"""A refusal as a derivation: a few causes that together cover every layout that was tried, each layout once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.domain.layout import Layout
from shardwise.domain.refusal import (
    Attempt,
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
    """One stated cause, and the attempts it covers, of which ``closest`` is the nearest miss.

    ``product`` is ``None`` where it holds whatever the GPUs are.
    """

    product: str | None
    attempts: tuple[Attempt, ...]
    closest: Attempt

    @property
    def kind(self) -> str:
        """Name of the cause's kind, as in data."""
        return type(self.closest.cause).__name__

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts it covers, each once, though it may cover them on several products."""
        return tuple(dict.fromkeys(attempt.layout for attempt in self.attempts))


def derive(refusal: Refusal) -> tuple[Clause, ...]:
    """Give the clauses of a refusal in the order in which they are said. Every attempt is in exactly one."""
    grouped: dict[tuple[object, ...], list[Attempt]] = {}
    for attempt in refusal.attempts:
        grouped.setdefault(_key(attempt), []).append(attempt)
    return tuple(
        _clause(attempts) for _, attempts in sorted(grouped.items(), key=lambda item: tuple(map(str, item[0])))
    )


def _key(attempt: Attempt) -> tuple[object, ...]:
    place = f"{_ORDER.index(type(attempt.cause)):02}"
    product = attempt.product if isinstance(attempt.cause, _OF_A_PRODUCT) else ""
    return place, product, *_facet(attempt.cause)


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


def _clause(attempts: list[Attempt]) -> Clause:
    closest = min(attempts, key=distance)
    product = closest.product if isinstance(closest.cause, _OF_A_PRODUCT) else None
    return Clause(product, tuple(attempts), closest)
