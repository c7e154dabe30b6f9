"""The law of towers (vision, audio): an engine that splits a tower must divide its heads."""

from collections.abc import Iterator

from shardwise.domain.demand import EngineSetup, TowerUse
from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.model import ModelFacts, TowerHeads
from shardwise.domain.refusal import TowerNotDivisible
from shardwise.domain.towers import TowerRow, tower_row
from shardwise.domain.version import parse_version


def undivided(model: ModelFacts, engine: EngineName, setup: EngineSetup, tensor: int) -> Iterator[TowerNotDivisible]:
    """Give a cause for each tower whose heads the engine would split, and the tensor degree does not divide."""
    row = tower_row(engine)
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
