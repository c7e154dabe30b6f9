"""Idle engines are asked for a token, beside the queue: a silent engine hangs, if it still answers other questions."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from shardwise.observe import Key, Store
from shardwise.operate.engine_http import Fetch, Place, Silent, Unanswered
from shardwise.reconcile.asks import Ask, Attempt, Heard, TokenAsk

AT_ONCE: Final = 64
"""Engines that are asked for a token at a time: each may take minutes, and costs no more than a connection."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


def forget_earlier(noted: dict[Attempt, T], ask: Ask | TokenAsk) -> None:
    """Forget what is noted of other attempts of the replica that is asked."""
    for attempt in [found for found in noted if found[0] == ask.replica and found[1] != ask.attempt]:
        del noted[attempt]


class IdleEngines:
    """Asks idle engines for a token, and notes in the store when it asked and which of them hang.

    ``now`` is in seconds since the epoch. ``wake`` is called with the object of each engine that hangs.
    """

    def __init__(self, store: Store, now: Callable[[], float], fetch: Fetch, wake: Callable[[Key], None]) -> None:
        self._store = store
        self._now = now
        self._fetch = fetch
        self._wake = wake
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._asked: set[tuple[Key, int, int]] = set()

    async def ask(self, key: Key, ask: TokenAsk) -> None:
        """Ask an engine for a token, unless it is being asked already. Earlier attempts are forgotten."""
        who = (key, ask.replica, ask.attempt)
        if who in self._asked:
            return
        self._asked.add(who)
        try:
            async with self._slots:
                if await self._hangs(ask):
                    self._note(key, ask)
        finally:
            self._asked.discard(who)

    def begin(self, key: Key, ask: TokenAsk) -> None:
        """Note that an engine is asked."""
        heard = self._store.heard.setdefault(key, {})
        forget_earlier(heard, ask)
        heard[ask.replica, ask.attempt] = Heard(self._now())

    def _note(self, key: Key, ask: TokenAsk) -> None:
        heard = self._store.heard.get(key, {})
        found = heard.get((ask.replica, ask.attempt))
        if found is not None:  # else the object or the attempt is gone
            _log.warning("%s/%s: replica %d does not answer a request of one token", *key, ask.replica)
            heard[ask.replica, ask.attempt] = Heard(found.at, hangs=True)
            self._wake(key)

    async def _hangs(self, ask: TokenAsk) -> bool:
        """Ask for a token. Any answer is good, an error too: only silence with no other work shows a hang."""
        place = Place(ask.address, ask.port, ask.request.path, ask.request.body, ask.request.seconds)
        if await self._in_work(ask) != 0:
            return False
        try:
            await self._fetch(place)
        except Silent:
            in_work = await self._in_work(ask)
            return in_work is not None and in_work <= 1
        except Unanswered as error:
            _log.debug("%s: no token asked for: %s", ask.address, error)
        return False

    async def _in_work(self, ask: TokenAsk) -> float | None:
        """Count the requests in work; ``None`` if the engine does not say it."""
        try:
            text = await self._fetch(Place(ask.address, ask.port, ask.request.gauges_at))
        except Unanswered:
            return None
        return await asyncio.to_thread(ask.request.in_work, text)
