"""The disruption budget: a drain moves one replica after another, and never waits for ever."""

from typing import Any

import pytest
from tests.reconcile.support import World, deleted, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Pins

NEW = ("--new",)


def least(world: World) -> int:
    """Give how many pods must stay."""
    (budget,) = world.budgets.values()
    found: int = budget["spec"]["minAvailable"]
    return found


def three(**changes: Any) -> World:
    world = World(wants(a_demand(LLAMA_8B, budget=4, replicas=3), **changes), a_fleet(h100s(2)))
    world.run()
    return world


def two_of_two_nodes() -> World:
    world = World(wants(a_demand(LLAMA_405B, budget=32, replicas=2)), a_fleet(h100s(5)))
    world.run()
    return world


def test_all_pods_but_one_must_stay() -> None:
    """Of any rank: evicting one ends its group, so that no other may go until that one serves again."""
    world = two_of_two_nodes()
    (budget,) = world.budgets.values()
    assert budget["spec"] == {
        "minAvailable": 3,
        "selector": {"matchLabels": {"shardwise.dev/model": "llama"}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    chosen = budget["spec"]["selector"]["matchLabels"].items()
    assert [chosen <= pod["metadata"]["labels"].items() for pod in world.pods.values()] == [True] * 4


def test_one_replica_has_none() -> None:
    """Nothing would be left to keep, and the node could not be drained."""
    world = World(two_nodes_wide())
    world.run()
    assert world.budgets == {}
    world = three()
    world.demand(replicas=1)
    world.settle()
    assert world.budgets == {}


def test_an_evicted_group_still_counts_while_it_begins_again() -> None:
    """The number stays, so that the cluster waits for it; a budget that changed would be looked at anew."""
    world = three()
    before = dict(world.budgets)
    world.deleting("llama-1-0-0")
    world.settle()
    assert world.budgets == before
    world.crash("llama-0-0-0")
    world.settle()
    assert world.budgets == before
    assert least(world) == 2


def test_a_held_group_is_not_waited_for() -> None:
    """What is kept of it to be looked at counts only as the cluster counts it: while it is ready."""
    world = three(max_restarts=0)
    world.crash("llama-2-0-0")
    world.settle()
    assert world.standing() == "Stalled/RestartsExhausted"
    assert least(world) == 1
    world = World(wants(a_demand(LLAMA_405B, budget=32, replicas=2), max_restarts=0), a_fleet(h100s(5)))
    world.run()
    world.crash("llama-1-0-0")
    world.settle()
    assert least(world) == 2  # two of the other group and the follower that is kept, but for one
    world.deleting("llama-1-0-1")
    world.settle()
    assert least(world) == 1


def test_a_group_without_a_place_is_not_waited_for() -> None:
    """Its GPUs are elsewhere, and nobody knows when they come back: the others may be drained as well."""
    world = two_of_two_nodes()
    world.fleet = a_fleet(h100s(2))
    for name in [name for name, pod in world.pods.items() if "h100-0" not in str(pod["spec"]["affinity"])]:
        world.lose(name)
    world.settle()
    assert world.status["readyReplicas"] < 2
    placed = sum(len(nodes) for nodes in world.nodes())
    assert least(world) == max(0, placed - 1)


def test_a_budget_is_changed_and_not_deleted_while_it_may_be_asked() -> None:
    """An eviction whose budget is deleted under it is answered with 404: `kubectl drain` takes the pod for gone."""
    world = three()
    world.fleet = a_fleet(h100s(1, free=[0]))
    for name in list(world.pods):
        world.deleting(name)
        assert deleted(world.step(), "PodDisruptionBudget") == []
    world.gone()
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"
    assert least(world) == 0


def test_an_edit_that_cannot_be_honoured_leaves_the_budget_of_what_serves() -> None:
    """Then there is no plan, and there are replicas to keep all the same."""
    world = three()
    before = dict(world.budgets)
    world.demand(pins=Pins(6, None, None))
    world.settle()
    assert (world.standing(), world.budgets) == ("Stalled/IllegalLayout", before)


def test_replicas_that_were_never_planned_have_none() -> None:
    """There is no pod to keep, and each write costs the API server one."""
    world = World(wants(a_demand(LLAMA_8B, budget=4, replicas=3)), a_fleet(h100s(2, free=[0, 0])))
    world.settle()
    assert (world.standing(), world.budgets) == ("Reconciling/CapacityShort", {})


@pytest.mark.parametrize("harms", [[], ["unready llama-2-0-0"]], ids=["all serve", "a probe fails for a while"])
def test_a_group_that_begins_counts_for_none_that_serves_whatever_its_number_and_size(harms: list[str]) -> None:
    """It has twice their pods and the lowest number. Counted for one of them, no node could be drained."""
    world = World(wants(a_demand(LLAMA_405B, budget=48, replicas=3, pins=Pins(8, 2, None))), a_fleet(h100s(10)))
    world.run()
    world.unready("llama-0-0-0")
    world.settle()
    world.demand(replicas=2, gpu_budget=64)
    world.settle()
    world.demand(pins=Pins(8, 4, None))
    for harm in harms:
        what, name = harm.split()
        getattr(world, what)(name)
    world.settle()
    assert [len(nodes) for nodes in world.nodes()] == [4, 2, 2]
    assert least(world) == 3


def test_it_follows_the_replicas() -> None:
    world = three()
    world.demand(replicas=2)
    world.settle()
    assert least(world) == 1
    world.demand(replicas=4)
    world.settle()
    assert least(world) == 3


def test_a_group_that_is_started_beside_the_others_does_not_stop_a_drain() -> None:
    """It may take long, and those asked for all serve."""
    world = three(args=("--old",))
    world.launch(args=NEW)
    world.step()
    assert len(world.status["groups"]) == 4
    assert least(world) == 2


def test_a_group_that_moves_says_why() -> None:
    """Drained from its node: the place it finds elsewhere does not hide what happened to the one before."""
    world = three()
    (node,) = {node for group in world.nodes() for node in group}
    other = next(one.name for one in world.fleet.nodes if one.name != node)
    world.fleet = a_fleet(*[node for node in h100s(2) if node.name == other])
    world.deleting("llama-0-0-0")
    world.settle()
    said, *_ = [event.message for event in world.events if event.reason == "GroupRestarted"]
    assert said.startswith(f"replica 0: pod 0 (rank 0) on {node}")
