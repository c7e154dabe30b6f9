"""Config fields of well-known models, so that planning them needs no network: ``data/models.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from shardwise.data import table


@dataclass(frozen=True, slots=True)
class ModelRow:
    """An entry of ``models.json``: the fields that Shardwise reads of a model's published config.json.

    ``also`` lists other models whose config.json has the same fields.
    """

    source: str
    config: Mapping[str, object]
    also: tuple[str, ...] = ()


@cache
def configs() -> Mapping[str, Mapping[str, object]]:
    """Give the config fields of every model of the catalog, by its Hugging Face id."""
    rows = table("models.json", ModelRow)
    return {name: row.config for own, row in rows.items() for name in (own, *row.also)}


def lookup(name: str) -> Mapping[str, object] | None:
    """Give the config fields of a model by its Hugging Face id, or ``None`` if the catalog does not have the model."""
    return configs().get(name)
