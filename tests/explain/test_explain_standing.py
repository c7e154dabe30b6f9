"""Where an object stands, in words to the letter: the plan, what would be today, what comes next, who waits."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion
from tests.reconcile.support import World, two_nodes_wide, unscheduled, wants
from tests.support.fleets import a_fleet, h100s, h200s
from tests.support.models import LLAMA_8B, LLAMA_70B, Pins, a_demand

from shardwise.domain.fleet import Exclusion
from shardwise.domain.launch import RestartPolicy
from shardwise.domain.standing import PodStanding, Standing
from shardwise.domain.target import Target
from shardwise.explain.standing import standing_answer, standing_text
from shardwise.reconcile.standing import standing_of


def running(world: World) -> World:
    world.run()
    return world


def not_seen() -> World:
    return World(wants())


def behind() -> World:
    world = running(World(wants()))
    world.edit(restart=RestartPolicy(max_restarts=3))
    return world


def served() -> World:
    return running(World(wants(a_demand(LLAMA_70B))))


def two_replicas() -> World:
    return running(World(wants(a_demand(LLAMA_8B, replicas=2))))


def measured() -> World:
    """Three caches: as planned, larger and smaller."""
    world = running(World(wants(a_demand(LLAMA_8B, budget=3, replicas=3))))
    plan = world.observe().status.plan
    assert plan is not None
    for replica, share in enumerate((1.0, 1.2, 0.9)):
        world.answer((replica, 0), round(plan.plan.cache_tokens * share))
    world.settle()
    return world


def paused() -> World:
    world = running(World(wants()))
    world.edit(paused=True)
    return world


def better_today() -> World:
    world = served()
    world.fleet = a_fleet(h100s(3), h200s(1))
    return world


def elsewhere_today() -> World:
    world = running(World(wants(a_demand(LLAMA_70B)), a_fleet(h100s(2, free=(0, 8)))))
    world.fleet = a_fleet(h100s(2))
    return world


def product_gone() -> World:
    world = served()
    world.fleet = a_fleet(h200s(1))
    return world


def refused_today() -> World:
    world = served()
    node = world.fleet.nodes[0]
    world.fleet = a_fleet(node._replace(exclusion=Exclusion.NOT_READY, free=0))
    return world


def edited() -> World:
    world = served()
    world.demand(pins=Pins(8, 1, None))
    return world


def edited_beyond() -> World:
    world = served()
    world.demand(pins=Pins(6, None, None))
    return world


RATED = Target(2000, 200, per_token=0.03, rate=12)


def rated_better_today() -> World:
    """Another product would need fewer replicas: the plan stays, and the object has not changed."""
    world = running(World(wants(a_demand(LLAMA_8B, budget=8, target=RATED)), a_fleet(h100s(1))))
    world.fleet = a_fleet(h100s(1), h200s(1))
    return world


def rated_otherwise() -> World:
    """Ask for a rate that the plan serves with another replica."""
    world = running(World(wants(a_demand(LLAMA_8B, budget=8, target=RATED)), a_fleet(h100s(1))))
    world.demand(target=replace(RATED, rate=30))
    return world


def scaled_down() -> World:
    world = two_replicas()
    world.demand(replicas=1)
    return world


def node_gone() -> World:
    world = running(World(two_nodes_wide()))
    world.lose_node("h100-01")
    return world


def node_gone_for_good() -> World:
    world = running(World(two_nodes_wide(), a_fleet(h100s(2))))
    world.lose_node("h100-01")
    return world


def crashed() -> World:
    world = World(wants())
    world.settle()
    world.crash("llama-0-0-0", "CUDA out of memory")
    world.step()
    return world


def waiting() -> World:
    world = World(two_nodes_wide(), a_fleet(h100s(2, free=(8, 0))))
    world.settle()
    return world


WORLDS: dict[str, Callable[[], World]] = {
    one.__name__.replace("_", " "): one
    for one in (
        not_seen,
        behind,
        served,
        two_replicas,
        measured,
        paused,
        better_today,
        elsewhere_today,
        product_gone,
        refused_today,
        edited,
        edited_beyond,
        rated_better_today,
        rated_otherwise,
        scaled_down,
        node_gone,
        node_gone_for_good,
        unscheduled,
        crashed,
        waiting,
    )
}


def stands(name: str) -> Standing:
    world = WORLDS[name]()
    return standing_of(world.wanted, world.observe(), world.now)


@pytest.mark.parametrize("name", WORLDS)
def test_where_an_object_stands_reads_well(name: str, snapshot: SnapshotAssertion) -> None:
    """Read the golden: it is what `shardwise explain` prints."""
    assert standing_text(stands(name), name) == snapshot


@pytest.mark.parametrize("name", WORLDS)
def test_where_an_object_stands_is_plain_data(name: str) -> None:
    """With all that the text says besides the plan."""
    standing = stands(name)
    data = standing_answer(standing)
    assert json.loads(json.dumps(data)) == data
    text = standing_text(standing, name)
    assert all(note in text for note in data["notes"])
    assert data["kept"] is standing.kept
    assert data["sameToday"] is standing.same_today
    assert [group["state"] for group in data["groups"]] == [group.state for group in standing.groups]
    assert {node["node"] for node in data["lostNodes"]} == {node for node, _ in standing.lost}


def test_alternatives_are_shown_where_the_same_would_be_planned_today() -> None:
    """No status holds them with their numbers."""
    assert "→" in standing_text(stands("served"), "x")
    assert "→" not in standing_text(stands("better today"), "x")


def test_of_many_waiting_pods_five_are_told() -> None:
    """And how many others there are."""
    standing = stands("unscheduled")
    (group,) = standing.groups
    many = replace(group, waiting=tuple(PodStanding(index, "", "not started") for index in range(9)))
    text = standing_text(replace(standing, groups=(many,)), "x")
    assert text.count("not started") == 5
    assert "pod 4: not started and 4 others\n" in text


def test_of_many_lost_nodes_five_are_told() -> None:
    standing = replace(stands("node gone"), lost=tuple((f"n{index}", None) for index in range(8)))
    assert "n4 is gone and 3 others: " in standing_text(standing, "x")
