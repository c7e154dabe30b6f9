"""Facts about a ``model_type`` that its configs leave out: ``data/model-types.json``.

A config nested in another often states only the fields that differ from the defaults of its class (Llava, Gemma 3).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from shardwise.data import table


@dataclass(frozen=True, slots=True)
class ModelTypeRow:
    """An entry of ``model-types.json``.

    ``also`` lists other names of the type: older ``model_type`` values, and architectures with a name of their own.
    ``architecture`` is the model class, if its name does not follow from the type. ``defaults`` are sizes only.
    """

    source: str
    also: tuple[str, ...] = ()
    architecture: str | None = None
    defaults: Mapping[str, object] = field(default_factory=dict)


@cache
def _rows() -> Mapping[str, ModelTypeRow]:
    return table("model-types.json", ModelTypeRow)


@cache
def _aliases() -> Mapping[str, str]:
    return {alias: name for name, row in _rows().items() for alias in row.also}


def canonical(kind: str) -> str:
    """Give the name under which a type is read: the type itself, or the type that it is another name of."""
    return _aliases().get(kind, kind)


def defaults(kind: str) -> Mapping[str, object]:
    """Give the values that a type's config has for fields it does not state; empty for a type without any."""
    row = _rows().get(kind)
    return row.defaults if row is not None else {}


def architecture(kind: str) -> str:
    """Give the class that models of a type have, for a config that names no class: engines know models by it."""
    plain = kind.removesuffix("_text")
    stated = (row.architecture for name in (canonical(kind), plain) if (row := _rows().get(name)) is not None)
    spelled = "".join(part.capitalize() for part in re.split(r"[-_]", plain)) + "ForCausalLM"
    return next((found for found in stated if found is not None), spelled)
