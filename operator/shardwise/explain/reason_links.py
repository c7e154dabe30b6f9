"""Links to the page of reasons, which says what each reason means and what to do."""

from typing import Final

PAGE: Final = "https://github.com/shardwise/shardwise/blob/main/docs/reference/reasons.md"


def anchor(reason: str) -> str:
    """Name the place of a reason on the page."""
    return reason.lower()


def link(reason: str) -> str:
    """Give the address of the place of a reason."""
    return f"{PAGE}#{anchor(reason)}"
