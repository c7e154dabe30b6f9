"""The queue: each key waits at most once, is worked on by one worker at a time, and backs off when it fails."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.support import Clock, settle

from shardwise.operate.queue import FIRST_BACKOFF, LONGEST_BACKOFF, Queue

MOMENT = 0.001

Outcome = float | Exception | None


class Work:
    """Does what a test says, and notes what was begun; while ``gate`` is closed, nothing ends."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.running: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.outcomes: defaultdict[str, list[Outcome]] = defaultdict(list)

    async def __call__(self, key: str) -> float | None:
        assert key not in self.running, f"two workers on {key}"
        self.begun.append(key)
        self.running.append(key)
        try:
            await self.gate.wait()
        finally:
            self.running.remove(key)
        outcome = self.outcomes[key].pop(0) if self.outcomes[key] else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@contextlib.asynccontextmanager
async def serving(queue: Queue[str], workers: int = 1) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(queue.serve()) for _ in range(workers)]
    try:
        yield
    finally:
        queue.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def work(clock: Clock) -> Work:
    return Work()


@pytest.fixture
async def queue(work: Work) -> AsyncIterator[Queue[str]]:
    """Give a queue that one worker serves."""
    made: Queue[str] = Queue(work)
    async with serving(made):
        yield made


async def test_keys_are_worked_on_in_the_order_they_are_asked_for(queue: Queue[str], work: Work) -> None:
    for key in ("b", "a", "c"):
        queue.add(key)
    await settle()
    assert work.begun == ["b", "a", "c"]


async def test_a_key_asked_for_often_before_it_begins_is_worked_on_once(queue: Queue[str], work: Work) -> None:
    for _ in range(5):
        queue.add("a")
    await settle()
    assert work.begun == ["a"]


async def test_a_key_asked_for_while_it_is_worked_on_is_worked_on_once_more_after(
    queue: Queue[str], work: Work
) -> None:
    """What was asked may have come too late for the work that runs."""
    work.gate.clear()
    queue.add("a")
    await settle()
    for _ in range(5):
        queue.add("a")
    await settle()
    assert work.begun == ["a"]
    work.gate.set()
    await settle()
    assert work.begun == ["a", "a"]


@pytest.mark.parametrize(("workers", "together"), [(1, ["a"]), (2, ["a", "b"]), (4, ["a", "b"])])
async def test_workers_share_the_keys_but_never_one_key(work: Work, workers: int, together: list[str]) -> None:
    queue: Queue[str] = Queue(work)
    work.gate.clear()
    async with serving(queue, workers):
        for key in ("a", "b", "a"):
            queue.add(key)
        await settle()
        queue.add("a")
        await settle()
        assert work.running == together


async def test_a_failure_waits_twice_as_long_each_time_up_to_a_limit(
    queue: Queue[str], work: Work, clock: Clock
) -> None:
    waits = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0, 60.0]
    assert (waits[0], waits[-1]) == (FIRST_BACKOFF, LONGEST_BACKOFF)
    work.outcomes["a"] = [OSError("down")] * len(waits)
    queue.add("a")
    await settle()
    for position, wait in enumerate(waits, 1):
        await clock.advance(wait - MOMENT)
        assert len(work.begun) == position, f"too early after failure {position}"
        await clock.advance(2 * MOMENT)
        assert len(work.begun) == position + 1, f"too late after failure {position}"


async def test_a_key_that_failed_thousands_of_times_still_waits_a_minute(
    queue: Queue[str], work: Work, clock: Clock
) -> None:
    """No number grows until it cannot be a float any more."""
    queue._failures["a"] = 100_000
    work.outcomes["a"] = [OSError("down")]
    queue.add("a")
    await settle()
    await clock.advance(LONGEST_BACKOFF + MOMENT)
    assert work.begun == ["a", "a"]


async def test_a_success_forgets_the_failures_before(queue: Queue[str], work: Work, clock: Clock) -> None:
    work.outcomes["a"] = [OSError("1"), OSError("2"), OSError("3"), None, OSError("4")]
    queue.add("a")
    await settle()
    for _ in range(3):
        await clock.advance(LONGEST_BACKOFF)
    assert len(work.begun) == 4
    queue.add("a")
    await settle()
    await clock.advance(FIRST_BACKOFF + MOMENT)
    assert len(work.begun) == 6


async def test_keys_back_off_each_for_itself(queue: Queue[str], work: Work, clock: Clock) -> None:
    """One object's failure delays no other."""
    work.outcomes["a"] = [OSError("down")] * 3
    queue.add("a")
    queue.add("b")
    await settle()
    assert work.begun == ["a", "b"]
    await clock.advance(FIRST_BACKOFF + MOMENT)
    assert work.begun == ["a", "b", "a"]


async def test_a_failure_is_logged_with_its_key_and_wait(
    queue: Queue[str], work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    work.outcomes["a"] = [OSError("no answer")]
    queue.add("a")
    await settle()
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "a: no answer; again in 0.2 s")
    assert not record.exc_info, "a traceback is for those who debug"


