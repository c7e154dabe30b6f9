"""Reading patterns: the part of Python's regular expressions that checkpoints use, and globs.

A pattern that is read means the same as in Python's ``re``, which compressed-tensors (0.16) and GPTQModel (5.6) match
with. All that cannot be matched in linear time is refused: references to groups, conditions, atomic groups, and groups
that repeat without a bound. Published checkpoints use none of these. They do use negative lookaheads.
"""

from collections.abc import Mapping
from typing import Final

from shardwise.checkpoint.patterns import (
    DIGITS,
    WORD,
    At,
    Choice,
    Edge,
    Lookaround,
    Node,
    Pattern,
    Run,
    Sequence,
    Sign,
    Times,
)

MOST_SIGNS: Final = 4096
"""Characters of a pattern, and steps of its match. The longest that are published name each layer of a model."""

_DEEPEST: Final = 50
_MOST_TIMES: Final = 100
_ASCII: Final = frozenset(map(chr, range(128)))
_BLANKS: Final = frozenset(" \t\n\r\f\v")
_CLASSES: Final = {"d": DIGITS, "w": WORD, "s": _BLANKS}
_EDGES: Final = {"A": At.START, "Z": At.END, "b": At.BOUNDARY, "B": At.INSIDE}
_LOOKS: Final = {"?=": (True, False), "?!": (True, True), "?<=": (False, False), "?<!": (False, True)}
_DOUBLED: Final = ("--", "&&", "~~", "||")
"""Signs in a set to which a later Python may give another meaning."""

ANY: Final = Run(Sign(frozenset("\n"), outside=True))
_DOT: Final = Sign(frozenset("."))
_PLAIN: Final[Mapping[str, Node]] = {".": ANY.sign, "^": Edge(At.START), "$": Edge(At.END)}
_REPEATS: Final = frozenset("*+?{")


class PatternError(ValueError):
    """A pattern that is not read. The message says the reason, and a right way to write it."""


def expression(text: str) -> Pattern:
    """Read a regular expression. Raises :class:`PatternError`."""
    _check_length(text)
    return _sized(text, _Reader(text).whole())


def glob(text: str) -> Pattern:
    """Read a glob with ``*``, ``?`` and ``[…]``. It matches a weight's name, or the path of a module around it.

    The path before the glob is free. Raises :class:`PatternError`.
    """
    _check_length(text)
    before = Times(Sequence((ANY, _DOT)), 0, 1)
    behind = Times(Sequence((_DOT, ANY)), 0, 1)
    return _sized(text, Sequence((before, *_glob_parts(text), behind, Edge(At.END))))


def _check_length(text: str) -> None:
    if len(text) > MOST_SIGNS:
        raise PatternError(f"has {len(text):,} characters: at most {MOST_SIGNS:,} are allowed")
    strange = next((sign for sign in text if not " " <= sign <= "~"), None)
    if strange is not None:
        raise PatternError(f"has the character U+{ord(strange):04X}: names of weights are printable ASCII")


def _sized(text: str, node: Node) -> Pattern:
    size = node.size
    if size > MOST_SIGNS:
        raise PatternError(f"takes {size:,} steps to match: at most {MOST_SIGNS:,} are allowed; write smaller counts")
    return Pattern(text, node, size)


