"""An outage of the API server in the log: when it begins, once a minute, and when it ends."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shardwise.cluster import Cluster, ClusterError, Outage, connect
from shardwise.cluster.outage import SAY_AGAIN_SECONDS, Sparing
from shardwise.observe.kinds import NODE
from shardwise_sandbox import Fault, Sandbox


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.handler.setLevel("INFO")
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines


def test_an_outage_is_told_at_its_beginning_once_a_minute_and_at_its_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    outage = Outage(clock)
    outage.answered()
    assert (outage.seconds, said(caplog)) == (0.0, [])
    outage.failed("cannot list nodes")
    assert said(caplog) == ["the API server does not answer: cannot list nodes"]
    for _ in range(30):
        clock.now += 2
        outage.failed("cannot list nodes")
    assert said(caplog) == ["the API server does not answer for 60 s: cannot list nodes"]
    clock.now += 5
    assert outage.seconds == 65.0
    outage.answered()
    assert said(caplog) == ["the API server answers again, after 65 s"]
    assert outage.seconds == 0.0


def test_outages_in_quick_succession_are_told_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A line that loses every other answer fills no log."""
    caplog.set_level("INFO")
    outage = Outage(clock)
    for _ in range(20):
        outage.failed("lost")
        clock.now += 1
        outage.answered()
    assert said(caplog) == ["the API server does not answer: lost", "the API server answers again, after 1 s"]


def test_the_same_warning_is_said_once_a_minute_and_another_at_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    sparing = Sparing(clock)
    for _ in range(3):
        sparing.say("forbidden")
        clock.now += SAY_AGAIN_SECONDS / 2
    sparing.say("gone")
    assert said(caplog) == ["forbidden", "forbidden", "gone"]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.mark.parametrize(("fault", "silent"), [(Fault.drop(), True), (Fault.answer(500), False)], ids=["cut", "broken"])
async def test_a_call_tells_whether_the_api_server_answers(
    sandbox: Sandbox, tmp_path: Path, clock: Clock, fault: Fault, silent: bool
) -> None:
    """An error is an answer, too: the server is there."""
    sandbox.write_kubeconfig(tmp_path / "kubeconfig")
    outage = Outage(clock)
    cluster = Cluster(await connect(tmp_path / "kubeconfig"), outage)
    sandbox.faults = lambda _: fault
    with pytest.raises(ClusterError):
        await cluster.list(NODE)
    clock.now += 3
    assert outage.seconds == (3.0 if silent else 0.0)
    sandbox.faults = None
    await cluster.list(NODE)
    assert outage.seconds == 0.0
    await cluster.close()
