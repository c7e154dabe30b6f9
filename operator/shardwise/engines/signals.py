"""The metrics of engines on which a scaler acts: ``data/signals.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from shardwise.data import table
from shardwise.domain.engine import EngineName
from shardwise.domain.version import Version, listed_version

_FILE: Final = "signals.toml"

RUNNING: Final = "running"
"""What the metric of the requests in work measures. No scaler aims at a value of it."""


@dataclass(frozen=True, slots=True)
class SignalRow:
    """An entry of ``signals.toml``, which explains the fields."""

    source: str
    engine: str
    on: str
    metric: str
    since: str
    histogram: bool = False


@cache
def signals() -> Mapping[str, SignalRow]:
    """Read the file."""
    return table(_FILE, SignalRow)


def signal_of(engine: EngineName, release: Version, on: str) -> SignalRow | None:
    """Give the metric of a measurement in a release of an engine; ``None`` if the release does not offer it."""
    offered = (row for row in signals().values() if (row.engine, row.on) == (engine.value, on))
    return next((row for row in offered if listed_version(row.since, _FILE) <= release), None)
