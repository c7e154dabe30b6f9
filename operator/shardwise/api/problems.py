"""The problems of a document: a clear message for each wrong field, with its path, its value and the remedy."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from shardwise.api.base import SHAPES
from shardwise.api.schema_walk import example_at, known_fields, pattern_at
from shardwise.domain.units import plural

MOST_TOLD: Final = 50
"""Problems that are told of an object."""

_LONGEST: Final = 60
"""Characters of a value in a message: it fits a line beside its reason."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of an object: the path of the field, and the fact with its remedy."""

    field: str
    message: str

    def __str__(self) -> str:
        """Give the field and the message in a line."""
        return f"{self.field}: {self.message}"


class InvalidObject(ValueError):
    """An object that cannot be honoured, with all its problems."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def problems(error: ValidationError, root: type[BaseModel]) -> Iterator[Problem]:
    """Give the problems of a document that is not a valid ``root``, in the order of its fields: the first few."""
    found = error.errors(include_url=False)
    for detail in found[:MOST_TOLD]:
        wrong = Wrong(detail["loc"], detail["input"], detail.get("ctx") or {}, root)
        yield Problem(_shown(wrong.path), _message(wrong, detail["type"], detail["msg"]))
    if len(found) > MOST_TOLD:
        further = plural(len(found) - MOST_TOLD - 1, "further field")
        yield Problem(_shown(found[MOST_TOLD]["loc"]), f"is wrong, and so are {further}")


def _shown(path: tuple[int | str, ...]) -> str:
    return ".".join(escaped(str(part)) for part in path)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value that pydantic refused: its path, the value, the bound it broke, and the model it was read as."""

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
    known = [choice.strip("' ") for part in expected.split(",") for choice in part.split(" or ")]
    close = closest(str(value), known)
    guess = f"; did you mean `{close}`?" if close else ""
    return f"unknown value `{_brief(value)}` (known values: {', '.join(choice or '``' for choice in known)}{guess})"


def _required(wrong: Wrong) -> str:
    """Say that a field is missing, and for the fields that every object needs, how to write them."""
    example = example_at(wrong.path, wrong.root)
    return "is required" if example is None else f"is required, such as `{wrong.path[-1]}: {example}`"


def _no_text(wrong: Wrong) -> str:
    """Say what would be right in place of a number or a truth value: YAML reads ``40`` and ``yes`` as such."""
    shape = SHAPES.get(pattern_at(wrong.path, wrong.root) or "")
    if shape is not None:
        return shape
    return "is not a string" + ("; write it in quotes" if isinstance(wrong.value, int | float) else "")


def closest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that the user probably meant, in any case of letters."""
    spelled = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), spelled, n=1)
    return spelled[found[0]] if found else None


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def escaped(text: str) -> str:
    r"""Print a text in a single line, cut to fit a message: ``a\nb`` for two lines."""
    shown = "".join(_printable(sign) for sign in text[: _LONGEST + 1])
    return shown if len(text) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def _printable(sign: str) -> str:
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode()


def _brief(value: object) -> str:
    return escaped(str(value))


_MESSAGES: Final[Mapping[str, Callable[[Wrong], str]]] = {
    "missing": _required,
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
    "string_type": lambda wrong: f"`{_brief(wrong.value)}` {_no_text(wrong)}",
    "list_type": lambda wrong: f"`{_brief(wrong.value)}` is not a list",
    "dict_type": lambda wrong: f"`{_brief(wrong.value)}` is not an object",
    "model_type": lambda wrong: (
        _required(wrong) if wrong.value is None else f"`{_brief(wrong.value)}` is not an object"
    ),
}
