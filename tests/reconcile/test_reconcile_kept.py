"""What is left where it is, or as it is, while something else about the object changes."""

from dataclasses import replace

from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.fleets import H100, a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

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
        world.step(keep=(lambda _: True) if begun else lambda _: False)
        if begun:
            world.start()
            world.step()
        world.demand(pins=Pins(6, None, None))
        world.settle()
        assert world.standing() == "Stalled/IllegalLayout"
        assert len(world.status["groups"]) == len(world.pods) // 2 == int(begun)


def test_pods_of_a_group_that_gave_its_gpus_back_go_though_failed_ones_are_kept_from_now_on() -> None:
    """The edit came before they were deleted: others may have been given their GPUs."""
    world = World(wants(max_restarts=0, keep_failed=False))
    world.settle()
    world.crash("llama-0-0-0")
    world.step(keep=lambda _: False)
    world.edit(restart=replace(world.wanted.restart, keep_failed=True))
    world.settle()
    assert (world.states(), world.nodes(), world.pods) == (["Held 0"], [[]], {})


def test_an_edit_that_changes_no_pod_is_what_a_group_is_made_from_when_it_begins_again() -> None:
    """So it stays in its place as after any other loss."""
    world = World(wants(a_demand(LLAMA_8B, budget=1)), a_fleet(h100s(2, free=[0, 8])))
    world.run()
    world.demand(products=(H100,))
    world.settle()
    world.fleet = a_fleet(h100s(2, free=[1, 8]))
    world.lose("llama-0-0-0")
    world.run()
    assert (world.nodes(), world.states()) == ([["h100-01"]], ["Ready 1"])


def test_of_two_groups_that_begin_where_only_one_has_room_left_one_begins() -> None:
    """Strangers came between the decision and its pods."""
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)), a_fleet(h100s(1)))
    world.step(keep=lambda _: False)
    world.fleet = a_fleet(h100s(1, free=[1]))
    world.settle()
    assert (world.nodes(), sorted(world.pods)) == ([["h100-00"]], ["llama-0-0-0"])


def test_a_group_with_two_pods_on_a_node_that_has_room_for_one_begins_elsewhere() -> None:
    """Strangers came between the decision and its pods."""
    world = World(wants(a_demand(LLAMA_405B, budget=16, pins=Pins(4, 4, None))), a_fleet(h100s(3, free=[8, 4, 4])))
    world.step(keep=lambda _: False)
    assert world.nodes() == [["h100-00", "h100-00", "h100-01", "h100-02"]]
    world.fleet = a_fleet(h100s(3, free=[4, 8, 4]))
    world.settle()
    assert world.nodes() == [["h100-00", "h100-01", "h100-01", "h100-02"]]


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
