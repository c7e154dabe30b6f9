"""The health endpoints: alive, ready to do its part, leading; and none of it in the log."""

import logging
import socket
from collections.abc import Callable

import aiohttp
import pytest

from shardwise.cluster import Outage
from shardwise.controller.health import STILL_SECONDS, Health, served
from shardwise.operate import Progress


class State:
    """An operator's process in a test's hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.outage = Outage(lambda: self.now)
        self.progress = Progress(lambda: self.now)
        self.health = Health(self.outage)
        self.health.begin(self.progress)

    def listed(self) -> None:
        self.health.listed = True

    def leads(self) -> None:
        self.listed()
        self.health.leads = True

    def stuck(self, seconds: float = STILL_SECONDS) -> None:
        self.leads()
        self.progress._begun["key"] = self.now
        self.now += seconds

    def slow(self) -> None:
        self.stuck(STILL_SECONDS - 1)

    def stuck_before(self) -> None:
        self.stuck()
        self.health.begin(Progress(lambda: self.now))

    def away(self) -> None:
        self.leads()
        self.outage.failed("no answer")
        self.now += 42.0

    def back(self) -> None:
        self.away()
        self.outage.answered()


UNLISTED = "the objects of the cluster are not listed yet"
AWAY = "the API server has not answered for 42 s"
STUCK = "no object was finished for 120 s"

STATES: dict[str, tuple[Callable[[State], None], tuple[int, str], tuple[int, str]]] = {
    "starting": (lambda _: None, (503, UNLISTED), (503, UNLISTED)),
    "standby": (State.listed, (200, "standby"), (503, "standby")),
    "leader": (State.leads, (200, "leader"), (200, "ok")),
    "a leader with a slow object": (State.slow, (200, "leader"), (200, "ok")),
    "a leader that makes no progress": (State.stuck, (503, STUCK), (503, STUCK)),
    "a new term": (State.stuck_before, (503, UNLISTED), (503, UNLISTED)),
    "no API server": (State.away, (503, AWAY), (503, AWAY)),
    "an API server that is back": (State.back, (200, "leader"), (200, "ok")),
}


@pytest.mark.parametrize(("change", "ready", "leads"), STATES.values(), ids=STATES)
async def test_a_process_is_alive_and_says_whether_it_is_ready_and_leads(
    caplog: pytest.LogCaptureFixture, change: Callable[[State], None], ready: tuple[int, str], leads: tuple[int, str]
) -> None:
    state = State()
    change(state)
    caplog.clear()
    caplog.set_level(logging.INFO)
    port = _free_port()
    async with served(("127.0.0.1", port), state.health), aiohttp.ClientSession() as session:
        answers = {}
        for path in ("healthz", "readyz", "leadz"):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                answers[path] = answer.status, (await answer.text()).strip()
    assert answers == {"healthz": (200, "ok"), "readyz": ready, "leadz": leads}
    assert [record.name for record in caplog.records if record.name.startswith("aiohttp")] == []


async def test_without_an_address_nothing_is_served() -> None:
    async with served(None, State().health):
        pass


async def test_an_address_that_is_taken_is_an_error() -> None:
    port = _free_port()
    async with served(("127.0.0.1", port), State().health):
        with pytest.raises(OSError, match="in use"):
            async with served(("127.0.0.1", port), State().health):
                pass


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
