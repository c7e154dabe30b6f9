"""The known fields, and the pattern and the example of a field, at a path of a document: for messages about values."""

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def known_fields(path: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """List the field names ``root`` has at a path such as ``("spec", "model")``, or nothing."""
    found: Any = root
    for part in path:
        found = found if isinstance(part, int) else _inside(found, part)
    model = _model_of(found)
    return [] if model is None else [_wire_name(model, name) for name in model.model_fields]


def pattern_at(path: tuple[int | str, ...], root: type[BaseModel]) -> str | None:
    """Give the pattern of the text that ``root`` has at a path; ``None`` if the text is free."""
    field = _field_at(path, root)
    return None if field is None else next(_patterns(field.annotation, field.metadata), None)


def example_at(path: tuple[int | str, ...], root: type[BaseModel]) -> str | None:
    """Give a right value of the field that ``root`` has at a path, as YAML in one line; ``None`` if none is stated."""
    field = _field_at(path, root)
    return str(field.examples[0]) if field is not None and field.examples else None


def _field_at(path: tuple[int | str, ...], root: type[BaseModel]) -> FieldInfo | None:
    """Give the last field of a model on a path: the path may go on into its list or its map."""
    found: Any = root
    field: FieldInfo | None = None
    for part in path:
        model = None if isinstance(part, int) else _model_of(found)
        if model is not None:
            field = next((known for name, known in model.model_fields.items() if _wire_name(model, name) == part), None)
        found = found if isinstance(part, int) else _inside(found, part)
    return field


def _patterns(annotation: Any, constraints: typing.Iterable[Any]) -> Iterator[str]:  # noqa: ANN401 - any type form
    """Give the patterns of a text, of the items of a list, or of the values of a map."""
    for constraint in constraints:
        given = constraint.metadata if isinstance(constraint, FieldInfo) else [constraint]
        yield from (one.pattern for one in given if getattr(one, "pattern", None))
    inner = typing.get_args(annotation)[1 if typing.get_origin(annotation) is dict else 0 :]
    for argument in inner if not hasattr(annotation, "__metadata__") else ():
        yield from _patterns(argument, getattr(argument, "__metadata__", ()))


def _inside(annotation: Any, part: str) -> Any:  # noqa: ANN401 - an annotation is any type form
    """Give the type of a field, or of the values of a map."""
    if typing.get_origin(annotation) is dict:
        return typing.get_args(annotation)[1]
    model = _model_of(annotation)
    fields = {} if model is None else model.model_fields
    by_wire = {_wire_name(model, name): field.annotation for name, field in fields.items() if model is not None}
    return by_wire.get(part)


def _wire_name(model: type[BaseModel], name: str) -> str:
    return model.model_fields[name].alias or name


def _model_of(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - an annotation is any type form
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (list, typing.Union, types.UnionType):
        models = (_model_of(argument) for argument in typing.get_args(annotation))
        return next((model for model in models if model is not None), None)
    return None
