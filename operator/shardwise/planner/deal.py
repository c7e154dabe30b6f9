"""Dealing equal units to bins of limited size, using as few bins as possible."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

Name = TypeVar("Name", int, str, tuple[str, str])


class Bin(NamedTuple, Generic[Name]):
    """A place that can hold ``units`` whole units. ``spare`` counts the GPUs left over, too few for another unit."""

    name: Name
    units: int
    spare: int = 0


def deal(units: int, bins: Iterable[Bin[Name]], *, evenly: bool = False) -> Mapping[Name, int] | None:
    """Deal units to as few bins as can hold them, leaving the least free; ``None`` when the units do not fit.

    The smallest bin that holds all units is taken. If no bin does, the largest bins are taken and filled in turn; a bin
    is exchanged for a smaller bin where the others hold the rest. ``evenly`` gives all bins equal parts, and prefers
    the smallest bins that hold such a part and another unit. Ties go to the least spare, then to the name. Every bin in
    the result holds at least a unit.
    O(bins · log bins), and O(bins) more for each bin taken that may be exchanged.
    """
    ordered = sorted((bin_ for bin_ in bins if bin_.units > 0), key=_preference)
    held = 0
    for count, largest in enumerate(ordered, start=1):
        held += largest.units
        if held >= units:
            if evenly and count > 1:
                return _evened(units, _equals(units, ordered, count))
            return _filled(units, _tightened(held - units, ordered[:count], ordered[count:]))
    return None


def _preference(bin_: Bin[Name]) -> tuple[int, int, Name]:
    return -bin_.units, bin_.spare, bin_.name


def _equals(units: int, ordered: list[Bin[Name]], count: int) -> list[Bin[Name]]:
    """Choose ``count`` bins that hold equal parts, in the order of preference. If too few do, give the largest bins."""
    part = -(-units // count)
    large = [bin_ for bin_ in ordered if bin_.units >= part]
    if len(large) < count:
        return ordered[:count]
    large.sort(key=lambda bin_: (bin_.units == part, bin_.units, bin_.spare, bin_.name))
    return sorted(large[:count], key=_preference)


def _tightened(over: int, chosen: list[Bin[Name]], unused: list[Bin[Name]]) -> list[Bin[Name]]:
    """Exchange bins for smaller bins, from the smallest on, while the bins hold more units than needed.

    ``over`` counts the units too many. Both lists are in the order of preference.
    """
    kept: list[Bin[Name]] = []
    for bin_ in reversed(chosen):
        fitting = [other for other in unused if bin_.units - over <= other.units < bin_.units] if over > 0 else []
        best = min(fitting, key=lambda other: (other.units, other.spare, other.name), default=bin_)
        over -= bin_.units - best.units
        unused = [other for other in unused if other is not best] if fitting else unused
        kept.append(best)
    return sorted(kept, key=_preference)


def _filled(units: int, chosen: Sequence[Bin[Name]]) -> Mapping[Name, int]:
    taken: dict[Name, int] = {}
    for bin_ in chosen:
        taken[bin_.name] = min(units, bin_.units)
        units -= taken[bin_.name]
    return taken


def _evened(units: int, chosen: Sequence[Bin[Name]]) -> Mapping[Name, int]:
    """Give each bin an equal part, or as much as it holds. The first bins get the remainder."""
    taken: dict[Name, int] = {}
    for position, bin_ in reversed(list(enumerate(chosen, start=1))):
        taken[bin_.name] = min(bin_.units, units // position)
        units -= taken[bin_.name]
    return taken


@lru_cache(maxsize=65536)
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Give a sort key that orders names as people count: ``gpu-2`` before ``gpu-10``."""
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