async def test_a_key_asked_for_while_it_backs_off_is_worked_on_at_once_and_not_again(
    queue: Queue[str], work: Work, clock: Clock
) -> None:
    """An event may be the very thing that helps."""
    work.outcomes["a"] = [OSError("down")]
    queue.add("a")
    await settle()
    queue.add("a")
    await settle()
    assert work.begun == ["a", "a"]
    await clock.advance(LONGEST_BACKOFF)
    assert work.begun == ["a", "a"]


async def test_a_key_asked_for_while_it_fails_is_worked_on_at_once_and_not_again(
    queue: Queue[str], work: Work, clock: Clock
) -> None:
    work.gate.clear()
    work.outcomes["a"] = [OSError("down")]
    queue.add("a")
    await settle()
    queue.add("a")
    work.gate.set()
    await settle()
    assert work.begun == ["a", "a"]
    await clock.advance(LONGEST_BACKOFF)
    assert work.begun == ["a", "a"]


async def test_work_may_ask_to_be_done_again_in_a_while(queue: Queue[str], work: Work, clock: Clock) -> None:
    work.outcomes["a"] = [30.0]
    queue.add("a")
    await settle()
    await clock.advance(30.0 - MOMENT)
    assert work.begun == ["a"]
    await clock.advance(2 * MOMENT)
    assert work.begun == ["a", "a"]


async def test_what_was_asked_meanwhile_makes_a_later_look_needless(
    queue: Queue[str], work: Work, clock: Clock
) -> None:
    """The work done since knows better when to look again."""
    work.gate.clear()
    work.outcomes["a"] = [30.0]
    queue.add("a")
    await settle()
    queue.add("a")
    work.gate.set()
    await settle()
    await clock.advance(60.0)
    assert work.begun == ["a", "a"]


async def test_of_two_later_looks_the_last_asked_for_counts(queue: Queue[str], work: Work, clock: Clock) -> None:
    queue.add_after("a", 10.0)
    queue.add_after("a", 20.0)
    await clock.advance(10.0 + MOMENT)
    assert work.begun == []
    await clock.advance(10.0)
    assert work.begun == ["a"]
    await clock.advance(60.0)
    assert work.begun == ["a"]


async def test_an_event_comes_before_a_later_look_and_replaces_it(queue: Queue[str], work: Work, clock: Clock) -> None:
    queue.add_after("a", 10.0)
    queue.add("a")
    await settle()
    assert work.begun == ["a"]
    await clock.advance(60.0)
    assert work.begun == ["a"]


async def test_a_closed_queue_looks_at_nothing_later(queue: Queue[str], work: Work, clock: Clock) -> None:
    queue.add_after("a", 10.0)
    queue.add_after("b", 20.0)
    queue.close()
    await clock.advance(60.0)
    assert work.begun == []


async def test_a_cancelled_worker_ends_and_leaves_its_key_to_others(work: Work) -> None:
    """The operator stops by cancelling: that is no failure to be retried."""
    queue: Queue[str] = Queue(work)
    work.gate.clear()
    async with serving(queue):
        queue.add("a")
        await settle()
        assert work.running == ["a"]
    work.gate.set()
    async with serving(queue):
        queue.add("a")
        await settle()
    assert work.begun == ["a", "a"]


_KEYS = st.sampled_from("abc")
_STEPS = st.lists(st.one_of(_KEYS, st.integers(1, 6)), max_size=40)


@given(steps=_STEPS, workers=st.integers(1, 3))
def test_nothing_asked_for_is_lost_however_adds_and_work_interleave(steps: list[str | int], workers: int) -> None:
    """After the last time a key is asked for, work on it begins; and never twice at the same time."""
    asyncio.run(_interleave(steps, workers))


async def _interleave(steps: list[str | int], workers: int) -> None:
    log: list[tuple[str, str]] = []
    running: set[str] = set()

    async def work(key: str) -> None:
        assert key not in running
        running.add(key)
        log.append(("begun", key))
        for _ in range(3):
            await asyncio.sleep(0)
        running.remove(key)

    queue: Queue[str] = Queue(work)
    async with serving(queue, workers):
        for step in steps:
            if isinstance(step, str):
                queue.add(step)
                log.append(("asked", step))
            else:
                for _ in range(step):
                    await asyncio.sleep(0)
        for _ in range(10 * len(steps) + 10):
            await asyncio.sleep(0)
    for key in "abc":
        last = [what for what, one in log if one == key][-1:]
        assert last in ([], ["begun"])
    begun = sum(what == "begun" for what, _ in log)
    assert begun <= len(log) - begun, "no work that nobody asked for"


async def test_the_time_for_which_a_key_waits_for_a_worker_is_told(work: Work, clock: Clock) -> None:
    """From the first call that asks for it; a key that is worked on when it is asked for again waits from its end."""
    queue: Queue[str] = Queue(work, now=lambda: clock.now)
    waits: list[float] = []
    queue.waited = waits.append
    work.gate.clear()
    async with serving(queue):
        queue.add("a")
        await settle()
        queue.add("b")
        await clock.advance(2.0)
        queue.add("b")
        queue.add("a")
        assert (queue.length, queue.running) == (2, 1)
        await clock.advance(3.0)
        work.gate.set()
        await settle()
    assert waits == [0.0, 5.0, 0.0]
    assert (queue.length, queue.running) == (0, 0)
