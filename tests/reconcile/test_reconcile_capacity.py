"""Capacity: pods that find no place, nodes that are left out, whose turn it is, and failures that hold a group."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reconcile.support import START, World, node_wanted, two_nodes_wide, wants
from tests.support.fleets import H100, L40S, a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.reconcile.shunned import (
    BLAMED_SECONDS,
    MOST,
    UNSCHEDULABLE_SECONDS,
    Shunned,
    ShunReason,
    held_against,
    left_out,
    still_shunned,
)
from shardwise.reconcile.status_data import read_status
from shardwise.reconcile.turns import PATIENCE, Waiter


def unscheduled(world: World, *names: str, since: str = "2027-01-15T08:00:00Z") -> None:
    for name in names:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: Insufficient cpu",
            "lastTransitionTime": since,
        }
        world.pods[name]["status"] = {"phase": "Pending", "conditions": [condition]}


def test_a_pod_without_a_place_gives_the_gpus_of_its_group_back_and_another_node_is_found() -> None:
    """The scheduler knows what labels do not tell: CPU, memory, ports."""
    world = World(wants())
    world.settle()
    (before,) = world.nodes()
    unscheduled(world, "llama-0-0-0")
    assert world.step().retry_after == 60.0
    world.now += 60
    world.settle()
    assert world.states() == ["Starting 1"]
    assert world.nodes() != [before]
    assert world.status["shunnedNodes"] == [
        {"node": before[0], "why": "Unschedulable", "times": 1, "until": "2027-01-15T08:06:00Z"}
    ]
    assert "NodeLeftOut" in world.told()


def test_with_no_other_node_it_waits_says_why_and_tries_again_later() -> None:
    world = World(wants(), a_fleet(h100s(1)))
    world.settle()
    unscheduled(world, "llama-0-0-0")
    world.now += 60
    decision = world.settle()
    assert world.pods == {}
    assert world.standing() == "Reconciling/CapacityShort"
    assert (
        "pod 0 found no place on h100-00: not scheduled: 0/3 nodes are available: Insufficient cpu"
        in (world.status["message"])
    )
    assert decision.retry_after == UNSCHEDULABLE_SECONDS
    world.now += UNSCHEDULABLE_SECONDS
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.states() == ["Ready 1"]
    assert "shunnedNodes" not in world.status


def test_a_node_two_attempts_failed_on_is_left_out_of_the_next() -> None:
    """One failure may be chance."""
    world = World(wants())
    world.settle()
    first = world.nodes()
    for attempt in (0, 1):
        assert world.nodes() == first
        world.bind(f"llama-0-{attempt}-0")
        world.crash(f"llama-0-{attempt}-0", "Xid 79")
        world.settle()
        world.now += 20
        world.settle()
    assert world.nodes() != first
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    world.now += BLAMED_SECONDS
    world.settle()
    assert "shunnedNodes" not in world.status


def test_a_node_is_blamed_and_used_all_the_same_where_there_is_no_other() -> None:
    """Else a wrong argument would end as a want of nodes."""
    world = World(wants(max_restarts=3), a_fleet(h100s(1)))
    world.settle()
    for attempt in range(4):
        world.bind(f"llama-0-{attempt}-0")
        world.crash(f"llama-0-{attempt}-0", "unrecognized arguments: --sed")
        world.settle()
        world.now += 300
        world.settle()
    assert world.standing() == "Stalled/RestartsExhausted"
    assert world.status["message"].endswith(
        "on h100-00: engine exited 1 (Error): unrecognized arguments: --sed; correct `spec.engine.args`"
    )


def test_a_disruption_blames_no_node() -> None:
    world = World(two_nodes_wide())
    world.run()
    world.deleting("llama-0-0-1")
    world.settle()
    assert "shunnedNodes" not in world.status


@pytest.mark.parametrize("keep", [True, False])
def test_a_held_group_keeps_its_pods_or_gives_its_gpus_back(keep: bool) -> None:
    world = World(wants(max_restarts=0, keep_failed=keep))
    world.settle()
    world.crash("llama-0-0-0")
    world.settle()
    assert world.standing() == "Stalled/RestartsExhausted"
    assert len(world.pods) == len(world.nodes()[0]) == int(keep)
    world.launch(args=("--mended",))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_failed_pods_go_at_once_where_they_are_not_kept() -> None:
    world = World(wants(keep_failed=False))
    world.settle()
    world.crash("llama-0-0-0")
    world.settle()
    assert (world.pods, world.states()) == ({}, ["Backoff 0"])


def test_a_held_group_goes_on_when_more_restarts_are_allowed() -> None:
    world = World(wants(max_restarts=0))
    world.settle()
    world.crash("llama-0-0-0")
    world.settle()
    world.edit(restart=replace(world.wanted.restart, max_restarts=1))
    world.run()
    assert world.states() == ["Ready 1"]


def test_shunned_nodes_are_remembered_counted_and_forgotten() -> None:
    shuns = held_against((), ["a", "a", "b"], ShunReason.FAILED, START)
    assert left_out(shuns, ShunReason.FAILED) == frozenset()
    shuns = held_against(shuns, ["a"], ShunReason.FAILED, START + 1)
    assert left_out(shuns, ShunReason.FAILED) == {"a"}
    assert still_shunned(shuns, START) == shuns
    assert [shun.node for shun in still_shunned(shuns, START + BLAMED_SECONDS)] == ["a"]


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=60))
def test_only_so_many_nodes_are_remembered(nodes: list[str]) -> None:
    """The latest; a status stays small."""
    shuns: tuple[Shunned, ...] = ()
    for node in nodes:
        shuns = held_against(shuns, [node], ShunReason.UNSCHEDULABLE, START)
    assert len(shuns) <= MOST
    assert not nodes or shuns[-1].node == nodes[-1]


@pytest.mark.parametrize("wrong", [{}, {"node": "a"}, {"node": "a", "why": "Odd", "times": 1, "until": ""}, 3, None])
def test_what_cannot_be_read_of_shunned_nodes_is_left_out(wrong: object) -> None:
    assert read_status({"shunnedNodes": [wrong]}).shuns == ()


def waiter(key: str, *, priority: int = 0, created: float = 0.0, since: float = START, product: str = H100) -> Waiter:
    return Waiter(key, priority, created, since, a_demand(LLAMA_8B, products=(product,)))


def queued(since: float, product: str = H100) -> World:
    world = World(wants(), a_fleet(h100s(1, free=[4])))
    world.ahead = (waiter("default/large", since=since, product=product),)
    return world


def test_a_small_object_passes_a_large_one_but_not_for_ever() -> None:
    world = queued(START)
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    late = queued(START - PATIENCE)
    late.settle()
    assert late.standing() == "Reconciling/CapacityShort"
    assert late.status["message"].endswith("; position 2 of 2 in the queue, after `default/large`")
    late.ahead = ()
    late.run()
    assert late.standing() == "Ready/AllReplicasReady"


def test_gpus_the_first_cannot_use_are_not_kept_for_it() -> None:
    world = queued(START - PATIENCE, product=L40S)
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_what_a_group_holds_already_it_may_use_again_whoever_waits() -> None:
    """It is not new GPUs that it takes."""
    world = queued(START)
    world.run()
    world.ahead = (waiter("default/large", since=START - PATIENCE),)
    world.crash("llama-0-0-0")
    world.run()
    assert world.states() == ["Ready 1"]
    world.launch(args=("--seed=7",))
    world.demand(gpu_budget=1)
    world.run()
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_wait_begins_once_and_is_kept_in_the_status() -> None:
    """So that a new operator keeps the order."""
    world = World(two_nodes_wide(), a_fleet(h100s(2, free=[8, 0])))
    world.settle()
    assert world.status["waitingSince"] == "2027-01-15T08:00:00Z"
    world.now += 100
    world.settle()
    assert world.status["waitingSince"] == "2027-01-15T08:00:00Z"
    world.fleet = a_fleet(h100s(2))
    world.run()
    assert "waitingSince" not in world.status


def test_pods_on_a_node_that_cannot_be_reached_are_replaced_elsewhere_without_waiting_for_them() -> None:
    """They are stuck in Terminating; their GPUs are not ours to count on."""
    world = World(two_nodes_wide())
    world.run()
    lost = node_wanted(world.pods["llama-0-0-1"])
    world.deleting("llama-0-0-1")
    world.fleet = a_fleet(h100s(3, free=[8, 0, 8]))
    world.fleet = replace(world.fleet, nodes=tuple(node for node in world.fleet.nodes if node.name != lost))
    world.run()
    assert "llama-0-0-1" in world.pods
    assert world.standing() == "Ready/AllReplicasReady"
    assert lost not in world.nodes()[0]