class _Reader:
    """Reads a regular expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._folded = False

    def whole(self) -> Node:
        self._folded = self._takes("(?i)")
        node = self._choice()
        if self._at < len(self._text):
            raise PatternError("has a `)` that closes nothing; `\\)` means the sign")
        return node

    def _takes(self, signs: str) -> bool:
        if not self._text.startswith(signs, self._at):
            return False
        self._at += len(signs)
        return True

    def _next(self, missing: str) -> str:
        if self._at >= len(self._text):
            raise PatternError(missing)
        self._at += 1
        return self._text[self._at - 1]

    def _choice(self) -> Node:
        branches = [self._sequence()]
        while self._takes("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _atom(self) -> Node:
        sign = self._next("")
        if sign in _REPEATS:
            raise PatternError(f"has a `{sign}` that repeats nothing; `\\{sign}` means the sign")
        if sign in _PLAIN:
            return _PLAIN[sign]
        reader = {"(": self._group, "[": self._set, "\\": self._escape}.get(sign)
        return self._sign(frozenset(sign)) if reader is None else reader()

    def _sign(self, among: frozenset[str], *, outside: bool = False) -> Sign:
        return Sign(among | {sign.swapcase() for sign in among} if self._folded else among, outside)

    def _escape(self) -> Node:
        sign = self._next("ends with a `\\`, which must stand before a sign")
        if sign in _EDGES:
            return Edge(_EDGES[sign])
        if sign.lower() in _CLASSES:
            return Sign(_CLASSES[sign.lower()], outside=sign.isupper())
        return self._sign(frozenset(_escaped(sign)))

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise PatternError(f"has groups nested more than {_DEEPEST} deep")
        look = next((found for opened, found in _LOOKS.items() if self._takes(opened)), None)
        if look is None and not self._takes("?:") and self._text.startswith("?", self._at):
            opened = self._text[self._at - 1 : self._at + 2]
            raise PatternError(f"has a group `{opened}`: `(`, `(?:`, `(?=`, `(?!`, `(?<=` and `(?<!` are understood")
        node = self._choice()
        if not self._takes(")"):
            raise PatternError("has a `(` that is not closed; `\\(` means the sign")
        self._depth -= 1
        if look is None:
            return node
        low, high = node.width
        if not look[0] and low != high:
            raise PatternError("looks behind at texts of several lengths: a single length is needed")
        return Lookaround(node, *look)

    def _repeated(self, node: Node) -> Node:
        counts = self._counts()
        if counts is None:
            return node
        if isinstance(node, Edge):
            raise PatternError("repeats a position, such as `^*`: only signs and groups can repeat")
        self._takes("?")  # a lazy repeat finds the same names
        if self._at < len(self._text) and self._text[self._at] in _REPEATS:
            raise PatternError("repeats a repeat, such as `a*+`: a single `*`, `+`, `?` or count is understood")
        low, high = counts
        if high is not None:
            return Times(node, low, high)
        if not isinstance(node, Sign):
            raise PatternError("repeats a group without a bound: use `.*`, or a count such as `{0,4}`")
        return Sequence((Times(node, low, low), Run(node))) if low else Run(node)

    def _counts(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._takes(sign):
                return counts
        if not self._takes("{"):
            return None
        inside, closed, _ = self._text[self._at :].partition("}")
        low, comma, high = inside.partition(",")
        if not closed or not (low or high) or not all(part.isdigit() for part in (low, high) if part):
            raise PatternError("has a `{` without a count such as `{2}` or `{0,4}`; `\\{` means the sign")
        self._at += len(inside) + 1
        return _bounds(int(low or "0"), int(high) if high else None if comma else int(low))

    def _set(self) -> Node:
        outside = self._takes("^")
        among: set[str] = set()
        first = True
        while first or not self._takes("]"):
            if self._text[self._at : self._at + 2] in _DOUBLED or self._text.startswith("[", self._at):
                raise PatternError("has a `[`, or a doubled sign, in a set: write a `\\` before each")
            among |= self._member()
            first = False
        return self._sign(frozenset(among), outside=outside)

    def _member(self) -> frozenset[str]:
        first = self._set_sign()
        if not self._text.startswith("-", self._at) or self._text.startswith("-]", self._at):
            return first
        self._at += 1
        last = self._set_sign()
        if len(first) > 1 or len(last) > 1 or min(first) > min(last):
            raise PatternError("has a range in a set that goes from no sign up to another: `0-9` is right")
        return frozenset(map(chr, range(ord(min(first)), ord(min(last)) + 1)))

    def _set_sign(self) -> frozenset[str]:
        missing = "has a `[` that is not closed; `\\[` means the sign"
        sign = self._next(missing)
        if sign != "\\":
            return frozenset(sign)
        sign = self._next(missing)
        if sign.lower() in _CLASSES:
            found = _CLASSES[sign.lower()]
            return _ASCII - found if sign.isupper() else found
        return frozenset(_escaped(sign))


def _escaped(sign: str) -> str:
    if sign in WORD and sign != "_":
        raise PatternError(f"has the escape `\\{sign}`: `\\d`, `\\w`, `\\s`, `\\b` and escaped signs are understood")
    return sign


def _bounds(low: int, high: int | None) -> tuple[int, int | None]:
    if max(low, high or 0) > _MOST_TIMES:
        raise PatternError(f"repeats more than {_MOST_TIMES} times; `*` repeats any number of times")
    if high is not None and high < low:
        raise PatternError(f"repeats from {low} to {high} times: the first number must not be larger")
    return low, high


def _glob_parts(text: str) -> list[Node]:
    parts: list[Node] = []
    at = 0
    while at < len(text):
        sign = text[at]
        at += 1
        closed = text.find("]", at + 1 + text.startswith("!", at)) if sign == "[" else -1
        if closed >= 0:
            parts.append(_glob_set(text[at:closed]))
            at = closed + 1
        elif sign == "*":
            parts.append(ANY)
        else:
            parts.append(ANY.sign if sign == "?" else Sign(frozenset(sign)))
    return parts


def _glob_set(inside: str) -> Sign:
    outside = inside.startswith("!")
    rest = inside.removeprefix("!")
    among: set[str] = set()
    while rest:
        if len(rest) > 2 and rest[1] == "-":  # noqa: PLR2004 - a sign, a dash and another sign
            among.update(map(chr, range(ord(rest[0]), ord(rest[2]) + 1)))
            rest = rest[3:]
        else:
            among.add(rest[0])
            rest = rest[1:]
    return Sign(frozenset(among), outside)
