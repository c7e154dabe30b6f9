"""The layouts that a model and an engine allow. Every cause names the number and the legal values."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Split, Weight
from shardwise.domain.refusal import BlockSplit, Cause, NoExperts, NotDivisible, PipelineUnsupported, TooManyStages
from shardwise.planner.engine_rules import RULES, EngineRules
from shardwise.planner.pipeline_support import can_pipeline
from shardwise.planner.weights import is_padded, padded_vocabulary

MOST_TENSOR = 512
"""The largest tensor degree considered: no NVLink domain has more GPUs."""


@lru_cache(maxsize=65536)
def illegal(model: ModelFacts, engine: EngineName, layout: Layout) -> Cause | None:
    """Give the first rule that a layout breaks; ``None`` for a legal layout.

    The cause lists the degrees that every dimension of the model allows.
    """
    broken = _pipeline(model, engine, layout.pipeline)
    broken = broken or tensor_cause(model, engine, layout.tensor, expert=layout.expert)
    if isinstance(broken, NotDivisible | BlockSplit):
        return replace(broken, legal=legal_tensors(model, engine, expert=layout.expert))
    return broken


@lru_cache(maxsize=65536)
def tensor_cause(model: ModelFacts, engine: EngineName, tensor: int, *, expert: bool) -> Cause | None:
    """Check that the tensor degree divides every dimension, and that the model has experts where they are dealt out."""
    if expert and not has_experts(model):
        return NoExperts()
    return next(_tensor_causes(model, RULES[engine], Layout(tensor, 1, expert)), None)


@lru_cache(maxsize=1024)
def legal_tensors(
    model: ModelFacts, engine: EngineName, *, expert: bool = False, most: int = MOST_TENSOR
) -> tuple[int, ...]:
    """List the tensor degrees up to ``most`` that every dimension of the model allows, ascending."""
    degrees = range(1, min(most, heads(model)) + 1)
    return tuple(degree for degree in degrees if tensor_cause(model, engine, degree, expert=expert) is None)


def legal_pipelines(model: ModelFacts, engine: EngineName) -> range:
    """Give the pipeline degrees the engine allows."""
    return range(1, len(model.order) + 1) if can_pipeline(engine, model.architecture) else range(1, 2)


@lru_cache(maxsize=1024)
def heads(model: ModelFacts) -> int:
    """Give the largest tensor degree: the units of the split weight that has the fewest units."""
    split = (weight.units for weight in _dealt(model) if weight.split in (Split.OUTPUTS, Split.INPUTS))
    return min(split, default=1)


@lru_cache(maxsize=1024)
def has_experts(model: ModelFacts) -> bool:
    """Tell whether any layer is a mixture of experts."""
    return any(weight.experts is not None for layer in model.kinds for weight in layer.weights)


@lru_cache(maxsize=1024)
def _dealt(model: ModelFacts) -> tuple[Weight, ...]:
    """Give the different weights that a tensor group deals out, in the order of the model."""
    layers = (weight for layer in model.kinds for weight in layer.weights)
    return tuple(dict.fromkeys((*layers, *model.embedding, *model.head)))


def _pipeline(model: ModelFacts, engine: EngineName, pipeline: int) -> Cause | None:
    if pipeline > len(model.order):
        return TooManyStages(pipeline, len(model.order))
    if pipeline > 1 and not can_pipeline(engine, model.architecture):
        return PipelineUnsupported(engine.value, model.architecture)
    return None


def _tensor_causes(model: ModelFacts, rules: EngineRules, layout: Layout) -> Iterator[Cause]:
    """Check whole units first: a message about heads says more than a message about quantisation blocks."""
    for weight in _dealt(model):
        yield from _units(weight, rules, layout)
    for weight in _dealt(model):
        yield from _blocks(weight, model, rules, layout)


def _units(weight: Weight, rules: EngineRules, layout: Layout) -> Iterator[Cause]:
    tensor = layout.tensor
    if weight.experts is not None and layout.expert:
        if weight.experts.count % tensor and not rules.uneven_experts:
            yield NotDivisible("experts", weight.experts.count, tensor)
        return
    match weight.split:
        case Split.OUTPUTS | Split.INPUTS if weight.units % tensor:
            yield NotDivisible(weight.unit_name, weight.units, tensor)
        case Split.COPIED if weight.units % tensor and tensor % weight.units:
            yield NotDivisible(weight.unit_name, weight.units, tensor)
        case Split.VOCABULARY if not rules.pads_vocabulary:
            entries = padded_vocabulary(weight.units)
            if entries % tensor:
                yield NotDivisible(weight.unit_name, entries, tensor)


def _blocks(weight: Weight, model: ModelFacts, rules: EngineRules, layout: Layout) -> Iterator[Cause]:
    """Check that each partition of a quantised weight holds whole blocks. Weights that are not split pass."""
    if is_padded(weight) or (weight.experts is not None and layout.expert):
        return
    outputs, inputs = rules.block(model.quantization, weight.precision)
    match weight.split:
        case Split.OUTPUTS:
            size, block, count, side = weight.outputs, outputs, layout.tensor, "outputs"
        case Split.INPUTS:
            size, block, count, side = weight.inputs, inputs, layout.tensor, "inputs"
        case Split.COPIED:
            size, block, count, side = weight.outputs, outputs, min(layout.tensor, weight.units), "outputs"
        case _:
            return
    if count > 1 and (size // count) % block:
        what = f"{side} of `{weight.name.removesuffix('.weight')}`"
        yield BlockSplit(what, size // count, block, layout.tensor)
