"""The parts that layers are made of: attention and feed-forward blocks, as weights, cache and widths.

Shapes are those of the checkpoints' own tensors (transformers 5, modeling files of each architecture); splits are those
of the engines' layers (vllm 0.33.0, model_executor/layers).
"""

from dataclasses import dataclass

from shardwise.checkpoint.making import COLUMNS, EXPERT_COLUMNS, HEADS, KV_HEADS, SHARED_COLUMNS, Maker
from shardwise.domain.model import Cache, Experts, GroupedCache, LatentCache, Split, Weight, Widths


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a layer."""

    weights: tuple[Weight, ...]
    cache: Cache | None = None
    widths: Widths = Widths()


@dataclass(frozen=True, slots=True)
class Grouped:
    """Shape of multi-head, grouped-query or multi-query attention. ``window`` in tokens, where the layer slides."""

    heads: int
    kv_heads: int
    head_dim: int
    bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Latent:
    """Shape of multi-head latent attention (DeepSeek, Kimi)."""

    heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int


def grouped_attention(make: Maker, hidden: int, shape: Grouped) -> Part:
    """Build grouped-query attention. Keys and values stop shrinking once every rank holds one of their heads."""
    query = shape.heads * shape.head_dim
    key = shape.kv_heads * shape.head_dim
    norms = make.vector("self_attn.q_norm.weight", shape.head_dim) + make.vector(
        "self_attn.k_norm.weight", shape.head_dim
    )
    return Part(
        make.linear("self_attn.q_proj", (query, hidden), Split.OUTPUTS, shape.heads, HEADS, bias=shape.bias)
        + make.linear("self_attn.k_proj", (key, hidden), Split.COPIED, shape.kv_heads, KV_HEADS, bias=shape.bias)
        + make.linear("self_attn.v_proj", (key, hidden), Split.COPIED, shape.kv_heads, KV_HEADS, bias=shape.bias)
        + make.linear("self_attn.o_proj", (hidden, query), Split.INPUTS, shape.heads, HEADS, bias=shape.out_bias)
        + (norms if shape.qk_norm else ()),
        GroupedCache(shape.kv_heads, shape.head_dim, shape.head_dim, shape.window),
        Widths(split=query),
    )


def latent_attention(make: Maker, hidden: int, shape: Latent) -> Part:
    """Build latent attention: the down-projections and the compressed cache are the same on every rank.

    Engines keep plain copies of the key-value up-projection besides, which they decode with (vllm 0.33.0, MLAAttention).
    """
    heads, head = shape.heads, shape.nope_dim + shape.rope_dim
    up = heads * (shape.nope_dim + shape.value_dim)
    absorbed = Weight(
        "self_attn.kv_b_proj.absorbed", up, shape.kv_rank, Split.OUTPUTS, heads, HEADS, make.storage.plain, None,
        linear=False, derived=True,
    )  # fmt: skip
    return Part(
        _latent_queries(make, hidden, shape)
        + make.linear("self_attn.kv_a_proj_with_mqa", (shape.kv_rank + shape.rope_dim, hidden))
        + make.vector("self_attn.kv_a_layernorm.weight", shape.kv_rank)
        + make.linear("self_attn.kv_b_proj", (up, shape.kv_rank), Split.OUTPUTS, heads, HEADS)
        + make.linear("self_attn.o_proj", (hidden, heads * shape.value_dim), Split.INPUTS, heads, HEADS)
        + (absorbed,),
        LatentCache(shape.kv_rank + shape.rope_dim),
        Widths(split=heads * (2 * head + shape.value_dim)),
    )


def _latent_queries(make: Maker, hidden: int, shape: Latent) -> tuple[Weight, ...]:
    outputs = shape.heads * (shape.nope_dim + shape.rope_dim)
    if shape.q_rank is None:
        return make.linear("self_attn.q_proj", (outputs, hidden), Split.OUTPUTS, shape.heads, HEADS)
    return (
        make.linear("self_attn.q_a_proj", (shape.q_rank, hidden))
        + make.vector("self_attn.q_a_layernorm.weight", shape.q_rank)
        + make.linear("self_attn.q_b_proj", (outputs, shape.q_rank), Split.OUTPUTS, shape.heads, HEADS)
    )


def feed_forward(
    make: Maker,
    hidden: int,
    intermediate: int,
    *,
    gated: bool = True,
    name: str = "mlp",
    what: str = COLUMNS,
    experts: Experts | None = None,
    bias: bool = False,
) -> tuple[Weight, ...]:
    """Build a feed-forward block, or all experts': gate and up projections (SwiGLU) or up alone, then down."""
    columns = ("gate_proj", "up_proj") if gated else ("up_proj",)
    wide, narrow = (intermediate, hidden), (hidden, intermediate)
    first = tuple(
        weight
        for column in columns
        for weight in make.linear(
            f"{name}.{column}", wide, Split.OUTPUTS, intermediate, what, experts=experts, bias=bias
        )
    )
    return first + make.linear(
        f"{name}.down_proj", narrow, Split.INPUTS, intermediate, what, experts=experts, bias=bias
    )


def dense(make: Maker, hidden: int, intermediate: int, *, gated: bool = True, bias: bool = False) -> Part:
    """Build the feed-forward block every token passes."""
    weights = feed_forward(make, hidden, intermediate, gated=gated, bias=bias)
    return Part(weights, widths=Widths(split=3 * intermediate))


def mixture(make: Maker, hidden: int, intermediate: int, experts: Experts, *, shared: int = 0) -> Part:
    """Build a mixture of experts: router, routed experts, and shared ones that every token passes.

    Each token is copied once per active expert, before and after the expert. Whole experts make no rank's share of the
    workspace smaller: the engine sizes it for every token meeting the same rank.
    """
    weights = make.plain("mlp.gate", (experts.count, hidden)) + feed_forward(
        make, hidden, intermediate, name="mlp.experts", what=EXPERT_COLUMNS, experts=experts
    )
    if shared:
        weights += feed_forward(make, hidden, shared, name="mlp.shared_experts", what=SHARED_COLUMNS)
    widths = Widths(split=3 * shared, whole=2 * hidden * experts.active, expert=3 * intermediate * experts.active)
    return Part(weights, widths=widths)
