"""The parts of a model that matter for splitting it over GPUs.

A model is a sequence of layers. A layer is a list of weights and the cache that it keeps for a sequence. Every weight
says how the ranks of a tensor group share it. Bytes per rank, legal degrees and bytes read per token therefore follow
from the same list, for every architecture.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

from shardwise.domain.engine import EngineName

HEADS: Final = "attention heads"
"""The units of queries, and of what attention gives back."""

COLUMNS: Final = "feed-forward columns"
"""The units of a feed-forward block that is no expert."""

SHARED_COLUMNS: Final = "shared-expert columns"
"""The units of the experts that serve all tokens."""


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
    ``(1, n)`` is a group along the inputs only; ``None`` allows any split. ``padded``: if blocks do not divide, engines
    split experts by whole blocks, and the last ranks get less. ``unquantised`` are the bytes per element that the
    checkpoint stores, if the engine quantises the weight when it loads it.
    """

    bytes_per_element: float
    block: tuple[int, int] | None = None
    padded: bool = False
    unquantised: float | None = None


@dataclass(frozen=True, slots=True)
class CheckpointMethod:
    """The method by which a checkpoint is quantised, as its config.json names it (``quant_method``).

    ``kind`` is the precision of most weights. ``variants`` are the entries of the config by which engines tell loadable
    checkpoints from others, as they are written: ``bits: 3``, ``quant_algo: NVFP4``. An empty ``name``: the config says
    nothing, and the published name of the model tells the kind.
    """

    name: str
    kind: Quantization
    variants: tuple[str, ...] = ()


class Split(StrEnum):
    """How the ranks of a tensor group share a weight."""

    WHOLE = "whole"
    """Every rank holds the whole weight: norms, routers, the down-projections of latent attention."""

    OUTPUTS = "outputs"
    """Column-parallel: each rank holds an equal part of the outputs."""

    INPUTS = "inputs"
    """Row-parallel: each rank holds an equal part of the inputs; an all-reduce follows."""

    COPIED = "copied"
    """Split by the outputs, into a part for each unit; further ranks hold copies: keys and values."""

    VOCABULARY = "vocabulary"
    """Split by vocabulary entries, padded as the engine pads them."""


@dataclass(frozen=True, slots=True)
class Experts:
    """The number of like weights, and the number of them that a token uses."""

    count: int
    active: int


@dataclass(frozen=True, slots=True)
class Weight:
    """A matrix ``(outputs, inputs)``, or a vector (``inputs`` 1), as the checkpoint names it inside its layer.

    The split deals out ``units``, whose plural is ``unit_name`` (attention heads); the tensor degree must divide them.
    ``experts``: every expert has such a weight, and expert parallelism deals them out whole. ``linear``: engines can
    quantise the weight. ``derived``: the checkpoint lacks the weight; the engine computes it when it loads.
    """

    name: str
    outputs: int
    inputs: int
    split: Split
    units: int
    unit_name: str
    precision: Precision
    experts: Experts | None = None
    linear: bool = True
    derived: bool = False

    @property
    def elements(self) -> int:
        """Elements, of all experts together."""
        return self.outputs * self.inputs * (self.experts.count if self.experts else 1)

    @property
    def size(self) -> float:
        """Bytes, of all experts together."""
        return self.elements * self.precision.bytes_per_element


@dataclass(frozen=True, slots=True)
class GroupedCache:
    """Keys and values of each KV head. ``window`` is tokens, if the layer attends to a window or in chunks."""

    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None = None


@dataclass(frozen=True, slots=True)
class LatentCache:
    """A compressed head, the same on every rank (DeepSeek, Kimi). ``width`` is elements per token.

    ``index_bytes`` are the bytes per token that sparse attention keeps too, in its own precision. ``rope`` elements of
    the width hold positions, if they are known apart.
    """

    width: int
    index_bytes: int = 0
    rope: int = 0


@dataclass(frozen=True, slots=True)
class StateCache:
    """A state of constant bytes per sequence (Mamba, linear attention), shared over the tensor group.

    ``size`` is its bytes with vLLM. Every rank holds ``whole`` of these bytes. ``more`` lists how many bytes other
    engines need beyond ``size``, because they keep the state in another precision. ``chunk``: FlashInfer computes
    prompts in chunks of so many tokens, so that vLLM's blocks are multiples of it on GPUs with FlashInfer's kernel.
    """

    size: int
    whole: int = 0
    more: tuple[tuple[EngineName, int], ...] = ()
    chunk: int = 1

    def on_rank(self, engine: EngineName, tensor: int) -> float:
        """Give the bytes of a sequence's state on a rank."""
        size = self.size + next((more for other, more in self.more if other is engine), 0)
        return (size - self.whole) / tensor + self.whole


