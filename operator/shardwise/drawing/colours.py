"""A colour for each model: told apart by people who see red and green alike, and on paper by their lightness.

The first eight are Okabe and Ito's palette, slightly calmed; further ones walk around the circle of hues.
"""

from collections.abc import Iterable, Mapping
from typing import Final

_FIRST: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#b8a900")
_LIGHT: Final = frozenset({"#e69f00", "#56b4e9", "#b8a900"})
_GOLDEN_ANGLE: Final = 137.508

STRANGERS: Final = "#9aa5b1"
FREE: Final = "#ffffff"


def colours(holders: Iterable[str]) -> Mapping[str, str]:
    """Give each holder a colour, in name order, so that one fleet is always painted alike. Strangers are grey."""
    named = sorted({holder for holder in holders if holder})
    return {"": STRANGERS, **{holder: _colour(position) for position, holder in enumerate(named)}}


def ink_on(colour: str) -> str:
    """Give the colour in which words on a colour can be read."""
    return "#1f2933" if colour in _LIGHT else "#ffffff"


def _colour(position: int) -> str:
    if position < len(_FIRST):
        return _FIRST[position]
    return f"hsl({position * _GOLDEN_ANGLE % 360:.0f},45%,{45 + 12 * (position % 2)}%)"
