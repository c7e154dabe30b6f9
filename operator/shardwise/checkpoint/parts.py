"""The parts that layers are made of: attention and feed-forward blocks, as weights, cache and widths.

Shapes are those of the checkpoints' own tensors (transformers 5, modeling files of each architecture); splits are those
of the engines' layers (vllm 0.33.0, model_executor/layers).
"""

from dataclasses import dataclass, field
from typing import Protocol

from shardwise.checkpoint.making import COLUMNS, EXPERT_COLUMNS, HEADS, KV_HEADS, SHARED_COLUMNS, Maker
from shardwise.domain.model import Cache, Experts, GroupedCache, LatentCache, Split, Weight, Widths


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a layer. ``reduces``: all-reduces a tensor group does in it."""

    weights: tuple[Weight, ...]
    cache: Cache | None = None
    widths: Widths = field(default_factory=Widths)
    reduces: int = 0


class Shape(Protocol):
    """The dimensions of a part; equal shapes make equal parts, so that equal layers are built once."""

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part, of a model of this hidden size."""
        ...


@dataclass(frozen=True, slots=True)
class Grouped:
    """Shape of multi-head, grouped-query or multi-query attention.

    ``value_dim``: width of a value head where it is not that of a key. ``qk_norm``: a norm per head. ``norm_size``:
    elements of other norms in it. ``window`` in tokens, where the layer slides. ``gated_query``: the query projection
    makes an output gate, too. ``gate_per_head`` outputs of a gate of its own. ``sinks``: one learned number a head.
    ``shared``: keys and values are another layer's. ``values``: whether there is a projection for values.
    ``input_size``, ``output_size`` where they are not the hidden size.
    """

    heads: int
    kv_heads: int
    head_dim: int
    bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    window: int | None = None
    value_dim: int | None = None
    norm_size: int = 0
    gated_query: bool = False
    gate_per_head: int = 0
    gate_name: str = "gate_proj"
    sinks: bool = False
    shared: bool = False
    values: bool = True
    key_bias: bool | None = None
    name: str = "self_attn"
    input_size: int | None = None
    output_size: int | None = None
    cached: bool = True

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part."""
        return grouped_attention(make, hidden, self)


@dataclass(frozen=True, slots=True)
class Index:
    """Shape of the indexer of sparse attention, which picks the tokens a query looks at (DeepSeek V3.2)."""

    heads: int
    dim: int


@dataclass(frozen=True, slots=True)
class Latent:
    """Shape of multi-head latent attention (DeepSeek, Kimi).

    ``gate_per_head`` outputs of an output gate. ``query_copies``: how many compressed vectors queries (and their gate)
    are made from, where that is more than one (A.X K2).
    """

    heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    index: Index | None = None
    bias: bool = False
    gate_per_head: int = 0
    norm_size: int = 0
    sinks: bool = False
    query_copies: int = 1
    name: str = "self_attn"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part."""
        return latent_attention(make, hidden, self)


@dataclass(frozen=True, slots=True)
class Dense:
    """Shape of the feed-forward block every token passes."""

    intermediate: int
    gated: bool = True
    bias: bool = False
    name: str = "mlp"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part."""
        weights = _feed_forward(make, hidden, self, self.name, COLUMNS)
        return Part(weights, widths=Widths(split=3 * self.intermediate), reduces=1)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shape of a mixture of experts.

    ``shared``: width of the experts that every token passes, all together; ``shared_gate``: outputs of a gate on them.
    ``routes`` where the router tells more apart than the experts, ``router_bias`` elements of its biases.
    ``latent``: width the experts work in, where they do not work in the hidden size.
    """

    experts: Experts
    intermediate: int
    shared: int = 0
    shared_gate: int = 0
    gated: bool = True
    bias: bool = False
    routes: int | None = None
    router_bias: int = 0
    latent: int | None = None
    name: str = "mlp"
    router: str = "gate"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part.

        Each token is copied once per active expert, before and after the expert. Whole experts make no rank's share of
        the workspace smaller: the engine sizes it for every token meeting the same rank.
        """
        name, active = self.name, self.experts.active
        weights = make.plain(f"{name}.{self.router}", (self.routes or self.experts.count, hidden))
        if self.router_bias:
            weights += make.vector(f"{name}.{self.router}.bias", self.router_bias)
        weights += _feed_forward(make, self.latent or hidden, self, f"{name}.experts", EXPERT_COLUMNS)
        if self.shared:
            dense = Dense(self.shared, self.gated)
            weights += _feed_forward(make, hidden, dense, f"{name}.shared_experts", SHARED_COLUMNS)
        if self.shared_gate:
            weights += make.plain(f"{name}.shared_expert_gate", (self.shared_gate, hidden))
        widths = Widths(split=3 * self.shared, whole=2 * hidden * active, expert=3 * self.intermediate * active)
        return Part(weights, widths=widths, reduces=1)


@dataclass(frozen=True, slots=True)
class Vectors:
    """Norms, scales and other small things that every rank holds: so many elements of them."""

    size: int
    name: str = "norms"

    def part(self, make: Maker, _: int, /) -> Part:
        """Make the part."""
        return Part(make.vector(self.name, self.size) if self.size else ())


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of its own: ``(outputs, inputs)``. ``plain``: one that no engine quantises."""

    name: str
    outputs: int
    inputs: int
    split: Split = Split.WHOLE
    units: int = 1
    what: str = ""
    bias: bool = False
    plain: bool = False
    reduces: int = 0

    def part(self, make: Maker, _: int, /) -> Part:
        """Make the part."""
        shape = (self.outputs, self.inputs)
        if self.plain:
            return Part(make.plain(self.name, shape, self.split, self.units, self.what), reduces=self.reduces)
        made = make.linear(self.name, shape, self.split, self.units, self.what, bias=self.bias)
        return Part(made, reduces=self.reduces)


