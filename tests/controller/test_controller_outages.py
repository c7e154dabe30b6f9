"""Outages of the API server: the operator waits at its start, stops acting as the leader, and goes on afterwards."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

import kopf
import pytest
from tests.support.operating import LIMIT, Operating, a_model

from shardwise.api import crd
from shardwise.cluster import Refused, election
from shardwise.cluster import lease as lease_module
from shardwise.controller import Options
from shardwise.controller import run as run_operator
from shardwise.controller.requesting import Requesting
from shardwise.hub import HubError, HubFacts, HubQuestion
from shardwise.operate.lookups import AT_ONCE
from shardwise_sandbox import Fault, RequestInfo, Sandbox, sample_fleet
from shardwise_sandbox.asked import asked_in

MODULE: Any = import_module("shardwise.controller.run")
"""The package gives its function of the same name."""


class Watched(Operating):
    """An operator that stands for election, and the log that it writes."""

    task: asyncio.Task[None]
    stopping: asyncio.Event

    async def begin(self, lease: tuple[str, str] | None = ("default", "shardwise"), **how: Any) -> None:
        self.stopping, self.ready_again = asyncio.Event(), asyncio.Event()
        how.setdefault("fetch", asked_in(self.cluster))
        options = Options(kubeconfig=self.kubeconfig, lease=lease, relist_seconds=3600.0, **how)
        self.task = asyncio.create_task(run_operator(options, self.stopping, self.ready_again))

    async def end(self) -> None:
        self.stopping.set()
        async with asyncio.timeout(LIMIT):
            await self.task

    def lists(self) -> int:
        """Count the lists that begin a term: ours are in pages, and kopf's come later."""
        mine = (request for request in self.cluster.requests if request.path.endswith("/api/v1/nodes"))
        return sum(not request.is_watch for request in mine)

    async def until(self, so: Callable[[], Any], what: str) -> None:
        """Wait until something is so. The cluster tells of no request that it drops, so it is looked for."""
        try:
            async with asyncio.timeout(LIMIT):
                while not so():  # noqa: ASYNC110 - a fault sets no event
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise TimeoutError(f"waited in vain for: {what}") from None

    def tries(self) -> int:
        return sum("/leases/" in request.path for request in self.cluster.requests)


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """Give an operator with short times, not begun yet."""
    monkeypatch.setattr(MODULE, "FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(election, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(election, "GIVE_UP_SECONDS", 0.3)
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 1)
    async with Sandbox(objects=[crd.definition(), *sample_fleet()]) as cluster:
        cluster.write_kubeconfig(tmp_path / "kubeconfig")
        watched = Watched(cluster, tmp_path / "kubeconfig")
        yield watched
        cluster.faults = None
        await watched.end()


def away(_: RequestInfo) -> Fault:
    return Fault.drop()


def no_lease(request: RequestInfo) -> Fault | None:
    return Fault.drop() if "/leases" in request.path else None


def said(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records)


