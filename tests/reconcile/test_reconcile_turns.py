"""Fairness: whose turn it is among any waiters, which GPUs that keeps from whom, and the fleet an object may use."""

import pytest
from tests.reconcile.support import START, World, wants
from tests.support.fleets import H100, H200, L40S, a_fleet, h100s, h200s, l40s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.reconcile.turns import PATIENCE, Waiter
from shardwise.reconcile.usable_fleet import UsableFleet

FLEET = a_fleet(h100s(2), h200s(1), l40s(1))
ALL = {"h100-00", "h100-01", "h200-00", "l40s-00"}
DEMANDS = [a_demand(LLAMA_8B, products=products) for products in ((), (H100,), (H200,), (L40S,), (H100, L40S))]


def frees(usable: UsableFleet) -> list[dict[str, int]]:
    """Give the free GPUs of each node, choice by choice."""
    return [{node.name: node.free for node in fleet.nodes} for fleet in usable.choices()]


USABLE: dict[str, tuple[UsableFleet, list[tuple[int, int, int]]]] = {
    "all of it": (UsableFleet(a_fleet(h100s(3))), [(8, 8, 8)]),
    "a node took no pod": (UsableFleet(a_fleet(h100s(3)), barred=frozenset({"h100-01"})), [(8, 0, 8)]),
    "a node failed twice": (UsableFleet(a_fleet(h100s(3)), blamed=frozenset({"h100-01"})), [(8, 0, 8), (8, 8, 8)]),
    "one of each": (
        UsableFleet(a_fleet(h100s(3)), barred=frozenset({"h100-00"}), blamed=frozenset({"h100-01"})),
        [(0, 0, 8), (0, 8, 8)],
    ),
    "kept for another": (UsableFleet(a_fleet(h100s(3)), kept=frozenset({"h100-00", "h100-01"})), [(0, 0, 8)]),
    "kept, and four are its own": (
        UsableFleet(a_fleet(h100s(3)), kept=frozenset({"h100-00"}), own={"h100-00": 4}),
        [(4, 8, 8)],
    ),
    "kept, its own, and half taken by strangers since": (
        UsableFleet(a_fleet(h100s(3, free=[2, 8, 8])), kept=frozenset({"h100-00"}), own={"h100-00": 4}),
        [(2, 8, 8)],
    ),
    "kept, its own, and took no pod": (
        UsableFleet(a_fleet(h100s(3)), frozenset({"h100-00"}), kept=frozenset({"h100-00"}), own={"h100-00": 4}),
        [(0, 8, 8)],
    ),
}


@pytest.mark.parametrize(("usable", "choices"), USABLE.values(), ids=USABLE)
def test_the_fleets_an_object_looks_for_a_place_in(usable: UsableFleet, choices: list[tuple[int, int, int]]) -> None:
    """A node that is shut is there without free GPUs: waiting for it makes sense, as for one that is full."""
    assert [tuple(one.values()) for one in frees(usable)] == choices


SUITS: dict[str, tuple[Demand, tuple[str, ...], bool]] = {
    "of its product": (a_demand(LLAMA_8B, products=(H100,)), ("h100-00", "h100-01"), True),
    "of another product": (a_demand(LLAMA_8B, products=(H200,)), ("h100-00",), False),
    "one of them is": (a_demand(LLAMA_8B, products=(H100,)), ("h100-00", "h200-00"), False),
    "named twice": (a_demand(LLAMA_8B), ("h100-00", "h100-00"), True),
    "gone": (a_demand(LLAMA_8B), ("h100-09",), False),
    "within one zone": (a_demand(LLAMA_8B, within="zone"), ("h100-00", "h200-00"), True),
    "in two zones": (a_demand(LLAMA_8B, within="zone"), ("h100-00", "h100-01"), False),
}


@pytest.mark.parametrize("exclusion", [None, Exclusion.FAULTY, Exclusion.NOT_READY])
@pytest.mark.parametrize(("demand", "names", "suits"), SUITS.values(), ids=SUITS)
def test_whether_nodes_are_such_as_are_asked_for_whatever_their_health(
    demand: Demand, names: tuple[str, ...], suits: bool, exclusion: Exclusion | None
) -> None:
    zones = {"h100-00": ("east",), "h200-00": ("east",), "h100-01": ("west",), "l40s-00": ("west",)}
    nodes = tuple(node._replace(places=zones[node.name], exclusion=exclusion, free=0) for node in FLEET.nodes)
    assert UsableFleet(Fleet(nodes, ("zone",))).suits(demand, names) is suits


def waiting_with(large_since: float, free: int) -> World:
    """Give a small object behind one that needs eight GPUs of a node, of which not all are free."""
    world = World(wants(a_demand(LLAMA_8B, budget=1)), a_fleet(h100s(1, free=[free])))
    world.ahead = (Waiter("ns/large", 0, START, large_since, a_demand(LLAMA_8B, budget=8)),)
    return world


def test_one_that_was_passed_gets_the_gpus_as_they_become_free() -> None:
    """They come one by one; small ones behind leave each alone, until the large one has its eight and is gone."""
    for free in (1, 4, 7, 8):
        world = waiting_with(START - PATIENCE, free)
        world.settle()
        assert (world.pods, world.status["groups"]) == ({}, [])
    world.ahead = ()
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_place_in_the_queue_is_lost_by_what_cannot_be_honoured_and_by_nothing_else() -> None:
    """A wrong object would hold up everybody behind it."""
    world = World(wants(a_demand(LLAMA_8B, budget=1)), a_fleet(h100s(1, free=[0])))
    world.settle()
    world.launch(args=("--seed=7",))
    world.now += 50
    world.settle()
    assert world.status["waitingSince"] == "2027-01-15T08:00:00Z"
    world.edit(paused=True)
    world.settle()
    assert "waitingSince" not in world.status
