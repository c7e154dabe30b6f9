"""Objects that wait are looked at in turn, all others as they come, and neither keeps the other from its work."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from pytest_mock import MockerFixture
from tests.controller.support import a_model as plain
from tests.controller.support import a_plan, a_store, at
from tests.observe.test_observe_waiting import model

from shardwise.observe import Key, Store
from shardwise.operate import Changes, InTurn
from shardwise.operate.queue import Queue

NAMES = "abcdefgh"


def key(name: str) -> Key:
    return "default", name


def store_of(waiting: str, placed: str = "") -> Store:
    """Give a store of objects that wait, in the order of their names, and of some that have a place."""
    line = (model(name, created=position) for position, name in enumerate(waiting))
    return a_store(*line, *(plain(name, plan=a_plan(("h100-1", 1))) for name in placed))


class Row:
    """A queue that nobody serves: its keys are taken one by one."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.queue: Queue[Key] = Queue(self._work, InTurn(store.waiting), most_in_turn=1000)

    async def _work(self, _: Key) -> None:
        raise AssertionError

    def ask(self, names: str) -> None:
        for name in names:
            self.queue.add(key(name))

    def take(self, most: int = 100) -> str:
        """Begin work on the next keys; name them."""
        return "".join(self._names(most))

    def _names(self, most: int) -> Iterator[str]:
        for _ in range(most):
            taken = self.queue._take()
            if taken is None:
                return
            yield taken[1]

    def due_ahead(self, name: str) -> str:
        return "".join(name for _, name in self.queue.due_ahead(key(name)))


def test_objects_that_wait_are_taken_in_turn_whoever_was_asked_for_first() -> None:
    row = Row(store_of("abc"))
    row.ask("cabbc")
    assert row.take() == "abc"
    assert row.take() == ""


def test_others_are_taken_as_they_come_in_alternation_with_those_that_wait() -> None:
    """So that a lost pod is made again at once, though a thousand objects are looked at."""
    row = Row(store_of("abcd", "xyz"))
    row.ask("dcbayxz")
    assert row.take() == "yaxbzcd"


def test_a_sweep_takes_all_that_lack_a_place_once_in_turn() -> None:
    row = Row(store_of("abc", "x"))
    row.queue.sweep()
    assert row.take() == "abc"
    row.queue.sweep(key("b"))
    assert row.take() == "bc"


def test_a_sweep_that_begins_anew_goes_back_and_takes_the_rest_once() -> None:
    """GPUs became free for those that it has passed already."""
    row = Row(store_of("abcd"))
    row.queue.sweep()
    assert row.take(2) == "ab"
    row.queue.sweep()
    assert row.take() == "abcd"
    row.queue.sweep(key("c"))
    row.queue.sweep(key("b"))
    row.queue.sweep(key("d"))
    assert row.take() == "bcd"


def test_an_object_asked_for_during_a_sweep_is_taken_once() -> None:
    row = Row(store_of("abc"))
    row.ask("b")
    row.queue.sweep()
    assert row.take() == "abc"


def test_an_object_that_leaves_the_queue_after_it_was_asked_for_is_looked_at_all_the_same() -> None:
    """It was asked for because of something."""
    row = Row(store_of("ab"))
    row.ask("ab")
    row.store.sharded_models.put(at(5, plain("a", plan=a_plan(("h100-1", 1)))))
    row.store.sharded_models.remove(key("b"), 7)
    row.ask("a")
    assert row.take() == "ab"


def test_an_object_that_moves_in_the_queue_is_taken_once_in_its_new_place() -> None:
    row = Row(store_of("abc"))
    row.ask("abc")
    row.store.sharded_models.put(at(5, model("a", created=30)))
    row.ask("a")
    assert row.take() == "bca"


def test_an_object_is_behind_those_with_an_earlier_turn_that_are_still_to_be_looked_at() -> None:
    """Asked for, or ahead of the sweep; not those that a worker has."""
    row = Row(store_of("abc", "x"))
    assert row.due_ahead("c") == ""
    row.ask("b")
    assert (row.due_ahead("a"), row.due_ahead("b"), row.due_ahead("c"), row.due_ahead("x")) == ("", "", "b", "")
    row.take()
    row.queue.sweep()
    assert row.due_ahead("c") == "a"
    assert row.take(1) == "a"
    assert (row.due_ahead("b"), row.due_ahead("c")) == ("", "b")


