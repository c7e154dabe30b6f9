"""Label and field selectors: parsed once, matched often."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shardwise_sandbox.errors import bad_request
from shardwise_sandbox.objects import JsonObject, dig, labels_of


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a string map: key, operator (as in ``matchExpressions``) and values."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Say whether the labels satisfy it."""
        return _OPERATORS[self.operator](labels.get(self.key), self.values)


def _compares(sign: int) -> Callable[[str | None, tuple[str, ...]], bool]:
    def compare(value: str | None, values: tuple[str, ...]) -> bool:
        try:
            return (int(value or "") - int(values[0])) * sign > 0
        except (ValueError, IndexError):
            return False

    return compare


# A key that is absent satisfies NotIn and `!=`: that is Kubernetes' rule, not an oversight.
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


def _parse_one(text: str) -> Requirement:
    if match := _SET.fullmatch(text):
        operator = "In" if match["op"] == "in" else "NotIn"
        return Requirement(match["key"], operator, tuple(part.strip() for part in match["values"].split(",")))
    if match := _EQUALS.fullmatch(text):
        return Requirement(match["key"], "NotIn" if match["op"] == "!=" else "In", (match["value"],))
    if match := _ORDER.fullmatch(text):
        return Requirement(match["key"], "Gt" if match["op"] == ">" else "Lt", (match["value"],))
    if match := _PRESENCE.fullmatch(text):
        return Requirement(match["key"], "DoesNotExist" if match["op"] else "Exists")
    raise bad_request(f"unable to parse requirement: found `{text}` in the label selector")


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Read a ``labelSelector`` query value; refuse with 400 what cannot be read."""
    parts = [part.strip() for part in _TOP_LEVEL_COMMA.split(text)] if text.strip() else []
    return tuple(_parse_one(part) for part in parts)


def from_object(selector: JsonObject | None) -> tuple[Requirement, ...]:
    """Read ``matchLabels`` and ``matchExpressions`` of a LabelSelector or node selector term."""
    selector = selector or {}
    equal = [Requirement(key, "In", (str(value),)) for key, value in (selector.get("matchLabels") or {}).items()]
    return (*equal, *map(expression, selector.get("matchExpressions") or []))


def expression(raw: JsonObject) -> Requirement:
    """Read one entry of ``matchExpressions`` or ``matchFields``."""
    return Requirement(raw["key"], raw["operator"], tuple(map(str, raw.get("values") or ())))


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One condition of a ``fieldSelector``: a dotted path equals, or does not equal, a text."""

    path: tuple[str, ...]
    value: str
    equal: bool = True

    def holds(self, obj: JsonObject) -> bool:
        """Say whether the object satisfies it; an absent field reads as empty text."""
        found = dig(obj, *self.path)
        return ((_text(found)) == self.value) is self.equal


def _text(found: object) -> str:
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)


_FIELD: Final = re.compile(r"(?P<path>[A-Za-z0-9.\-/_]+?)\s*(?P<op>==|=|!=)\s*(?P<value>.*)")


def parse_fields(text: str, supported: Callable[[str], bool]) -> tuple[FieldRequirement, ...]:
    """Read a ``fieldSelector`` query value; refuse with 400 a field the kind cannot be selected by."""
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
    """What a list or watch is restricted to: a namespace (empty: all), labels and fields."""

    namespace: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: JsonObject) -> bool:
        """Say whether the object is selected."""
        if self.namespace and obj["metadata"].get("namespace") != self.namespace:
            return False
        if not all_hold(self.labels, labels_of(obj)):
            return False
        return all(requirement.holds(obj) for requirement in self.fields)


def all_hold(requirements: Iterable[Requirement], labels: Mapping[str, str]) -> bool:
    """Say whether every requirement holds for the labels."""
    return all(requirement.holds(labels) for requirement in requirements)
