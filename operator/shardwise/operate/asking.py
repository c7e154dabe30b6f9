"""Questions to the engines of leaders, beside the queue: no worker and no object waits for an engine.

``shardwise.reconcile.figures`` decides who is asked. When an answer comes, its object is looked at again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Final

from shardwise.observe import Key, Store
from shardwise.operate.engine_http import Fetch, Place, Unanswered, fetched
from shardwise.operate.idle_engines import IdleEngines, forget_earlier
from shardwise.reconcile.asks import Answer, Ask, TokenAsk

AT_ONCE: Final = 16
"""Questions that are asked at a time: after a start of the operator, every group that serves may be due."""

_log = logging.getLogger(__name__)


class Asking:
    """Asks engines, and notes in the store when it asked and what came back. ``now`` is in seconds since the epoch.

    ``wake`` is called with the object of each answer that says something.
    """

    def __init__(self, store: Store, now: Callable[[], float], fetch: Fetch = fetched) -> None:
        self.wake: Callable[[Key], None] = lambda _: None
        self._store = store
        self._now = now
        self._fetch = fetch
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = IdleEngines(store, now, fetch, self._woken)

    def begin(self, key: Key, asks: Iterable[Ask | TokenAsk]) -> None:
        """Begin to ask, and note it. Questions of earlier attempts of the same replicas are forgotten."""
        for ask in asks:
            if isinstance(ask, TokenAsk):
                self._idle.begin(key, ask)
                self._run(self._idle.ask(key, ask))
                continue
            answers = self._store.answers.setdefault(key, {})
            forget_earlier(answers, ask)
            before = answers.get((ask.replica, ask.attempt))
            tries = 1 if before is None else before.tries + 1
            begun = answers[ask.replica, ask.attempt] = Answer(tries, self._now())
            self._run(self._ask(key, ask, begun))

    def _run(self, asking: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(asking)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _woken(self, key: Key) -> None:
        self.wake(key)

    async def all_answered(self) -> None:
        """Wait until no question is under way any more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Stop asking."""
        for task in self._tasks:
            task.cancel()

    async def _ask(self, key: Key, ask: Ask, begun: Answer) -> None:
        place = Place(ask.address, ask.port, ask.figures.path)
        try:
            async with self._slots:
                text = await self._fetch(place)
            tokens = await asyncio.to_thread(ask.figures.tokens, text)
        except Unanswered as error:
            _log.debug("%s/%s: no figures of replica %d: %s", *key, ask.replica, error)
            return
        answers = self._store.answers.get(key, {})
        if answers.get((ask.replica, ask.attempt)) is not begun:
            return  # the object or the attempt is gone, or somebody has asked again
        answers[ask.replica, ask.attempt] = Answer(begun.tries, begun.at, final=True, tokens=tokens)
        if tokens is not None:
            self.wake(key)
