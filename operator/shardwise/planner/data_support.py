"""Data parallelism and context parallelism of an engine: ``data/data-parallel.toml``, and the law that follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from shardwise.data import table
from shardwise.domain.data_causes import (
    ContextUneven,
    ContextUnsupported,
    DataAlone,
    DataOfDense,
    DataUnsupported,
    TooFewExperts,
)
from shardwise.domain.demand import EngineSetup
from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import HEADS, GroupedCache, Layer, ModelFacts, expert_count
from shardwise.domain.refusal import Cause, NotDivisible
from shardwise.domain.version import Version, dotted, listed_version
from shardwise.planner.all_to_all import backend_for
from shardwise.planner.weights import Spread

_FILE: Final = "data-parallel.toml"
_READ: Final = EngineSetup()


@dataclass(frozen=True, slots=True)
class DataRow:
    """An entry of ``data-parallel.toml``, which explains the fields."""

    source: str
    since: str
    alone: bool = False
    outermost: bool = False
    uneven: bool = False
    whole_shared: tuple[str, ...] = ()
    over_stage: tuple[str, ...] = ()
    whole_embedding_before: str | None = None
    context_since: str | None = None
    context_grouped: bool = False


@cache
def _rows() -> Mapping[str, DataRow]:
    return table(_FILE, DataRow)


def row_of(engine: EngineName) -> DataRow:
    """Give the entry of an engine."""
    return _rows()[engine.value]


@lru_cache(maxsize=8192)
def spread_of(engine: EngineName, architecture: str, layout: Layout, setup: EngineSetup = _READ) -> Spread | None:
    """Tell over how many GPUs an engine shares parts beside data parallelism; ``None`` where it changes nothing."""
    redundant, exchange = setup.redundant_experts, backend_for(engine, setup.all_to_all, layout)
    exchanges = exchange is not None and exchange.whole
    if layout.data == 1:
        shared = 1 if exchanges else layout.tensor
        changes = redundant or exchanges
        return Spread(layout.tensor, shared, layout.tensor, layout.tensor, redundant) if changes else None
    tensor, stage, row = layout.tensor, layout.stage_gpus, row_of(engine)
    dense, shared, head = (stage if part in row.over_stage else tensor for part in ("dense", "shared", "head"))
    is_whole = exchanges or (layout.expert and tensor > 1 and architecture in row.whole_shared)
    whole_before = row.whole_embedding_before
    holds_it = whole_before is not None and (setup.release or RELEASES[engine]) < listed_version(whole_before, _FILE)
    return Spread(dense, 1 if is_whole else shared, head, 1 if holds_it else tensor, redundant)


def has_data(engine: EngineName, release: Version | None) -> bool:
    """Tell whether a release has data parallelism."""
    return (release or RELEASES[engine]) >= listed_version(row_of(engine).since, _FILE)


def data_cause(
    model: ModelFacts, engine: EngineName, layout: Layout, release: Version | None, redundant: int = 0
) -> Cause | None:
    """Give the first rule of data or context parallelism, or of redundant experts, that a layout breaks."""
    if redundant and layout.expert and (expert_count(model) + redundant) % layout.stage_gpus:
        return NotDivisible(f"experts, {redundant} redundant,", expert_count(model) + redundant, layout.stage_gpus)
    if layout.data > 1:
        broken = _data_cause(model, engine, layout, release, redundant)
        if broken is not None:
            return broken
    return _context_cause(model, engine, layout, release) if layout.context > 1 else None


def _data_cause(
    model: ModelFacts, engine: EngineName, layout: Layout, release: Version | None, redundant: int
) -> Cause | None:
    row, experts = row_of(engine), expert_count(model)
    if not experts:
        return DataOfDense(layout.data)
    if not has_data(engine, release):
        return DataUnsupported(engine.value, dotted(release or RELEASES[engine]), row.since)
    if row.alone and layout.tensor > 1:
        return DataAlone(engine.value, layout.tensor, layout.data)
    if not layout.expert:
        return None
    if experts < layout.stage_gpus:
        return TooFewExperts(experts, layout.stage_gpus)
    uneven = (experts + redundant) % layout.stage_gpus and not row.uneven
    return NotDivisible("experts", experts, layout.stage_gpus) if uneven else None


def _context_cause(model: ModelFacts, engine: EngineName, layout: Layout, release: Version | None) -> Cause | None:
    row, runs = row_of(engine), release or RELEASES[engine]
    grouped = any(isinstance(layer.cache, GroupedCache) for layer in model.kinds)
    has_any = row.context_since is not None and runs >= listed_version(row.context_since, _FILE)
    if not has_any or (grouped and not row.context_grouped):
        return ContextUnsupported(engine.value, dotted(runs), latent_only=has_any)
    legal = legal_contexts(model, layout.tensor)
    return None if layout.context in legal else ContextUneven(layout.context, layout.tensor, legal)


@lru_cache(maxsize=1024)
def legal_contexts(model: ModelFacts, tensor: int) -> tuple[int, ...]:
    """List the numbers of GPUs of a tensor group that can divide a sequence's cache, ascending.

    Source: vllm 0.33.0, config/model.py (``verify_with_parallel_config``) and config/parallel.py.
    """
    return tuple(
        degree for degree in range(1, tensor + 1) if tensor % degree == 0 and _suits_heads(model, tensor, degree)
    )


def _suits_heads(model: ModelFacts, tensor: int, degree: int) -> bool:
    """Tell whether grouped heads can be divided: every GPU holds a single KV head, and several GPUs hold the same."""
    if degree == 1:
        return True
    grouped = ((layer, layer.cache.kv_heads) for layer in model.kinds if isinstance(layer.cache, GroupedCache))
    return all(degree <= tensor // heads and _queries(layer) // heads % degree == 0 for layer, heads in grouped)


def _queries(layer: Layer) -> int:
    """Give the number of query heads of a layer."""
    return max((weight.units for weight in layer.weights if weight.unit_name == HEADS), default=1)
