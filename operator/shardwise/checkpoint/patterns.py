"""Matching names with patterns in linear time: no pattern can take long, whoever wrote it.

A pattern is a tree of nodes. A set of positions, the bits of an integer, passes through the tree: each node turns the
positions before its signs into the positions behind them, for all names of a row at once. No node is visited twice for
a row, so the work is the size of the pattern times the length of the row. The matcher of the standard library tries one
way after another instead, and the number of ways can grow exponentially with the length of a name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

_SEPARATOR: Final = "\n"
_STEPS_AHEAD: Final = 4
DIGITS: Final = frozenset("0123456789")
WORD: Final = DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")


@dataclass(frozen=True, slots=True)
class Row:
    """Names in a row, each with a separator behind it. The numbers are sets of positions, as the bits of an integer.

    ``starts`` and ``ends``: before the first and behind the last sign of each name. ``everywhere``: all positions of
    all names, ends included. ``filled``: before any sign. ``reversed`` is the text from its end to its beginning, as
    ASCII. ``known`` keeps the positions of the sets asked for.
    """

    reversed: bytes
    starts: int
    ends: int
    everywhere: int
    filled: int
    known: dict[frozenset[str], int] = field(default_factory=dict, compare=False, repr=False)

    def before(self, among: frozenset[str]) -> int:
        """Give the positions before each sign of a set."""
        found = self.known.get(among)
        if found is None:
            found = self.known[among] = _positions(self.reversed, among)
        return found


def row(names: Iterable[str]) -> Row:
    """Put names into a row. A name must not contain a line break, which separates the names."""
    text = "".join(name + _SEPARATOR for name in names)[::-1].encode("ascii", "replace")
    ends = _positions(text, frozenset(_SEPARATOR))
    everywhere = (1 << len(text)) - 1
    return Row(text, (ends << 1 | 1) & everywhere, ends, everywhere, everywhere & ~ends)


def _positions(text: bytes, among: frozenset[str]) -> int:
    """Write a 1 for each sign of a set and a 0 for every other sign, and read the digits as a number."""
    digits = bytearray(b"0" * 256)
    for sign in among:
        digits[ord(sign)] = ord("1")
    return int(b"0" + text.translate(digits), 2)


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign out of a set, or any sign outside of the set."""

    among: frozenset[str]
    outside: bool = False

    size = 1
    width = (1, 1)

    def mask(self, names: Row) -> int:
        """Give the positions before such a sign."""
        found = names.before(self.among)
        return names.filled & ~found if self.outside else found & names.filled

    def after(self, names: Row, starts: int) -> int:
        """Give the positions behind the node, if it begins at one of ``starts``."""
        return (starts & self.mask(names)) << 1

    def before(self, names: Row, ends: int) -> int:
        """Give the positions before the node, if it ends at one of ``ends``."""
        return ends >> 1 & self.mask(names)


class At(Enum):
    """A condition on a position that takes no sign."""

    START = "start"
    END = "end"
    BOUNDARY = "boundary"
    INSIDE = "inside"


@dataclass(frozen=True, slots=True)
class Edge:
    """A position that fulfils a condition: ``^``, ``$``, a boundary of a word or a position that is none."""

    at: At

    size = 1
    width = (0, 0)

    def mask(self, names: Row) -> int:
        """Give the positions that fulfil the condition."""
        if self.at is At.START:
            return names.starts
        if self.at is At.END:
            return names.ends
        words = Sign(WORD).mask(names)
        boundaries = words ^ words << 1
        return boundaries if self.at is At.BOUNDARY else names.everywhere & ~boundaries

    def after(self, names: Row, starts: int) -> int:
        """Give the positions of ``starts`` that fulfil the condition."""
        return starts & self.mask(names)

    before = after


