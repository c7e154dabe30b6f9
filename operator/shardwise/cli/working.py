"""Words on a terminal while something takes long: reading thousands of objects, asking the Hub, planning many objects.

They stand on standard error, in a line that goes when the work ends. A pipe, and a terminal that cannot take a line
back (``TERM=dumb``), get none.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    import threading

FIRST_SECONDS: Final = 1.0
"""Work that ends sooner says nothing."""

EVERY_SECONDS: Final = 0.5

_CLEAR: Final = "\r\x1b[K"


@contextlib.contextmanager
def working(says: Callable[[], str]) -> Iterator[None]:
    """Say what is being done, and for how long, while the block lasts. ``says`` is called in a thread."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    import threading  # noqa: PLC0415 - a pipe needs none

    done = threading.Event()
    thread = threading.Thread(target=_say, args=(says, done, sys.stderr), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _say(says: Callable[[], str], done: "threading.Event", screen: TextIO) -> None:
    waited = FIRST_SECONDS
    if done.wait(waited):
        return
    while True:
        screen.write(f"{_CLEAR}{says()} … {waited:.0f} s")
        screen.flush()
        if done.wait(EVERY_SECONDS):
            break
        waited += EVERY_SECONDS
    screen.write(_CLEAR)
    screen.flush()
