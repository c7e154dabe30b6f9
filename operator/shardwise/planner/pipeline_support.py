"""The architectures that an engine can split into pipeline stages: ``data/pipeline.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from shardwise.data import table
from shardwise.domain.engine import EngineName


@dataclass(frozen=True, slots=True)
class PipelineRow:
    """An entry of ``pipeline.toml``. ``can`` lists all that the engine splits, or ``cannot`` all that it does not."""

    source: str
    can: tuple[str, ...] | None = None
    cannot: tuple[str, ...] = ()


@cache
def _rows() -> Mapping[str, PipelineRow]:
    return table("pipeline.toml", PipelineRow)


@cache
def can_pipeline(engine: EngineName, architecture: str) -> bool:
    """Tell whether an engine can split an architecture into stages. TensorRT-LLM, without an entry, splits all."""
    row = _rows().get(engine.value)
    if row is None:
        return True
    return architecture not in row.cannot if row.can is None else architecture in row.can
