"""The known fields at a path of a document, for messages about unknown fields."""

import types
import typing
from typing import Any

from pydantic import BaseModel


def known_fields(path: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """List the field names ``root`` has at a path such as ``("spec", "model")``, or nothing."""
    found: Any = root
    for part in path:
        found = found if isinstance(part, int) else _inside(found, part)
    model = _model_of(found)
    return [] if model is None else [_wire_name(model, name) for name in model.model_fields]


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
