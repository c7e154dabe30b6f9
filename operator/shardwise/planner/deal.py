"""Dealing equal units out to places that hold only so many, to as few of them as will do."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

Name = TypeVar("Name", int, str)


class Bin(NamedTuple, Generic[Name]):
    """A place with room for whole units. ``spare`` GPUs are too few for one unit more."""

    name: Name
    units: int
    spare: int = 0


def deal(units: int, bins: Iterable[Bin[Name]], *, evenly: bool = False) -> Mapping[Name, int] | None:
    """Deal units to as few bins as will hold them, leaving the least over; ``None`` when they do not fit.

    The smallest bin that holds all; else the largest bins, each exchanged for a smaller one where the others make up
    for it, and filled one after the other. ``evenly`` gives all bins equal parts, and prefers the smallest bins that
    hold one and a unit more. Ties: the least spare, then the name. No bin is given without a unit.
    O(bins · log bins), and O(bins) more for each bin taken that may be exchanged.
    """
    ordered = sorted((one for one in bins if one.units > 0), key=_preference)
    held = 0
    for count, largest in enumerate(ordered, start=1):
        held += largest.units
        if held >= units:
            if evenly and count > 1:
                return _evened(units, _equals(units, ordered, count))
            return _filled(units, _tightened(held - units, ordered[:count], ordered[count:]))
    return None


def _preference(one: Bin[Name]) -> tuple[int, int, Name]:
    return -one.units, one.spare, one.name


def _equals(units: int, ordered: list[Bin[Name]], count: int) -> list[Bin[Name]]:
    """Choose so many bins that equal parts fit, in the order of preference; the largest where there are not enough."""
    part = -(-units // count)
    large = [one for one in ordered if one.units >= part]
    if len(large) < count:
        return ordered[:count]
    large.sort(key=lambda one: (one.units == part, one.units, one.spare, one.name))
    return sorted(large[:count], key=_preference)


def _tightened(over: int, chosen: list[Bin[Name]], unused: list[Bin[Name]]) -> list[Bin[Name]]:
    """Exchange bins for smaller ones, from the smallest on, for as long as they hold more than is needed.

    ``over`` is by how much. Both lists are in the order of preference.
    """
    kept: list[Bin[Name]] = []
    for one in reversed(chosen):
        fitting = [other for other in unused if one.units - over <= other.units < one.units] if over > 0 else []
        best = min(fitting, key=lambda other: (other.units, other.spare, other.name), default=one)
        over -= one.units - best.units
        unused = [other for other in unused if other is not best] if fitting else unused
        kept.append(best)
    return sorted(kept, key=_preference)


def _filled(units: int, chosen: Sequence[Bin[Name]]) -> Mapping[Name, int]:
    taken: dict[Name, int] = {}
    for one in chosen:
        taken[one.name] = min(units, one.units)
        units -= taken[one.name]
    return taken


def _evened(units: int, chosen: Sequence[Bin[Name]]) -> Mapping[Name, int]:
    """Give each bin the same, or all it holds where that is less; what does not divide goes to the first."""
    taken: dict[Name, int] = {}
    for position, one in reversed(list(enumerate(chosen, start=1))):
        taken[one.name] = min(one.units, units // position)
        units -= taken[one.name]
    return taken


@lru_cache(maxsize=65536)
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Order names as people count: ``gpu-2`` before ``gpu-10``."""
    parts: list[tuple[int, int, str]] = []
    text = ""
    for char in name:
        if text and text[-1].isdigit() != char.isdigit():
            parts.append(_part(text))
            text = ""
        text += char
    return (*parts, _part(text)) if text else tuple(parts)


def _part(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)