@dataclass(frozen=True, slots=True)
class Remembers:
    """What a layer keeps of a sequence where its weights are another layer's, or are said elsewhere."""

    cache: Cache

    def part(self, _: Maker, __: int, /) -> Part:
        """Make the part."""
        return Part((), self.cache)


def grouped_attention(make: Maker, hidden: int, shape: Grouped) -> Part:
    """Build grouped-query attention. Keys and values stop shrinking once every rank holds one of their heads."""
    name, heads = shape.name, shape.heads
    value_dim = shape.value_dim or shape.head_dim
    wide = shape.input_size or hidden
    query = heads * shape.head_dim * (2 if shape.gated_query else 1)
    weights = make.linear(f"{name}.q_proj", (query, wide), Split.OUTPUTS, heads, HEADS, bias=shape.bias)
    if not shape.shared:
        weights += _keys_and_values(make, wide, shape, value_dim)
    out = (shape.output_size or hidden, heads * value_dim)
    weights += make.linear(f"{name}.o_proj", out, Split.INPUTS, heads, HEADS, bias=shape.out_bias)
    if shape.gate_per_head:
        gate = (heads * shape.gate_per_head, hidden)
        weights += make.linear(f"{name}.{shape.gate_name}", gate, Split.OUTPUTS, heads, HEADS)
    if shape.sinks:
        weights += make.vector(f"{name}.sinks", heads, Split.OUTPUTS, heads, HEADS)
    norms = shape.norm_size + (shape.head_dim * (1 if shape.shared else 2) if shape.qk_norm else 0)
    if norms:
        weights += make.vector(f"{name}.norms", norms)
    cached = shape.cached and not shape.shared
    cache = GroupedCache(shape.kv_heads, shape.head_dim, value_dim, shape.window) if cached else None
    return Part(weights, cache, Widths(split=query), reduces=1)


def _keys_and_values(make: Maker, wide: int, shape: Grouped, value_dim: int) -> tuple[Weight, ...]:
    heads, name = shape.kv_heads, shape.name
    bias = shape.bias if shape.key_bias is None else shape.key_bias
    keys = (heads * shape.head_dim, wide)
    made = make.linear(f"{name}.k_proj", keys, Split.COPIED, heads, KV_HEADS, bias=bias)
    if not shape.values:
        return made
    values = (heads * value_dim, wide)
    return made + make.linear(f"{name}.v_proj", values, Split.COPIED, heads, KV_HEADS, bias=shape.bias)