@dataclass(frozen=True, slots=True)
class Sequence:
    """Nodes one behind the other."""

    parts: tuple["Node", ...]

    @property
    def size(self) -> int:
        """Count the steps of a pass through the node."""
        return 1 + sum(part.size for part in self.parts)

    @property
    def width(self) -> tuple[int, int | None]:
        """Give the fewest and the most signs that the node takes; ``None`` is any number."""
        widths = [part.width for part in self.parts]
        most = [high for _, high in widths if high is not None]
        return sum(low for low, _ in widths), sum(most) if len(most) == len(widths) else None

    def after(self, names: Row, starts: int) -> int:
        """Give the positions behind the node, if it begins at one of ``starts``."""
        for part in self.parts:
            if not starts:
                break
            starts = part.after(names, starts)
        return starts

    def before(self, names: Row, ends: int) -> int:
        """Give the positions before the node, if it ends at one of ``ends``."""
        for part in reversed(self.parts):
            if not ends:
                break
            ends = part.before(names, ends)
        return ends


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of several nodes."""

    branches: tuple["Node", ...]

    @property
    def size(self) -> int:
        """Count the steps of a pass through the node."""
        return 1 + sum(branch.size for branch in self.branches)

    @property
    def width(self) -> tuple[int, int | None]:
        """Give the fewest and the most signs that the node takes; ``None`` is any number."""
        widths = [branch.width for branch in self.branches]
        most = [high for _, high in widths if high is not None]
        return min(low for low, _ in widths), max(most) if len(most) == len(widths) else None

    def after(self, names: Row, starts: int) -> int:
        """Give the positions behind the node, if it begins at one of ``starts``."""
        found = 0
        for branch in self.branches:
            found |= branch.after(names, starts)
        return found

    def before(self, names: Row, ends: int) -> int:
        """Give the positions before the node, if it ends at one of ``ends``."""
        found = 0
        for branch in self.branches:
            found |= branch.before(names, ends)
        return found


@dataclass(frozen=True, slots=True)
class Times:
    """A node several times, from ``low`` to ``high``."""

    node: "Node"
    low: int
    high: int

    @property
    def size(self) -> int:
        """Count the steps of a pass through the node."""
        return 1 + self.node.size * self.high

    @property
    def width(self) -> tuple[int, int | None]:
        """Give the fewest and the most signs that the node takes; ``None`` is any number."""
        low, high = self.node.width
        return low * self.low, None if high is None else high * self.high

    def after(self, names: Row, starts: int) -> int:
        """Give the positions behind the node, if it begins at one of ``starts``."""
        found = 0 if self.low else starts
        for count in range(1, self.high + 1):
            starts = self.node.after(names, starts)
            if not starts:
                break
            found |= starts if count >= self.low else 0
        return found

    def before(self, names: Row, ends: int) -> int:
        """Give the positions before the node, if it ends at one of ``ends``."""
        found = 0 if self.low else ends
        for count in range(1, self.high + 1):
            ends = self.node.before(names, ends)
            if not ends:
                break
            found |= ends if count >= self.low else 0
        return found


@dataclass(frozen=True, slots=True)
class Run:
    """Any number of signs out of a set."""

    sign: Sign

    size = 2
    width = (0, None)

    def after(self, names: Row, starts: int) -> int:
        """Give the positions behind the node: a carry runs through all signs of the set in a single addition."""
        mask = self.sign.mask(names)
        return (((starts & mask) + mask) ^ mask) | starts

    def before(self, names: Row, ends: int) -> int:
        """Give the positions before the node, in steps that double."""
        mask, shift = self.sign.mask(names), 1
        while mask:
            ends |= ends >> shift & mask
            mask &= mask >> shift
            shift *= 2
        return ends


@dataclass(frozen=True, slots=True)
class Lookaround:
    """A position with, or without, a node behind it (``ahead``) or before it."""

    node: "Node"
    ahead: bool
    refused: bool

    width = (0, 0)

    @property
    def size(self) -> int:
        """Count the steps of a pass through the node. A pass from behind takes longer."""
        return 1 + self.node.size * (_STEPS_AHEAD if self.ahead else 1)

    def after(self, names: Row, starts: int) -> int:
        """Give the positions of ``starts`` that fulfil the condition."""
        look = self.node.before if self.ahead else self.node.after
        found = look(names, names.everywhere)
        return starts & ~found if self.refused else starts & found

    before = after


Node: TypeAlias = Sign | Edge | Sequence | Choice | Times | Run | Lookaround


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern: the text as written, and the tree. ``size`` counts the steps of a match with a row of names."""

    text: str
    node: Node = field(compare=False, repr=False)
    size: int = field(compare=False)

    def match(self, names: Row) -> bool:
        """Tell whether the pattern matches any name of a row from its beginning. The end of the name may be free."""
        return self.node.after(names, names.starts) != 0
