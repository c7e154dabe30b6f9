"""Reading once the parts that thousands of nodes and pods have in common."""

import marshal
from typing import Any, Final, Generic, TypeVar

V = TypeVar("V")

MOST: Final = 4096
"""Different parts that are remembered. With more of them, all are read again."""


class ReadOnce(Generic[V]):
    """Values by the content of the fields that they are read from, as :func:`content` gives it."""

    def __init__(self) -> None:
        self._known: dict[bytes, V] = {}

    def get(self, read_from: bytes) -> V | None:
        """Give the value for a content; ``None`` if it is not known."""
        return self._known.get(read_from)

    def keep(self, read_from: bytes, value: V) -> V:
        """Remember the value for a content, and give it."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[read_from] = value
        return value


def content(fields: Any) -> bytes:  # noqa: ANN401 - any part of an object
    """Give bytes that differ for fields that differ, also in type: 1 and 1.0 read differently.

    ``repr`` does the same and takes twice as long. A file made by hand may hold dates, which ``marshal`` does not know.
    """
    try:
        return marshal.dumps(fields, 2)
    except ValueError:
        return repr(fields).encode()
