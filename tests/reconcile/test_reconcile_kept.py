"""What is left where it is, or as it is, while something else about the object changes."""

from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins

NEW = ("--seed=7",)


def test_a_group_that_is_renewed_stays_on_its_node_though_a_better_one_is_free_now() -> None:
    """Its weights may lie in a cache there."""
    world = World(wants(a_demand(LLAMA_8B, budget=1)), a_fleet(h100s(2, free=[0, 8])))
    world.run()
    assert world.nodes() == [["h100-01"]]
    world.fleet = a_fleet(h100s(2, free=[1, 8]))
    world.launch(args=NEW)
    world.run()
    assert (world.nodes(), world.states()) == ([["h100-01"]], ["Ready 1"])


def test_a_rollout_stops_where_one_of_two_trials_fails_though_more_may_be_down() -> None:
    """The other serves; what failed may be the content all the same, and the last old group is worth more."""
    world = World(wants(a_demand(LLAMA_8B, budget=3, replicas=3), max_unavailable=2))
    world.run()
    world.launch(args=NEW)
    world.settle()
    assert sorted(world.pods) == ["llama-0-1-0", "llama-1-1-0", "llama-2-0-0"]
    world.start(["llama-0-1-0"])
    world.crash("llama-1-1-0")
    world.settle()
    assert sorted(world.pods) == ["llama-0-1-0", "llama-1-1-0", "llama-2-0-0"]
    assert world.condition("Degraded")["reason"] == "UpdateHalted"
    assert world.status["readyReplicas"] == 2


def test_a_group_that_has_not_begun_holds_no_gpu_once_what_is_asked_for_cannot_be() -> None:
    """One that runs does: the edit may be a slip."""
    for begun in (False, True):
        world = World(two_nodes_wide(Pins(8, 2, None)))
        world.step(keep=lambda _, begun=begun: begun)
        if begun:
            world.start()
            world.step()
        world.demand(pins=Pins(6, None, None))
        world.settle()
        assert world.standing() == "Stalled/IllegalLayout"
        assert len(world.status["groups"]) == len(world.pods) // 2 == int(begun)


def test_groups_too_small_to_give_a_larger_shape_its_gpus_together_serve_on() -> None:
    """However often they are asked: three times two GPUs are never taken for eight."""
    world = World(wants(a_demand(LLAMA_8B, budget=24, replicas=3, pins=Pins(2, 1, None))), a_fleet(h100s(1, free=[6])))
    world.run()
    before = dict(world.pods)
    world.demand(pins=Pins(8, 1, None))
    world.settle()
    assert (world.pods, world.status["readyReplicas"]) == (before, 3)
    assert world.standing() == "Stalled/CapacityShort"


def test_two_groups_go_for_one_that_needs_the_gpus_of_both() -> None:
    """No single one would do; and no more go than have to."""
    world = World(wants(a_demand(LLAMA_8B, budget=16, replicas=3, pins=Pins(2, 1, None))), a_fleet(h100s(1, free=[6])))
    world.run()
    world.demand(pins=Pins(4, 1, None))
    world.settle()
    assert sorted(group["gpusPerPod"] for group in world.status["groups"]) == [2, 4]
    assert world.status["readyReplicas"] == 1