async def test_an_operator_that_starts_without_an_api_server_waits_for_it(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.cluster.faults = away
    await watched.begin()
    await watched.until(lambda: watched.lists() >= 3, "three tries")
    assert not watched.task.done()
    assert said(caplog, "the API server does not answer") == 1
    watched.cluster.faults = None
    watched.cluster.create(a_model())
    await watched.ready("llama")


async def test_the_tries_become_rarer_up_to_half_a_minute(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of client-go's reflectors."""
    waits: list[float] = []

    async def wait_for(waiting: Any, seconds: float) -> None:
        waiting.close()
        waits.append(seconds)
        if len(waits) == 8:
            watched.stopping.set()

    monkeypatch.setattr(MODULE, "FIRST_WAIT_SECONDS", 1.0)
    monkeypatch.setattr(MODULE.asyncio, "wait_for", wait_for)
    watched.cluster.faults = away
    await watched.begin(lease=None)
    await watched.task
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_a_kind_that_is_not_there_yet_is_waited_for_and_said(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """An API server that is just starting does not know the kinds of others, and forbids a lot."""
    watched.cluster.delete("CustomResourceDefinition", "", "shardedmodels.shardwise.dev")
    await watched.begin()
    await watched.until(lambda: watched.lists() >= 3, "three tries")
    assert said(caplog, "waiting: cannot list shardedmodels") == 1
    watched.cluster.create(crd.definition())
    watched.cluster.create(a_model())
    await watched.ready("llama")


async def test_a_leader_outlives_an_outage_and_leads_again(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """With everything that runs left alone, and what was asked for meanwhile done."""
    await watched.begin()
    watched.cluster.create(a_model())
    await watched.ready("llama")
    before = {pod["metadata"]["uid"] for pod in watched.pods("llama")}
    for name in ("second", "third"):
        watched.cluster.faults = away
        watched.cluster.drop_watches()
        caplog.clear()
        await watched.until(lambda: said(caplog, "nothing is done until the operator leads again"), "the Lease lost")
        assert not watched.task.done()
        watched.cluster.faults = None
        watched.cluster.create(a_model(name))
        await watched.ready(name)
    assert {pod["metadata"]["uid"] for pod in watched.pods("llama")} == before
    assert watched.status("llama")["restarts"] == 0


async def test_nothing_of_a_term_acts_after_the_lease_is_lost(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The API server takes every call but those about the Lease: another operator might hold it by now."""
    await watched.begin()
    watched.cluster.create(a_model())
    await watched.ready("llama")
    watched.cluster.faults = no_lease
    await watched.until(lambda: said(caplog, "nothing is done until the operator leads again"), "the Lease lost")
    writes = watched.writes_to("")
    watched.cluster.create(a_model("second"))
    watched.cluster.kubelet.fail("default", "llama-0-0-0", exit_code=1, message="CUDA error")
    begun, tried = watched.lists(), watched.tries()
    await watched.until(lambda: watched.lists() > begun or watched.tries() > tried + 5, "another term")
    mine = [request for request in watched.cluster.requests if request.is_write][writes:]
    assert [request for request in mine if "/leases" not in request.path] == []
    watched.cluster.faults = None
    await watched.ready("second")
    await watched.ready("llama", restarts=1)


async def test_a_call_that_hangs_when_the_lease_is_lost_is_given_up(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker that waits for its answer does not go on when the answer comes."""
    held: asyncio.Event = asyncio.Event()
    asked: list[str] = []

    async def hang(request: RequestInfo) -> Fault | None:
        if request.is_write and request.path.endswith("/status") and "default" in request.path:
            asked.append(request.path)
            await held.wait()
        return no_lease(request) if asked else None

    await watched.begin()
    await watched.until(watched.ready_again.is_set, "a leader")
    watched.cluster.faults = hang
    watched.cluster.create(a_model())
    await watched.until(lambda: said(caplog, "nothing is done until the operator leads again"), "the Lease lost")
    held.set()
    tried = watched.tries()
    await watched.until(lambda: watched.tries() > tried + 3, "a new term")
    assert watched.pods("llama") == []
    assert len(asked) == 1
    watched.cluster.faults = None
    await watched.ready("llama")


@pytest.mark.parametrize("how", ["event", "signal"])
@pytest.mark.parametrize("when", ["at its start", "after a term"])
async def test_an_operator_that_waits_can_be_stopped(watched: Watched, how: str, when: str) -> None:
    """Kopf leaves handlers of signals behind when its watches end; nobody would hear them."""
    if when == "after a term":
        await watched.begin()
        await watched.until(watched.ready_again.is_set, "a leader")
    watched.cluster.faults = away
    watched.cluster.drop_watches()
    if when == "at its start":
        await watched.begin()
    tried = watched.lists()
    await watched.until(lambda: watched.lists() > tried + 1, "a wait")
    if how == "event":
        watched.stopping.set()
    else:
        signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(LIMIT):
        await watched.task


async def test_watches_that_end_with_an_error_begin_anew(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some errors of an API server that is ill end kopf's watches for good."""
    spawn, spawned = kopf.spawn_tasks, 0

    async def fail() -> None:
        raise RuntimeError("HTTP 500")

    async def ill(**how: Any) -> Collection[asyncio.Task[Any]]:
        nonlocal spawned
        spawned += 1
        return [asyncio.create_task(fail())] if spawned < 3 else await spawn(**how)

    monkeypatch.setattr(kopf, "spawn_tasks", ill)
    await watched.begin(lease=None)
    watched.cluster.create(a_model())
    await watched.ready("llama")
    assert spawned == 3
    assert said(caplog, "waiting: the watches ended") == 1


def watches() -> int:
    """Count the watches of kopf in this loop. kopf names their tasks so."""
    return sum(task.get_name().startswith("watcher for ") for task in asyncio.all_tasks())


@pytest.mark.parametrize("namespaces", [(), ("default",)], ids=["all namespaces", "one namespace"])
async def test_no_watch_outlives_that_of_a_kind_that_is_gone(watched: Watched, namespaces: tuple[str, ...]) -> None:
    """The others would be left to themselves by kopf: more after each failure, and the process would never end."""
    await watched.begin(lease=None, namespaces=namespaces)
    watched.cluster.create(a_model())
    await watched.ready("llama")
    before = watches()
    gone: list[RequestInfo] = []

    def once(request: RequestInfo) -> Fault | None:
        if gone or not request.is_watch or request.resource != "shardedmodels":
            return None
        gone.append(request)
        return Fault.answer(404)

    watched.cluster.faults = once
    watched.cluster.drop_watches()
    await watched.until(lambda: gone, "the watch refused")
    watched.cluster.create(a_model("second"))
    await watched.ready("second")
    await watched.until(lambda: watches() == before, "as many watches as before")
    await watched.end()
    assert watches() == 0


async def test_a_task_that_asks_after_the_end_ends_as_it_asks() -> None:
    """A watch that kopf had just begun has asked nothing yet."""
    requesting, asked = Requesting(), asyncio.Event()
    unread: Any = None

    async def ask() -> None:
        await asked.wait()
        for begun in requesting.trace().on_request_start:
            await begun(unread, unread, unread)
        await asyncio.Event().wait()

    task = asyncio.create_task(ask())
    await requesting.end()
    asked.set()
    async with asyncio.timeout(LIMIT):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_a_hub_that_does_not_answer_delays_nobody(watched: Watched) -> None:
    """Forty objects of unknown models, and a single worker: a model of the catalog is served, and mended."""
    asked: list[HubQuestion] = []
    end = threading.Event()

    def ask(question: HubQuestion) -> HubFacts:
        asked.append(question)
        end.wait()
        raise HubError("no answer", retryable=True, everywhere=True, detail="no answer")

    await watched.begin(lease=None, workers=1, ask=ask)
    for number in range(40):
        watched.cluster.create(a_model(f"unknown-{number}", f"nobody/unknown-{number}"))
    watched.cluster.create(a_model())
    await watched.ready("llama")
    watched.cluster.delete("Pod", "default", "llama-0-0-0")
    await watched.ready("llama", restarts=1)
    assert len(asked) == AT_ONCE
    told = await watched.condition("unknown-39", "Reconciling", reason="ModelFactsUnavailable")
    assert told["message"] == "`nobody/unknown-39` is being looked up in the Hub"
    end.set()
    unreachable = (
        "the Hub cannot be reached: no answer; `spec.model.config` with the model's config.json needs no network"
    )
    await watched.until(lambda: watched.condition_of("unknown-39", "Ready")["message"] == unreachable, "the failure")
    assert len(asked) == AT_ONCE


async def test_without_a_kubeconfig_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no cluster to talk to"):
        await run_operator(Options(kubeconfig=tmp_path / "nowhere"))


async def test_the_handlers_of_signals_are_taken_away_at_the_end(tmp_path: Path) -> None:
    """Whoever runs the operator inside a program has the signals of the program back."""
    before = signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(Refused):
        await run_operator(Options(kubeconfig=tmp_path / "nowhere"))
    assert signal.getsignal(signal.SIGTERM) is before