async def test_one_that_is_worked_on_and_asked_for_again_is_still_to_be_looked_at() -> None:
    store = store_of("ab")
    asked: list[list[Key]] = []

    async def work(at_work: Key) -> None:
        asked.append(list(queue.due_ahead(key("b"))))
        if len(asked) == 1:
            queue.sweep(at_work)
            assert queue._take() == key("b"), "the other is free to be worked on"
            asked.append(list(queue.due_ahead(key("b"))))

    queue: Queue[Key] = Queue(work, InTurn(store.waiting))
    queue.add(key("a"))
    await serve(queue, 10)
    assert asked == [[], [key("a")], []]


async def serve(queue: Queue[Key], rounds: int) -> None:
    task = asyncio.create_task(queue.serve())
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    queue.close()


async def test_a_worker_gives_way_at_every_key_though_the_work_waits_for_nothing() -> None:
    """Fault: a thousand decisions in one block, and the Lease was lost meanwhile."""
    done: list[Key] = []

    async def work(at_work: Key) -> None:
        done.append(at_work)

    store = store_of(NAMES, "xyz")
    queue: Queue[Key] = Queue(work, InTurn(store.waiting))
    queue.sweep()
    for name in "xyz":
        queue.add(key(name))
    task = asyncio.create_task(queue.serve())
    counted = []
    while len(done) < len(NAMES) + 3:
        await asyncio.sleep(0)
        counted.append(len(done))
    assert all(after - before <= 1 for before, after in zip([0, *counted], counted, strict=False))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_waking_those_that_wait_costs_the_same_for_any_number(mocker: MockerFixture) -> None:
    """Each pod that goes wakes them; nobody is added one by one."""
    store = store_of(NAMES)
    queue: Queue[Key] = Queue(Row(store)._work, InTurn(store.waiting))
    added = mocker.spy(queue, "add")
    changes = Changes(store, queue)
    for _ in range(3):
        changes.wake_waiting()
    changes.wake_behind(key("c"))
    assert added.call_count == 0
    assert queue._take() == key("a")


class Rows(RuleBasedStateMachine):
    """Objects are asked for, swept, moved, taken out of the queue and put back; a model holds what is still to do."""

    def __init__(self) -> None:
        super().__init__()
        self.store = store_of(NAMES)
        self.row = Row(self.store)
        self.version = 10
        self.due: set[str] = set()
        self.twice: set[str] = set()

    @rule(name=st.sampled_from(NAMES))
    def asked_for(self, name: str) -> None:
        self.row.ask(name)
        self.due.add(name)

    @rule(name=st.sampled_from([*NAMES, None]))
    def swept(self, name: str | None) -> None:
        self.row.queue.sweep(None if name is None else key(name))
        self.due |= {found for _, found in self.store.waiting.lacking_from(None if name is None else key(name))}

    @rule(name=st.sampled_from(NAMES), created=st.integers(0, 59), waits=st.booleans())
    def changes(self, name: str, created: int, waits: bool) -> None:
        """Ask for it, too, as the watch does for every object that changes."""
        self.version += 1
        self.store.sharded_models.put(at(self.version, model(name, created=created, since=0 if waits else None)))
        self.asked_for(name)
        self.twice.add(name)

    @rule()
    def taken(self) -> None:
        """Take nothing that is not due, and of those that wait the first.

        One that was asked for while it did not wait is taken as it comes, and a sweep may take it once more; so may it
        take one that has moved.
        """
        ready = {name for _, name in self.row.queue._waiting}
        found = self.row.take(1)
        assert found in self.due | self.twice or (not found and not self.due)
        self.due.discard(found)
        self.twice |= {found} & ready
        if found not in ready | {""}:
            assert not any(self._is_ahead(other, found) for other in self.due - ready)

    def _is_ahead(self, other: str, name: str) -> bool:
        mine, others = self.store.waiting.place(key(name)), self.store.waiting.place(key(other))
        return mine is not None and others is not None and others < mine

    def teardown(self) -> None:
        taken = set(self.row.take())
        assert self.due <= taken <= self.due | self.twice


TestRows = pytest.mark.filterwarnings("default")(Rows.TestCase)
TestRows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


async def test_objects_that_wait_never_take_all_workers() -> None:
    """Their decisions wait for one another; a lost pod of another object is made again meanwhile."""
    begun: list[str] = []
    go_on = asyncio.Event()

    async def work(at_work: Key) -> None:
        begun.append(at_work[1])
        if at_work[1] in "abcd":
            await go_on.wait()

    store = store_of("abcd", "xy")
    queue: Queue[Key] = Queue(work, InTurn(store.waiting), most_in_turn=2)
    queue.sweep()
    tasks = [asyncio.create_task(queue.serve()) for _ in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert begun == ["a", "b"]
    queue.add(key("x"))
    queue.add(key("y"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert begun == ["a", "b", "x", "y"]
    go_on.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert begun == ["a", "b", "x", "y", "c", "d"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
