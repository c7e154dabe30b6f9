"""What a model is made of, as far as splitting it over GPUs asks.

A model is a sequence of layers, a layer is a list of weights and what it keeps of a sequence. Every weight says how
the ranks of a tensor group share it, so that bytes per rank, legal degrees and bytes read per token all follow from one
list, for every architecture alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Quantization(StrEnum):
    """How the linear weights are stored. ``NONE`` is the checkpoint's plain dtype."""

    NONE = "none"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"
    MXFP4 = "mxfp4"
    NVFP4 = "nvfp4"


@dataclass(frozen=True, slots=True)
class Precision:
    """Bytes per element of a stored weight, block scales included.

    ``block`` is the edge of a quantisation block ``(outputs, inputs)``; a partition of a weight must hold whole blocks.
    ``(1, n)`` is a group along the inputs only; ``None`` means that any split is fine. ``padded``: engines split
    experts by whole blocks, the last ranks getting less, where their number does not divide.
    """

    bytes_per_element: float
    block: tuple[int, int] | None = None
    padded: bool = False


class Split(StrEnum):
    """How the ranks of a tensor group share a weight."""

    WHOLE = "whole"
    """Every rank holds all of it: norms, routers, the down-projections of latent attention."""

    OUTPUTS = "outputs"
    """Column-parallel: each rank holds an equal part of the outputs."""

    INPUTS = "inputs"
    """Row-parallel: each rank holds an equal part of the inputs; an all-reduce follows."""

    COPIED = "copied"
    """By the outputs, in as many parts as there are units; ranks beyond them hold copies: keys and values."""

    VOCABULARY = "vocabulary"
    """By vocabulary entries, padded as the engine pads them."""


@dataclass(frozen=True, slots=True)
class Experts:
    """Of how many like weights one is, and how many of them a token meets."""

    count: int
    active: int


@dataclass(frozen=True, slots=True)
class Weight:
    """A matrix ``(outputs, inputs)``, or a vector (``inputs`` 1), as the checkpoint names it inside its layer.

    ``units`` of the kind ``what`` (attention heads, columns) are what the split deals out; they must divide by the
    tensor degree. ``experts``: there are that many of it, dealt out whole under expert parallelism. ``linear``: of the
    kind that engines quantise when told to. ``derived``: no tensor of the checkpoint, made by the engine when it loads.
    """

    name: str
    outputs: int
    inputs: int
    split: Split
    units: int
    what: str
    precision: Precision
    experts: Experts | None = None
    linear: bool = True
    derived: bool = False

    @property
    def elements(self) -> int:
        """Elements of all experts' together."""
        return self.outputs * self.inputs * (self.experts.count if self.experts else 1)

    @property
    def size(self) -> float:
        """Bytes of all experts' together."""
        return self.elements * self.precision.bytes_per_element


@dataclass(frozen=True, slots=True)
class GroupedCache:
    """Keys and values of each KV head. ``window`` in tokens, where the layer slides or attends in chunks."""

    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None = None


@dataclass(frozen=True, slots=True)
class LatentCache:
    """One compressed head, the same on every rank (DeepSeek, Kimi). ``width`` in elements a token.

    ``index_bytes`` are what sparse attention keeps besides, a token, in a precision of its own.
    """

    width: int
    index_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StateCache:
    """A state of constant size a sequence (Mamba, linear attention), shared over the tensor group. Bytes."""

    size: int


SequenceCache = GroupedCache | LatentCache | StateCache


@dataclass(frozen=True, slots=True)
class Widths:
    """Elements of intermediate results one token has in a layer: activations are sized by them.

    ``split`` are shared over the tensor group, ``whole`` are the same on every rank, ``expert`` are shared only while
    each expert is split.
    """

    split: int = 0
    whole: int = 0
    expert: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer: its weights, what it keeps of a sequence, and how wide it gets.

    ``reduces`` counts the all-reduces a tensor group does in it: one after attention, one after the feed-forward.
    ``state`` is what it keeps besides ``cache``, where it attends and has a state as well (Falcon-H1, Zamba).
    """

    weights: tuple[Weight, ...]
    cache: SequenceCache | None = None
    widths: Widths = field(default_factory=Widths)
    reduces: int = 2
    state: StateCache | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Everything the planner asks of a model.

    ``kinds`` are its different layers, ``order`` the kind of each layer from first to last. ``embedding`` lies on the
    first stage, ``head`` on the last; ``tied``: the output head is the embedding, which both ends hold when they are
    different stages. ``tower`` (vision, audio) lies on the first stage. ``drafts`` are in the checkpoint, and loaded
    only for speculative decoding. ``checkpoint_bytes`` is the published size of all of it where it is known; it wins
    over the sum of the weights. ``origin`` says where the facts come from. ``guessed``: read off an architecture nobody
    counted. ``kv_cache_dtype``: in which the checkpoint says that keys and values are to be kept (``fp8``), if it does.
    """

    name: str
    architecture: str
    kinds: tuple[Layer, ...]
    order: tuple[int, ...]
    embedding: tuple[Weight, ...]
    head: tuple[Weight, ...]
    tied: bool
    hidden: int
    vocabulary: int
    context_length: int
    quantization: Quantization
    origin: str
    tower: tuple[Weight, ...] = ()
    drafts: tuple[Weight, ...] = ()
    checkpoint_bytes: int | None = None
    guessed: bool = False
    notes: tuple[str, ...] = field(default=())
    kv_cache_dtype: str | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, first to last."""
        return tuple(self.kinds[kind] for kind in self.order)

    @property
    def in_blocks(self) -> bool:
        """Whether any layer's weights are stored in quantisation blocks."""
        return any(weight.precision.block is not None for layer in self.kinds for weight in layer.weights)

    def loaded(self) -> Iterator[Weight]:
        """Give every weight an engine loads to serve, once each, those it derives included."""
        yield from self.embedding
        yield from self.tower
        for layer in self.layers:
            yield from layer.weights
        yield from self.head

    def __hash__(self) -> int:
        """Hash what tells models apart; walking all layers on every look-up would cost more than planning."""
        return hash((self.name, self.architecture, len(self.order), self.hidden, self.quantization))
