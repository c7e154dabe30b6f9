"""What is wrong with a document: one clear problem a field, with its path, its value and what would be right."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from shardwise.api.base import SHAPES
from shardwise.api.schema_walk import known_fields


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an object: the path of the field, and the fact with what would be right."""

    field: str
    message: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.field}: {self.message}"


class InvalidObject(ValueError):
    """An object that cannot be honoured, with every problem found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def problems(error: ValidationError, root: type[BaseModel]) -> Iterator[Problem]:
    """Give the problems of a document that is no ``root``, in the order of its fields."""
    for one in error.errors(include_url=False):
        wrong = Wrong(one["loc"], one["input"], one.get("ctx") or {}, root)
        yield Problem(".".join(str(part) for part in wrong.path), _message(wrong, one["type"], one["msg"]))


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value pydantic refused: where it stands in which model, what it is, and the bound it broke."""

    path: tuple[int | str, ...]
    value: object
    context: Mapping[str, Any]
    root: type[BaseModel]


def _message(wrong: Wrong, kind: str, fallback: str) -> str:
    word = _MESSAGES.get(kind)
    return word(wrong) if word is not None else f"{_lower(fallback)}, not `{_brief(wrong.value)}`"


def _unknown_field(wrong: Wrong) -> str:
    known = known_fields(wrong.path[:-1], wrong.root)
    close = closest(str(wrong.path[-1]), known)
    guess = f"did you mean `{close}`?" if close else f"known fields: {', '.join(sorted(known))}"
    return f"unknown field ({guess})" if known else "unknown field"


def _unknown_value(value: object, expected: str) -> str:
    known = [one.strip("' ") for part in expected.split(",") for one in part.split(" or ")]
    close = closest(str(value), known)
    guess = f"; did you mean `{close}`?" if close else ""
    return f"unknown value `{_brief(value)}` (known values: {', '.join(one or '``' for one in known)}{guess})"


def closest(word: str, known: Iterable[str]) -> str | None:
    """Find what was probably meant, whatever its case."""
    spelled = {one.lower(): one for one in known}
    found = difflib.get_close_matches(word.lower(), spelled, n=1)
    return spelled[found[0]] if found else None


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"  # noqa: PLR2004 - what fits a line beside its reason


_MESSAGES: Final[Mapping[str, Callable[[Wrong], str]]] = {
    "missing": lambda _: "is required",
    "extra_forbidden": _unknown_field,
    "literal_error": lambda wrong: _unknown_value(wrong.value, str(wrong.context["expected"])),
    "greater_than_equal": lambda wrong: f"`{_brief(wrong.value)}` must be at least {wrong.context['ge']}",
    "less_than_equal": lambda wrong: f"`{_brief(wrong.value)}` must be at most {wrong.context['le']}",
    "string_pattern_mismatch": lambda wrong: f"`{_brief(wrong.value)}` {SHAPES[wrong.context['pattern']]}",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda wrong: f"is too long: at most {wrong.context['max_length']} characters are allowed",
    "too_short": lambda _: "must not be empty",
    "too_long": lambda wrong: f"has too many entries: at most {wrong.context['max_length']} are allowed",
    "int_type": lambda wrong: f"`{_brief(wrong.value)}` is not a whole number",
    "bool_type": lambda wrong: f"`{_brief(wrong.value)}` is neither true nor false",
    "string_type": lambda wrong: f"`{_brief(wrong.value)}` is not a string",
    "list_type": lambda wrong: f"`{_brief(wrong.value)}` is not a list",
    "dict_type": lambda wrong: f"`{_brief(wrong.value)}` is not an object",
    "model_type": lambda wrong: "is required" if wrong.value is None else f"`{_brief(wrong.value)}` is not an object",
}
