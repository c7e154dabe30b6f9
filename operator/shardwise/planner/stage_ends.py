"""The ends of a model that an engine builds on every pipeline stage: ``data/stage-ends.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from shardwise.data import table
from shardwise.domain.engine import EngineName


@dataclass(frozen=True, slots=True)
class StageEndRow:
    """An entry of ``stage-ends.toml``: the architectures whose embedding, or whose head, is on every stage."""

    source: str
    embedding: tuple[str, ...]
    head: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndsEverywhere:
    """Whether every stage holds the embedding, and whether every stage holds the output head."""

    embedding: bool = False
    head: bool = False


@cache
def _rows() -> Mapping[str, StageEndRow]:
    return table("stage-ends.toml", StageEndRow)


@cache
def ends_everywhere(engine: EngineName, architecture: str) -> EndsEverywhere:
    """Tell which ends of an architecture an engine builds on every stage. An engine without an entry builds none."""
    row = _rows().get(engine.value)
    if row is None:
        return EndsEverywhere()
    return EndsEverywhere(architecture in row.embedding, architecture in row.head)
