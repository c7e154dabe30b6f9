"""Whether Python's matcher reads a text in linear time with a regular expression, whatever the text is.

A matcher that tries one way after another takes more than linear time if two repeats, one behind the other, can both
take the same signs: it tries every place at which the first may hand over to the second. This is the polynomial case
of Weideman et al., "Analyzing Matching Time Behavior of Backtracking Regular Expression Matchers" (2016). The
exponential case needs a repeat inside a repeat, which the reader of patterns refuses.
"""

from dataclasses import dataclass, field
from typing import Final

from shardwise.checkpoint.pattern_syntax import expression
from shardwise.checkpoint.patterns import Choice, Edge, Lookaround, Node, Run, Sequence, Sign, Times

_ALL: Final = frozenset(map(chr, range(128)))


@dataclass
class Automaton:
    """The signs of an expression as positions: the signs of each, the positions that may follow, and the repeats."""

    signs: list[frozenset[str]] = field(default_factory=list)
    follow: list[set[int]] = field(default_factory=list)
    repeats: set[int] = field(default_factory=set)

    def add(self, signs: frozenset[str]) -> int:
        self.signs.append(signs)
        self.follow.append(set())
        return len(self.signs) - 1

    def read(self, node: Node, before: set[int]) -> set[int]:
        """Add a node behind positions, and give the positions in which it may end."""
        match node:
            case Sign():
                return {self._behind(node, before)}
            case Run(sign):
                position = self._behind(sign, before)
                self.follow[position].add(position)
                self.repeats.add(position)
                return {position, *before}
            case Edge() | Lookaround():
                return {self._condition(before), *before}
            case Sequence(parts):
                for part in parts:
                    before = self.read(part, before)
                return before
            case Choice(branches):
                return {end for branch in branches for end in self.read(branch, before)}
            case Times():
                return self._times(node, before)

    def _times(self, node: Times, before: set[int]) -> set[int]:
        ends = set() if node.low else set(before)
        for count in range(1, node.high + 1):
            before = self.read(node.node, before)
            ends |= before if count >= node.low else set()
        return ends

    def _behind(self, sign: Sign, before: set[int]) -> int:
        position = self.add(_ALL - sign.among if sign.outside else sign.among)
        for earlier in before:
            self.follow[earlier].add(position)
        return position

    def _condition(self, before: set[int]) -> int:
        """Add a condition, at which a match may fail, as a position without signs."""
        return self._behind(Sign(frozenset()), before)


def ambiguity(text: str, *, anywhere: bool) -> str | None:
    """Say where a text that does not match may take more than linear time, or ``None``.

    ``anywhere``: the expression is searched for, so that any number of signs may stand before the match.
    """
    automaton = Automaton()
    start = automaton.add(frozenset() if not anywhere else _ALL)
    if anywhere:
        automaton.follow[start].add(start)
        automaton.repeats.add(start)
    ends = automaton.read(expression(text).node, {start})
    certain = {end for end in ends if all(automaton.signs[later] for later in automaton.follow[end])}
    for first in automaton.repeats:
        for second in automaton.repeats - certain - {first}:
            common = automaton.signs[first] & automaton.signs[second]
            if common and _joined(automaton, first, second, common):
                return f"positions {first} and {second} both take {''.join(sorted(common))[:20]!r}"
    return None


def _joined(automaton: Automaton, first: int, second: int, common: frozenset[str]) -> bool:
    """Tell whether signs that both repeats take lead from the first to the second."""
    reached, edge = {first}, [first]
    while edge:
        for later in automaton.follow[edge.pop()] - reached:
            if automaton.signs[later] & common:
                reached.add(later)
                edge.append(later)
    return second in reached
