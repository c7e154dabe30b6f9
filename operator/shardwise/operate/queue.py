"""A queue of keys: each key waits at most once, has a single worker at a time, and backs off when it fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF: Final = 0.2
"""Seconds before a key that failed is tried again; doubled by every further failure."""

LONGEST_BACKOFF: Final = 60.0

_log = logging.getLogger(__name__)


class Queue(Generic[K]):
    """Keys that want work. ``work`` gives seconds after which to come back, or ``None``; a failure is retried."""

    def __init__(self, work: Callable[[K], Awaitable[float | None]]) -> None:
        self._work = work
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def add(self, key: K) -> None:
        """Ask for work on a key. Asked again before it starts, it is done once; while it runs, once more after."""
        self._cancel_timer(key)
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on a key in a while, unless something asks earlier."""
        self._cancel_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.add, key)

    def is_due(self, key: K) -> bool:
        """Tell whether work on a key is still to begin."""
        return key in self._waiting or key in self._again

    def close(self) -> None:
        """Let go of the timers."""
        for key in list(self._timers):
            self._cancel_timer(key)

    async def serve(self) -> None:
        """Work, key after key, until cancelled. Several may serve one queue."""
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._running.add(key)
            try:
                self._done(key, await self._work(key))
            except Exception as error:  # noqa: BLE001 - one object's failure must not stop the others; it is logged
                self._failed(key, error)
            finally:
                self._running.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def _done(self, key: K, seconds: float | None) -> None:
        self._failures.pop(key, None)
        if seconds is not None:
            self.add_after(key, seconds)

    def _failed(self, key: K, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 30))
        _log.warning("%s: %s; again in %.1f s", key, error, wait, exc_info=_log.isEnabledFor(logging.DEBUG))
        self.add_after(key, wait)

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
