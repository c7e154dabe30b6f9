"""Elements of SVG as text, escaped, with numbers as short as possible."""

from collections.abc import Iterable
from html import escape
from typing import Final

Attribute = str | float

INK: Final = "#1f2933"
FAINT: Final = "#66727f"
LINE: Final = "#d5dce3"
ALARM: Final = "#c0392b"
PAPER: Final = "#ffffff"
CARD: Final = "#f7f9fb"


def element(name: str, inside: Iterable[str] = (), /, **attributes: Attribute) -> str:
    """Write an element; ``_`` in an attribute's name stands for ``-``."""
    written = "".join(f' {key.strip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    content = "".join(inside)
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text(x: float, y: float, words: str, **attributes: Attribute) -> str:
    """Write words with their baseline at a point."""
    return element("text", [escape(words)], x=x, y=y, **attributes)


def tooltip(words: str) -> str:
    """Write the words that appear when a pointer is over the enclosing element."""
    return element("title", [escape(words)])


def shortened(words: str, most: int) -> str:
    """Cut long words in the middle, because both ends tell names apart."""
    if len(words) <= most:
        return words
    head = (most - 1) // 2
    return f"{words[:head]}…{words[-(most - 1 - head) :]}"


def _value(value: Attribute) -> str:
    return escape(value) if isinstance(value, str) else f"{value:g}"
