"""An object for which nothing is done, paused or not to be honoured: what it says goes on being true."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.reconcile.support import World, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand


def two_serving() -> World:
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)))
    world.run()
    return world


def paused(world: World) -> None:
    world.wanted = replace(world.wanted, paused=True)


def mistaken(world: World) -> None:
    world.launch(args=("--port=1",))


WAYS = {"paused": paused, "mistaken": mistaken}
left_alone = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@left_alone
def test_a_pod_that_is_lost_is_counted_though_nothing_is_done_about_it(way: Callable[[World], None]) -> None:
    """An autoscaler and an alert read these numbers; the attempt stays what it is."""
    world = two_serving()
    before = world.status["groups"]
    way(world)
    world.lose("llama-1-0-0")
    decision = world.step()
    assert [type(action).__name__ for action in decision.actions if type(action).__name__ != "Emit"] == []
    assert (world.status["replicas"], world.status["readyReplicas"]) == (2, 1)
    assert [group["readyPods"] for group in world.status["groups"]] == [1, 0]
    assert [group["attempt"] for group in world.status["groups"]] == [group["attempt"] for group in before]
    degraded = world.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "ReplicasMissing")
    assert degraded["message"] == "1 of 2 replicas serve"


@left_alone
def test_where_none_serves_any_more_it_says_so(way: Callable[[World], None]) -> None:
    world = two_serving()
    way(world)
    for name in sorted(world.pods):
        world.lose(name)
    world.step()
    assert world.status["readyReplicas"] == 0
    assert world.condition("Degraded")["reason"] == "NothingServes"


@left_alone
def test_while_all_serve_nothing_but_the_verdict_changes(way: Callable[[World], None]) -> None:
    world = two_serving()
    before = dict(world.status)
    way(world)
    world.step()
    for field in ("groups", "readyReplicas", "replicas", "plan", "endpoint"):
        assert world.status[field] == before[field]
    assert world.condition("Degraded")["reason"] == "AsPlanned"
    assert world.step().written == world.status, "the same facts give the same status"


@left_alone
def test_what_was_lost_meanwhile_is_made_again_when_it_goes_on(way: Callable[[World], None]) -> None:
    world = two_serving()
    way(world)
    world.lose("llama-1-0-0")
    world.step()
    world.wanted = replace(world.wanted, paused=False)
    world.launch(args=())
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.states() == ["Ready 0", "Ready 1"]


def test_one_that_waits_gives_its_place_in_the_queue_up() -> None:
    """It could not begin if its turn came, and would hold up those behind it."""
    world = World(wants(a_demand(LLAMA_8B, budget=8)), a_fleet(h100s(1, free=[0])))
    world.settle()
    assert "waitingSince" in world.status
    paused(world)
    world.step()
    assert "waitingSince" not in world.status
