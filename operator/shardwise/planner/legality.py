"""Which layouts a model and an engine allow. Every refusal names the number and the legal values."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import Attention, DenseFfn, ExpertFfn, Ffn, GroupedAttention, ModelFacts, Precision
from shardwise.domain.refusal import BlockSplit, Cause, NoExperts, NotDivisible, PipelineUnsupported, TooManyStages
from shardwise.planner.pipeline_support import NO_PIPELINE
from shardwise.planner.stages import kinds
from shardwise.planner.weights import padded_vocabulary


@lru_cache(maxsize=65536)
def illegal(model: ModelFacts, engine: EngineName, layout: Layout) -> Cause | None:
    """Give the first rule a layout breaks, or ``None`` when it may be launched."""
    return _pipeline(model, engine, layout.pipeline) or _no_experts(model, layout) or tensor_cause(model, layout)


def tensor_cause(model: ModelFacts, layout: Layout) -> Cause | None:
    """Check everything that the tensor degree must divide."""
    return next(_tensor_causes(model, layout), None)


def legal_tensors(model: ModelFacts, *, expert: bool = False, most: int = 512) -> tuple[int, ...]:
    """List the tensor degrees up to ``most`` that every dimension of the model allows, ascending."""
    return _legal_tensors(model, expert, most)


@lru_cache(maxsize=1024)
def _legal_tensors(model: ModelFacts, expert: bool, most: int) -> tuple[int, ...]:  # noqa: FBT001 - a cache key
    degrees = range(1, min(most, heads(model)) + 1)
    return tuple(degree for degree in degrees if tensor_cause(model, Layout(degree, 1, expert)) is None)


def heads(model: ModelFacts) -> int:
    """Give the attention heads of the layer that has the fewest."""
    return min(layer.attention.heads for layer in kinds(model))


@lru_cache(maxsize=1024)
def has_experts(model: ModelFacts) -> bool:
    """Tell whether any layer is a mixture of experts."""
    return any(isinstance(layer.ffn, ExpertFfn) for layer in kinds(model))


def _pipeline(model: ModelFacts, engine: EngineName, pipeline: int) -> Cause | None:
    if pipeline > len(model.layers):
        return TooManyStages(pipeline, len(model.layers))
    if pipeline > 1 and model.architecture in NO_PIPELINE:
        return PipelineUnsupported(engine.value, model.architecture)
    return None


def _no_experts(model: ModelFacts, layout: Layout) -> Cause | None:
    """Refuse whole experts where there are none: vLLM stops at start when told to deal out a dense model's."""
    if layout.expert and not has_experts(model):
        return NoExperts()
    return None


def _tensor_causes(model: ModelFacts, layout: Layout) -> Iterator[Cause]:
    tensor = layout.tensor
    for layer in kinds(model):
        yield from _attention_causes(model, layer.attention, tensor)
        yield from _ffn_causes(model, layer.ffn, layout)
    vocabulary = padded_vocabulary(model.vocabulary)
    yield from _divides("vocabulary entries", vocabulary, tensor)


def _attention_causes(model: ModelFacts, attention: Attention, tensor: int) -> Iterator[Cause]:
    if attention.heads % tensor:
        yield NotDivisible("attention heads", attention.heads, tensor, _divisors(attention.heads))
        return
    if not isinstance(attention, GroupedAttention):
        yield from _blocks(model.linear, "attention output", attention.heads * attention.value_dim, tensor)
        return
    if attention.kv_heads % tensor and tensor % attention.kv_heads:
        legal = tuple(d for d in _divisors(attention.heads) if not (attention.kv_heads % d and d % attention.kv_heads))
        yield NotDivisible("KV heads", attention.kv_heads, tensor, legal)
        return
    yield from _blocks(model.linear, "queries", attention.heads * attention.head_dim, tensor)
    shared = min(tensor, attention.kv_heads)
    yield from _blocks(_along_outputs(model.linear), "keys", attention.kv_heads * attention.head_dim, shared, tensor)


def _along_outputs(precision: Precision) -> Precision:
    """Give the blocks a weight meets that is split along its outputs only, as keys and values are."""
    return precision if precision.block is None else replace(precision, block=(precision.block[0], 1))


def _ffn_causes(model: ModelFacts, ffn: Ffn, layout: Layout) -> Iterator[Cause]:
    if isinstance(ffn, DenseFfn):
        yield from _width(model.linear, "feed-forward columns", ffn.intermediate, layout.tensor)
        return
    if ffn.shared_intermediate:
        yield from _width(model.linear, "shared-expert columns", ffn.shared_intermediate, layout.tensor)
    if not layout.expert:
        yield from _width(model.expert, "expert columns", ffn.intermediate, layout.tensor)


def _width(precision: Precision, what: str, size: int, tensor: int) -> Iterator[Cause]:
    yield from _divides(what, size, tensor)
    yield from _blocks(precision, what, size, tensor)


def _divides(what: str, size: int, tensor: int) -> Iterator[Cause]:
    if size % tensor:
        yield NotDivisible(what, size, tensor, _divisors(size))


def _blocks(precision: Precision, what: str, size: int, parts: int, tensor: int | None = None) -> Iterator[Cause]:
    """Each partition of a quantised weight must hold whole blocks; one alone is never cut."""
    if precision.block is None or parts == 1 or size % parts:
        return
    edge = max(precision.block)
    if (size // parts) % edge:
        legal = tuple(degree for degree in _divisors(size) if (size // degree) % edge == 0)
        yield BlockSplit(what, size // parts, edge, tensor or parts, legal)


@lru_cache(maxsize=4096)
def _divisors(size: int) -> tuple[int, ...]:
    return tuple(degree for degree in range(1, min(size, 512) + 1) if size % degree == 0)
