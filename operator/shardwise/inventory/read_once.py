"""Reading once the parts that thousands of nodes and pods have in common."""

import marshal
from typing import Any, Final, TypeVar

V = TypeVar("V")

MOST: Final = 4096
"""Different parts that are remembered. With more of them, all are read again."""


class ReadOnce(dict[bytes, V]):
    """Values by the content of the fields that they are read from, as :func:`content` gives it."""

    def keep(self, read_from: bytes, value: V) -> V:
        """Remember the value for a content, and give it."""
        if len(self) >= MOST:
            self.clear()
        self[read_from] = value
        return value


def content(fields: Any) -> bytes:  # noqa: ANN401 - any part of an object
    """Give bytes that differ for fields that differ, also in type: 1 and 1.0 read differently.

    ``repr`` does the same and takes twice as long. A file made by hand may hold dates, which ``marshal`` does not know.
    """
    try:
        return marshal.dumps(fields, 2)
    except ValueError:
        return repr(fields).encode()
