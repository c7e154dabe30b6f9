"""The object that the running task works on, for the log: each line of the work names it."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

_KEY: Final[ContextVar[object]] = ContextVar("key", default=None)


@contextlib.contextmanager
def about(key: object) -> Iterator[None]:
    """Let the log name a key while the block lasts, also in the threads that the block waits for."""
    token = _KEY.set(key)
    try:
        yield
    finally:
        _KEY.reset(token)


def key_at_work() -> tuple[str, str] | None:
    """Give the namespace and the name of the object that is worked on; ``None`` outside of such work."""
    key = _KEY.get()
    if not isinstance(key, tuple):
        return None
    namespace, name = key
    return str(namespace), str(name)
