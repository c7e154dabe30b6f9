"""Look-ups in the Hub: shared, bounded, fair, and rarer with each failure. A test answers in place of the Hub."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.support import settle
from tests.support.models import config

from shardwise.api import InvalidObject
from shardwise.hub import FactsUnavailable, HubError, HubFacts, HubQuestion
from shardwise.observe import Key
from shardwise.operate.lookups import (
    AT_ONCE,
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    SHARED_ANSWERS,
    SHARED_SECONDS,
    Lookups,
    in_daemon_thread,
)

FACTS = HubFacts(config("meta-llama/Llama-3.1-8B"), None)
SILENT = HubError("no answer for `secret/model`", retryable=True, everywhere=True, detail="ConnectTimeout")
BROKEN = HubError("the Hub answered 500", retryable=True)
UNKNOWN = HubError("`x` is not a model on the Hub", retryable=False)
A: Key = ("team", "a")
B: Key = ("team", "b")
X, Y = HubQuestion("org/x"), HubQuestion("org/y")


class Hub:
    """A Hub whose answers a test gives, and the objects that are woken."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[HubQuestion] = []
        self.open: dict[HubQuestion, asyncio.Future[HubFacts]] = {}
        self.most = 0
        self.woken: list[Key] = []
        self.lookups = Lookups(self._ask, lambda: self.now, self._in_thread)
        self.lookups.wake = self.woken.append

    def _ask(self, question: HubQuestion) -> HubFacts:
        self.asked.append(question)
        return FACTS

    def _in_thread(self, call: Callable[[], HubFacts]) -> asyncio.Future[HubFacts]:
        call()
        question, future = self.asked[-1], asyncio.get_running_loop().create_future()
        assert question not in self.open, "a question is asked by one look-up at a time"
        self.open[question] = future
        self.most = max(self.most, len(self.open))
        return future

    async def says(self, question: HubQuestion, outcome: HubFacts | Exception) -> None:
        future = self.open.pop(question)
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        await settle()

    async def told(self, key: Key, question: HubQuestion, generation: int = 1) -> HubFacts | FactsUnavailable | str:
        """Ask for an object. Give the answer, the error, or the text of a refusal."""
        try:
            return self.lookups.answer(key, generation, question)
        except FactsUnavailable as error:
            return error
        except InvalidObject as error:
            return str(error)
        finally:
            await settle()


def retry(told: object) -> float | None:
    assert isinstance(told, FactsUnavailable)
    return told.retry_after


@pytest.fixture
async def hub() -> Hub:
    return Hub()


async def test_an_object_is_told_that_its_model_is_looked_up_and_woken_when_the_answer_is_there(hub: Hub) -> None:
    first = await hub.told(A, X)
    assert (str(first), retry(first)) == ("`org/x` is being looked up in the Hub", None)
    assert (hub.asked, hub.woken) == ([X], [])
    await hub.says(X, FACTS)
    assert hub.woken == [A]
    assert await hub.told(A, X) == FACTS


async def test_objects_with_the_same_question_share_a_look_up_and_its_answer(hub: Hub) -> None:
    """Also one that comes later. A revision is another question."""
    revised = HubQuestion(X.repo, "v2")
    for key, question in ((A, X), (B, X), (("other", "c"), revised)):
        await hub.told(key, question)
    assert hub.asked == [X, revised]
    await hub.says(X, FACTS)
    assert hub.woken == [A, B]
    assert await hub.told(("late", "d"), X) == FACTS
    assert hub.asked == [X, revised]


async def test_an_answer_is_given_to_further_objects_for_a_while_only(hub: Hub) -> None:
    """The main branch of a model moves."""
    await hub.told(A, X)
    await hub.says(X, FACTS)
    hub.now += SHARED_SECONDS
    assert retry(await hub.told(B, X)) is None
    assert hub.asked == [X, X]


async def test_answers_are_kept_for_a_bounded_number_of_questions(hub: Hub) -> None:
    questions = [HubQuestion(f"org/m{number}") for number in range(SHARED_ANSWERS + 1)]
    for question in questions:
        await hub.told(A, question)
        await hub.says(question, FACTS)
    assert len(hub.lookups._answers) == SHARED_ANSWERS
    assert questions[0] not in hub.lookups._answers
    assert hub.lookups._lookups == {}


async def test_a_bounded_number_of_look_ups_runs_and_namespaces_take_turns(hub: Hub) -> None:
    """A tenant with many unknown models delays another by a look-up, not by all of them."""
    many = [HubQuestion(f"org/m{number}") for number in range(10)]
    for number, question in enumerate(many):
        await hub.told(("greedy", f"m{number}"), question)
    await hub.told(("modest", "a"), X)
    assert hub.asked == many[:AT_ONCE]
    await hub.says(many[0], FACTS)
    assert hub.asked == [*many[:AT_ONCE], X]
    assert hub.most == AT_ONCE


