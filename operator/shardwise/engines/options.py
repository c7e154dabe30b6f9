"""The options of an engine that are not its user's: one table says what is emitted, refused, and documented."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from shardwise.domain.version import Version

PLAN: Final = "spec.gpuBudget.total"
"""Stands for what no field says, but the plan decides."""

ALWAYS: Final = ""
"""Stands for what every launch says, so that saying it again changes nothing."""

_ABBREVIATED: Final = 4
"""Letters of the shortest beginning that is taken for an option: ``--te``. Fewer are ambiguous for every parser."""

_ONE_LETTER: Final = len("-q")


@dataclass(frozen=True, slots=True)
class Option:
    """An option that the plan or a field of the object decides.

    ``word`` is its long form, ``also`` its other spellings, ``instead`` the field to use. ``why`` says for the
    documents what it is emitted for; empty where it is only refused. ``yields``: the object's own argument wins, as the
    last word does in all these parsers.
    """

    word: str
    instead: str
    why: str = ""
    also: tuple[str, ...] = ()
    yields: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that the launch decides. ``by`` says what decides it, or the field to use."""

    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Since:
    """A value that depends on the engine's release: ``value`` from ``release`` on, ``before`` until then."""

    release: Version
    value: str
    before: str

    def at(self, version: Version) -> str:
        """Give the value for a release."""
        return self.value if version >= self.release else self.before


@dataclass(frozen=True, slots=True)
class Reserved:
    """All that a user of one engine may not say. ``abbreviates``: its parser takes beginnings of long options."""

    options: tuple[Option, ...]
    variables: tuple[Variable, ...]
    abbreviates: bool = True

    def option(self, word: str) -> Option | None:
        """Give the option a word means, or ``None``.

        Parsers take ``--a-b``, ``--a_b``, ``--a-b=value``, unambiguous beginnings, and short forms with the value
        attached; all of these are recognised whatever the engine, but for beginnings, which not every parser takes.
        """
        name = _dashed(word.partition("=")[0])
        spelled = self._spelled()
        if name in spelled:
            return spelled[name]
        if not name.startswith("--"):
            return self._short(name)
        return self._abbreviated(name) if self.abbreviates and len(name) >= _ABBREVIATED else None

    def argument_problems(self, args: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Give ``(field path, message)`` for each argument that contradicts the plan, in any spelling of it."""
        for index, word in enumerate(args):
            option = self.option(word)
            if option is not None and not option.yields:
                wrong = "would contradict the plan" if option.instead != ALWAYS else "is told the engine already"
                yield f"spec.engine.args.{index}", f"`{word}` {wrong}; {remedy(option.instead)}"

    def variable_problems(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Give ``(field path, message)`` for each environment variable that contradicts the launch."""
        decided = {one.name: one.by for one in self.variables}
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in decided:
                yield f"spec.engine.env.{index}.name", f"`{name}` is set by {decided[name]}"
            elif name in seen:
                yield f"spec.engine.env.{index}.name", f"`{name}` is given twice"
            seen.add(name)

    def _spelled(self) -> dict[str, Option]:
        return {_dashed(spelling): one for one in self.options for spelling in (one.word, *one.also)}

    def _short(self, name: str) -> Option | None:
        """Find a short form, its beginning (``-t`` of ``-tp``), or one with the value attached (``-qfp8``)."""
        if not name.startswith("-") or name == "-":
            return None
        for spelling, option in self._spelled().items():
            if spelling.startswith("--"):
                continue
            rest = name.removeprefix(spelling)
            attached = name.startswith(spelling) and (len(spelling) == _ONE_LETTER or rest.isdigit())
            if attached or spelling.startswith(name):
                return option
        return None

    def _abbreviated(self, name: str) -> Option | None:
        return next((option for spelling, option in self._spelled().items() if spelling.startswith(name)), None)


def remedy(instead: str) -> str:
    """Say what to do instead of what the plan or a field decides."""
    return {PLAN: "the plan decides it", ALWAYS: "leave it out"}.get(instead, f"use `{instead}`")


def _dashed(name: str) -> str:
    return name.replace("_", "-")


COMMON_VARIABLES: Final = (
    Variable("HF_TOKEN", "spec.model.source.huggingFace.tokenSecretRef"),
    Variable("HF_HOME", "the volume of the cache"),
    Variable("HF_HUB_OFFLINE", "spec.model.source"),
    Variable("CUDA_VISIBLE_DEVICES", "the device plugin"),
    Variable("NVIDIA_VISIBLE_DEVICES", "the device plugin"),
)
"""What no engine's user may set."""
