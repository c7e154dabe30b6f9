"""The precisions to which engines quantise an unquantised checkpoint when they load it: ``data/on-load.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from shardwise.data import table
from shardwise.domain.engine import EngineName
from shardwise.domain.model import Quantization
from shardwise.domain.version import Version, parse_version


@dataclass(frozen=True, slots=True)
class OnLoadRow:
    """An entry of ``on-load.toml``: the precisions that an engine ``can`` make.

    ``streams`` is the first release that quantises each layer as soon as it is read; ``None`` if no release does.
    """

    source: str
    can: tuple[str, ...] = ()
    streams: str | None = None


@cache
def _rows() -> Mapping[str, OnLoadRow]:
    return table("on-load.toml", OnLoadRow)


def quantises_to(engine: EngineName, kind: Quantization) -> bool:
    """Tell whether an engine can quantise an unquantised checkpoint to a precision when it loads it."""
    return kind.value in _rows()[engine.value].can


def made_on_load(engine: EngineName) -> tuple[str, ...]:
    """List the precisions to which an engine can quantise."""
    return _rows()[engine.value].can


def holds_unquantised(engine: EngineName, release: Version) -> bool:
    """Tell whether a release that quantises first holds all weights as the checkpoint stores them."""
    streams = _rows()[engine.value].streams
    return streams is None or release < (parse_version(streams) or release)
