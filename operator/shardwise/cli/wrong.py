"""The error of the command line, and its exit status."""

from typing import Final

WRONG_INPUT: Final = 2
"""The exit status of a command whose input is wrong."""


class WrongInput(Exception):
    """Input that cannot be worked with; each line names an error."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
