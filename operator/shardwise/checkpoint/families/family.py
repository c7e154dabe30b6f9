"""A family as a row of a table: the parts of its layers, and the parts before and after the layers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Decoder, Reader
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.fields import ConfigError, Fields, short
from shardwise.checkpoint.parts import Dense, Dimensions, Grouped, Matrix, Mixture, Vectors
from shardwise.domain.model import Split

Flag = bool | str
"""A fact of a family, or the name of a field that states it. ``a|b``: either field. ``!name``: true by default."""

Amount = int | Callable[[Fields, int], int]
"""A number of a family, or a function that computes it from a config and the index of a layer."""

Layered = Callable[[Fields, int], Dimensions | None]
"""Reads a part of the layer with an index; ``None`` if that layer does not have the part."""

_LARGEST_FACTOR: Final = 1000

Window = Callable[[Fields, int], int | None]


def is_on(fields: Fields, flag: Flag) -> bool:
    """Read a flag."""
    if isinstance(flag, bool):
        return flag
    return any(fields.flag(key.removeprefix("!"), default=key.startswith("!")) for key in flag.split("|"))


def amount(fields: Fields, number: Amount, index: int = 0) -> int:
    """Read an amount."""
    return number if isinstance(number, int) else number(fields, index)


def nothing(_: Fields) -> Block:
    """Give no parts."""
    return ()


@dataclass(frozen=True, slots=True)
class Attends:
    """The grouped-query attention of a family. The fields mean the same as in :class:`Grouped`."""

    bias: Flag = False
    out_bias: Flag = False
    key_bias: bool | None = None
    qk_norm: Flag = False
    norm_size: Amount = 0
    window: Window = reading.listed_window
    gate_per_head: Amount = 0
    gated_query: Flag = False
    sinks: Flag = False
    name: str = "self_attn"

    def __call__(self, fields: Fields, index: int) -> Grouped:
        """Read the dimensions."""
        return Grouped(
            heads=reading.heads(fields),
            kv_heads=reading.kv_heads(fields),
            head_dim=reading.head_dim(fields),
            bias=is_on(fields, self.bias),
            out_bias=is_on(fields, self.out_bias),
            key_bias=self.key_bias,
            qk_norm=is_on(fields, self.qk_norm),
            norm_size=amount(fields, self.norm_size, index),
            window=self.window(fields, index),
            gate_per_head=amount(fields, self.gate_per_head, index),
            gated_query=is_on(fields, self.gated_query),
            sinks=is_on(fields, self.sinks),
            name=self.name,
        )


@dataclass(frozen=True, slots=True)
class Feeds:
    """A dense feed-forward block as a family has it. ``gated``: ``None`` where the activation tells."""

    gated: bool | None = True
    bias: Flag = False
    name: str = "mlp"

    def __call__(self, fields: Fields, _: int) -> Dimensions:
        """Read the dimensions."""
        gated = reading.is_gated(fields) if self.gated is None else self.gated
        return Dense(reading.columns(fields), gated, is_on(fields, self.bias), self.name)


@dataclass(frozen=True, slots=True)
class Mixes:
    """A mixture of experts as a family has it, in the layers that ``sparse`` tells; the others are ``dense``.

    ``latent`` names the field with the width in which the routed experts work.
    """

    gated: bool = True
    bias: Flag = False
    shared: Callable[[Fields], int] = reading.shared_columns
    shared_gate: int = 0
    router_bias: Amount = 0
    sparse: Callable[[Fields, int], bool] = reading.is_sparse
    dense: Layered = Feeds()
    latent: str | None = None
    latent_norm: Flag = False
    name: str = "mlp"

    def __call__(self, fields: Fields, index: int) -> Dimensions | None:
        """Read the dimensions."""
        if not self.sparse(fields, index):
            return self.dense(fields, index)
        shared = self.shared(fields)
        return Mixture(
            experts=reading.experts(fields),
            intermediate=fields.count(*reading.EXPERT_COLUMNS),
            shared=shared,
            shared_gate=self.shared_gate if shared else 0,
            gated=self.gated,
            bias=is_on(fields, self.bias),
            router_bias=amount(fields, self.router_bias, index),
            latent=fields.optional(self.latent) if self.latent else None,
            latent_norm=is_on(fields, self.latent_norm),
            name=self.name,
        )


def no_shared(_: Fields) -> int:
    """Give the width of shared experts in a family without any."""
    return 0


@dataclass(frozen=True, slots=True)
class Family:
    """How to read the configs of a family whose layers consist of attention, feed-forward and norms.

    ``norms`` and ``final`` count vectors of the hidden size in a layer and before the head (a norm with a bias is two).
    ``small``: other elements that every rank holds in a layer. ``positions``: rows of a learned position embedding.
    ``names``: the name that the reader uses -> the name in the family's configs. ``tied``: the default of
    ``tie_word_embeddings``. ``more``: further parts of a layer. ``drafts``: the layers that predict further tokens.
    """

    attention: Layered = Attends()
    feed_forward: Layered = Feeds()
    norms: Amount = 2
    final: Amount = 1
    small: Amount = 0
    positions: Amount = 0
    head_bias: Flag = False
    tied: bool = False
    prefix: str = "model.layers"
    before: Callable[[Fields], Block] = nothing
    after: Callable[[Fields], Block] = nothing
    more: Callable[[Fields, int], Block] | None = None
    drafts: Callable[["Family", Fields], Block] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, fields: Fields) -> Decoder:
        """Read a decoder."""
        fields = renamed(fields, self.names)
        hidden = reading.hidden(fields)
        positions = amount(fields, self.positions)
        vocabulary = fields.count("vocab_size")
        before = Matrix("positions", positions, hidden, plain=True) if positions else None
        bias = Vectors(vocabulary, "lm_head.bias") if is_on(fields, self.head_bias) else None
        return Decoder(
            hidden=hidden,
            vocabulary=vocabulary,
            context_length=context_length(fields),
            blocks=tuple(self.block(fields, index) for index in range(reading.layers(fields))),
            tied=fields.flag("tie_word_embeddings", default=self.tied),
            prefix=self.prefix,
            before=present(before, *self.before(fields)),
            after=present(Vectors(amount(fields, self.final) * hidden, "model.norm"), bias, *self.after(fields)),
            drafts=self.drafts(self, fields) if self.drafts else (),
        )

    def block(self, fields: Fields, index: int) -> Block:
        """Read the parts of a layer."""
        fields = of_layer(fields, index)
        small = amount(fields, self.norms, index) * reading.hidden(fields) + amount(fields, self.small, index)
        more = self.more(fields, index) if self.more else ()
        return present(
            Vectors(small) if small else None, self.attention(fields, index), self.feed_forward(fields, index), *more
        )


def of_layer(fields: Fields, index: int) -> Fields:
    """Give the fields of a layer: its own entry in ``per_layer_config`` and in lists wins over the common fields."""
    heads = fields.numbers("num_attention_heads_per_layer")
    if heads:
        if len(heads) != reading.layers(fields):
            raise ConfigError(
                f"config of `{fields.name}` has {len(heads)} `num_attention_heads_per_layer`: "
                f"{reading.layers(fields)} are needed, an entry for each layer"
            )
        fields = fields.with_values({"num_attention_heads": heads[index]})
    listed = fields.section("per_layer_config")
    if listed is None:
        return fields
    own = listed.section(str(index), f"{index:02}", f"{index:03}")
    return fields.with_values(own.values) if own else fields


def present(*parts: Dimensions | None) -> Block:
    """Leave out the parts that are ``None``."""
    return tuple(part for part in parts if part is not None)


def in_blocks(block: Callable[[Fields, int], Block], family: Family) -> Reader:
    """Give a reader that makes each layer with ``block``, and everything outside the layers with ``family``."""

    def read(fields: Fields) -> Decoder:
        fields = renamed(fields, family.names)
        blocks = tuple(block(fields, index) for index in range(reading.layers(fields)))
        return replace(family(fields), blocks=blocks)

    return read


def no_part(_: Fields, __: int) -> Dimensions | None:
    """Give no part: for layers without attention or without a feed-forward block."""
    return None


def factor(fields: Fields, key: str, default: float) -> float:
    """Read a factor, a positive number that may be a fraction."""
    value = fields.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LARGEST_FACTOR:
        raise ConfigError(f"config of `{fields.name}` has `{key}: {short(value)}`: a positive number is needed")
    return value


def renamed(fields: Fields, names: Mapping[str, str]) -> Fields:
    """Add fields under the names that the reader uses; ``names`` maps them to the names in the config."""
    if not names:
        return fields
    added = {new: fields.get(old) for new, old in names.items() if fields.has(old)}
    return fields.with_values(added)


STATELESS_LIMIT: Final = 2048
"""The context length that vLLM takes if a config states none (vllm 0.33.0, config/model.py)."""


def context_length(fields: Fields) -> int:
    """Read how many tokens a sequence may have."""
    return fields.count(*reading.CONTEXT, default=STATELESS_LIMIT)


def next_token_layers(*, copies: bool = False) -> Callable[[Family, Fields], Block]:
    """Read the layers that predict further tokens, as in DeepSeek V3: a whole layer, and a projection of two inputs.

    ``copies``: each of these layers has copies of the embedding and the head in the checkpoint.
    """

    def drafts(family: Family, fields: Fields) -> Block:
        count = fields.any("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers", default=0)
        if not count:
            return ()
        hidden, last = reading.hidden(fields), reading.layers(fields) - 1
        own: Block = (Matrix("eh_proj", hidden, 2 * hidden, plain=True), Vectors(3 * hidden, "draft_norms"))
        entries = fields.count("vocab_size")
        ends = Matrix("draft_vocabulary", 2 * entries, hidden, Split.VOCABULARY, entries, plain=True)
        return (*family.block(fields, last), *own, *((ends,) if copies else ())) * min(count, 64)

    return drafts
