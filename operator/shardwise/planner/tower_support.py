"""The towers (vision, audio) that an engine splits over a tensor group: ``data/towers.toml``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from shardwise.data import table
from shardwise.domain.demand import EngineSetup, TowerUse
from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.model import ModelFacts, TowerHeads
from shardwise.domain.refusal import TowerNotDivisible
from shardwise.domain.version import parse_version


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


def tower_use(engine: EngineName, args: Sequence[str]) -> TowerUse:
    """Tell what the arguments of an object make of the model's towers."""
    row = _rows().get(engine.value)
    words = tuple(part for word in args for part in _parts(word))
    if row is None:
        return TowerUse.SPLIT
    if row.unused_words and _has(words, row.unused_words):
        return TowerUse.UNUSED
    return TowerUse.WHOLE if row.whole_words and _has(words, row.whole_words) else TowerUse.SPLIT


def undivided(model: ModelFacts, engine: EngineName, setup: EngineSetup, tensor: int) -> Iterator[TowerNotDivisible]:
    """Give a cause for each tower whose heads the engine would split, and the tensor degree does not divide."""
    row = _rows().get(engine.value)
    if row is None or setup.towers is TowerUse.UNUSED:
        return
    for tower in model.tower_heads:
        can_be_whole = tower.kind in row.whole
        if tower.heads % tensor == 0 or not _is_split(tower, row, setup.release or RELEASES[engine]):
            continue
        if setup.towers is TowerUse.SPLIT or not can_be_whole:
            what = f"{'audio' if tower.audio else 'vision'} heads"
            word = " ".join(row.whole_words) if can_be_whole else None
            yield TowerNotDivisible(what, tower.heads, tensor, word=word)


def _is_split(tower: TowerHeads, row: TowerRow, release: tuple[int, int, int]) -> bool:
    before = (kinds for text, kinds in row.until.items() if release < (parse_version(text) or release))
    return tower.kind in row.splits or any(tower.kind in kinds for kinds in before)


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
