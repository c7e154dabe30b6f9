"""The layouts that a model and an engine allow. Every cause names the number and the legal values."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from shardwise.domain.demand import EngineSetup
from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Split, Weight, expert_count
from shardwise.domain.refusal import BlockSplit, Cause, NoExperts, NotDivisible, PipelineUnsupported, TooManyStages
from shardwise.planner.all_to_all import exchange_cause
from shardwise.planner.data_support import data_cause
from shardwise.planner.engine_rules import EngineRules, rules_of
from shardwise.planner.expert_blocks import cut_expert_blocks
from shardwise.planner.merged import must_be_whole, outputs_on_rank
from shardwise.planner.pipeline_support import can_pipeline
from shardwise.planner.tower_support import undivided
from shardwise.planner.weights import is_padded, is_shared, padded_vocabulary

_READ: Final = EngineSetup()

MOST_TENSOR = 512
"""The largest tensor degree considered: no NVLink domain has more GPUs."""


def illegal(model: ModelFacts, engine: EngineName, layout: Layout, setup: EngineSetup = _READ) -> Cause | None:
    """Give the first rule that a layout breaks; ``None`` for a legal layout.

    The cause lists the degrees that every dimension of the model allows.
    """
    return _pipeline(model, engine, layout.pipeline) or _illegal_stage(model, engine, layout.of_stage, setup)


@lru_cache(maxsize=8192)
def _illegal_stage(model: ModelFacts, engine: EngineName, layout: Layout, setup: EngineSetup) -> Cause | None:
    """See :func:`illegal`. All pipelines of the same stages share the answer."""
    broken = data_cause(model, engine, layout, setup.release, setup.redundant_experts)
    broken = broken or exchange_cause(model, engine, layout, setup.all_to_all, setup.redundant_experts)
    broken = broken or tensor_cause(model, engine, layout.tensor, setup, expert=layout.expert, data=layout.data)
    if isinstance(broken, NotDivisible | BlockSplit) and layout.data == 1 and not setup.redundant_experts:
        return replace(broken, legal=legal_tensors(model, engine, setup, expert=layout.expert))
    return broken


@lru_cache(maxsize=65536)
def tensor_cause(
    model: ModelFacts, engine: EngineName, tensor: int, setup: EngineSetup = _READ, *, expert: bool, data: int = 1
) -> Cause | None:
    """Check that the tensor degree divides every dimension, and that the model has experts where they are dealt out.

    ``data`` tensor groups divide the experts.
    """
    if expert and not has_experts(model):
        return NoExperts()
    return next(_tensor_causes(model, engine, Layout(tensor, 1, expert, data), setup), None)


@lru_cache(maxsize=1024)
def legal_tensors(
    model: ModelFacts, engine: EngineName, setup: EngineSetup = _READ, *, expert: bool = False, most: int = MOST_TENSOR
) -> tuple[int, ...]:
    """List the tensor degrees up to ``most`` that every dimension of the model allows, ascending."""
    degrees = range(1, min(most, heads(model)) + 1)
    return tuple(degree for degree in degrees if tensor_cause(model, engine, degree, setup, expert=expert) is None)


def legal_pipelines(model: ModelFacts, engine: EngineName) -> range:
    """Give the pipeline degrees the engine allows."""
    return range(1, len(model.order) + 1) if can_pipeline(engine, model.architecture) else range(1, 2)


@lru_cache(maxsize=1024)
def heads(model: ModelFacts) -> int:
    """Give the largest tensor degree: the units of the split weight that has the fewest units."""
    split = (weight.units for weight in _dealt(model) if weight.split in (Split.OUTPUTS, Split.INPUTS))
    return min(split, default=1)


def has_experts(model: ModelFacts) -> bool:
    """Tell whether any layer is a mixture of experts."""
    return expert_count(model) > 0


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


def _tensor_causes(model: ModelFacts, engine: EngineName, layout: Layout, setup: EngineSetup) -> Iterator[Cause]:
    """Check whole units first: a message about heads says more than a message about quantisation blocks."""
    rules = rules_of(engine, setup.release)
    for weight in _dealt(model):
        yield from _units(weight, model, rules, layout, setup.redundant_experts)
    yield from undivided(model, engine, setup, layout.tensor)
    for weight in _dealt(model):
        yield from _blocks(weight, model, rules, layout)


def _units(weight: Weight, model: ModelFacts, rules: EngineRules, layout: Layout, redundant: int) -> Iterator[Cause]:
    tensor = layout.tensor if weight.experts is None else layout.stage_gpus
    if weight.experts is not None and layout.expert:
        if (weight.experts.count + redundant) % tensor and not rules.uneven_experts:
            yield NotDivisible("experts", weight.experts.count, tensor)
        return
    match weight.split:
        case Split.OUTPUTS | Split.INPUTS if weight.units % tensor:
            yield NotDivisible(weight.unit_name, weight.units, tensor)
        case Split.COPIED if weight.units % tensor and not _copies(weight, model, rules, tensor):
            yield NotDivisible(weight.unit_name, weight.units, tensor)
        case Split.VOCABULARY if not rules.pads_vocabulary:
            entries = padded_vocabulary(weight.units)
            if entries % tensor:
                yield NotDivisible(weight.unit_name, entries, tensor)


def _copies(weight: Weight, model: ModelFacts, rules: EngineRules, tensor: int) -> bool:
    """Tell whether several ranks may hold the same unit, such as a KV head."""
    return tensor % weight.units == 0 and model.architecture not in rules.never_copies


def _blocks(weight: Weight, model: ModelFacts, rules: EngineRules, layout: Layout) -> Iterator[Cause]:
    """Check that each partition of a quantised weight holds whole blocks, where the engine needs whole blocks."""
    if is_padded(weight) or (is_shared(weight) and model.architecture in rules.pads_shared):
        return
    if weight.experts is not None:
        yield from cut_expert_blocks(weight, model, rules, layout)
        return
    outputs, inputs = rules.block(model.quantization, weight.precision)
    if weight.split is Split.INPUTS:
        size, block, side, binds = weight.inputs // layout.tensor, inputs, "inputs", layout.tensor > 1
    else:
        size, block, side = outputs_on_rank(weight, layout.tensor), outputs, "outputs"
        binds = must_be_whole(weight, model, rules, layout.tensor)
    if binds and size % block:
        yield BlockSplit(f"{side} of `{weight.name.removesuffix('.weight')}`", size, block, layout.tensor)
