"""The selectors of DeviceClasses: the part of CEL that they use, compiled to a test of a device. Pure.

Read are comparisons of attributes and capacities with literals, ``in``, ``has``, ``!``, ``&&``, ``||``, and the methods
of texts, quantities and versions. An expression with anything else is not read, and is never guessed at.
Sources: Kubernetes 1.36, ``k8s.io/dynamic-resource-allocation/cel``; github.com/google/cel-spec, "Language Definition".
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shardwise.domain.units import read_amount

Test = Callable[[Any], Any]
"""Evaluates a part of an expression for a device."""

_TOKEN: Final = re.compile(
    r"""\s*(?:("[^"\\]*"|'[^'\\]*')|(-?[0-9]+)|([A-Za-z_][A-Za-z_0-9]*)"""
    r"""|(&&|\|\||[=!<>]=|[<>!().,\[\]])|(\S))"""
)
_KINDS: Final = ("", "text", "number", "name", "mark", "wrong")
_MOST_TOKENS: Final = 2000
_DEEPEST: Final = 40
"""Nested brackets that are read. Expressions of DeviceClasses have two or three."""

_SPECIAL: Final = frozenset("\\.+*?[](){}^$")
"""Characters with a meaning in a pattern of ``matches``. Of patterns, ``^``, ``$``, ``|`` and ``.*`` are read."""


class Unread(ValueError):
    """An expression uses a part of CEL that is not read. The message names the part."""