@pytest.mark.parametrize(
    "error", [BROKEN, UNKNOWN, RuntimeError("a fault of ours")], ids=["broken", "unknown", "fault"]
)
async def test_the_wait_of_a_question_doubles_up_to_half_an_hour(hub: Hub, error: Exception) -> None:
    """Whoever asks meanwhile is told the failure, and nobody is asked."""
    for wait in (30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0):
        before = len(hub.asked)
        await hub.told(A, X)
        assert len(hub.asked) == before + 1
        await hub.says(X, error)
        hub.now += wait - 1
        told = await hub.told(A, X)
        assert "looked up in the Hub" not in str(told)
        assert error is UNKNOWN or retry(told) == 1.0
        assert len(hub.asked) == before + 1
        hub.now += 1
    assert (FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS) == (30.0, 1800.0)


async def test_a_failure_is_told_with_the_way_around_also_while_the_hub_is_asked_again(hub: Hub) -> None:
    """The status does not change back and forth."""
    await hub.told(A, X)
    await hub.says(X, BROKEN)
    message = "the Hub answered 500; `spec.model.config` with the model's config.json needs no network"
    assert str(await hub.told(A, X)) == message
    hub.now += FIRST_WAIT_SECONDS
    again = await hub.told(A, X)
    assert (str(again), retry(again)) == (message, None)
    assert hub.asked == [X, X]


async def test_a_refusal_is_told_as_a_fault_of_the_object(hub: Hub) -> None:
    await hub.told(A, X)
    await hub.says(X, UNKNOWN)
    told = await hub.told(A, X)
    assert told == (
        "spec.model.name: `x` is not a model on the Hub; `spec.model.config` may hold the model's config.json instead"
    )


async def test_an_edit_allows_a_try_at_once_and_shortens_the_next_wait(hub: Hub) -> None:
    for wait in (30.0, 60.0):
        await hub.told(A, X)
        await hub.says(X, BROKEN)
        hub.now += wait
    await hub.told(A, X)
    await hub.says(X, BROKEN)
    await hub.told(A, X)
    assert len(hub.asked) == 3
    await hub.told(A, X, generation=2)
    assert len(hub.asked) == 4
    await hub.says(X, BROKEN)
    assert retry(await hub.told(A, X, generation=2)) == FIRST_WAIT_SECONDS


async def test_a_question_that_nobody_asks_any_more_is_forgotten_with_its_failures(hub: Hub) -> None:
    """Whoever deletes an object and makes it again is not made to wait."""
    await hub.told(A, X)
    await hub.says(X, UNKNOWN)
    hub.lookups.forget(A)
    hub.lookups.forget(B)
    assert hub.lookups._lookups == {}
    await hub.told(A, X)
    assert hub.asked == [X, X]


async def test_an_object_that_goes_while_its_model_is_looked_up_is_not_woken(hub: Hub) -> None:
    """Nor is the question kept; the answer is, for others."""
    await hub.told(A, X)
    await hub.told(B, Y)
    hub.lookups.forget(A)
    await hub.says(X, FACTS)
    await hub.told(B, X)
    assert (hub.woken, hub.asked) == ([], [X, Y])
    hub.lookups.forget(B)
    await hub.says(Y, BROKEN)
    assert hub.lookups._lookups == {}


async def test_one_that_asks_another_question_is_woken_by_that_alone(hub: Hub) -> None:
    await hub.told(A, X)
    await hub.told(A, Y, generation=2)
    await hub.says(X, FACTS)
    assert hub.woken == []
    await hub.says(Y, FACTS)
    assert hub.woken == [A]


async def test_a_queued_question_that_nobody_asks_any_more_is_not_asked(hub: Hub) -> None:
    for number in range(AT_ONCE):
        await hub.told(("n", f"m{number}"), HubQuestion(f"org/m{number}"))
    await hub.told(A, X)
    hub.lookups.forget(A)
    await hub.says(HubQuestion("org/m0"), FACTS)
    assert X not in hub.asked


async def silent(hub: Hub, count: int = 20) -> list[HubQuestion]:
    """Let objects ask a Hub that answers nobody, and let the look-ups that have begun end."""
    questions = [HubQuestion(f"org/m{number}") for number in range(count)]
    for number, question in enumerate(questions):
        await hub.told(("n", f"m{number}"), question)
    for question in questions[:AT_ONCE]:
        await hub.says(question, SILENT)
    return questions


