"""Text on a terminal, with colours. A pipe needs none of it."""

from rich.console import Console


def console() -> Console:
    """Make a console that colours a terminal, and neither colours nor wraps in a pipe."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
