"""Weights that engines merge into a single matrix: queries, keys and values; gate and up.

The engines check each part of a merged matrix: fp8 blocks must not reach from a part into the next.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from shardwise.domain.engine import EngineName
from shardwise.domain.model import Layer, ModelFacts, Split, Weight
from shardwise.domain.notes import MergedBlocksCut
from shardwise.domain.version import Version
from shardwise.planner.engine_rules import EngineRules, MergedCheck, rules_of
from shardwise.planner.expert_blocks import is_in_squares
from shardwise.planner.weights import is_shared

_TWO_IN_ONE: Final = "in_proj_ba"
"""A weight that engines make of two, and that we count as one: the gates of linear attention."""


@lru_cache(maxsize=1024)
def merged_parts(model: ModelFacts, merges: tuple[tuple[str, ...], ...]) -> Mapping[Weight, bool]:
    """Give the weights that are parts of a merged weight, and whether each is the last part."""
    return {part: last for layer in model.kinds for part, last in _parts_of(layer, merges)}


def _parts_of(layer: Layer, merges: tuple[tuple[str, ...], ...]) -> Iterator[tuple[Weight, bool]]:
    named = {weight.name.removesuffix(".weight"): weight for weight in layer.weights if weight.experts is None}
    for name, weight in named.items():
        stem, _, leaf = name.rpartition(".")
        group = next((group for group in merges if leaf in group), (leaf,))
        parts = [named[f"{stem}.{other}"] for other in group if f"{stem}.{other}" in named]
        if len(parts) > 1 or leaf == _TWO_IN_ONE:
            yield weight, weight is parts[-1]


def must_be_whole(weight: Weight, model: ModelFacts, rules: EngineRules, tensor: int) -> bool:
    """Tell whether a rank's part of the outputs of a weight must be whole blocks."""
    is_split = tensor > 1 and weight.split in (Split.OUTPUTS, Split.COPIED)
    last = merged_parts(model, rules.merges).get(weight)
    if last is None or not is_in_squares(weight):
        return is_split and (weight.split is Split.OUTPUTS or weight.units > 1)
    match rules.check(model.method):
        case MergedCheck.WAIVED:
            return False
        case MergedCheck.ALL:
            return True
        case MergedCheck.ALL_BUT_LAST:
            return is_split or not last
        case MergedCheck.SPLIT_ONLY:
            return is_split


@lru_cache(maxsize=8192)
def cut_by_waiver(
    model: ModelFacts, engine: EngineName, release: Version | None, tensor: int
) -> MergedBlocksCut | None:
    """Give a merged weight whose blocks a rank's part cuts, where the engine does not check them; ``None`` if none."""
    rules = rules_of(engine, release)
    if rules.check(model.method) is not MergedCheck.WAIVED:
        return None
    for weight, last in merged_parts(model, rules.merges).items():
        if is_shared(weight) and model.architecture in rules.pads_shared:
            continue
        is_split = tensor > 1 and weight.split in (Split.OUTPUTS, Split.COPIED)
        size = outputs_on_rank(weight, tensor)
        block = (weight.precision.block or (1, 1))[0]
        if is_in_squares(weight) and size % block and (is_split or not last):
            return MergedBlocksCut(engine.value, weight.name.removesuffix(".weight"), size, block)
    return None


def outputs_on_rank(weight: Weight, tensor: int) -> int:
    """Give the outputs of a weight on a rank of a tensor group."""
    match weight.split:
        case Split.OUTPUTS:
            return weight.outputs // tensor
        case Split.COPIED:
            return weight.outputs // min(tensor, weight.units)
        case _:
            return weight.outputs