SequenceCache = GroupedCache | LatentCache | StateCache


@dataclass(frozen=True, slots=True)
class Widths:
    """Elements of the intermediate results of a token in a layer. They give the size of the activations.

    ``split`` elements are shared over the tensor group, ``whole`` elements are the same on every rank, and ``expert``
    elements are shared only if each expert is split.
    """

    split: int = 0
    whole: int = 0
    expert: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A decoder layer: its weights, its cache for a sequence, and the widths of its intermediate results.

    ``reduces`` counts the all-reduces of a tensor group in the layer: after attention and after the feed-forward.
    ``state`` is kept beside ``cache`` by layers that have both attention and a state (Falcon-H1, Zamba).
    """

    weights: tuple[Weight, ...]
    cache: SequenceCache | None = None
    widths: Widths = field(default_factory=Widths)
    reduces: int = 2
    state: StateCache | None = None


@dataclass(frozen=True, slots=True)
class TowerHeads:
    """The attention heads of a tower (vision, audio). ``kind`` is its type as configs name it, without ``_vision``."""

    kind: str
    heads: int
    audio: bool = False


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """All facts about a model that the planner needs.

    ``kinds`` are its different layers, ``order`` the kind of each layer from first to last. ``embedding`` lies on the
    first stage, ``head`` on the last. ``tied``: the output head is the embedding; two different end stages both hold
    it. ``tower`` (vision, audio) lies on the first stage. ``drafts`` are in the checkpoint, and are loaded only for
    speculative decoding. ``checkpoint_bytes`` is the published size of the checkpoint, if it is known; it wins over the
    sum of the weights. ``origin`` names the source of the facts. ``guessed``: nobody has checked the architecture by
    counting. ``kv_cache_dtype`` is the precision of keys and values that the checkpoint states (``fp8``), if any.
    ``dtype`` is the precision of its plain weights, as the config names it (``bfloat16``), or ``auto``.
    ``method`` is how the checkpoint is quantised, whatever the object asks for; ``None`` if it is not.
    ``tower_heads`` are the heads of its towers, where the config states them.
    ``states_architecture``: the config names the class of ``architecture``; otherwise its name follows from the type.
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
    dtype: str = "auto"
    method: CheckpointMethod | None = None
    states_architecture: bool = True
    tower_heads: tuple[TowerHeads, ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, first to last."""
        return tuple(self.kinds[kind] for kind in self.order)

    @property
    def in_blocks(self) -> bool:
        """Whether any layer stores weights in quantisation blocks."""
        return any(weight.precision.block is not None for layer in self.kinds for weight in layer.weights)

    @property
    def is_latent(self) -> bool:
        """Whether the attention of any layer is latent."""
        return any(isinstance(layer.cache, LatentCache) for layer in self.kinds)

    @property
    def is_sparse(self) -> bool:
        """Whether attention is latent and looks at chosen tokens only, which an index in the cache finds."""
        return any(isinstance(layer.cache, LatentCache) and layer.cache.index_bytes > 0 for layer in self.kinds)

    def loaded(self) -> Iterator[Weight]:
        """Give every weight that an engine loads to serve, derived weights included, each once."""
        yield from self.embedding
        yield from self.tower
        for layer in self.layers:
            yield from layer.weights
        yield from self.head

    @property
    def fetched_bytes(self) -> int:
        """The bytes of the checkpoint's weights: the published size, or else the counted size with drafts."""
        stored = (weight for weight in (*self.loaded(), *self.drafts) if not weight.derived)
        return self.checkpoint_bytes or round(sum(weight.size for weight in stored))

    def __hash__(self) -> int:
        """Hash a few fields that tell models apart. Hashing all layers at every look-up costs more than planning."""
        return hash((self.name, self.hidden, self.quantization))


@lru_cache(maxsize=1024)
def expert_count(model: ModelFacts) -> int:
    """Count the experts of the mixture with the fewest; 0 for a model without experts."""
    return min((experts.count for experts in _experts(model)), default=0)


@lru_cache(maxsize=1024)
def busy_experts(model: ModelFacts) -> int:
    """Count the experts that a token uses in the layer where they are the most; 0 for a model without experts."""
    return max((experts.active for experts in _experts(model)), default=0)


def _experts(model: ModelFacts) -> Iterator[Experts]:
    return (weight.experts for layer in model.kinds for weight in layer.weights if weight.experts is not None)
