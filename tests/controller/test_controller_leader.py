"""Which operator acts: it waits for the Lease, renews it, and stops acting before another may begin."""

import asyncio
import threading
from pathlib import Path

import pytest
from tests.controller.support import Clock, settle
from tests.support.operating import LIMIT, Operating, a_model

from shardwise.api import crd
from shardwise.cluster import LeadershipLost, Retryable, election
from shardwise.cluster import lease as lease_module
from shardwise.cluster.election import Election
from shardwise.cluster.lease import GIVE_UP_SECONDS, LEASE_SECONDS, RENEW_SECONDS
from shardwise.cluster.own_loop import own_loop
from shardwise.controller import Options, run
from shardwise_sandbox import Sandbox, sample_fleet
from shardwise_sandbox.asked import asked_in


class Held:
    """A Lease that answers what a test says."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.tries = 0
        self.let_go_of = 0
        self.silent = False

    async def try_to_hold(self) -> bool:
        self.tries += 1
        if self.silent:
            await asyncio.Event().wait()
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def let_go(self) -> None:
        self.let_go_of += 1


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def elected(held: Held, clock: Clock) -> Election:
    return Election(held, lambda: clock.now, asyncio.sleep)


async def lead(held: Held, clock: Clock, begun: asyncio.Event) -> None:
    async with elected(held, clock).leading() as renewal:
        begun.set()
        await renewal


async def test_nothing_begins_before_the_lease_is_held(clock: Clock) -> None:
    """However often it takes, and whatever the API says meanwhile."""
    held, begun = Held(False, Retryable("no answer"), False, True), asyncio.Event()
    task = asyncio.create_task(lead(held, clock, begun))
    for _ in range(3):
        await settle()
        assert not begun.is_set()
        await clock.advance(RENEW_SECONDS)
    assert begun.is_set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lease_that_is_renewed_is_kept(clock: Clock) -> None:
    """A renewal that fails once in between does no harm."""
    held, begun = Held(True, True, Retryable("no answer"), True), asyncio.Event()
    task = asyncio.create_task(lead(held, clock, begun))
    for _ in range(20):
        await clock.advance(RENEW_SECONDS)
    assert not task.done()
    assert held.tries >= 20
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("how", "said"),
    [("refused", []), ("silent", ["the API server does not answer: the Lease cannot be held: no answer within 4 s"])],
    ids=["refused", "silent"],
)
async def test_a_lease_that_cannot_be_renewed_ends_the_work_before_it_expires(
    clock: Clock, caplog: pytest.LogCaptureFixture, how: str, said: list[str]
) -> None:
    """To the second, also where no answer comes at all; the log says so."""
    held, begun = Held(True), asyncio.Event()
    task = asyncio.create_task(lead(held, clock, begun))
    await settle()
    assert begun.is_set()
    held.answers = [False] * 99
    held.silent = how == "silent"
    start = clock.now
    while not task.done():
        await clock.advance(0.5)
        assert clock.now - start < LEASE_SECONDS
    with pytest.raises(LeadershipLost, match="not renewed for 6 s"):
        await task
    assert clock.now - start == GIVE_UP_SECONDS
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == said


async def test_one_that_slept_through_its_time_ends_without_asking(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that was suspended: another may have held the Lease since, and let it go."""
    held, begun = Held(), asyncio.Event()
    task = asyncio.create_task(lead(held, clock, begun))
    await settle()
    await clock.advance(LEASE_SECONDS)
    with pytest.raises(LeadershipLost):
        await task
    assert held.tries == 1
    assert "no answer" not in caplog.text


@pytest.mark.parametrize("slow", [1, 2], ids=["the first answer", "that to a renewal"])
async def test_a_lease_whose_answer_was_slow_counts_from_before_it_was_asked_for(clock: Clock, slow: int) -> None:
    """For the others it runs from when it was written, which may be long before its holder hears of it."""
    late, begun = 3.5, asyncio.Event()

    class Slow(Held):
        async def try_to_hold(self) -> bool:
            if self.tries + 1 == slow:
                await asyncio.sleep(late)
            return await super().try_to_hold()

    held = Slow(*[True] * slow, *[False] * 99)
    asked = clock.now + (slow - 1) * RENEW_SECONDS
    task = asyncio.create_task(lead(held, clock, begun))
    while not task.done():
        await clock.advance(0.5)
        assert clock.now - asked < LEASE_SECONDS
    with pytest.raises(LeadershipLost):
        await task
    assert begun.is_set()


async def test_on_the_way_out_the_lease_is_given_up(clock: Clock) -> None:
    held, begun = Held(True), asyncio.Event()
    task = asyncio.create_task(lead(held, clock, begun))
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert held.let_go_of == 1


