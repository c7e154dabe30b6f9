"""The methods of quantisation that each release of an engine loads: ``data/methods.toml``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from shardwise.data import table
from shardwise.domain.engine import EngineName
from shardwise.domain.hardware import ComputeCapability, parse_capability
from shardwise.domain.model import CheckpointMethod
from shardwise.domain.version import Version, listed_version

_FILE: Final = "methods.toml"


@dataclass(frozen=True, slots=True)
class MethodRow:
    """An entry of ``methods.toml``, which explains the fields."""

    source: str
    since: str | None = None
    before: str | None = None
    only: tuple[str, ...] | None = None
    gained: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lost: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unloadable:
    """Why a release does not load a method.

    ``variant`` is the entry of the config that is the reason, ``None`` if no checkpoint of the method is loaded.
    ``since`` is the first release that loads the checkpoint, ``before`` the first release that no longer does.
    """

    variant: str | None = None
    since: str | None = None
    before: str | None = None


@cache
def _rows() -> Mapping[str, MethodRow]:
    return table(_FILE, MethodRow)


def methods_of(engine: EngineName) -> Mapping[str, MethodRow]:
    """Give the methods that an engine loads, by their names in config.json."""
    prefix = f"{engine.value} "
    return {entry.removeprefix(prefix): row for entry, row in _rows().items() if entry.startswith(prefix)}


def unloadable(engine: EngineName, release: Version, method: CheckpointMethod) -> Unloadable | None:
    """Say why a release of an engine does not load a checkpoint; ``None`` if it does, or if the method has no name."""
    if not method.name:
        return None
    row = _rows().get(f"{engine.value} {method.name}")
    if row is None:
        return Unloadable()
    if row.since is not None and release < listed_version(row.since, _FILE):
        return Unloadable(since=row.since)
    if row.before is not None and release >= listed_version(row.before, _FILE):
        return Unloadable(before=row.before)
    return next(_lost_variants(row, release, method), None)


def needed_words(engine: EngineName, release: Version, method: CheckpointMethod | None) -> tuple[str, ...]:
    """Give the words without which a release of an engine refuses a checkpoint of a method that it loads."""
    row = _rows().get(f"{engine.value} {method.name}") if method is not None else None
    found: tuple[str, ...] = ()
    for since, words in (row.words if row is not None else {}).items():
        found = words if release >= listed_version(since, _FILE) else found
    return found


def least_capability(engine: EngineName, method: CheckpointMethod | None) -> ComputeCapability | None:
    """Give the least compute capability for which an engine loads a checkpoint; ``None`` where no row says."""
    row = _rows().get(f"{engine.value} {method.name}") if method is not None else None
    if row is None or method is None:
        return None
    known = {*method.variants, method.kind.value}
    of_variant = [least for least, variants in row.needs.items() if known & set(variants)]
    of_others = [least for least, variants in row.needs.items() if not variants]
    return next((parse_capability(least) for least in (*of_variant, *of_others)), None)


def _lost_variants(row: MethodRow, release: Version, method: CheckpointMethod) -> Iterator[Unloadable]:
    for variant in method.variants:
        if row.only is not None and variant not in row.only:
            yield Unloadable(variant)
        for since, gained in row.gained.items():
            if variant in gained and release < listed_version(since, _FILE):
                yield Unloadable(variant, since=since)
        for before, lost in row.lost.items():
            if variant in lost and release >= listed_version(before, _FILE):
                yield Unloadable(variant, before=before)