class Absent(Exception):
    """An attribute or a capacity that the device lacks, or values that cannot be compared."""


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """A quantity, in thousandths."""

    amount: int


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A semantic version. A pre-release comes before its release; pre-releases are compared as texts."""

    numbers: tuple[int, ...]
    released: bool
    suffix: str = ""


def selector(expression: str) -> Callable[[Mapping[str, Any]], bool]:
    """Compile an expression to a test of a device, which is a mapping with ``driver``, ``attributes`` and ``capacity``.

    ``attributes`` and ``capacity`` are mappings by domain and name. A device that lacks an attribute does not match.
    Raises :class:`Unread`.
    """
    parser = _Parser(expression)
    whole = parser.any_of()
    parser.end()

    def matches(device: Mapping[str, Any]) -> bool:
        try:
            return whole(device) is True
        except Absent:
            return False

    return matches


def quantity(value: object) -> Quantity:
    """Read a quantity. Raises :class:`Absent` for a text that is none."""
    amount = read_amount(str(value))
    if amount is None:
        raise Absent
    return Quantity(amount)


def version(value: object) -> Version:
    """Read a semantic version. Raises :class:`Absent` for a text that is none."""
    numbers, dash, suffix = str(value).partition("+")[0].partition("-")
    parts = numbers.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise Absent
    return Version(tuple(int(part) for part in parts), not dash, suffix)


class _Parser:
    """Reads an expression from left to right, a method for each level of precedence."""

    def __init__(self, expression: str) -> None:
        self._tokens = list(_tokens(expression))
        self._at = 0
        self._depth = 0

    def any_of(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unread(f"more than {_DEEPEST} nested brackets")
        found = [self._all_of()]
        while self._takes("||"):
            found.append(self._all_of())
        self._depth -= 1
        return found[0] if len(found) == 1 else lambda device: _joined(found, device, decides=True)

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise Unread(f"`{self._tokens[self._at][1]}`")

    def _all_of(self) -> Test:
        found = [self._compared()]
        while self._takes("&&"):
            found.append(self._compared())
        return found[0] if len(found) == 1 else lambda device: _joined(found, device, decides=False)

    def _compared(self) -> Test:
        left = self._value()
        for mark, compare in _COMPARE.items():
            if self._takes(mark):
                right = self._value()
                return lambda device: _compared(compare, left(device), right(device))
        return left

    def _value(self) -> Test:
        negated = 0
        while self._takes("!"):
            negated += 1
        found = self._primary()
        while True:
            if self._takes("."):
                found = self._member(found, self._name())
            elif self._takes("["):
                found = _item(found, self.any_of())
                self._needs("]")
            else:
                break
        return found if not negated else lambda device: _negated(found(device), negated)

    def _member(self, of: Test, name: str) -> Test:
        if not self._takes("("):
            return _item(of, lambda _: name)
        given = self._list(")")
        method = _METHODS.get(name)
        if method is None or len(given) != method[0]:
            raise Unread(f"the function `{name}`")
        if name == "matches":
            _check_pattern(self._tokens[self._at - 2])
        return lambda device: _called(method[1], of(device), *(value(device) for value in given))

    def _primary(self) -> Test:
        kind, text = self._next()
        if kind == "text":
            return lambda _: text[1:-1]
        if kind == "number":
            return lambda _: int(text)
        if text == "(":
            found = self.any_of()
            self._needs(")")
            return found
        if text == "[":
            listed = self._list("]")
            return lambda device: [value(device) for value in listed]
        return self._named(kind, text)

    def _named(self, kind: str, text: str) -> Test:
        if kind != "name":
            raise Unread(f"`{text}`")
        if text in ("true", "false"):
            return lambda _: text == "true"
        if text == "device":
            return lambda device: device
        if not self._takes("("):
            raise Unread(f"`{text}`")
        given = self._list(")")
        if text not in _FUNCTIONS or len(given) != 1:
            raise Unread(f"the function `{text}`")
        return _FUNCTIONS[text](given[0])

    def _list(self, end: str) -> list[Test]:
        found: list[Test] = []
        while not self._takes(end):
            if found:
                self._needs(",")
            found.append(self.any_of())
        return found

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise Unread(f"`{text}`")
        return text

    def _takes(self, mark: str) -> bool:
        taken = self._at < len(self._tokens) and self._tokens[self._at] in (("mark", mark), ("name", mark))
        self._at += taken
        return taken

    def _needs(self, mark: str) -> None:
        if not self._takes(mark):
            raise Unread(f"no `{mark}` where it is needed")

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise Unread("the expression ends too early")
        self._at += 1
        return self._tokens[self._at - 1]


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    text, at, count = expression.rstrip(), 0, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        group = (match and match.lastindex) or 0
        if match is None or _KINDS[group] == "wrong":
            raise Unread(f"`{text[at : at + 1] if match is None else match[group]}`")
        if count >= _MOST_TOKENS:
            raise Unread(f"more than {_MOST_TOKENS} words")
        yield _KINDS[group], match[group]
        at, count = match.end(), count + 1


def _joined(parts: list[Test], device: object, *, decides: bool) -> bool:
    """Join tests with ``||`` or ``&&``. As in CEL, a part that decides wins over a part that cannot be evaluated."""
    absent = False
    for part in parts:
        try:
            value: object = part(device)
            if value is decides:
                return decides
        except Absent:
            absent = True
    if absent:
        raise Absent
    return not decides


def _negated(value: object, times: int) -> bool:
    if not isinstance(value, bool):
        raise Absent
    return value if times % 2 == 0 else not value


def _compared(compare: Callable[[Any, Any], bool], left: object, right: object) -> bool:
    if compare is not _is_in and type(left) is not type(right):
        raise Absent
    return bool(_called(compare, left, right))


def _called(function: Callable[..., Any], *given: object) -> Any:  # noqa: ANN401 - a value of CEL
    """Call a function with values that may be of other types than it takes."""
    try:
        return function(*given)
    except (TypeError, AttributeError):
        raise Absent from None


def _item(of: Test, key: Test) -> Test:
    def found(device: object) -> Any:  # noqa: ANN401 - a value of CEL
        owner, name = of(device), key(device)
        if not isinstance(owner, Mapping) or not isinstance(name, str) or name not in owner:
            raise Absent
        return owner[name]

    return found


def _is_in(value: object, owner: Any) -> bool:  # noqa: ANN401 - a value of CEL
    if not isinstance(owner, list | Mapping):
        raise Absent
    return bool(value in owner)


def _there(of: Test) -> Test:
    def found(device: object) -> bool:
        try:
            of(device)
        except Absent:
            return False
        return True

    return found


def _check_pattern(token: tuple[str, str]) -> None:
    kind, text = token
    pieces = (piece for way in text[1:-1].split("|") for piece in _pieces(way)[1])
    if kind != "text" or any(_SPECIAL & set(piece) for piece in pieces):
        raise Unread(f"the pattern of `matches`, {text}")


def _matches(text: str, pattern: str) -> bool:
    return any(_has_pieces(text, *_pieces(way)) for way in pattern.split("|"))


def _pieces(way: str) -> tuple[tuple[bool, bool], list[str]]:
    """Split a pattern at ``.*``, and tell whether it must match from the start and up to the end."""
    anchored = way.startswith("^"), way.endswith("$")
    return anchored, way.removeprefix("^").removesuffix("$").split(".*")


def _has_pieces(text: str, anchored: tuple[bool, bool], pieces: list[str]) -> bool:
    """Find the pieces one after the other: the first place for each leaves most for the others."""
    start, end = anchored
    if end and len(pieces) == 1:
        return text == pieces[0] if start else text.endswith(pieces[0])
    at = 0
    for number, piece in enumerate(pieces):
        found = text.find(piece, at)
        if found < 0 or (start and number == 0 and found):
            return False
        at = found + len(piece)
    return not end or (text.endswith(pieces[-1]) and at <= len(text))


def _sign(left: Any, right: Any) -> int:  # noqa: ANN401 - two quantities, or two versions
    if type(left) is not type(right):
        raise Absent
    return int(left > right) - int(left < right)


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "in": _is_in,
}
_METHODS: Final[Mapping[str, tuple[int, Callable[..., Any]]]] = {
    "startsWith": (1, str.startswith),
    "endsWith": (1, str.endswith),
    "contains": (1, str.__contains__),
    "matches": (1, _matches),
    "lowerAscii": (0, str.lower),
    "upperAscii": (0, str.upper),
    "compareTo": (1, _sign),
    "isGreaterThan": (1, lambda left, right: _sign(left, right) > 0),
    "isLessThan": (1, lambda left, right: _sign(left, right) < 0),
}
_FUNCTIONS: Final[Mapping[str, Callable[[Test], Test]]] = {
    "has": _there,
    "quantity": lambda given: lambda device: quantity(given(device)),
    "semver": lambda given: lambda device: version(given(device)),
}
