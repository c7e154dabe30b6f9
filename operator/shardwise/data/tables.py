"""Reading a data file into rows. An entry of the file is a row, and a frozen dataclass lists the fields of a row."""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from importlib.resources import files
from types import UnionType
from typing import ClassVar, Final, Protocol, TypeVar, cast, get_args


class DataError(Exception):
    """A data file is wrong. The message names the file, the entry and the field."""


class Sourced(Protocol):
    """A row: a frozen dataclass that says where its facts come from.

    The types of its fields are keys of ``_FORMS`` or such a type or ``None``. A field with a default may be left out.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[object]]]

    @property
    def source(self) -> str:
        """The document or the file that the facts are from."""
        ...


Row = TypeVar("Row", bound=Sourced)


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of a field. ``read`` gives the field's value, or ``None`` if the value does not have the form."""

    said: str
    read: Callable[[object], object]


def _of(*types: type) -> Callable[[object], object]:
    """Take values of these types only; ``bool`` does not pass for a number."""
    return lambda value: value if type(value) in types else None


def _texts(value: object) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and set(map(type, value)) <= {str} else None


def _lists(value: object) -> Mapping[str, tuple[str, ...]] | None:
    found = {key: _texts(item) for key, item in value.items()} if isinstance(value, dict) else {"": None}
    return {key: item for key, item in found.items() if item is not None} if None not in found.values() else None


_FORMS: Final[Mapping[object, _Form]] = {
    str: _Form("a text", _of(str)),
    bool: _Form("true or false", _of(bool)),
    float: _Form("a number", _of(int, float)),
    tuple[str, ...]: _Form("a list of texts", _texts),
    Mapping[str, tuple[str, ...]]: _Form("an object of lists", _lists),
    Mapping[str, object]: _Form("an object", _of(dict)),
}


def table(file: str, row: type[Row]) -> Mapping[str, Row]:
    """Read a file of this package: its entries by name, in the order of the file.

    Raises :class:`DataError` for an entry without a source, with an unknown field, or with a value of another form.
    """
    return read_table(file, (files(__package__) / file).read_text(encoding="utf-8"), row)


def read_table(file: str, text: str, row: type[Row]) -> Mapping[str, Row]:
    """Read the text of a file; its name tells the format. See :func:`table`."""
    return {name: _row(f"{file}: entry `{name}`", entry, row) for name, entry in _parse(file, text).items()}


def _parse(file: str, text: str) -> Mapping[str, object]:
    try:
        if file.endswith(".json"):
            found: object = json.loads(text, object_pairs_hook=_unique)
        else:
            import tomllib  # noqa: PLC0415 - some commands read no TOML file

            found = tomllib.loads(text)
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file}: an object of entries is needed")
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of its pairs; TOML refuses a name that comes twice, JSON does not."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)}` comes twice")
    return found


def _row(where: str, entry: object, row: type[Row]) -> Row:
    if not isinstance(entry, dict):
        raise DataError(f"{where} is not an object")
    known = fields(row)
    unknown = sorted(entry.keys() - {field.name for field in known})
    if unknown:
        raise DataError(f"{where} has the unknown field `{unknown[0]}`: known are {_listed(known)}")
    values = {field.name: _value(where, field, entry) for field in known if _is_needed(field) or field.name in entry}
    made = cast("Callable[..., Row]", row)(**values)
    if not made.source.strip():
        raise DataError(f"{where} has an empty `source`: name the document or file that the facts are from")
    return made


def _value(where: str, field: Field[object], entry: Mapping[str, object]) -> object:
    if field.name not in entry:
        raise DataError(f"{where} lacks the field `{field.name}`")
    form = _FORMS[get_args(field.type)[0] if isinstance(field.type, UnionType) else field.type]
    found = form.read(entry[field.name])
    if found is None:
        raise DataError(f"{where}: field `{field.name}` is {entry[field.name]!r}: {form.said} is needed")
    return found


def _is_needed(field: Field[object]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _listed(known: tuple[Field[object], ...]) -> str:
    return ", ".join(f"`{field.name}`" for field in known)
