"""Look-ups of models in the Hugging Face Hub, beside the queue: no worker and no other object waits for the Hub.

An object whose model only the Hub knows is told so, and is looked at again when the answer comes. Objects that ask the
same question share a look-up and its answer. docs/decisions/0033 has the reasons.
"""

import asyncio
import contextlib
import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from shardwise.hub import FactsUnavailable, HubError, HubFacts, HubQuestion, told
from shardwise.observe import Key
from shardwise.operate.about import about

AT_ONCE: Final = 4
"""Look-ups that run at a time."""

FIRST_WAIT_SECONDS: Final = 30.0
"""How long a question waits after its first failure; each further failure doubles the wait."""

LONGEST_WAIT_SECONDS: Final = 1800.0

SHARED_SECONDS: Final = 600.0
"""How long an answer is given to further objects. Each object keeps the facts that it got."""

SHARED_ANSWERS: Final = 128
"""Answers kept for further objects: a config.json may have a megabyte."""

Ask = Callable[[HubQuestion], HubFacts]
Asked = Callable[[Callable[[], HubFacts]], Awaitable[HubFacts]]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Failing:
    """Failures in a row: their number, the last error, and the time of the next try."""

    error: HubError | None = None
    failures: int = 0
    again_at: float = 0.0

    def failed(self, error: HubError, now: float) -> None:
        """Count a failure."""
        self.error = error
        self.again_at = now + min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(self.failures, 30))
        self.failures += 1


@dataclass(slots=True, eq=False)
class _Lookup:
    """A question without an answer yet, and the objects that ask it.

    ``pending`` from its queueing to its end, on account of an object of ``namespace``.
    """

    question: HubQuestion
    askers: dict[Key, None] = field(default_factory=dict)
    failing: _Failing = field(default_factory=_Failing)
    pending: bool = False
    namespace: str = ""


