"""JSON of the API server that may be nested deeper than Python reads.

The API server (1.36) takes objects that are nested 10,000 levels deep where a schema keeps unknown fields, as that of
``spec.model.config`` does. Python's reader raises :class:`RecursionError` before: at about 1,000 levels in 3.11, at
9,999 in 3.13. It does so for the whole list or event, so a single object would blind the operator to all others. Here
the value that is too deep is left out. Its object is still too deep for :mod:`shardwise.checkpoint.extent`, which
refuses it.
"""

import json
import re
from itertools import accumulate
from typing import Any, Final

DEEPEST: Final = 200
"""Levels that are kept: many more than any object has, and few enough for every Python."""

_OPENING: Final = frozenset(b"{[")
_BRACKETS: Final = b"{[}]"
_OTHERS: Final = bytes(sign for sign in range(256) if sign not in _BRACKETS)
_SIGNS: Final = re.compile(rb'["\\{}\[\]]')
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")


def read_json(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON as ``json.loads`` does, without the values that are nested too deeply for it."""
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(shallow(text.encode()))


def shallow(text: bytes) -> bytes:
    """Give JSON with ``null`` for each value that is nested deeper than :data:`DEEPEST`. Linear in its length."""
    if text.count(b"{") + text.count(b"[") <= DEEPEST or _depth(text) <= DEEPEST:
        return text
    kept: list[bytes] = []
    start = depth = 0
    for at in _bracket_places(text):
        if text[at] in _OPENING:
            depth += 1
            if depth == DEEPEST + 1:
                kept += (text[start:at], b"null")
        else:
            depth -= 1
            if depth == DEEPEST:
                start = at + 1
    return b"".join((*kept, text[start:]))


def _depth(text: bytes) -> int:
    """Count the levels of JSON, quickly: most texts are not too deep."""
    outside = b"".join(text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = outside.translate(None, delete=_OTHERS)
    return max(accumulate(1 if bracket in _OPENING else -1 for bracket in brackets), default=0)


def _bracket_places(text: bytes) -> list[int]:
    """List the places of the brackets that stand outside of strings."""
    places: list[int] = []
    inside, escaped = False, -1
    for found in _SIGNS.finditer(text):
        at = found.start()
        if text[at] == _QUOTE:
            inside = inside if at == escaped else not inside
        elif text[at] == _BACKSLASH:
            escaped = escaped if at == escaped else at + 1
        elif not inside:
            places.append(at)
    return places
