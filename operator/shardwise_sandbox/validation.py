"""Validation of values by structural schemas, with the messages of the server.

This module does not evaluate CEL rules (``x-kubernetes-validations``); ``Admission.cel_evaluator`` is the hook.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Final

from shardwise_sandbox.builtin_schema import Schema
from shardwise_sandbox.errors import StatusCause
from shardwise_sandbox.objects import Json, canonical


def violations(schema: Schema, value: Json, path: str = "") -> Iterator[StatusCause]:
    """Yield every fault of a value by its schema, in document order."""
    if value is None and schema.get("nullable"):
        return
    wrong = _type_error(schema, value, path)
    if wrong is not None:
        yield wrong
        return
    if "enum" in schema and value not in schema["enum"]:
        listed = ", ".join(json.dumps(option) for option in schema["enum"])
        yield _cause("NotSupported", path, f"Unsupported value: {_shown(value)}: supported values: {listed}")
    yield from _bounds(schema, value, path)
    yield from _below(schema, value, path)
    yield from _combined(schema, value, path)


def unfit_defaults(schema: Schema, path: str) -> Iterator[StatusCause]:
    """Yield a fault for every default, at any depth, that its own schema refuses."""
    if "default" in schema:
        for cause in violations(schema, schema["default"]):
            yield StatusCause(cause.reason, cause.message, f"{path}.default")
    for key, below in (schema.get("properties") or {}).items():
        yield from unfit_defaults(below, f"{path}.properties[{key}]")
    for word in ("additionalProperties", "items"):
        if isinstance(schema.get(word), dict):
            yield from unfit_defaults(schema[word], f"{path}.{word}")


def _cause(reason: str, path: str, message: str) -> StatusCause:
    return StatusCause(f"FieldValue{reason}", message, path or "<nil>")


def _invalid(path: str, value: Json, rule: str) -> StatusCause:
    return _cause("Invalid", path, f"Invalid value: {_shown(value)}: {path or '<nil>'} in body {rule}")


def _shown(value: Json) -> str:
    return json.dumps(_type_of(value) if isinstance(value, (dict, list)) else value)


def _type_of(value: Json) -> str:
    if value is None:
        return "null"
    for name, python in _TYPES.items():
        if isinstance(value, python) and not (isinstance(value, bool) and name != "boolean"):
            return name
    return "unknown"


_TYPES: Final[Mapping[str, type]] = {
    "boolean": bool,
    "integer": int,
    "number": float,
    "string": str,
    "array": list,
    "object": dict,
}


def _type_error(schema: Schema, value: Json, path: str) -> StatusCause | None:
    wanted, found = schema.get("type"), _type_of(value)
    if schema.get("x-kubernetes-int-or-string"):
        return None if found in {"integer", "string"} else _wrong_type(path, value, "integer,string")
    whole = isinstance(value, float) and value.is_integer()
    fits = (
        wanted is None
        or found == wanted
        or (wanted == "number" and found == "integer")
        or (wanted == "integer" and whole)
    )
    return None if fits else _wrong_type(path, value, str(wanted))


def _wrong_type(path: str, value: Json, wanted: str) -> StatusCause:
    found = json.dumps(_type_of(value))
    why = f"Invalid value: {found}: {path or '<nil>'} in body must be of type {wanted}: {found}"
    return _cause("TypeInvalid", path, why)


def _number_rules(schema: Schema, value: float) -> Iterator[str]:
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        yield f"should be greater than {'' if schema.get('exclusiveMinimum') else 'or equal to '}{low}"
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        yield f"should be less than {'' if schema.get('exclusiveMaximum') else 'or equal to '}{high}"
    if step and value % step:
        yield f"should be a multiple of {step}"


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _bounds(schema: Schema, value: Json, path: str) -> Iterator[StatusCause]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from (_invalid(path, value, rule) for rule in _number_rules(schema, value))
    if isinstance(value, str) and "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield _invalid(path, value, f"should match '{schema['pattern']}'")
    if schema.get("format") == "date-time" and isinstance(value, str) and not _DATE_TIME.fullmatch(value):
        yield _invalid(path, value, f"must be of type date-time: {_shown(value)}")
    for word, python, reason, least, rule in _SIZES:
        if word in schema and isinstance(value, python) and _out_of_size(len(value), schema[word], least=least):
            yield _size(reason, path, value, rule.format(schema[word]))


def _out_of_size(size: int, bound: int, *, least: bool) -> bool:
    return size < bound if least else size > bound


def _size(reason: str, path: str, value: Json, rule: str) -> StatusCause:
    if reason == "TooMany":
        return _cause(reason, path, f"Too many: {len(value)}: must have {rule}")
    if reason == "TooLong":
        return _cause(reason, path, f"Too long: {rule}")
    return _invalid(path, value if isinstance(value, str) else len(value), rule)


_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

_SIZES: Final = (
    ("minLength", str, "Invalid", True, "should be at least {} chars long"),
    ("maxLength", str, "TooLong", False, "may not be more than {} bytes"),
    ("minItems", list, "Invalid", True, "should have at least {} items"),
    ("maxItems", list, "TooMany", False, "at most {} items"),
    ("minProperties", dict, "Invalid", True, "should have at least {} properties"),
    ("maxProperties", dict, "TooMany", False, "at most {} items"),
)


def _below(schema: Schema, value: Json, path: str) -> Iterator[StatusCause]:
    if isinstance(value, dict):
        yield from _members(schema, value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from violations(schema.get("items") or {}, item, f"{path}[{index}]")
        yield from _duplicates(schema, value, path)


def _members(schema: Schema, value: dict[str, Json], path: str) -> Iterator[StatusCause]:
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key in schema.get("required") or ():
        if key not in value:
            yield _cause("Required", _join(path, key), "Required value")
    for key, item in value.items():
        below = properties.get(key, extra if isinstance(extra, dict) else None)
        if below is not None:
            yield from violations(below, item, _join(path, key))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _duplicates(schema: Schema, value: list[Json], path: str) -> Iterator[StatusCause]:
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if schema.get("x-kubernetes-list-type") not in {"map", "set"}:
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        shown = canonical({key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item)
        if shown in seen:
            yield _cause("Duplicate", f"{path}[{index}]", f"Duplicate value: {shown}")
        seen.add(shown)


def _combined(schema: Schema, value: Json, path: str) -> Iterator[StatusCause]:
    for option in schema.get("allOf") or ():
        yield from violations(option, value, path)
    if schema.get("anyOf") and not any(_valid(option, value) for option in schema["anyOf"]):
        yield _invalid(path, value, "must validate at least one schema (anyOf)")
    if schema.get("oneOf") and sum(_valid(option, value) for option in schema["oneOf"]) != 1:
        yield _invalid(path, value, "must validate one and only one schema (oneOf)")
    if "not" in schema and _valid(schema["not"], value):
        yield _invalid(path, value, "must not validate the schema (not)")


def _valid(schema: Schema, value: Json) -> bool:
    return next(violations(schema, value), None) is None


CelEvaluator = Callable[[str, Json, Json], bool]
"""Evaluates a rule: from the expression, ``self`` and ``oldSelf`` (``None`` on create) to whether it holds."""


def rule_violations(
    evaluate: CelEvaluator, schema: Schema, value: Json, old: Json = None, path: str = ""
) -> Iterator[StatusCause]:
    """Yield the CEL rules that a value breaks, by the evaluator of the caller."""
    for rule in schema.get("x-kubernetes-validations") or ():
        transition = "oldSelf" in rule["rule"] and not rule.get("optionalOldSelf")
        if not (transition and old is None) and not evaluate(rule["rule"], value, old):
            said = rule.get("message") or f"failed rule: {rule['rule']}"
            yield _cause("Invalid", path, f"Invalid value: {_shown(value)}: {said}")
    if isinstance(value, dict):
        for key, below in (schema.get("properties") or {}).items():
            if key in value:
                before = old.get(key) if isinstance(old, dict) else None
                yield from rule_violations(evaluate, below, value[key], before, _join(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            # List items have no old self here: the real server correlates items only in keyed lists.
            yield from rule_violations(evaluate, schema.get("items") or {}, item, None, f"{path}[{index}]")
