"""Nodes that are blamed: who leaves them, when, and who stays because moving would cost more."""

from dataclasses import replace

import pytest
from tests.reconcile.support import START, World, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins
from shardwise.reconcile.shunned import Shunned, ShunReason, held_against, left_out
from shardwise.reconcile.status_data import read_status, write_status


def blame(world: World, node: str, times: int = 2, why: ShunReason = ShunReason.FAILED) -> None:
    """Hold something against a node, as an earlier decision did."""
    shuns = (Shunned(node, why, times, world.now + 3600),)
    world.status = write_status(replace(read_status(world.status), shuns=shuns))


def begun(pods: int, nodes: int = 4) -> World:
    """Give a group over two nodes that has begun, and so many of its pods made."""
    world = World(two_nodes_wide(Pins(8, 2, None)), a_fleet(h100s(nodes)))
    world.step(keep=lambda position: position < 2 + pods)
    return world


MOVES: dict[str, tuple[int, int, int, list[str]]] = {
    "no pod is made, and others are free": (0, 4, 2, ["h100-01", "h100-02"]),
    "no pod is made, and no other is free": (0, 2, 2, ["h100-00", "h100-01"]),
    "a pod is made: its attempt is where it is": (1, 4, 2, ["h100-00", "h100-01"]),
    "it failed there but once": (0, 4, 1, ["h100-00", "h100-01"]),
}


@pytest.mark.parametrize(("pods", "nodes", "times", "then"), MOVES.values(), ids=MOVES)
def test_a_group_that_begins_leaves_a_node_it_failed_on_twice_where_it_can(
    pods: int, nodes: int, times: int, then: list[str]
) -> None:
    """And that is no restart: its pods come up as the attempt that was written down."""
    world = begun(pods, nodes)
    blame(world, "h100-00", times)
    world.step()
    assert world.nodes() == [then]
    world.run()
    assert (world.states(), world.nodes(), world.status["restarts"]) == (["Ready 0"], [then], 0)


@pytest.mark.parametrize(("count", "then"), [(3, "h100-01"), (1, "h100-00")], ids=["others are free", "there is none"])
def test_a_group_that_is_renewed_leaves_a_node_it_failed_on_twice(count: int, then: str) -> None:
    """An edit must not lead it back there while another node is free; where there is none it stays, and runs."""
    world = World(wants(a_demand(LLAMA_8B, budget=1)), a_fleet(h100s(count)))
    world.run()
    blame(world, "h100-00")
    world.launch(args=("--seed=7",))
    world.settle()
    assert world.nodes() == [[then]]


def test_a_group_that_serves_stays_on_a_node_whatever_is_held_against_it() -> None:
    """Another group failed there; what serves has shown that it can."""
    world = World(wants(a_demand(LLAMA_8B, budget=1)))
    world.run()
    for why in ShunReason:
        blame(world, "h100-00", 9, why)
        assert world.step().actions == ()


def test_a_group_that_begins_leaves_a_node_that_took_no_pod_even_where_there_is_no_other() -> None:
    """It would wait there for ever; so it waits for another, and says for what."""
    world = begun(0, 2)
    blame(world, "h100-00", 1, ShunReason.UNSCHEDULABLE)
    decision = world.settle()
    assert world.nodes() == []
    assert world.standing() == "Reconciling/CapacityShort"
    assert decision.retry_after == 3600.0


def test_a_node_that_is_left_out_has_no_gpu_free_and_not_fewer_than_none() -> None:
    """Whatever a group of the object itself holds there."""
    world = World(wants(a_demand(LLAMA_8B, budget=16, pins=Pins(8, 1, None))), a_fleet(h100s(2, free=[8, 3])))
    world.run()
    blame(world, "h100-00", 1, ShunReason.UNSCHEDULABLE)
    world.demand(replicas=2)
    world.settle()
    assert "no layout fits on 3 free GPUs" in world.status["message"]


def test_what_is_held_against_a_node_for_two_reasons_is_counted_apart() -> None:
    shuns = held_against((), ["a", "b"], ShunReason.FAILED, START)
    shuns = held_against(shuns, ["a"], ShunReason.UNSCHEDULABLE, START)
    shuns = held_against(shuns, ["a"], ShunReason.FAILED, START + 60)
    assert shuns == (
        Shunned("b", ShunReason.FAILED, 1, START + 3600),
        Shunned("a", ShunReason.UNSCHEDULABLE, 1, START + 300),
        Shunned("a", ShunReason.FAILED, 2, START + 3660),
    )
    assert [left_out(shuns, why) for why in ShunReason] == [{"a"}, {"a"}]
