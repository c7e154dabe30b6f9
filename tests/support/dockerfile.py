"""The Dockerfile as data: its instructions, its stages, and the files that it may copy."""

import re
import shlex
from collections.abc import Iterator

from tests.support.repository import ROOT


def text() -> str:
    """Read the Dockerfile."""
    return (ROOT / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """Give instructions and their arguments, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text().splitlines() if not line.startswith("#")))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages() -> list[list[tuple[str, str]]]:
    """Give the instructions of each stage, beginning with its FROM."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def copied() -> Iterator[str]:
    """Give the files and folders that are copied from the build context."""
    for word, rest in instructions():
        if word == "COPY" and "--from=" not in rest:
            yield from rest.split()[:-1]


def variables(rest: str) -> dict[str, str]:
    """Read the assignments of an ENV instruction."""
    return dict(word.split("=", 1) for word in shlex.split(rest))
