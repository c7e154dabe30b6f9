"""The options of an engine that Shardwise decides: a row says how an option is emitted, refused and documented."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from shardwise.domain.launch import EnvVar
from shardwise.domain.version import Version
from shardwise.engines.context import PodContext

PLAN: Final = "spec.gpuBudget.total"
"""The field of an option that only the plan decides."""

ALWAYS: Final = ""
"""The field of an option that every launch emits: an argument that repeats it changes nothing."""

STORED: Final = "the plan counts the checkpoint as its config.json states it"
IN_GPU_MEMORY: Final = "the plan counts all weights in GPU memory"
PLAIN_HTTP: Final = "probes and the Service speak plain HTTP to the pods"
WHOLE_REQUESTS: Final = "every group serves whole requests over HTTP"
"""The facts of a plan that an argument without a field would change."""

_ABBREVIATED: Final = len("--j")
"""Letters of the shortest abbreviation that is refused. An ambiguous abbreviation is refused by the engine, too."""

_ONE_LETTER: Final = len("-q")

Value = TypeVar("Value")

Word: TypeAlias = str | bool | None
"""A text is emitted behind the option's word, ``True`` emits the word alone, ``False`` and ``None`` emit nothing."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option that the plan or a field of the object decides.

    ``word`` is its long form, ``also`` are its other spellings, ``field`` is the field that an object uses instead.
    ``value`` gives the value to emit; ``None`` if the option is only refused. ``why`` tells the reader of the engine's
    page why the option is emitted. ``positional``: the value is emitted without the word. ``yields``: an object may
    give the argument itself, and its value wins, because all these parsers take the last value. ``servers_only``: the
    engine refuses the argument, and its value, in a pod that serves nobody; only pods that serve get it.
    ``instead`` says what an object does instead, where no field says it.
    """

    word: str
    field: str
    why: str = ""
    value: Callable[[PodContext], Word] | None = None
    also: tuple[str, ...] = ()
    positional: bool = False
    yields: bool = False
    servers_only: bool = False
    instead: str = ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every name by which an argument may give the option."""
        return tuple(name for name in (self.word, *self.also) if name.startswith("-"))

    def words(self, pod: PodContext) -> tuple[str, ...]:
        """Give the words that the option adds to a pod's command line."""
        value = self.value(pod) if self.value is not None else None
        if value is None or value is False:
            return ()
        if value is True:
            return (self.word,)
        return (value,) if self.positional else (self.word, value)


@dataclass(frozen=True, slots=True)
class SecretValue:
    """The value of a variable that stands in a Secret's key."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class PodField:
    """The value of a variable that is a field of the pod itself."""

    path: str


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that the launch decides.

    ``by`` names the field or the part of the launch that decides it. ``value`` gives the value to set; ``None`` if the
    variable is only refused. ``yields``: an object may set the variable itself, and its value wins.
    """

    name: str
    by: str
    value: Callable[[PodContext], str | SecretValue | PodField | None] | None = None
    yields: bool = False

    def set_in(self, pod: PodContext) -> Iterator[EnvVar]:
        """Give the variable as it is set in a pod, or nothing."""
        match self.value(pod) if self.value is not None else None:
            case str(value):
                yield EnvVar(self.name, value=value)
            case SecretValue(name, key):
                yield EnvVar(self.name, secret=(name, key))
            case PodField(path):
                yield EnvVar(self.name, field=path)
            case None:
                return


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an engine's options file that the plan or a field of the object decides.

    ``name`` is the path of the entry, with dots. ``field`` is the field that an object uses instead. ``value`` gives
    the value to write; ``None`` if the entry is only refused. ``of_roles``: only objects with roles may not give it.
    """

    name: str
    field: str
    value: Callable[[PodContext], str | float | bool | None] | None = None
    of_roles: bool = False


@dataclass(frozen=True, slots=True)
class Since:
    """A value that depends on the engine's release: ``value`` from ``release`` on, ``before`` in older releases."""

    release: Version
    value: str
    before: str

    def at(self, version: Version) -> str:
        """Give the value for a release."""
        return self.value if version >= self.release else self.before


