"""Questions to engines beside the queue: nothing waits for them, and an answer leads to another look."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engines.test_engines_figures import VLLM_0_33
from tests.support.operating import Operating, a_model, operating

from shardwise.engines import Figures
from shardwise.observe import Store
from shardwise.operate.asking import AT_ONCE, Asking
from shardwise.operate.engine_http import Place, Unanswered
from shardwise.reconcile.asks import Answer, Ask
from shardwise_sandbox import Question, Reply

KEY = ("default", "m")


def ask(replica: int = 0, attempt: int = 0) -> Ask:
    return Ask(replica, attempt, "10.0.0.1", 8000, Figures("/metrics", lambda text: len(text) or None))


class Wire:
    """Engines that answer when they are told to, with a text, or ``None`` for no answer."""

    def __init__(self) -> None:
        self.asked: list[Place] = []
        self.open = asyncio.Event()
        self.text: str | None = "four"

    async def fetch(self, place: Place) -> str:
        self.asked.append(place)
        await self.open.wait()
        if self.text is None:
            raise Unanswered("no route")
        return self.text


@pytest.fixture
async def asking() -> AsyncIterator[tuple[Asking, Store, Wire, list[tuple[str, str]]]]:
    store, wire, woken = Store(), Wire(), list[tuple[str, str]]()
    asks = Asking(store, lambda: 7.0, wire.fetch)
    asks.wake = woken.append
    yield asks, store, wire, woken
    asks.close()


Parts = tuple[Asking, Store, Wire, list[tuple[str, str]]]


async def test_a_question_is_noted_at_once_and_its_answer_wakes_the_object(asking: Parts) -> None:
    asks, store, wire, woken = asking
    asks.begin(KEY, [ask()])
    assert store.answers[KEY] == {(0, 0): Answer(1, 7.0)}
    wire.open.set()
    await asks.all_answered()
    assert wire.asked == [Place("10.0.0.1", 8000, "/metrics")]
    assert store.answers[KEY] == {(0, 0): Answer(1, 7.0, final=True, tokens=4)}
    assert woken == [KEY]


async def test_an_answer_without_figures_wakes_nobody(asking: Parts) -> None:
    asks, store, wire, woken = asking
    wire.text = ""
    wire.open.set()
    asks.begin(KEY, [ask()])
    await asks.all_answered()
    assert store.answers[KEY] == {(0, 0): Answer(1, 7.0, final=True)}
    assert woken == []


async def test_questions_without_an_answer_are_counted(asking: Parts) -> None:
    asks, store, wire, woken = asking
    wire.text = None
    wire.open.set()
    for _ in range(2):
        asks.begin(KEY, [ask()])
        await asks.all_answered()
    assert store.answers[KEY] == {(0, 0): Answer(2, 7.0)}
    assert woken == []


async def test_an_answer_that_comes_too_late_is_not_kept(asking: Parts) -> None:
    """Its object is gone, or its replica is in another attempt."""
    asks, store, wire, woken = asking
    asks.begin(KEY, [ask(), ask(replica=1)])
    asks.begin(("default", "gone"), [ask()])
    await asyncio.sleep(0)
    asks.begin(KEY, [ask(attempt=1)])
    store.answers.pop(("default", "gone"))
    wire.open.set()
    await asks.all_answered()
    assert sorted(store.answers[KEY]) == [(0, 1), (1, 0)]
    assert ("default", "gone") not in store.answers
    assert woken == [KEY, KEY]


async def test_many_questions_are_asked_a_few_at_a_time(asking: Parts) -> None:
    asks, store, wire, _ = asking
    asks.begin(KEY, [ask(replica) for replica in range(3 * AT_ONCE)])
    await asyncio.sleep(0)
    assert len(wire.asked) == AT_ONCE
    wire.open.set()
    await asks.all_answered()
    assert len(wire.asked) == 3 * AT_ONCE
    assert all(answer.final for answer in store.answers[KEY].values())


async def test_what_is_under_way_ends_with_the_operators_term(asking: Parts) -> None:
    asks, store, _, woken = asking
    asks.begin(KEY, [ask()])
    await asyncio.sleep(0)
    asks.close()
    await asks.all_answered()
    assert (store.answers[KEY], woken) == ({(0, 0): Answer(1, 7.0)}, [])


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operating]:
    async with operating(tmp_path) as running:
        yield running


async def test_the_engines_figures_come_into_the_status_and_then_nothing_is_written(operator: Operating) -> None:
    """On the in-memory API, from the pod's address to the status."""
    operator.cluster.engines.answers = lambda _pod, _question: Reply(200, VLLM_0_33)
    operator.cluster.create(a_model())
    await operator.until(
        lambda: "kvCacheTokens" in (operator.status("llama").get("groups") or [{}])[0], "the engine's figures"
    )
    assert operator.status("llama")["groups"][0]["kvCacheTokens"]["measured"] == 498_073
    assert operator.cluster.engines.asked == [("llama-0-0-0", Question("/metrics", 8000))]
    await operator.until(lambda: "CacheDiffers" in operator.events("llama"), "the Event")
    operator.cluster.requests.clear()
    operator.cluster.patch("ShardedModel", "default", "llama", {"metadata": {"labels": {"looked": "at"}}})
    await operator.stop()
    await operator.start()
    assert operator.writes_to("/status") == 0
    assert operator.cluster.engines.asked == [("llama-0-0-0", Question("/metrics", 8000))]


async def test_an_engine_that_never_answers_delays_nothing(operator: Operating) -> None:
    operator.cluster.engines.answers = lambda _pod, _question: None
    operator.cluster.create(a_model())
    status = await operator.ready("llama")
    assert "kvCacheTokens" not in status["groups"][0]
