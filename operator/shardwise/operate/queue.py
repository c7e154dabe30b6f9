"""A queue of keys: each key waits at most once, has a single worker at a time, and backs off when it fails."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from shardwise.operate.about import about

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF: Final = 0.2
"""Seconds before a key that failed is tried again; doubled by every further failure."""

LONGEST_BACKOFF: Final = 60.0

_log = logging.getLogger(__name__)


class Turns(Protocol[K]):
    """The keys that are worked on in the order of their turns, and not in the order in which they were asked for."""

    def offer(self, key: K) -> bool:
        """Ask for work on a key; ``False`` if the key has no turn, so that it is worked on as it comes."""

    def sweep(self, first: K | None) -> None:
        """Ask for work on every key that may want it, in turn: from a key's place on, or from the first."""

    def take(self) -> K | None:
        """Give the next key, once; ``None`` if there is none."""

    def first(self) -> K | None:
        """Give the first key with a turn on which work is asked for."""

    def is_ahead(self, key: K, other: K) -> bool:
        """Tell whether both have a turn, and the turn of the first comes before the turn of the other."""


class Queue(Generic[K]):
    """Keys that want work. ``work`` gives seconds after which to come back, or ``None``; a failure is retried.

    Keys with a turn are worked on in turn, all others first come first served, and the two in alternation. At most
    ``most_in_turn`` workers have keys with a turn. So no number of keys with a turn, and no long work on them, keeps
    the other keys from being worked on.

    ``waited`` is given the seconds for which each key has waited for a worker, by the steady clock ``now``. A key that
    only a sweep asked for has waited since the last sweep began.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        turns: Turns[K] | None = None,
        most_in_turn: int = 3,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.waited: Callable[[float], None] = lambda _: None
        self._now = now
        self._asked_at: dict[K, float] = {}
        self._swept_at = now()
        self._work = work
        self._turns = turns
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._asked = asyncio.Event()
        self._most_in_turn = most_in_turn
        self._at_work_in_turn: set[K] = set()
        self._in_turn = True

    def add(self, key: K) -> None:
        """Ask for work on a key. Asked again before it starts, it is done once; while it runs, once more after."""
        self._cancel_timer(key)
        if key in self._running:
            self._again.add(key)
            return
        self._asked_at.setdefault(key, self._now())
        if key not in self._waiting and not (self._turns is not None and self._turns.offer(key)):
            self._waiting.add(key)
            self._ready.append(key)
        self._asked.set()

    def sweep(self, first: K | None = None) -> None:
        """Ask for work on all keys that lack something, in turn: from a key's place on, or from the first. O(1)."""
        if self._turns is not None:
            self._turns.sweep(first)
            self._swept_at = self._now()
            self._asked.set()

    @property
    def length(self) -> int:
        """The number of keys that work was asked for and that no worker has begun. Keys of a sweep are not counted."""
        return len(self._asked_at) + len(self._again)

    @property
    def running(self) -> int:
        """The number of keys that are worked on."""
        return len(self._running)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on a key in a while, unless something asks earlier."""
        self._cancel_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.add, key)

    def due_ahead(self, key: K) -> Iterator[K]:
        """Give the keys with an earlier turn on which work is still to begin; of those not begun, only the first."""
        if self._turns is None:
            return
        first = self._turns.first()
        for other in (*self._again, *(() if first is None else (first,))):
            if self._turns.is_ahead(other, key):
                yield other

    def close(self) -> None:
        """Let go of the timers."""
        for key in list(self._timers):
            self._cancel_timer(key)

    async def serve(self) -> None:
        """Work, key after key, until cancelled. Several may serve one queue. Gives way to other tasks at every key."""
        while True:
            key = await self._next()
            try:
                with about(key):
                    await self._tried(key)
            finally:
                self._running.discard(key)
                self._at_work_in_turn.discard(key)
                self._asked.set()
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)
            await asyncio.sleep(0)  # work that waits for nothing would keep the loop from everything else

    async def _tried(self, key: K) -> None:
        try:
            self._done(key, await self._work(key))
        except Exception as error:  # noqa: BLE001 - one object's failure must not stop the others; it is logged
            self._failed(key, error)

    async def _next(self) -> K:
        while (key := self._take()) is None:
            self._asked.clear()
            await self._asked.wait()
        self._cancel_timer(key)
        self.waited(self._now() - self._asked_at.pop(key, self._swept_at))
        self._running.add(key)
        return key

    def _take(self) -> K | None:
        """Take a key from the two rows, in alternation while both have keys."""
        rows = (self._take_ready, self._take_in_turn)
        for row in rows if self._in_turn else reversed(rows):
            key = row()
            if key is not None:
                self._in_turn = row == self._take_in_turn
                return key
        return None

    def _take_ready(self) -> K | None:
        while self._ready:
            key = self._ready.popleft()
            if key in self._waiting:
                self._waiting.discard(key)
                return key
        return None

    def _take_in_turn(self) -> K | None:
        if len(self._at_work_in_turn) >= self._most_in_turn:
            return None
        while self._turns is not None and (key := self._turns.take()) is not None:
            self._waiting.discard(key)
            if key not in self._running:
                self._at_work_in_turn.add(key)
                return key
            self._again.add(key)
        return None

    def _done(self, key: K, seconds: float | None) -> None:
        self._failures.pop(key, None)
        if seconds is not None:
            self.add_after(key, seconds)

    def _failed(self, key: K, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 30))
        name = "/".join(map(str, key)) if isinstance(key, tuple) else key
        _log.warning("%s: %s; again in %.1f s", name, error, wait, exc_info=_log.isEnabledFor(logging.DEBUG))
        self.add_after(key, wait)

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
