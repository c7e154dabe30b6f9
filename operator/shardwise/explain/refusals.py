"""A refusal in words: as one line for a condition, and as a derivation for people."""

from collections.abc import Iterator
from typing import Final

from shardwise.domain.refusal import (
    Attempt,
    BlockSplit,
    Hint,
    NoExperts,
    NotDivisible,
    NotPinned,
    OverBudget,
    PipelineUnsupported,
    Refusal,
    TooManyStages,
)
from shardwise.domain.units import plural
from shardwise.explain.causes import cause

MOST_MESSAGE: Final = 1024
"""A condition's message stays within this many characters."""

_LISTED: Final = 5

_OF_ANY_PRODUCT: Final = (
    NotDivisible,
    BlockSplit,
    NoExperts,
    TooManyStages,
    PipelineUnsupported,
    OverBudget,
    NotPinned,
)
"""Causes that hold whatever the GPUs are."""


def refusal_message(refusal: Refusal) -> str:
    """Say a refusal in one line of at most 1 KiB."""
    parts = [_headline(refusal)]
    if refusal.nearest is not None:
        parts.append(f"nearest {_attempt(refusal.nearest)}")
    if refusal.excluded:
        parts.append(_excluded(refusal))
    parts.extend(f"hint: {hint(one)}" for one in refusal.hints[:2])
    message = "; ".join(parts)
    return message if len(message) <= MOST_MESSAGE else message[: MOST_MESSAGE - 1] + "…"


def refusal_text(refusal: Refusal, name: str) -> str:
    """Say a refusal at length, as a derivation: each cause once, with the layouts it covers. No trailing newline."""
    return "\n".join(_lines(refusal, name))


def hint(one: Hint) -> str:
    """Say a hint: the exact field and value, and the layout the planner then found."""
    value = "without" if one.value == "unset" else "with"
    setting = f"`{one.field}`" if one.value == "unset" else f"`{one.field}: {one.value}`"
    return f"{value} {setting}, {one.layout} fits on {one.product}"


def _headline(refusal: Refusal) -> str:
    if refusal.detail:
        return refusal.detail
    if not refusal.attempts:
        return f"none of {plural(refusal.nodes, 'node')} may be used"
    wait = "waiting for GPUs: " if refusal.waits else ""
    return f"{wait}no layout fits on {plural(refusal.free_gpus, 'free GPU')}"


def _lines(refusal: Refusal, name: str) -> Iterator[str]:
    yield f"× no placement for `{name}`: {_headline(refusal)}"
    lead = "╰─▶ Because"
    for attempts in _by_cause(refusal.attempts):
        yield f"{lead} {_group(attempts)}"
        lead = "    And because"
    if refusal.attempts:
        yield "    So no layout fits"
    if refusal.excluded:
        yield f"nodes: {_excluded(refusal)}"
    yield from (f"hint: {hint(one)}" for one in refusal.hints)


def _by_cause(attempts: tuple[Attempt, ...]) -> list[list[Attempt]]:
    """Group attempts of one kind of cause: by product where the product is part of it, over all products where not."""
    kinds: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in attempts:
        product = "" if isinstance(attempt.cause, _OF_ANY_PRODUCT) else attempt.product
        kinds.setdefault((product, type(attempt.cause).__name__), []).append(attempt)
    return list(kinds.values())


def _group(attempts: list[Attempt]) -> str:
    """Say the cause of the closest, and which layouts share its kind."""
    layouts = list(dict.fromkeys(str(one.layout) for one in attempts))
    more = f" and {len(layouts) - _LISTED} others" if len(layouts) > _LISTED else ""
    closest = min(attempts, key=_shortfall)
    example = "" if len(layouts) == 1 else f"{closest.layout}: "
    where = "" if isinstance(closest.cause, _OF_ANY_PRODUCT) else f" on {closest.product}"
    return f"{example}{cause(closest.cause)}: this rules out {', '.join(layouts[:_LISTED])}{more}{where}"


def _shortfall(attempt: Attempt) -> tuple[float, int]:
    needed = getattr(attempt.cause, "needed", 0)
    return needed, attempt.layout.world_size


def _attempt(attempt: Attempt) -> str:
    return f"{attempt.layout} on {attempt.product}: {cause(attempt.cause)}"


def _excluded(refusal: Refusal) -> str:
    counted = ", ".join(f"{count} {reason}" for reason, count in refusal.excluded)
    return f"{refusal.nodes} in all, left out: {counted}"
