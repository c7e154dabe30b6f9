"""Decisions run beside the loop: nobody waits for a long decision, and none holds GPUs that it did not see as they are.

The gates are events: a decision begins, tells that it has begun, and ends when the test lets it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from pytest_mock import MockerFixture
from tests.controller.scene import PINNED, Scene
from tests.controller.support import KEY, a_node, a_pod, at, changed, free

from shardwise.cluster.election import Election
from shardwise.domain.launch import Wanted
from shardwise.observe import Key
from shardwise.operate import Changes, InTurn, Queue, deciding
from shardwise.operate.deciding import MOST_TRIES
from shardwise.operate.reconciler import LOOK_AGAIN_SECONDS
from shardwise.reconcile.actions import Decision
from shardwise.reconcile.decide import decide
from shardwise.reconcile.observed import Observed

LIMIT = 20.0
"""Seconds a test waits for what takes a few milliseconds."""


class Gate:
    """Decisions on chosen objects begin, and end when they are let go; ``meanwhile`` is done before each ends."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.threads: list[threading.Thread] = []
        self.made = 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.meanwhile: Callable[[], None] = lambda: None

    def decide(self, wanted: Wanted, observed: Observed, now: float) -> Decision:
        self.made += 1
        self.threads.append(threading.current_thread())
        if wanted.launch.owner.name in self.names:
            self.begun.set()
            assert self.go_on.wait(LIMIT)
        made = decide(wanted, observed, now)
        self.meanwhile()
        return made

    async def under_way(self) -> None:
        """Wait until a chosen decision has begun."""
        assert await asyncio.to_thread(self.begun.wait, LIMIT)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate("costly")
    monkeypatch.setattr(deciding, "decide", gate.decide)
    yield gate
    gate.go_on.set()


@pytest.fixture
async def scene(mocker: MockerFixture) -> Scene:
    return Scene(mocker)


class Lease:
    """A Lease that counts how often it was renewed, and its clock: it is due when the test says so."""

    def __init__(self) -> None:
        self.renewed = 0
        self.due = asyncio.Semaphore(0)

    async def sleep(self, _: float) -> None:
        await self.due.acquire()

    async def try_to_hold(self) -> bool:
        self.renewed += 1
        return True

    async def let_go(self) -> None:
        """Give it up."""


async def until(so: Callable[[], object]) -> None:
    """Let others go on until something is so."""
    while True:
        if so():
            return
        await asyncio.sleep(0)


async def test_a_decision_is_made_in_a_thread(scene: Scene, gate: Gate) -> None:
    scene.add()
    await scene.reconcile()
    assert gate.threads
    assert threading.main_thread() not in gate.threads


async def test_while_a_costly_object_is_planned_others_are_made_and_the_lease_is_renewed(
    scene: Scene, gate: Gate
) -> None:
    """Fault: planning ran on the loop, for up to 52 s; watches, probes and the Lease stood still meanwhile."""
    queue: Queue[Key] = Queue(scene.reconciler.reconcile, InTurn(scene.store.waiting))
    changes, lease = Changes(scene.store, queue), Lease()
    workers = [asyncio.create_task(queue.serve()) for _ in range(2)]
    costly = scene.add("costly", gpuBudget={"total": 1})
    queue.add(costly)
    await gate.under_way()
    async with Election(lease, steady=lambda: 0.0, sleep=lease.sleep).leading(), asyncio.timeout(LIMIT):
        for _ in range(3):
            lease.due.release()
        changes.node(a_node("h100-2", 7), deleted=False)
        assert "h100-2" in free(scene.store), "a watch is heard"
        quick = scene.add("quick", gpuBudget={"total": 1})
        queue.add(quick)
        await until(lambda: scene.status(quick).get("groups") and lease.renewed == 1 + 3)
        assert scene.status(costly) == {}, "the costly object is still being planned"
        gate.go_on.set()
        await until(lambda: scene.status(costly).get("groups"))
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    queue.close()


async def test_gpus_that_others_were_given_meanwhile_are_not_given_twice(scene: Scene, gate: Gate) -> None:
    """The decision is made anew, on the fleet as it is by then."""
    costly, quick = scene.add("costly", **PINNED), scene.add("quick", **PINNED)
    slow = asyncio.create_task(scene.reconcile(costly))
    await gate.under_way()
    await scene.reconcile(quick)
    gate.go_on.set()
    await slow
    assert set(scene.store.plans) == {quick}
    assert free(scene.store) == {"h100-1": 0}
    assert "waitingSince" in scene.status(costly)
    assert gate.made == 3


async def test_a_node_that_is_cordoned_meanwhile_is_not_planned_on(scene: Scene, gate: Gate) -> None:
    """The event of the node woke nobody: the object did not hold it yet."""
    key = scene.add("costly", **PINNED)
    slow = asyncio.create_task(scene.reconcile(key))
    await gate.under_way()
    scene.store.nodes.put(at(9, changed(a_node(), lambda node: node["spec"].update(unschedulable=True))))
    gate.go_on.set()
    await slow
    assert scene.store.plans == {}
    assert gate.made == 2


