"""The causes for which attempts end, as decisions count them."""

from collections.abc import Callable

import pytest
from tests.reconcile.support import START, World, two_nodes_wide

from shardwise.domain.fleet import Exclusion
from shardwise.reconcile.endings import AttemptEnd

QUOTA = "cannot apply Pod default/llama-0-0-0: exceeded quota"
POD = "llama-0-0-1"


def crash(world: World) -> None:
    world.run()
    world.crash(POD)


def out_of_memory(world: World) -> None:
    world.run()
    world.crash(POD, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")


def evict(world: World) -> None:
    world.run()
    world.evict(POD)


def delete(world: World) -> None:
    world.run()
    world.deleting(POD)


def delete_before_it_serves(world: World) -> None:
    world.settle()
    world.bind(POD)
    world.settle()
    world.deleting(POD)


def lose_the_node(world: World) -> None:
    world.run()
    world.lose_node("h100-01")


def node_away(world: World) -> None:
    world.run()
    world.unready(POD)
    world.exclude("h100-01", Exclusion.NOT_READY)
    world.settle()
    world.now += 60


def edit(world: World) -> None:
    world.run()
    world.wanted = two_nodes_wide(generation=2, args=("--seed=1",))


def fault(world: World) -> None:
    world.run()
    world.exclude("h100-01", Exclusion.FAULTY)


def no_place(world: World) -> None:
    world.settle()
    for name in world.pods:
        world.unscheduled(name)
    world.settle()
    world.now = START + 60


def refuse(world: World) -> None:
    world.denies = lambda pod: QUOTA if pod["metadata"]["name"] == POD else ""
    world.step()
    world.step()
    world.now = START + 60


def nothing(world: World) -> None:
    world.run()


CAUSES: dict[str, tuple[Callable[[World], None], list[str]]] = {
    "a crash": (crash, ["Other"]),
    "a crash for want of GPU memory": (out_of_memory, ["GpuMemory"]),
    "an eviction by the kubelet": (evict, ["Evicted"]),
    "a deleted pod": (delete, ["PodLost"]),
    "a pod that is deleted before it serves": (delete_before_it_serves, ["PodLost"]),
    "a node that is gone": (lose_the_node, ["PodLost"]),
    "a node that is not Ready": (node_away, ["NodeAway"]),
    "an edit": (edit, ["Replaced"]),
    "a GPU fault": (fault, ["NodeFaulty"]),
    "pods without a place": (no_place, ["NoPlace"]),
    "refused pods": (refuse, ["PodsRefused"]),
    "nothing": (nothing, []),
}


@pytest.mark.parametrize(("event", "causes"), CAUSES.values(), ids=CAUSES)
def test_a_decision_that_ends_an_attempt_says_why_once(event: Callable[[World], None], causes: list[str]) -> None:
    world = World(two_nodes_wide())
    event(world)
    ends: list[AttemptEnd] = []
    for _ in range(6):
        ends += world.step().ends
    assert [str(cause) for cause in ends] == causes


def test_the_wait_after_a_failure_ends_no_attempt_again() -> None:
    world = World(two_nodes_wide())
    world.settle()
    world.crash(POD)
    assert [*world.step().ends] == ["Other"]
    world.now += 600
    assert [*world.step().ends] == []
    assert world.states() == ["Pending 1"]


def test_replicas_that_are_to_be_replaced_are_counted_until_the_update_is_complete() -> None:
    world = World(two_nodes_wide())
    world.run()
    assert world.step().leaving == 0
    world.wanted = two_nodes_wide(generation=2, args=("--seed=1",), max_unavailable=0)
    world.fleet = type(world.fleet)(world.fleet.nodes[:2])
    assert world.step().leaving == 1
