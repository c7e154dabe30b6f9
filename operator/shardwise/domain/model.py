"""What a model is made of, as far as splitting it over GPUs asks.

Shapes are element counts of the checkpoint's own tensors; bytes come from the precision they are stored in.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Quantization(StrEnum):
    """How the linear weights are stored. ``NONE`` is the checkpoint's plain dtype."""

    NONE = "none"
    FP8 = "fp8"
    INT4 = "int4"
    MXFP4 = "mxfp4"
    NVFP4 = "nvfp4"


@dataclass(frozen=True, slots=True)
class Precision:
    """Bytes per element of one kind of tensor, block scales included.

    ``block`` is the edge of a quantisation block ``(out, in)``; a partition of a weight must be a multiple of it.
    ``(1, n)`` is a group along the input only; ``None`` means that any split is fine.
    """

    bytes_per_element: float
    block: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class GroupedAttention:
    """Multi-head, grouped-query or multi-query attention. ``window`` in tokens, where the layer slides."""

    heads: int
    kv_heads: int
    head_dim: int
    bias: bool = False
    qk_norm: bool = False
    window: int | None = None


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek, Kimi): one compressed key-value head, the same on every rank."""

    heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int


Attention = GroupedAttention | LatentAttention


@dataclass(frozen=True, slots=True)
class DenseFfn:
    """A feed-forward block every token passes. ``gated``: gate and up projections (SwiGLU), else up only."""

    intermediate: int
    gated: bool = True


@dataclass(frozen=True, slots=True)
class ExpertFfn:
    """A mixture of experts: ``active`` of ``experts`` per token, and shared ones that every token passes."""

    experts: int
    active: int
    intermediate: int
    shared_intermediate: int = 0


Ffn = DenseFfn | ExpertFfn


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer."""

    attention: Attention
    ffn: Ffn


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Everything the planner asks of a model.

    ``linear`` is the precision of attention and dense FFN weights, ``expert`` that of routed experts, ``plain`` that
    of what stays unquantised (embeddings, output head, norms, router). ``checkpoint_bytes`` is the published size
    where it is known; it wins over the sum of the tensors. ``origin`` says where the facts come from.
    """

    name: str
    architecture: str
    layers: tuple[Layer, ...]
    hidden: int
    vocabulary: int
    tied_embeddings: bool
    context_length: int
    quantization: Quantization
    linear: Precision
    expert: Precision
    plain: Precision
    origin: str
    checkpoint_bytes: int | None = None
    notes: tuple[str, ...] = field(default=())

    def __hash__(self) -> int:
        """Hash what tells models apart; walking all layers on every look-up would cost more than planning."""
        return hash((self.name, self.architecture, len(self.layers), self.hidden, self.quantization, self.linear))