def latent_attention(make: Maker, hidden: int, shape: Latent) -> Part:
    """Build latent attention: the down-projections and the compressed cache are the same on every rank.

    Engines keep plain copies of the key-value up-projection besides, to decode with (vllm 0.33.0, MLAAttention).
    """
    heads, head, name = shape.heads, shape.nope_dim + shape.rope_dim, shape.name
    up = heads * (shape.nope_dim + shape.value_dim)
    absorbed = Weight(
        f"{name}.kv_b_proj.absorbed", up, shape.kv_rank, Split.OUTPUTS, heads, HEADS, make.storage.plain, None,
        linear=False, derived=True,
    )  # fmt: skip
    down, out = (shape.kv_rank + shape.rope_dim, hidden), (hidden, heads * shape.value_dim)
    weights = (
        _latent_queries(make, hidden, shape)
        + make.linear(f"{name}.kv_a_proj_with_mqa", down, bias=shape.bias)
        + make.vector(f"{name}.norms", shape.kv_rank + (shape.q_rank or 0) + shape.norm_size)
        + make.linear(f"{name}.kv_b_proj", (up, shape.kv_rank), Split.OUTPUTS, heads, HEADS)
        + make.linear(f"{name}.o_proj", out, Split.INPUTS, heads, HEADS, bias=shape.bias)
        + (absorbed,)
    )
    if shape.gate_per_head:
        wide = hidden if shape.query_copies == 1 or shape.q_rank is None else shape.q_rank * shape.query_copies
        gate = (heads * shape.gate_per_head, wide)
        weights += make.linear(f"{name}.g_proj", gate, Split.OUTPUTS, heads, HEADS)
    if shape.sinks:
        weights += make.vector(f"{name}.sinks", heads, Split.OUTPUTS, heads, HEADS)
    weights += _indexer(make, hidden, shape) if shape.index else ()
    cache = LatentCache(shape.kv_rank + shape.rope_dim, _index_bytes(shape.index))
    return Part(weights, cache, Widths(split=heads * (2 * head + shape.value_dim)), reduces=1)


def _latent_queries(make: Maker, hidden: int, shape: Latent) -> tuple[Weight, ...]:
    outputs, name = shape.heads * (shape.nope_dim + shape.rope_dim), shape.name
    if shape.q_rank is None:
        return make.linear(f"{name}.q_proj", (outputs, hidden), Split.OUTPUTS, shape.heads, HEADS)
    return make.linear(f"{name}.q_a_proj", (shape.q_rank, hidden), bias=shape.bias) + make.linear(
        f"{name}.q_b_proj", (outputs, shape.q_rank * shape.query_copies), Split.OUTPUTS, shape.heads, HEADS
    )


def _indexer(make: Maker, hidden: int, shape: Latent) -> tuple[Weight, ...]:
    """Every rank holds the whole indexer (vllm 0.33.0, deepseek_v2.Indexer: replicated layers)."""
    index, name = shape.index, f"{shape.name}.indexer"
    if index is None:
        return ()
    return (
        make.linear(f"{name}.wq_b", (index.heads * index.dim, shape.q_rank or hidden))
        + make.linear(f"{name}.wk", (index.dim, hidden))
        + make.vector(f"{name}.k_norm", 2 * index.dim)
        + make.plain(f"{name}.weights_proj", (index.heads, hidden))
    )


def _index_bytes(index: Index | None) -> int:
    """Keys in fp8 with a float32 scale per 128 of them (vllm 0.33.0, DeepseekV32IndexerCache)."""
    return index.dim + 4 * -(-index.dim // 128) if index else 0


class _Columns(Protocol):
    """What the shapes of feed-forward blocks have in common."""

    @property
    def intermediate(self) -> int: ...
    @property
    def gated(self) -> bool: ...
    @property
    def bias(self) -> bool: ...


def _feed_forward(make: Maker, hidden: int, shape: _Columns, name: str, what: str) -> tuple[Weight, ...]:
    """Build a feed-forward block, or all experts': gate and up projections (SwiGLU) or up alone, then down."""
    experts = shape.experts if isinstance(shape, Mixture) else None
    columns, bias = shape.intermediate, shape.bias
    first = tuple(
        weight
        for column in (("gate_proj", "up_proj") if shape.gated else ("up_proj",))
        for weight in make.linear(
            f"{name}.{column}", (columns, hidden), Split.OUTPUTS, columns, what, experts=experts, bias=bias
        )
    )
    down = (hidden, columns)
    return first + make.linear(f"{name}.down_proj", down, Split.INPUTS, columns, what, experts=experts, bias=bias)


def dense(make: Maker, hidden: int, intermediate: int, *, gated: bool = True, bias: bool = False) -> Part:
    """Build the feed-forward block every token passes."""
    return Dense(intermediate, gated, bias).part(make, hidden)


def mixture(make: Maker, hidden: int, intermediate: int, experts: Experts, *, shared: int = 0) -> Part:
    """Build a mixture of experts: router, routed experts, and shared ones that every token passes."""
    return Mixture(experts, intermediate, shared).part(make, hidden)
