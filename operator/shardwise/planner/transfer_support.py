"""The transfer of KV caches between prefill and decode: ``data/transfer.toml``, and the law that follows for layouts.

The law is asked for each half alone, and for the two layouts together once the other half has a layout.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from shardwise.data import table
from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, Layer, ModelFacts, StateCache
from shardwise.domain.refusal import Cause
from shardwise.domain.role_causes import ContextApart, DecodeStages, PrefillStages, PrefillWider, TensorApart
from shardwise.domain.roles import Connector, Half, RoleName
from shardwise.domain.version import Version, listed_version

_FILE: Final = "transfer.toml"


@dataclass(frozen=True, slots=True)
class TransferRow:
    """An entry of ``transfer.toml``, which explains the fields."""

    source: str
    connectors: Mapping[str, object]
    decode_stages: str
    context: str
    serves_alone: bool = False
    divides: bool = False
    equal_grouped: bool = False
    heads_bound: bool = False
    prefill_uniform: bool = False


@cache
def _rows() -> Mapping[str, TransferRow]:
    return table(_FILE, TransferRow)


def transfers_of(engine: EngineName) -> TransferRow:
    """Give the entry of an engine."""
    return _rows()[engine.value]


def moves_since(engine: EngineName, connector: Connector) -> Version | None:
    """Give the first release of an engine that moves caches by a connector; ``None`` if no release does."""
    since = transfers_of(engine).connectors.get(connector.value)
    return None if since is None else listed_version(str(since), _FILE)


def transfer_cause(model: ModelFacts, engine: EngineName, layout: Layout, half: Half | None) -> Cause | None:
    """Give the first rule of the transfer that a layout of a role breaks; ``None`` where there is no role."""
    if half is None:
        return None
    row, name = transfers_of(engine), half.role.name
    alone = _stages(model, engine, row, layout, half) or _context(model, engine, row, layout, name)
    if alone is not None or half.other is None:
        return alone
    prefill, decode = (layout, half.other) if name is RoleName.PREFILL else (half.other, layout)
    return next(_apart(model, engine, row, prefill, decode), None)


def _stages(model: ModelFacts, engine: EngineName, row: TransferRow, layout: Layout, half: Half) -> Cause | None:
    if layout.pipeline == 1:
        return None
    if half.role.name is RoleName.PREFILL:
        refused = row.prefill_uniform and (_keeps_states(model) or len(set(map(_kind, model.kinds))) > 1)
        return PrefillStages(engine.value, layout.pipeline) if refused else None
    as_prefill = row.decode_stages == "one or as prefill"
    other = layout.pipeline if half.other is None else half.other.pipeline
    if row.decode_stages == "any" or (as_prefill and layout.pipeline == other):
        return None
    return DecodeStages(engine.value, layout.pipeline, as_prefill)


def _kind(layer: Layer) -> object:
    """Give the kind of a layer's cache, as far as engines lay kinds out apart."""
    return type(layer.cache), layer.cache.window if isinstance(layer.cache, GroupedCache) else None


def _keeps_states(model: ModelFacts) -> bool:
    return any(layer.state is not None or isinstance(layer.cache, StateCache) for layer in model.kinds)


def _context(model: ModelFacts, engine: EngineName, row: TransferRow, layout: Layout, name: RoleName) -> Cause | None:
    if layout.context == 1:
        return None
    legal = _legal_contexts(model, row, layout.tensor, name)
    return None if layout.context in legal else ContextApart(engine.value, name.value, layout.context, legal)


def _legal_contexts(model: ModelFacts, row: TransferRow, tensor: int, name: RoleName) -> tuple[int, ...]:
    """List the context degrees that a role may have. Grouped heads are never divided by tokens beside a transfer."""
    if not model.is_latent or row.context == "none":
        return (1,)
    if row.context == "whole":
        return tuple(sorted({1, tensor}))
    return (1,) if name is RoleName.PREFILL else tuple(range(1, tensor + 1))


def _apart(model: ModelFacts, engine: EngineName, row: TransferRow, prefill: Layout, decode: Layout) -> Iterator[Cause]:
    if row.decode_stages == "one or as prefill" and decode.pipeline not in (1, prefill.pipeline):
        yield DecodeStages(engine.value, decode.pipeline, or_as_prefill=True)
    heads = [layer.cache.kv_heads for layer in model.kinds if isinstance(layer.cache, GroupedCache)]
    if heads and row.equal_grouped and prefill.tensor != decode.tensor:
        yield TensorApart(engine.value, prefill.tensor, decode.tensor, equal=True)
    if row.divides and max(prefill.tensor, decode.tensor) % min(prefill.tensor, decode.tensor):
        yield TensorApart(engine.value, prefill.tensor, decode.tensor)
    wider = prefill.tensor > decode.tensor and not _keeps_states(model)
    if heads and row.heads_bound and wider and prefill.tensor > min(heads):
        yield PrefillWider(engine.value, prefill.tensor, decode.tensor, min(heads))
    if row.context == "whole" and max(prefill.context, decode.context) % min(prefill.context, decode.context):
        yield ContextApart(engine.value, RoleName.DECODE.value, decode.context, (1, prefill.context))
