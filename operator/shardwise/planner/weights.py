"""The bytes of weights on a rank, at a tensor degree: split, copied, or whole on every rank."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import COLUMNS, SHARED_COLUMNS, ModelFacts, Split, Weight
from shardwise.planner.stage_ends import ends_everywhere
from shardwise.planner.stages import Stage

VOCABULARY_PADDING = 64
"""Engines pad the vocabulary to a multiple of this (vllm 0.33.0 and sglang 0.5.23, vocab_parallel_embedding.py)."""


def padded_vocabulary(vocabulary: int) -> int:
    """Round a vocabulary up as the engine does."""
    return ceil(vocabulary / VOCABULARY_PADDING) * VOCABULARY_PADDING


@dataclass(frozen=True, slots=True)
class Spread:
    """The number of GPUs that share the feed-forward blocks, the shared experts, the output head and the embedding.

    ``redundant`` experts are held beside all experts of a mixture.
    """

    dense: int
    shared: int
    head: int
    embedding: int
    redundant: int = 0


def parts(weight: Weight, layout: Layout, spread: Spread | None = None) -> float:
    """Give the number of equal parts of a weight on the GPUs of a stage: 1 where every rank holds the whole weight.

    Copied units (KV heads) cannot be split further once every rank holds a single unit. Whole experts are dealt out;
    the fullest rank gets another expert where their number does not divide. ``spread`` is for engines that share other
    parts over data ranks; without it, a tensor group shares all parts but the experts.
    """
    tensor = _sharers(weight, layout, spread)
    if weight.experts is not None and layout.expert:
        redundant = 0 if spread is None else spread.redundant
        return weight.experts.count / ceil((weight.experts.count + redundant) / tensor)
    match weight.split:
        case Split.WHOLE:
            return 1
        case Split.COPIED:
            return min(tensor, weight.units)
        case Split.OUTPUTS | Split.INPUTS:
            return _whole_blocks(weight, tensor) if is_padded(weight) or _is_padded_shared(weight, tensor) else tensor
        case Split.VOCABULARY:
            return tensor * weight.units / padded_vocabulary(weight.units)


def _sharers(weight: Weight, layout: Layout, spread: Spread | None) -> int:
    if weight.experts is not None:
        return layout.stage_gpus
    if spread is None:
        return layout.tensor
    if is_shared(weight):
        return spread.shared
    return spread.dense if weight.unit_name == COLUMNS else layout.tensor


def is_padded(weight: Weight) -> bool:
    """Tell whether engines split a weight by whole blocks, even into unequal parts."""
    return weight.precision.padded and weight.experts is not None


def is_shared(weight: Weight) -> bool:
    """Tell whether a weight belongs to the experts that serve all tokens."""
    return weight.unit_name == SHARED_COLUMNS


def _is_padded_shared(weight: Weight, tensor: int) -> bool:
    """Tell whether shared experts do not divide into whole fp8 blocks: an engine that serves them pads the blocks."""
    block = weight.precision.block
    return is_shared(weight) and block is not None and block[0] > 1 and bool(weight.units % (max(block) * tensor))


def _whole_blocks(weight: Weight, tensor: int) -> float:
    blocks = ceil(weight.units / max(weight.precision.block or (1, 1)))
    return blocks / ceil(blocks / tensor)


def bytes_on_rank(
    weights: Iterable[Weight], layout: Layout, spread: Spread | None = None, *, unquantised: bool = False
) -> float:
    """Sum the bytes of weights on the fullest rank of a stage.

    ``unquantised``: count the weights that the engine quantises when it loads them as the checkpoint stores them.
    """
    return sum((_stored(weight) if unquantised else weight.size) / parts(weight, layout, spread) for weight in weights)


def _stored(weight: Weight) -> float:
    unquantised = weight.precision.unquantised
    return weight.size if unquantised is None else weight.elements * unquantised


@lru_cache(maxsize=1024)
def is_quantised_on_load(model: ModelFacts) -> bool:
    """Tell whether the engine quantises any weight of a layer when it loads the model."""
    return any(weight.precision.unquantised is not None for layer in model.kinds for weight in layer.weights)


@lru_cache(maxsize=1024)
def has_experts_in_fp8_blocks(model: ModelFacts) -> bool:
    """Tell whether any layer has experts in blocks of fp8, such as 128 × 128."""
    return any(_is_in_fp8_blocks(weight) for layer in model.kinds for weight in layer.weights)


def _is_in_fp8_blocks(weight: Weight) -> bool:
    block = weight.precision.block
    in_bytes = 1 <= weight.precision.bytes_per_element < 2  # noqa: PLR2004 - a byte and its share of a scale
    return weight.experts is not None and in_bytes and block is not None and min(block) > 1


@lru_cache(maxsize=1024)
def relaid_bytes(model: ModelFacts, layout: Layout) -> tuple[float, ...]:
    """Give the bytes of the gates and ups of the experts in fp8 blocks, of a layer of each kind on a rank."""
    return tuple(
        bytes_on_rank(
            (weight for weight in layer.weights if _is_in_fp8_blocks(weight) and weight.split is Split.OUTPUTS), layout
        )
        for layer in model.kinds
    )


@lru_cache(maxsize=8192)
def layer_bytes(
    model: ModelFacts, layout: Layout, spread: Spread | None = None, *, unquantised: bool = False
) -> tuple[float, ...]:
    """Give the bytes of a layer of each kind on a rank, see :func:`bytes_on_rank`."""
    return tuple(bytes_on_rank(layer.weights, layout, spread, unquantised=unquantised) for layer in model.kinds)


@dataclass(frozen=True, slots=True)
class EndBytes:
    """A rank's bytes for the ends of a model: on a first, a middle and a last stage, and on a stage that is both."""

    first: float
    middle: float
    last: float
    both: float

    def on(self, stage: Stage) -> float:
        """Give the bytes on a stage."""
        if stage.first and stage.last:
            return self.both
        if stage.first:
            return self.first
        return self.last if stage.last else self.middle


@lru_cache(maxsize=8192)
def end_bytes(model: ModelFacts, tensor: int, engine: EngineName, spread: Spread | None = None) -> EndBytes:
    """Give the bytes of a model's ends on a rank.

    A tied embedding is held once on a stage that has both ends. Some classes build an end on every stage.
    ``spread`` says how many GPUs share them, if not those of a tensor group.
    """
    every = ends_everywhere(engine, model.architecture)
    embedding = bytes_on_rank(model.embedding, Layout(spread.embedding if spread else tensor, 1))
    head = bytes_on_rank(model.head, Layout(spread.head if spread else tensor, 1))
    tower = bytes_on_rank(model.tower, Layout(tensor, 1))
    spare_head, spare_embedding = head if every.head else 0, embedding if every.embedding else 0
    return EndBytes(
        first=embedding + tower + spare_head,
        middle=spare_embedding + spare_head,
        last=head + (embedding if model.tied or every.embedding else 0),
        both=embedding + tower + head,
    )


def loaded_bytes(model: ModelFacts) -> float:
    """Sum the bytes of the weights that an engine loads to serve, without drafts and derived weights."""
    return sum(weight.size for weight in model.loaded() if not weight.derived)


@lru_cache(maxsize=1024)
def checkpoint_scale(model: ModelFacts) -> float:
    """Give the factor from counted weights to the published size of the checkpoint; 1 where the size is not known."""
    if model.checkpoint_bytes is None:
        return 1.0
    return model.checkpoint_bytes / (loaded_bytes(model) + sum(weight.size for weight in model.drafts))
