"""Drift: a field of an object that the operator made differs from the field that the operator applied."""

from dataclasses import dataclass
from typing import Any

FieldPath = tuple[str, ...]
"""A path in the notation of managed fields (FieldsV1): ``f:`` before a field, ``k:`` before the keys of a list item."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A field that differs from the applied value ``wanted``. ``present`` is its value now, ``None`` if it is absent.

    ``managers`` are the other field managers that own the field by now, as the API server records them.
    """

    path: FieldPath
    present: Any
    wanted: Any
    managers: tuple[str, ...] = ()
