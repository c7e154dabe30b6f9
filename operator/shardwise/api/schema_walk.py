"""The known fields at a path of a document, for messages about unknown fields."""

import types
import typing
from typing import Any

from pydantic import BaseModel


def known_fields(path: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """List the field names ``root`` has at a path such as ``("spec", "model")``, or nothing."""
    model: type[BaseModel] | None = root
    for part in path:
        model = model if isinstance(part, int) else _inside(model, part)
    return [] if model is None else [_wire_name(model, name) for name in model.model_fields]


def _inside(model: type[BaseModel] | None, part: str) -> type[BaseModel] | None:
    if model is None:
        return None
    by_wire = {_wire_name(model, name): field.annotation for name, field in model.model_fields.items()}
    return _model_of(by_wire.get(part))


def _wire_name(model: type[BaseModel], name: str) -> str:
    return model.model_fields[name].alias or name


def _model_of(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - an annotation is any type form
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (list, typing.Union, types.UnionType):
        models = (_model_of(argument) for argument in typing.get_args(annotation))
        return next((model for model in models if model is not None), None)
    return None
