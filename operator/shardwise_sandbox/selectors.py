"""Label and field selectors, in parsed form."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shardwise_sandbox.errors import bad_request
from shardwise_sandbox.objects import JsonObject, dig, labels_of


@dataclass(frozen=True, slots=True)
class SelectorRequirement:
    """A requirement on a map of strings: key, operator (as in ``matchExpressions``) and values."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels satisfy the requirement."""
        return _OPERATORS[self.operator](labels.get(self.key), self.values)


def _compares(sign: int) -> Callable[[str | None, tuple[str, ...]], bool]:
    def compare(value: str | None, values: tuple[str, ...]) -> bool:
        try:
            return (int(value or "") - int(values[0])) * sign > 0
        except (ValueError, IndexError):
            return False

    return compare


# An absent key satisfies NotIn and `!=`: that is a rule of Kubernetes.
_OPERATORS: Final[dict[str, Callable[[str | None, tuple[str, ...]], bool]]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": _compares(1),
    "Lt": _compares(-1),
}

_KEY: Final = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET: Final = re.compile(rf"(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALS: Final = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>[-A-Za-z0-9_.]*)")
_ORDER: Final = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>[<>])\s*(?P<value>-?\d+)")
_PRESENCE: Final = re.compile(rf"(?P<op>!?)\s*(?P<key>{_KEY})")
_TOP_LEVEL_COMMA: Final = re.compile(r",(?![^()]*\))")


def _parse_one(text: str) -> SelectorRequirement:
    if match := _SET.fullmatch(text):
        operator = "In" if match["op"] == "in" else "NotIn"
        return SelectorRequirement(match["key"], operator, tuple(part.strip() for part in match["values"].split(",")))
    if match := _EQUALS.fullmatch(text):
        return SelectorRequirement(match["key"], "NotIn" if match["op"] == "!=" else "In", (match["value"],))
    if match := _ORDER.fullmatch(text):
        return SelectorRequirement(match["key"], "Gt" if match["op"] == ">" else "Lt", (match["value"],))
    if match := _PRESENCE.fullmatch(text):
        return SelectorRequirement(match["key"], "DoesNotExist" if match["op"] else "Exists")
    raise bad_request(f"unable to parse requirement: found `{text}` in the label selector")


def parse_labels(text: str) -> tuple[SelectorRequirement, ...]:
    """Read the query value ``labelSelector``. Raises ``ApiError`` 400 for a malformed value."""
    parts = [part.strip() for part in _TOP_LEVEL_COMMA.split(text)] if text.strip() else []
    return tuple(_parse_one(part) for part in parts)


def from_object(selector: JsonObject | None) -> tuple[SelectorRequirement, ...]:
    """Read ``matchLabels`` and ``matchExpressions`` of a LabelSelector or a node selector term."""
    selector = selector or {}
    equal = [
        SelectorRequirement(key, "In", (str(value),)) for key, value in (selector.get("matchLabels") or {}).items()
    ]
    return (*equal, *map(expression, selector.get("matchExpressions") or []))


def expression(raw: JsonObject) -> SelectorRequirement:
    """Read an entry of ``matchExpressions`` or ``matchFields``."""
    return SelectorRequirement(raw["key"], raw["operator"], tuple(map(str, raw.get("values") or ())))


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """A requirement of a ``fieldSelector``: a dotted path equals, or does not equal, a text."""

    path: tuple[str, ...]
    value: str
    equal: bool = True

    def holds(self, obj: JsonObject) -> bool:
        """Return whether the object satisfies the requirement. An absent field counts as the empty text."""
        found = dig(obj, *self.path)
        return ((_text(found)) == self.value) is self.equal


def _text(found: object) -> str:
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)


_FIELD: Final = re.compile(r"(?P<path>[A-Za-z0-9.\-/_]+?)\s*(?P<op>==|=|!=)\s*(?P<value>.*)")


def parse_fields(text: str, supported: Callable[[str], bool]) -> tuple[FieldRequirement, ...]:
    """Read the query value ``fieldSelector``. Raises ``ApiError`` 400 for a field that cannot select the kind."""
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _FIELD.fullmatch(part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if not supported(match["path"]):
            raise bad_request(f"field label not supported: {match['path']}")
        found.append(FieldRequirement(tuple(match["path"].split(".")), match["value"], match["op"] != "!="))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Selection:
    """The restriction of a list or watch: a namespace (empty for all), labels and fields."""

    namespace: str = ""
    labels: tuple[SelectorRequirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: JsonObject) -> bool:
        """Return whether the object is selected."""
        if self.namespace and obj["metadata"].get("namespace") != self.namespace:
            return False
        if not all_hold(self.labels, labels_of(obj)):
            return False
        return all(requirement.holds(obj) for requirement in self.fields)


def all_hold(requirements: Iterable[SelectorRequirement], labels: Mapping[str, str]) -> bool:
    """Return whether the labels satisfy every requirement."""
    return all(requirement.holds(labels) for requirement in requirements)
