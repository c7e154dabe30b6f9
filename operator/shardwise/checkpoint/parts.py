"""The parts of layers: attention and feed-forward blocks, as weights, cache and widths.

Weights have the shapes of the tensors in checkpoints (transformers 5, modeling files of each architecture). Splits are
those of the layers of the engines (vllm 0.33.0, model_executor/layers).
"""

from dataclasses import dataclass, field
from typing import Protocol

from shardwise.checkpoint.making import EXPERT_COLUMNS, KV_HEADS, Maker
from shardwise.domain.model import (
    COLUMNS,
    HEADS,
    SHARED_COLUMNS,
    Experts,
    GroupedCache,
    LatentCache,
    SequenceCache,
    Split,
    Weight,
    Widths,
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a layer. ``reduces``: all-reduces a tensor group does in it."""

    weights: tuple[Weight, ...]
    cache: SequenceCache | None = None
    widths: Widths = field(default_factory=Widths)
    reduces: int = 0


class Dimensions(Protocol):
    """The dimensions of a part. Equal dimensions make equal parts, so that equal layers are built once."""

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part, of a model of this hidden size."""
        ...


@dataclass(frozen=True, slots=True)
class Grouped:
    """Dimensions of multi-head, grouped-query or multi-query attention.

    ``value_dim``: width of a value head, if it differs from a key head. ``qk_norm``: a norm for each head.
    ``norm_size``: elements of other norms. ``window`` in tokens, if the layer slides. ``gated_query``: the query
    projection also makes an output gate. ``gate_per_head``: outputs of a separate gate. ``sinks``: a learned number for
    each head. ``shared``: the layer uses the keys and values of another layer. ``values``: there is a projection for
    values. ``input_size`` and ``output_size``, if they differ from the hidden size.
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
        return _grouped_attention(make, hidden, self)


@dataclass(frozen=True, slots=True)
class Index:
    """Dimensions of the indexer of sparse attention, which picks the tokens that a query attends to (DeepSeek V3.2)."""

    heads: int
    dim: int


@dataclass(frozen=True, slots=True)
class Latent:
    """Dimensions of multi-head latent attention (DeepSeek, Kimi).

    ``gate_per_head``: outputs of an output gate. ``query_copies``: the number of compressed vectors that queries and
    their gate are made from; A.X K2 has several.
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
        return _latent_attention(make, hidden, self)


@dataclass(frozen=True, slots=True)
class Dense:
    """Dimensions of a feed-forward block for all tokens."""

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
    """Dimensions of a mixture of experts.

    ``shared``: width of the experts for all tokens, all together. ``shared_gate``: outputs of a gate on them.
    ``routes``: outputs of the router, if there are more than experts. ``router_bias``: elements of its biases.
    ``latent``: width in which the routed experts work, if it differs from the hidden size. Two projections that every
    rank holds whole, ``latent_names``, lead into that width and back.
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
    latent_norm: bool = False
    latent_names: tuple[str, str] = ("routed_expert_down_proj", "routed_expert_up_proj")
    name: str = "mlp"
    router: str = "gate"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part.

        Each token is copied for each active expert, before and after the expert. Expert parallelism does not make the
        workspace of a rank smaller: the engine sizes it as if all tokens went to the same rank.
        """
        name, active = self.name, self.experts.active
        weights = make.plain(f"{name}.{self.router}", (self.routes or self.experts.count, hidden))
        if self.router_bias:
            weights += make.vector(f"{name}.{self.router}.bias", self.router_bias)
        weights += _feed_forward(make, self.latent or hidden, self, f"{name}.experts", EXPERT_COLUMNS)
        weights += self._latent(make, hidden)
        if self.shared:
            dense = Dense(self.shared, self.gated)
            weights += _feed_forward(make, hidden, dense, f"{name}.shared_experts", SHARED_COLUMNS)
        if self.shared_gate:
            weights += make.plain(f"{name}.shared_expert_gate", (self.shared_gate, hidden))
        widths = Widths(split=3 * self.shared, whole=2 * hidden * active, expert=3 * self.intermediate * active)
        return Part(weights, widths=widths, reduces=1)

    def _latent(self, make: Maker, hidden: int) -> tuple[Weight, ...]:
        """Make the projections around the experts (vllm 0.33.0, KimiMoE and NemotronHMoE: replicated layers)."""
        width = self.latent
        if width is None:
            return ()
        into, out_of = (f"{self.name}.{name}" for name in self.latent_names)
        norm = make.vector(f"{self.name}.routed_expert_norm", width) if self.latent_norm else ()
        return make.linear(into, (width, hidden)) + make.linear(out_of, (hidden, width)) + norm


@dataclass(frozen=True, slots=True)
class Vectors:
    """Norms, scales and other small weights that every rank holds. ``size`` counts their elements."""

    size: int
    name: str = "norms"

    def part(self, make: Maker, _: int, /) -> Part:
        """Make the part."""
        return Part(make.vector(self.name, self.size) if self.size else ())


@dataclass(frozen=True, slots=True)
class Matrix:
    """A separate matrix: ``(outputs, inputs)``. ``plain``: no engine quantises it."""

    name: str
    outputs: int
    inputs: int
    split: Split = Split.WHOLE
    units: int = 1
    unit_name: str = ""
    bias: bool = False
    plain: bool = False
    reduces: int = 0

    def part(self, make: Maker, _: int, /) -> Part:
        """Make the part."""
        shape = (self.outputs, self.inputs)
        if self.plain:
            return Part(make.plain(self.name, shape, self.split, self.units, self.unit_name), reduces=self.reduces)
        made = make.linear(self.name, shape, self.split, self.units, self.unit_name, bias=self.bias)
        return Part(made, reduces=self.reduces)


@dataclass(frozen=True, slots=True)
class Remembers:
    """The cache of a layer whose weights belong to another layer, or to other parts."""

    cache: SequenceCache

    def part(self, _: Maker, __: int, /) -> Part:
        """Make the part."""
        return Part((), self.cache)


def _grouped_attention(make: Maker, hidden: int, attention: Grouped) -> Part:
    """Build grouped-query attention. Keys and values stop shrinking at a KV head for each rank."""
    name, heads = attention.name, attention.heads
    value_dim = attention.value_dim or attention.head_dim
    wide = attention.input_size or hidden
    query = heads * attention.head_dim * (2 if attention.gated_query else 1)
    weights = make.linear(f"{name}.q_proj", (query, wide), Split.OUTPUTS, heads, HEADS, bias=attention.bias)
    if not attention.shared:
        weights += _keys_and_values(make, wide, attention, value_dim)
    out = (attention.output_size or hidden, heads * value_dim)
    weights += make.linear(f"{name}.o_proj", out, Split.INPUTS, heads, HEADS, bias=attention.out_bias)
    if attention.gate_per_head:
        gate = (heads * attention.gate_per_head, hidden)
        weights += make.linear(f"{name}.{attention.gate_name}", gate, Split.OUTPUTS, heads, HEADS)
    if attention.sinks:
        weights += make.vector(f"{name}.sinks", heads, Split.OUTPUTS, heads, HEADS)
    norms = attention.norm_size + (attention.head_dim * (1 if attention.shared else 2) if attention.qk_norm else 0)
    if norms:
        weights += make.vector(f"{name}.norms", norms)
    cached = attention.cached and not attention.shared
    cache = GroupedCache(attention.kv_heads, attention.head_dim, value_dim, attention.window) if cached else None
    return Part(weights, cache, Widths(split=query), reduces=1)


def _keys_and_values(make: Maker, wide: int, attention: Grouped, value_dim: int) -> tuple[Weight, ...]:
    heads, name = attention.kv_heads, attention.name
    bias = attention.bias if attention.key_bias is None else attention.key_bias
    keys = (heads * attention.head_dim, wide)
    made = make.linear(f"{name}.k_proj", keys, Split.COPIED, heads, KV_HEADS, bias=bias)
    if not attention.values:
        return made
    values = (heads * value_dim, wide)
    return made + make.linear(f"{name}.v_proj", values, Split.COPIED, heads, KV_HEADS, bias=attention.bias)


def _latent_attention(make: Maker, hidden: int, attention: Latent) -> Part:
    """Build latent attention: every rank holds the down-projections and the compressed cache.

    Engines also keep a plain copy of the key-value up-projection for decoding (vllm 0.33.0, MLAAttention).
    """
    heads, head, name = attention.heads, attention.nope_dim + attention.rope_dim, attention.name
    up = heads * (attention.nope_dim + attention.value_dim)
    absorbed = Weight(
        f"{name}.kv_b_proj.absorbed", up, attention.kv_rank, Split.OUTPUTS, heads, HEADS, make.storage.plain, None,
        linear=False, derived=True,
    )  # fmt: skip
    down, out = (attention.kv_rank + attention.rope_dim, hidden), (hidden, heads * attention.value_dim)
    weights = (
        _latent_queries(make, hidden, attention)
        + make.linear(f"{name}.kv_a_proj_with_mqa", down, bias=attention.bias)
        + make.vector(f"{name}.norms", attention.kv_rank + (attention.q_rank or 0) + attention.norm_size)
        + make.linear(f"{name}.kv_b_proj", (up, attention.kv_rank), Split.OUTPUTS, heads, HEADS)
        + make.linear(f"{name}.o_proj", out, Split.INPUTS, heads, HEADS, bias=attention.bias)
        + (absorbed,)
    )
    if attention.gate_per_head:
        copied = attention.q_rank if attention.query_copies > 1 else None
        wide = hidden if copied is None else copied * attention.query_copies
        gate = (heads * attention.gate_per_head, wide)
        weights += make.linear(f"{name}.g_proj", gate, Split.OUTPUTS, heads, HEADS)
    if attention.sinks:
        weights += make.vector(f"{name}.sinks", heads, Split.OUTPUTS, heads, HEADS)
    weights += _indexer(make, hidden, attention) if attention.index else ()
    cache = LatentCache(attention.kv_rank + attention.rope_dim, _index_bytes(attention.index), attention.rope_dim)
    return Part(weights, cache, Widths(split=heads * (2 * head + attention.value_dim)), reduces=1)


def _latent_queries(make: Maker, hidden: int, attention: Latent) -> tuple[Weight, ...]:
    outputs, name = attention.heads * (attention.nope_dim + attention.rope_dim), attention.name
    if attention.q_rank is None:
        return make.linear(f"{name}.q_proj", (outputs, hidden), Split.OUTPUTS, attention.heads, HEADS)
    return make.linear(f"{name}.q_a_proj", (attention.q_rank, hidden), bias=attention.bias) + make.linear(
        f"{name}.q_b_proj", (outputs, attention.q_rank * attention.query_copies), Split.OUTPUTS, attention.heads, HEADS
    )


def _indexer(make: Maker, hidden: int, attention: Latent) -> tuple[Weight, ...]:
    """Every rank holds the whole indexer (vllm 0.33.0, deepseek_v2.Indexer: replicated layers)."""
    index, name = attention.index, f"{attention.name}.indexer"
    if index is None:
        return ()
    return (
        make.linear(f"{name}.wq_b", (index.heads * index.dim, attention.q_rank or hidden))
        + make.linear(f"{name}.wk", (index.dim, hidden))
        + make.vector(f"{name}.k_norm", 2 * index.dim)
        + make.plain(f"{name}.weights_proj", (index.heads, hidden))
    )


def _index_bytes(index: Index | None) -> int:
    """Keys in fp8 with a float32 scale per 128 of them (vllm 0.33.0, DeepseekV32IndexerCache)."""
    return index.dim + 4 * -(-index.dim // 128) if index else 0


class _Columns(Protocol):
    """The dimensions that dense blocks and mixtures have in common."""

    @property
    def intermediate(self) -> int: ...
    @property
    def gated(self) -> bool: ...
    @property
    def bias(self) -> bool: ...


def _feed_forward(make: Maker, hidden: int, block: _Columns, name: str, unit_name: str) -> tuple[Weight, ...]:
    """Build the projections of a feed-forward block or of all experts: gate and up (SwiGLU) or up alone, then down."""
    experts = block.experts if isinstance(block, Mixture) else None
    columns, bias = block.intermediate, block.bias
    first = tuple(
        weight
        for column in (("gate_proj", "up_proj") if block.gated else ("up_proj",))
        for weight in make.linear(
            f"{name}.{column}", (columns, hidden), Split.OUTPUTS, columns, unit_name, experts=experts, bias=bias
        )
    )
    down = (hidden, columns)
    return first + make.linear(f"{name}.down_proj", down, Split.INPUTS, columns, unit_name, experts=experts, bias=bias)
