"""Which groups are left when fewer are wanted, or the budget allows fewer."""

import pytest
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins


def serving(replicas: int = 3) -> World:
    """Give replicas of one GPU that all serve, with no GPU to spare."""
    world = World(wants(a_demand(LLAMA_8B, budget=replicas, replicas=replicas)))
    world.run()
    return world


SCALES: dict[str, tuple[dict[str, str], list[str]]] = {
    "all serve: the newest go": ({}, ["llama-0-0-0"]),
    "the first does not start": ({"llama-0-0-0": "unready"}, ["llama-1-0-0"]),
    "two do not serve": ({"llama-0-0-0": "unready", "llama-1-0-0": "unready"}, ["llama-2-0-0"]),
    "none serves: the newest go": (
        {"llama-0-0-0": "unready", "llama-1-0-0": "unready", "llama-2-0-0": "unready"},
        ["llama-0-0-0"],
    ),
    "one that starts again is worth less": ({"llama-0-0-0": "crash", "llama-1-0-0": "unready"}, ["llama-2-0-0"]),
}


@pytest.mark.parametrize(("harms", "left"), SCALES.values(), ids=SCALES)
def test_who_is_left_when_three_become_one(harms: dict[str, str], left: list[str]) -> None:
    world = serving()
    for name, harm in harms.items():
        getattr(world, harm)(name)
    world.settle()
    world.demand(replicas=1)
    world.settle()
    assert sorted(world.pods) == left


def test_of_two_that_serve_the_one_that_has_served_longer_stays() -> None:
    """Its caches are warm; numbers only break ties."""
    world = serving(replicas=2)
    world.now += 100
    world.crash("llama-0-0-0")
    world.run()
    assert world.states() == ["Ready 1", "Ready 0"]
    world.demand(replicas=1)
    world.settle()
    assert sorted(world.pods) == ["llama-1-0-0"]


@pytest.mark.parametrize(("budget", "left"), [(3, 3), (2, 2), (1, 1)])
def test_a_budget_below_what_runs_takes_as_many_as_it_must_and_names_the_field(budget: int, left: int) -> None:
    """At once: it is the most the object may hold, and what is left serves on untouched."""
    world = serving()
    uids = {name: pod["metadata"]["uid"] for name, pod in world.pods.items()}
    world.demand(gpu_budget=budget)
    world.settle()
    assert (len(world.pods), world.status["readyReplicas"]) == (left, left)
    assert all(uids[name] == pod["metadata"]["uid"] for name, pod in world.pods.items())
    if left < 3:
        assert world.standing() == "Stalled/BudgetShort"
        assert "`spec.gpuBudget.total`" in world.status["message"]
    world.demand(gpu_budget=3)
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_one_group_wider_than_a_lowered_budget_goes_and_comes_back_with_it() -> None:
    world = World(two_nodes_wide(Pins(8, 2, None)))
    world.run()
    world.demand(gpu_budget=15)
    for _ in range(3):
        world.settle()
    assert (world.pods, world.status["groups"], world.status["replicas"]) == ({}, [], 0)
    assert world.standing() == "Stalled/BudgetShort"
    world.demand(gpu_budget=16)
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