class Lookups:
    """Asks the Hub, a question at a time, and wakes the objects that asked.

    ``ask`` blocks, and is called in a thread by ``in_thread``. ``now`` is a steady clock in seconds. ``wake`` is called
    with each object whose look-up has ended.
    """

    def __init__(self, ask: Ask, now: Callable[[], float], in_thread: Asked | None = None) -> None:
        self.wake: Callable[[Key], None] = lambda _: None
        self._ask = ask
        self._now = now
        self._in_thread = in_thread or in_daemon_thread
        self._lookups: dict[HubQuestion, _Lookup] = {}
        self._asked: dict[Key, tuple[HubQuestion, int]] = {}
        self._answers: OrderedDict[HubQuestion, tuple[float, HubFacts]] = OrderedDict()
        self._queued: list[_Lookup] = []
        self._running: dict[_Lookup, asyncio.Task[None]] = {}
        self._silence = _Failing()
        """Failures of the Hub as a whole. While they last, a single look-up at a time tries."""

    def answer(self, key: Key, generation: int, question: HubQuestion) -> HubFacts:
        """Give the answer to an object's question if it is known. Else see to it that the Hub is asked.

        Raises :class:`FactsUnavailable` while there is no answer, and :class:`InvalidObject` after a refusal.
        """
        found = self._answers.get(question)
        if found is not None and self._now() - found[0] < SHARED_SECONDS:
            self.forget(key)
            return found[1]
        lookup = self._joined(key, generation, question)
        self._begin(lookup, key)
        raise self._state_of(lookup)

    def forget(self, key: Key) -> None:
        """Forget an object that asks no longer. A question that nobody asks is forgotten with its failures."""
        asked = self._asked.pop(key, None)
        lookup = self._lookups.get(asked[0]) if asked is not None else None
        if lookup is not None:
            lookup.askers.pop(key, None)
            self._drop(lookup)

    def close(self) -> None:
        """Let go of all look-ups. Threads that still wait for the Hub end by themselves, and nobody hears them."""
        for task in self._running.values():
            task.cancel()

    def _joined(self, key: Key, generation: int, question: HubQuestion) -> _Lookup:
        """Add an object to those that ask a question. An edit of the object allows a try at once."""
        before = self._asked.get(key)
        if before is not None and before[0] != question:
            self.forget(key)
        self._asked[key] = question, generation
        lookup = self._lookups.setdefault(question, _Lookup(question))
        lookup.askers[key] = None
        if before is not None and before != (question, generation):
            lookup.failing.failures = 0
            lookup.failing.again_at = self._silence.again_at = 0.0
        return lookup

    def _begin(self, lookup: _Lookup, key: Key) -> None:
        if not lookup.pending and self._now() >= max(lookup.failing.again_at, self._silence.again_at):
            lookup.pending, lookup.namespace = True, key[0]
            self._queued.append(lookup)
            self._start()

    def _state_of(self, lookup: _Lookup) -> Exception:
        """Say why there is no answer, and when the next try may come."""
        error = lookup.failing.error or self._unreachable()
        if error is None:
            return FactsUnavailable(f"`{lookup.question.repo}` is being looked up in the Hub")
        if lookup.pending:
            return told(error)
        return told(error, max(lookup.failing.again_at, self._silence.again_at) - self._now())

    def _unreachable(self) -> HubError | None:
        """Give the error of a Hub that answers nobody, without the name of the model that found out."""
        error = self._silence.error
        return None if error is None else HubError(f"the Hub cannot be reached: {error.detail}", retryable=True)

    def _start(self) -> None:
        """Start look-ups that are queued. The namespace with the fewest running look-ups comes first."""
        most = AT_ONCE if self._silence.error is None else 1
        while self._queued and len(self._running) < most:
            running = Counter(lookup.namespace for lookup in self._running)
            lookup = min(self._queued, key=lambda queued: running[queued.namespace])
            self._queued.remove(lookup)
            self._running[lookup] = asyncio.create_task(self._run(lookup))

    async def _run(self, lookup: _Lookup) -> None:
        with about(None):  # several objects may ask, and whoever began this task need not be one of them
            await self._asked_for(lookup)

    async def _asked_for(self, lookup: _Lookup) -> None:
        begun = self._silence.failures
        outcome: HubFacts | HubError
        try:
            outcome = await self._in_thread(partial(self._ask, lookup.question))
        except HubError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - a fault in a look-up must not stop the others; it is logged
            _log.warning("%s: the look-up failed", lookup.question.repo, exc_info=True)
            outcome = HubError(f"`{lookup.question.repo}` cannot be looked up: {error}", retryable=True)
        del self._running[lookup]
        lookup.pending = False
        woken = [lookup, *self._noted(lookup, outcome, begun)]
        for asker in [asker for ended in woken for asker in ended.askers]:
            self.wake(asker)
        self._drop(lookup)
        self._start()

    def _noted(self, lookup: _Lookup, outcome: HubFacts | HubError, begun: int) -> list[_Lookup]:
        """Note how a look-up ended. Give the other look-ups that end with it: a silent Hub answers none of them.

        ``begun`` is the number of failures of the Hub as a whole when the look-up began.
        """
        if isinstance(outcome, HubError) and outcome.everywhere:
            if begun == self._silence.failures:  # else another look-up that ran beside it has found out
                self._silence.failed(outcome, self._now())
                _log.warning("the Hub gives no answers: %s", outcome.detail)
            ended, self._queued = self._queued, []
            for other in ended:
                other.pending = False
            return ended
        if self._silence.error is not None:
            self._silence = _Failing()
            _log.info("the Hub answers again")
        if isinstance(outcome, HubError):
            lookup.failing.failed(outcome, self._now())
        else:
            self._shared(lookup, outcome)
        return []

    def _shared(self, lookup: _Lookup, facts: HubFacts) -> None:
        self._lookups.pop(lookup.question, None)
        self._answers[lookup.question] = self._now(), facts
        self._answers.move_to_end(lookup.question)
        while len(self._answers) > SHARED_ANSWERS:
            self._answers.popitem(last=False)

    def _drop(self, lookup: _Lookup) -> None:
        """Forget a question that nobody asks, unless it is being asked: its end comes back here."""
        if lookup.askers or lookup in self._running:
            return
        if lookup in self._queued:
            self._queued.remove(lookup)
        if self._lookups.get(lookup.question) is lookup:
            del self._lookups[lookup.question]


def in_daemon_thread(call: Callable[[], HubFacts]) -> asyncio.Future[HubFacts]:
    """Call in a thread of its own. Unlike a thread of the pool, it does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[HubFacts] = loop.create_future()

    def settle(found: HubFacts | None, error: Exception | None) -> None:
        if future.done():
            return
        if found is not None:
            future.set_result(found)
        else:
            future.set_exception(error or RuntimeError("no answer"))

    def work() -> None:
        found, failed = None, None
        try:
            found = call()
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is waited for
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(settle, found, failed)

    threading.Thread(target=work, daemon=True, name="hub").start()
    return future