async def test_the_lease_is_given_up_only_once_no_renewal_is_under_way(clock: Clock) -> None:
    """One that arrived later would hold it for somebody who has gone."""
    done: list[str] = []

    class Ending(Held):
        async def try_to_hold(self) -> bool:
            if self.tries:
                try:
                    await asyncio.Event().wait()
                finally:
                    await settle()
                    done.append("the renewal has ended")
            return await super().try_to_hold()

        async def let_go(self) -> None:
            done.append("given up")

    stop = asyncio.Event()

    async def work() -> None:
        async with elected(Ending(), clock).leading():
            await stop.wait()

    task = asyncio.create_task(work())
    await settle()
    await clock.advance(RENEW_SECONDS)
    stop.set()
    for _ in range(3):
        await settle()
    assert task.done()
    await task
    assert done == ["the renewal has ended", "given up"]


@pytest.mark.parametrize("how", ["refused", "silent"])
async def test_who_cannot_give_the_lease_up_leaves_all_the_same(clock: Clock, how: str) -> None:
    """And soon: the next waits until it has expired."""

    class Stuck(Held):
        async def let_go(self) -> None:
            if how == "silent":
                await asyncio.Event().wait()
            raise Retryable("no answer")

    async def leave() -> None:
        async with elected(Stuck(), clock).leading():
            pass

    task = asyncio.create_task(leave())
    await settle()
    await clock.advance(RENEW_SECONDS)
    assert task.done()
    await task


def test_whoever_waits_takes_over_within_fifteen_seconds_and_never_too_early() -> None:
    """Expired, looked at, and everything listed once more; and the holder has stopped before."""
    assert LEASE_SECONDS + RENEW_SECONDS < 15
    assert GIVE_UP_SECONDS + RENEW_SECONDS < LEASE_SECONDS


class Two(Operating):
    """Two operators that elect a leader."""

    def candidate(self, name: str) -> tuple[asyncio.Event, asyncio.Task[None]]:
        stop = asyncio.Event()
        options = Options(
            kubeconfig=self.kubeconfig,
            lease=("default", "shardwise"),
            identity=name,
            fetch=asked_in(self.cluster),
        )
        return stop, asyncio.create_task(run(options, stop))

    def holder(self) -> str:
        found = self.cluster.find("Lease", "default", "shardwise") or {"spec": {}}
        return str(found["spec"].get("holderIdentity", ""))


async def test_of_two_operators_one_acts_and_the_other_takes_over_without_touching_what_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(election, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 1)
    async with Sandbox(objects=[crd.definition(), *sample_fleet()]) as cluster:
        cluster.write_kubeconfig(tmp_path / "kubeconfig")
        both = Two(cluster, tmp_path / "kubeconfig")
        stop_a, a = both.candidate("a")
        await both.until(lambda: both.holder() == "a", "a leads")
        stop_b, b = both.candidate("b")
        cluster.create(a_model())
        await both.ready("llama")
        before = {pod["metadata"]["uid"] for pod in both.pods("llama")}
        a.cancel()  # as if it were killed, but for its connections
        await asyncio.gather(a, return_exceptions=True)
        await both.until(lambda: both.holder() == "b", "b leads")
        cluster.create(a_model("second"))
        await both.ready("second")
        assert {pod["metadata"]["uid"] for pod in both.pods("llama")} == before
        assert both.status("llama")["restarts"] == 0
        stop_b.set()
        async with asyncio.timeout(LIMIT):
            await b
        assert both.holder() == ""
        assert not stop_a.is_set()


async def test_a_lease_on_a_loop_of_its_own_is_renewed_while_the_operators_loop_is_blocked() -> None:
    """A decision, a large list or a collection of garbage may block the operator's loop for longer than a renewal."""
    renewed = threading.Semaphore(0)

    class Counting:
        """A Lease that is always ours."""

        async def try_to_hold(self) -> bool:
            renewed.release()
            return True

        async def let_go(self) -> None:
            return

    async with own_loop() as place:
        election = Election(Counting(), sleep=lambda _: asyncio.sleep(0), place=place)
        async with election.leading() as renewal:
            await asyncio.sleep(0)  # the renewal begins
            tries = [renewed.acquire(timeout=10) for _ in range(5)]  # blocks this loop: nothing else runs here
            assert tries == [True] * 5
            assert not renewal.done()


async def test_a_lease_that_is_lost_on_a_loop_of_its_own_is_told_here() -> None:
    class Lost:
        """A Lease that is ours once."""

        tries = 0

        async def try_to_hold(self) -> bool:
            self.tries += 1
            return self.tries == 1

        async def let_go(self) -> None:
            return

    clock = iter(range(0, 1000, 5))
    async with own_loop() as place:
        election = Election(Lost(), steady=lambda: float(next(clock)), sleep=lambda _: asyncio.sleep(0), place=place)
        async with election.leading() as renewal:
            with pytest.raises(LeadershipLost):
                await renewal
