"""How the config of each ``model_type`` is read: tables of families, each a few lines composed from parts.

Every module named here has such a table, ``FAMILIES``: ``model_type`` -> how its config is read. Each was counted
against transformers' own models.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Final

from shardwise.checkpoint.blocks import Reader

_MODULES: Final = (
    "dense",
    "experts",
    "latent",
    "gemma",
    "nested",
    "recurrent",
    "special",
    "masked",
    "legacy",
    "compressed",
    "memories",
    "remote",
    "zamba",
)
"""The families of the most used models come first: a module is loaded only if no module before it has the family."""


def reader_of(kind: str) -> Reader | None:
    """Give how the config of a ``model_type`` is read; ``None`` for a type that no family has."""
    return next((families[kind] for families in _tables() if kind in families), None)


def kinds() -> Iterator[str]:
    """Name every ``model_type`` that has a family."""
    return (kind for families in _tables() for kind in families)


def _tables() -> Iterator[Mapping[str, Reader]]:
    return (import_module(f"{__name__}.{module}").FAMILIES for module in _MODULES)
