"""The towers (vision, audio) that an engine splits over a tensor group: ``data/towers.toml``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from shardwise.data import table
from shardwise.domain.demand import TowerUse
from shardwise.domain.engine import EngineName


@dataclass(frozen=True, slots=True)
class TowerRow:
    """An entry of ``towers.toml``, which explains the fields."""

    source: str
    splits: tuple[str, ...]
    until: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole_words: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    unused_words: tuple[str, ...] = ()


@cache
def _rows() -> Mapping[str, TowerRow]:
    return table("towers.toml", TowerRow)


def tower_row(engine: EngineName) -> TowerRow | None:
    """Give the entry of an engine; ``None`` for an engine that splits no tower."""
    return _rows().get(engine.value)


def tower_use(engine: EngineName, args: Sequence[str]) -> TowerUse:
    """Tell what the arguments of an object make of the model's towers."""
    row = tower_row(engine)
    words = tuple(part for word in args for part in _parts(word))
    if row is None:
        return TowerUse.SPLIT
    if row.unused_words and _has(words, row.unused_words):
        return TowerUse.UNUSED
    return TowerUse.WHOLE if row.whole_words and _has(words, row.whole_words) else TowerUse.SPLIT


def _parts(word: str) -> Iterator[str]:
    """Give an argument as its option, in the engine's own spelling, and its value."""
    if not word.startswith("--"):
        yield word
        return
    option, equals, value = word.partition("=")
    yield option.replace("_", "-")
    if equals:
        yield value


def _has(words: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return any(words[index : index + len(wanted)] == wanted for index in range(len(words)))