@dataclass(frozen=True, slots=True)
class OptionTable:
    """All options, variables and entries that Shardwise decides for an engine, in the order they are emitted.

    ``abbreviates``: the engine's parser takes abbreviations of long options. ``others`` are short forms of options that
    are not in the table, and that begin like a short form of the table.
    """

    options: tuple[Option, ...]
    variables: tuple[Variable, ...]
    entries: tuple[Entry, ...] = ()
    abbreviates: bool = True
    others: tuple[str, ...] = ()

    def words(self, pod: PodContext) -> tuple[str, ...]:
        """Give the words of a pod's command line, without the object's own arguments."""
        return tuple(word for option in self.options for word in option.words(pod))

    def arguments(self, pod: PodContext) -> tuple[str, ...]:
        """Give the object's own arguments for a pod; a pod that does not serve gets none that only servers may get."""
        given = pod.wanted.launch.container.args
        return given if pod.serves else tuple(self._without_servers(given))

    def _without_servers(self, args: Iterable[str]) -> Iterator[str]:
        skips_value = False
        for word in args:
            option = self.option(word)
            if option is not None and option.servers_only:
                skips_value = "=" not in word
            elif skips_value and not word.startswith("-"):
                skips_value = False
            else:
                skips_value = False
                yield word

    def with_entries(self, given: Mapping[str, Any], pod: PodContext) -> dict[str, Any]:
        """Add the emitted entries to the object's own entries, which never name the same entry."""
        found = copy.deepcopy(dict(given))
        for entry in self.entries:
            value = entry.value(pod) if entry.value is not None else None
            if value is not None:
                *outer, last = entry.name.split(".")
                place = found
                for part in outer:
                    place = place.setdefault(part, {})
                place[last] = value
        return found

    def option(self, word: str) -> Option | None:
        """Give the option that an argument means, or ``None``.

        Parsers take ``--a-b``, ``--a_b``, ``--a-b=value``, unambiguous abbreviations, and short forms with the value
        attached. All of these are recognised for every engine, except abbreviations, which not every parser takes.
        """
        name = _dashed(word.partition("=")[0])
        spelled = self._spelled()
        if name in spelled:
            return spelled[name]
        if not name.startswith("--"):
            return self._short(name)
        return self._abbreviated(name) if self.abbreviates and len(name) >= _ABBREVIATED else None

    def argument_problems(self, args: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Give ``(field path, message)`` for each argument that contradicts the plan, in any spelling."""
        for index, word in enumerate(args):
            option = self.option(word)
            if option is not None and not option.yields:
                wrong = "would contradict the plan" if option.field != ALWAYS else "is always set"
                yield f"spec.engine.args.{index}", f"`{word}` {wrong}; {option.instead or remedy(option.field)}"

    def variable_problems(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Give ``(field path, message)`` for each environment variable that contradicts the launch."""
        decided = {variable.name: variable.by for variable in self.variables if not variable.yields}
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in decided:
                yield f"spec.engine.env.{index}.name", f"`{name}` is set by {decided[name]}"
            elif name in seen:
                yield f"spec.engine.env.{index}.name", f"`{name}` is given twice"
            seen.add(name)

    def entry_problems(self, names: Iterable[str], *, roles: bool = False) -> Iterator[tuple[str, str]]:
        """Give ``(field path, message)`` for each entry of the options file that contradicts the plan.

        ``roles``: the object has roles. An object that gives a whole section gives each entry of the section.
        """
        decided = {entry.name: entry.field for entry in self.entries if roles or not entry.of_roles}
        decided |= {entry.name.partition(".")[0]: entry.field for entry in self.entries if roles and entry.of_roles}
        for name in names:
            if name in decided:
                yield f"spec.engine.options.{name}", f"would contradict the plan; {remedy(decided[name])}"

    def _spelled(self) -> dict[str, Option]:
        return {_dashed(spelling): option for option in self.options for spelling in option.spellings}

    def _short(self, name: str) -> Option | None:
        """Find a short form, its beginning (``-t`` of ``-tp``), or a short form with its value attached (``-qfp8``)."""
        if not name.startswith("-") or name == "-" or name in self.others:
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


def between_pods(value: Callable[[PodContext], Value]) -> Callable[[PodContext], Value | None]:
    """Emit a value only in groups of several pods."""
    return lambda pod: value(pod) if pod.has_followers else None


def beside_data(value: Callable[[PodContext], Value]) -> Callable[[PodContext], Value | None]:
    """Emit a value only in groups of several data ranks."""
    return lambda pod: value(pod) if pod.layout.data > 1 else None


def context_degree(pod: PodContext) -> str | None:
    """Give the context degree, where a sequence's cache is divided."""
    return str(pod.layout.context) if pod.layout.context > 1 else None


def remedy(field: str) -> str:
    """Say what an object does instead of giving an option that Shardwise decides."""
    return {PLAN: "the plan decides it", ALWAYS: "leave it out"}.get(field, f"use `{field}`")


def _dashed(name: str) -> str:
    return name.replace("_", "-")


MODEL_OPTIONS: Final = (
    Option(
        "--served-model-name",
        "spec.model.servedName",
        "the name by which clients ask for the model, from every source",
        lambda pod: pod.model.served_name,
    ),
    Option(
        "--revision",
        "spec.model.source.huggingFace.revision",
        "the commit, branch or tag of the Hub",
        lambda pod: pod.model.source.revision,
    ),
    Option(
        "--trust-remote-code",
        "spec.model.trustRemoteCode",
        "only where the object trusts the checkpoint",
        lambda pod: pod.model.trust_remote_code,
    ),
)
"""Options about the model that vLLM and SGLang spell alike, in the order of their words."""
