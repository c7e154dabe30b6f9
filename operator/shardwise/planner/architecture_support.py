"""The model classes that each release of an engine has: ``data/architectures.json``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

from shardwise.data import table
from shardwise.domain.engine import EngineName
from shardwise.domain.version import Version, parse_version


@dataclass(frozen=True, slots=True)
class ArchitectureRow:
    """An entry of ``architectures.json``: the classes of an engine's registry.

    ``classes``: a class -> the releases in which it came and went, in turn. ``fallback`` are classes that the newest of
    these releases runs by the code of Transformers. ``converts`` are endings of names that the engine takes for one
    another: ``FooModel`` for ``FooForCausalLM``.
    """

    source: str
    classes: Mapping[str, tuple[str, ...]]
    fallback: tuple[str, ...] = ()
    converts: tuple[str, ...] = field(default=())


class ClassState(Enum):
    """Whether a release has a class: its own, that of Transformers, or none."""

    OWN = "own"
    FALLBACK = "fallback"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ClassFound:
    """The state of a class in a release, and the releases in which it came and went next to that release."""

    state: ClassState
    since: str | None = None
    before: str | None = None


@cache
def _rows() -> Mapping[str, ArchitectureRow]:
    return table("architectures.json", ArchitectureRow)


def lists_classes(engine: EngineName) -> bool:
    """Tell whether the classes of an engine are known."""
    return engine.value in _rows()


@cache
def class_in(engine: EngineName, release: Version, architecture: str) -> ClassFound:
    """Find a class in a release of an engine. An engine without an entry is taken to have every class."""
    row = _rows().get(engine.value)
    if row is None:
        return ClassFound(ClassState.OWN)
    found = _own(row, release, architecture)
    if found.state is ClassState.NONE and architecture in row.fallback:
        return ClassFound(ClassState.FALLBACK)
    return found


def _own(row: ArchitectureRow, release: Version, architecture: str) -> ClassFound:
    alike = [_in_span(row.classes[name], release) for name in _names(row, architecture) if name in row.classes]
    own = next((found for found in alike if found.state is ClassState.OWN), None)
    return own or next(iter(alike), ClassFound(ClassState.NONE))


def _names(row: ArchitectureRow, architecture: str) -> tuple[str, ...]:
    """List the class, and the classes of the same name with another ending that the engine converts."""
    for ending in row.converts:
        if architecture.endswith(ending):
            stem = architecture.removesuffix(ending)
            return (architecture, *(stem + other for other in row.converts))
    return (architecture,)


def _in_span(span: tuple[str, ...], release: Version) -> ClassFound:
    """Find a release among the releases in which a class came and went."""
    passed = [text for text in span if (parse_version(text) or release) <= release]
    if len(passed) % 2:
        return ClassFound(ClassState.OWN)
    later = span[len(passed)] if len(span) > len(passed) else None
    return ClassFound(ClassState.NONE, since=later, before=passed[-1] if passed else None)