async def test_gpus_that_others_of_the_namespace_planned_meanwhile_count(scene: Scene, gate: Gate) -> None:
    """Two objects decided on at once would together hold more than their namespace may."""
    scene.store.nodes.put(a_node("h100-2"))
    key = scene.add("costly", gpuBudget={"total": 1})
    slow = asyncio.create_task(scene.reconcile(key))
    await gate.under_way()
    scene.store.hold(("default", "other"), {"h100-2": 8})
    gate.go_on.set()
    await slow
    assert gate.made == 2


async def test_a_change_elsewhere_leaves_a_decision_as_it_is(scene: Scene, gate: Gate) -> None:
    """Pods come and go all the time on thousands of nodes."""
    scene.store.nodes.put(a_node("h100-2"))
    key = scene.add("costly", gpuBudget={"total": 1}, placement={"nodeSelector": {"kubernetes.io/hostname": "h100-1"}})
    slow = asyncio.create_task(scene.reconcile(key))
    await gate.under_way()
    scene.store.pods.put(a_pod("training", node="h100-2"))
    gate.go_on.set()
    await slow
    assert gate.made == 1


async def test_an_object_that_is_edited_or_deleted_meanwhile_is_decided_as_it_is_by_then(
    scene: Scene, gate: Gate
) -> None:
    """Nothing is held or written for what it asked before."""
    key = scene.add("costly")
    slow = asyncio.create_task(scene.reconcile(key))
    await gate.under_way()
    scene.edit(key, replicas=2, gpuBudget={"total": 2})
    gate.go_on.set()
    assert await slow == LOOK_AGAIN_SECONDS
    assert (scene.store.plans, scene.calls()) == ({}, [])
    gate.meanwhile = lambda: delete(scene, key)
    assert await scene.reconcile(key) == LOOK_AGAIN_SECONDS
    assert (scene.store.plans, scene.calls()) == ({}, [])
    assert await scene.reconcile(key) is None


def delete(scene: Scene, key: Key) -> None:
    scene.store.sharded_models.remove(key, next(scene.versions))


async def test_an_object_whose_nodes_change_again_and_again_lets_others_go_on(scene: Scene, gate: Gate) -> None:
    key = scene.add(**PINNED)
    versions = iter(range(10, 10 + MOST_TRIES))

    def flap() -> None:
        gpus = 8 + gate.made % 2
        scene.store.nodes.put(a_node(version=next(versions), gpus=gpus))

    gate.meanwhile = flap
    assert await scene.reconcile(key) == LOOK_AGAIN_SECONDS
    assert (gate.made, scene.store.plans) == (MOST_TRIES, {})
    gate.meanwhile = lambda: None
    await scene.reconcile(key)
    assert key in scene.store.plans


async def two_in_turn(
    scene: Scene, gate: Gate
) -> tuple[Key, Key, asyncio.Task[float | None], asyncio.Task[float | None]]:
    """Give two objects that wait for GPUs: the decision on the first is under way, and the second waits for it."""
    scene.store.hold(("default", "holder"), {"h100-1": 8})
    gate.go_on.set()
    first, second = scene.add("costly", **PINNED), scene.add("second", **PINNED)
    for key in (first, second):
        await scene.reconcile(key)
    gate.begun.clear()
    gate.go_on.clear()
    scene.store.hold(("default", "holder"), {})
    slow = asyncio.create_task(scene.reconcile(first))
    await gate.under_way()
    waiting = asyncio.create_task(scene.reconcile(second))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    return first, second, slow, waiting


async def test_objects_that_wait_are_decided_on_in_turn_though_one_takes_long(scene: Scene, gate: Gate) -> None:
    """A quick decision would take the GPUs that are free for the first."""
    first, _, slow, waiting = await two_in_turn(scene, gate)
    gate.go_on.set()
    await asyncio.gather(slow, waiting)
    assert set(scene.store.plans) == {first}


async def test_an_object_that_is_deleted_while_it_waits_for_its_turn_is_not_decided_on(
    scene: Scene, gate: Gate
) -> None:
    _, second, slow, waiting = await two_in_turn(scene, gate)
    made = gate.made
    delete(scene, second)
    gate.go_on.set()
    await slow
    assert await waiting == LOOK_AGAIN_SECONDS
    assert gate.made == made


async def test_an_object_that_came_to_be_due_ahead_meanwhile_goes_first(scene: Scene, gate: Gate) -> None:
    """It is asked again when the object before it has been decided on."""
    scene.store.hold(("default", "holder"), {"h100-1": 8})
    gate.go_on.set()
    scene.add(**PINNED)
    await scene.reconcile()
    made = gate.made
    scene.store.hold(("default", "holder"), {})
    scene.reconciler.due_ahead = lambda _: [("default", "older")]
    assert await scene.reconcile() == LOOK_AGAIN_SECONDS
    assert gate.made == made
    assert KEY not in scene.store.plans
