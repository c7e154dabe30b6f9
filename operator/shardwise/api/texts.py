"""The texts of an object: no control characters, which would forge lines of logs and colours of terminals."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shardwise.api.problems import Problem, escaped
from shardwise.checkpoint.extent import DEEPEST, has_control_characters

_FREE: Final = (
    ("engine", "env", "value"),
    ("engine", "options"),
    ("podTemplate", "annotations"),
    ("podTemplate", "volumes"),
    ("podTemplate", "sidecars"),
    ("podTemplate", "initContainers"),
)
"""Fields whose texts may have tabs and several lines: they go to a container or to another controller as they are."""


def text_problems(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Give a problem for each text of a spec with control characters, and for each value that is nested too deeply.

    The content of a config.json is left out: its reader checks it (:mod:`shardwise.checkpoint.extent`).
    """
    for part, value in spec.items():
        without = {"config"} if part == "model" else set()
        kept = {name: inner for name, inner in value.items() if name not in without} if without else value
        yield from _inside(kept, ("spec", part))


def _inside(value: object, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if len(path) > DEEPEST:
        yield Problem(_shown(path[:4]), f"is nested more than {DEEPEST} levels deep")
    elif isinstance(value, str):
        yield from _problem(value, path, is_free=_is_free(path))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _problem(str(name), (*path, str(name)), is_free=False)
            yield from _inside(inner, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _inside(inner, (*path, position))


def _problem(text: str, path: tuple[str | int, ...], *, is_free: bool) -> Iterator[Problem]:
    if has_control_characters(text, several_lines=is_free):
        right = "only tabs and line breaks are allowed" if is_free else "a text in a single line is needed"
        yield Problem(_shown(path), f"`{escaped(text)}` has control characters: {right}")


def _is_free(path: tuple[str | int, ...]) -> bool:
    named = tuple(part for part in path[1:] if isinstance(part, str))
    return any(named[: len(free)] == free for free in _FREE)


def _shown(path: tuple[str | int, ...]) -> str:
    return ".".join(escaped(str(part)) for part in path)
