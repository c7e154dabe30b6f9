"""A colour for each model. Colour-blind people can tell the colours apart; on paper their lightness differs.

The first eight colours are Okabe and Ito's palette, slightly calmed. Further colours go around the circle of hues.
"""

from collections.abc import Iterable, Mapping
from typing import Final

_FIRST: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#b8a900")
_LIGHT: Final = frozenset({"#e69f00", "#56b4e9", "#b8a900"})
_GOLDEN_ANGLE: Final = 137.508

STRANGERS: Final = "#9aa5b1"
FREE: Final = "#ffffff"


def colours(holders: Iterable[str]) -> Mapping[str, str]:
    """Give each holder a colour, in name order, so that a fleet always has the same colours. Strangers are grey."""
    named = sorted({holder for holder in holders if holder})
    return {"": STRANGERS, **{holder: _colour(position) for position, holder in enumerate(named)}}


def ink_on(colour: str) -> str:
    """Give a colour for readable words on a coloured ground."""
    return "#1f2933" if colour in _LIGHT else "#ffffff"


def _colour(position: int) -> str:
    if position < len(_FIRST):
        return _FIRST[position]
    return f"hsl({position * _GOLDEN_ANGLE % 360:.0f},45%,{45 + 12 * (position % 2)}%)"