async def test_a_hub_that_answers_nobody_is_tried_by_a_single_look_up_for_all(hub: Hub) -> None:
    """Forty objects made forty tries of ten seconds, every thirty seconds."""
    questions = await silent(hub)
    assert hub.asked == questions[:AT_ONCE]
    assert len(hub.woken) == len(questions)
    for wait in (30.0, 60.0, 120.0):
        told = [await hub.told(("n", f"m{number}"), question) for number, question in enumerate(questions)]
        assert {retry(one) for one in told} == {wait}
        hub.now += wait
        before = len(hub.asked)
        for number, question in enumerate(questions):
            assert retry(await hub.told(("n", f"m{number}"), question)) is None
        (tried,) = hub.open
        await hub.says(tried, SILENT)
        assert len(hub.asked) == before + 1


async def test_an_object_is_not_told_for_whose_model_the_hub_was_silent(hub: Hub) -> None:
    """Names of models of other tenants are nobody's business."""
    await silent(hub)
    told = await hub.told(A, X)
    assert str(told) == (
        "the Hub cannot be reached: ConnectTimeout; `spec.model.config` with the model's config.json needs no network"
    )
    assert X not in hub.asked


async def test_a_hub_that_answers_again_is_asked_for_all(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is an answer, too. The log says the outage once."""
    questions = await silent(hub)
    hub.now += 30.0
    for number, question in enumerate(questions):
        await hub.told(("n", f"m{number}"), question)
    (tried,) = hub.open
    await hub.says(tried, UNKNOWN)
    assert len(hub.open) == AT_ONCE
    while hub.open:
        await hub.says(next(iter(hub.open)), FACTS)
    assert Counter(hub.asked[AT_ONCE:]) == Counter(questions)
    assert [record.getMessage() for record in caplog.records] == ["the Hub gives no answers: ConnectTimeout"]


async def test_an_edit_allows_a_single_try_of_a_silent_hub(hub: Hub) -> None:
    questions = await silent(hub)
    await hub.told(("n", "m7"), questions[7], generation=2)
    assert list(hub.open) == [questions[7]]
    await hub.says(questions[7], SILENT)
    assert retry(await hub.told(("n", "m7"), questions[7], generation=2)) == 60.0


async def test_closed_look_ups_wake_nobody(hub: Hub) -> None:
    await hub.told(A, X)
    hub.lookups.close()
    await settle()
    assert hub.woken == []
    assert hub.open[X].cancelled()


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 5), st.integers(0, 7)),
        st.tuples(st.just("forget"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.sampled_from([1, 30, 600]), st.just(0)),
    ),
    max_size=60,
)


@given(steps=_STEPS)
def test_nobody_waits_for_ever_and_no_question_is_asked_twice_at_once(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens in between: who asks again when told to, or when woken, gets an answer in the end."""
    asyncio.run(_history(steps))


async def _history(steps: list[tuple[str, int, int]]) -> None:
    hub = Hub()
    questions = {("n", f"m{number}"): HubQuestion(f"org/{number % 4}") for number in range(6)}
    keys = list(questions)
    for what, first, second in steps:
        if what == "ask":
            await hub.told(keys[first], questions[keys[first]], second)
        elif what == "forget":
            hub.lookups.forget(keys[first])
        elif what == "wait":
            hub.now += first
        elif hub.open:
            outcomes: tuple[HubFacts | HubError, ...] = (FACTS, BROKEN, SILENT, UNKNOWN)
            await hub.says(list(hub.open)[first % len(hub.open)], outcomes[second])
        assert len(hub.open) <= AT_ONCE
    hub.now += LONGEST_WAIT_SECONDS
    for key in keys:
        await hub.told(key, questions[key], 9)
    while hub.open:
        await hub.says(next(iter(hub.open)), FACTS)
    assert [await hub.told(key, questions[key], 9) for key in keys] == [FACTS] * len(keys)


async def test_the_hub_is_asked_in_a_thread_that_keeps_nobody_waiting() -> None:
    """Daemons do not keep a process from ending."""
    daemons: list[bool] = []

    def call() -> HubFacts:
        daemons.append(threading.current_thread().daemon)
        return FACTS

    assert await in_daemon_thread(call) == FACTS
    assert daemons == [True]


async def test_an_error_in_the_thread_is_raised_where_the_answer_is_waited_for() -> None:
    def call() -> HubFacts:
        raise UNKNOWN

    with pytest.raises(HubError, match="not a model"):
        await in_daemon_thread(call)
