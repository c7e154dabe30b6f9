"""The verdict of a command on each object, and its exit status."""

from collections.abc import Iterable
from typing import Final, Literal

from shardwise.cli.wrong import WRONG_INPUT

Verdict = Literal["placed", "refused", "invalid"]

NOT_PLACED: Final = 1
"""The exit status of a command if an object has no place."""


def exit_status(verdicts: Iterable[Verdict]) -> int:
    """Give the exit status for the verdicts on all objects: the worst verdict counts."""
    found = set(verdicts)
    if "invalid" in found:
        return WRONG_INPUT
    return NOT_PLACED if "refused" in found else 0
