"""Requests of one token beside the queue: only silence of an engine with nothing else to do is a hang."""

import asyncio
from collections.abc import Sequence

import pytest

from shardwise.engines import TokenRequest
from shardwise.observe import Store
from shardwise.operate.asking import Asking
from shardwise.operate.engine_http import Place, Silent, Unanswered
from shardwise.reconcile.asks import Heard, TokenAsk

KEY = ("default", "m")
REQUEST = TokenRequest("/v1/completions", '{"max_tokens": 1}', 150.0, "/metrics", ("running", "waiting"))
METRICS = Place("10.0.0.1", 8000, "/metrics")
TOKEN = Place("10.0.0.1", 8000, "/v1/completions", '{"max_tokens": 1}', 150.0)
IDLE, OWN, BUSY = "running 0\nwaiting 0\n", "running 1\nwaiting 0\n", "running 1\nwaiting 1\n"
SILENT, AWAY = Silent("no answer in time"), Unanswered("no route")


def ask(attempt: int = 0) -> TokenAsk:
    return TokenAsk(0, attempt, "10.0.0.1", 8000, REQUEST)


class Wire:
    """An engine that gives these answers, one after the other."""

    def __init__(self, answers: Sequence[str | Unanswered]) -> None:
        self.answers = list(answers)
        self.asked: list[Place] = []
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, place: Place) -> str:
        self.asked.append(place)
        await self.open.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Unanswered):
            raise answer
        return answer


CASES = [
    pytest.param([IDLE, "{}"], [METRICS, TOKEN], False, id="a token comes"),
    pytest.param([IDLE, ""], [METRICS, TOKEN], False, id="an error comes: somebody answers"),
    pytest.param([IDLE, SILENT, IDLE], [METRICS, TOKEN, METRICS], True, id="silence, and nothing in work"),
    pytest.param([IDLE, SILENT, OWN], [METRICS, TOKEN, METRICS], True, id="silence, and only our request in work"),
    pytest.param([IDLE, SILENT, BUSY], [METRICS, TOKEN, METRICS], False, id="silence among other requests"),
    pytest.param([IDLE, SILENT, SILENT], [METRICS, TOKEN, METRICS], False, id="nothing else answers either"),
    pytest.param([IDLE, SILENT, ""], [METRICS, TOKEN, METRICS], False, id="what is in work is not known afterwards"),
    pytest.param([IDLE, AWAY], [METRICS, TOKEN], False, id="the pod is gone meanwhile"),
    pytest.param([BUSY], [METRICS], False, id="a busy engine is not asked"),
    pytest.param([""], [METRICS], False, id="an engine without statistics is not asked"),
    pytest.param([AWAY], [METRICS], False, id="a pod that cannot be reached is not asked"),
    pytest.param([SILENT], [METRICS], False, id="an engine that says nothing at all is left to its probes"),
]


@pytest.mark.parametrize(("answers", "asked", "hangs"), CASES)
async def test_only_an_idle_engine_that_is_silent_hangs(
    answers: list[str | Unanswered], asked: list[Place], hangs: bool
) -> None:
    store, wire, woken = Store(), Wire(answers), list[tuple[str, str]]()
    asks = Asking(store, lambda: 7.0, wire.fetch)
    asks.wake = woken.append
    asks.begin(KEY, [ask()])
    assert store.heard[KEY] == {(0, 0): Heard(7.0)}
    await asks.all_answered()
    assert wire.asked == asked
    assert store.heard[KEY] == {(0, 0): Heard(7.0, hangs=hangs)}
    assert woken == ([KEY] if hangs else [])


async def test_an_engine_is_not_asked_twice_at_a_time() -> None:
    store, wire = Store(), Wire([IDLE, "{}"])
    wire.open.clear()
    asks = Asking(store, lambda: 7.0, wire.fetch)
    asks.begin(KEY, [ask()])
    await asyncio.sleep(0)
    asks.begin(KEY, [ask()])
    wire.open.set()
    await asks.all_answered()
    assert wire.asked == [METRICS, TOKEN]


async def test_a_hang_of_an_attempt_that_is_over_is_not_noted() -> None:
    store, woken = Store(), list[tuple[str, str]]()

    async def fetch(place: Place) -> str:
        if place.body:
            raise SILENT
        return IDLE

    asks = Asking(store, lambda: 7.0, fetch)
    asks.wake = woken.append
    asks.begin(KEY, [ask()])
    asks.begin(KEY, [ask(attempt=1)])
    await asks.all_answered()
    assert store.heard[KEY] == {(0, 1): Heard(7.0, hangs=True)}
    assert woken == [KEY]
