"""The quantisation blocks of experts: whole on each rank, or made finer by the engine."""

from collections.abc import Iterator
from functools import lru_cache
from math import gcd
from typing import Final

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Quantization, Split, Weight
from shardwise.domain.refusal import BlockSplit
from shardwise.domain.version import Version
from shardwise.planner.engine_rules import EngineRules, rules_of

_FINEST: Final = 32
"""The finest fp8 block that vLLM makes of a checkpoint's (vllm 0.33.0, fused_moe/oracle/fp8.py)."""


def cut_expert_blocks(weight: Weight, model: ModelFacts, rules: EngineRules, layout: Layout) -> Iterator[BlockSplit]:
    """Give the cause where a rank's part of the experts cuts a block that the engine cannot make finer."""
    cut = _cut(weight, model, rules, layout)
    if cut is not None and not _can_be_finer(weight, model, rules, cut[0]):
        yield BlockSplit(f"{_side(weight)} of `{weight.name.removesuffix('.weight')}`", *cut, layout.stage_gpus)


@lru_cache(maxsize=8192)
def needs_finer_blocks(model: ModelFacts, engine: EngineName, release: Version | None, layout: Layout) -> bool:
    """Tell whether the engine must make blocks of experts finer in this layout."""
    rules = rules_of(engine, release)
    if model.quantization is not Quantization.FP8 or not rules.finer_blocks:
        return False
    experts = (weight for layer in model.kinds for weight in layer.weights if weight.experts is not None)
    return any(_cut(weight, model, rules, layout) is not None for weight in experts)


def _cut(weight: Weight, model: ModelFacts, rules: EngineRules, layout: Layout) -> tuple[int, int] | None:
    """Give a rank's part of an expert and the block that it cuts; ``None`` if all blocks are whole."""
    outputs, inputs = rules.block(model.quantization, weight.precision)
    shares = 1 if layout.expert else layout.stage_gpus
    match weight.split:
        case Split.OUTPUTS:
            size, block = weight.outputs // shares, outputs
            alone = rules.whole_expert_blocks and is_in_squares(weight)
        case Split.INPUTS:
            size, block, alone = weight.inputs // shares, inputs, False
        case _:
            return None
    return (size, block) if (shares > 1 or alone) and size % block else None


def _can_be_finer(weight: Weight, model: ModelFacts, rules: EngineRules, size: int) -> bool:
    if model.method is None or model.method.name not in rules.finer_blocks or not is_in_squares(weight):
        return False
    hidden = weight.inputs if weight.split is Split.OUTPUTS else weight.outputs
    return gcd(*(weight.precision.block or ()), size, hidden) >= _FINEST


def is_in_squares(weight: Weight) -> bool:
    """Tell whether a weight is stored in blocks along both sides, as fp8 is, and not in groups of inputs."""
    return weight.precision.block is not None and weight.precision.block[0] > 1


def _side(weight: Weight) -> str:
    return "outputs" if weight.split is Split.OUTPUTS else "inputs"
