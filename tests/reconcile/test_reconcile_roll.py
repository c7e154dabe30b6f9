"""Updates: how replicas are replaced, beside one another or in place, and where that stops; and how they are scaled."""

from typing import Any

import pytest
from tests.reconcile.support import World, applied, deleted, two_nodes_wide, wants
from tests.support.fleets import H100, H200, a_fleet, h100s, h200s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins

NEW = ("--seed=7",)


def three(budget: int = 8, **changes: Any) -> World:
    world = World(wants(a_demand(LLAMA_8B, budget=budget, replicas=3), **changes))
    world.run()
    return world


def args_of(world: World) -> list[bool]:
    """Tell of each pod, by name, whether it has the new content."""
    return [NEW[0] in pod["spec"]["containers"][0]["args"] for _, pod in sorted(world.pods.items())]


def finish(world: World) -> None:
    for _ in range(12):
        world.run()


def test_a_change_of_content_starts_a_single_group_anew_where_there_is_no_room_for_two() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=1)))
    world.run()
    world.launch(args=NEW)
    decision = world.step()
    assert deleted(decision, "Pod") == ["llama-0-0-0"]
    assert applied(decision, "Pod") == ["llama-0-1-0"]
    assert args_of(world) == [True]


def test_with_room_the_new_group_serves_before_the_old_one_goes() -> None:
    """Nobody notices the update."""
    world = World(wants(a_demand(LLAMA_8B, budget=2)))
    world.run()
    world.launch(args=NEW)
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-0-0"]
    assert (world.status["readyReplicas"], world.standing()) == (1, "Reconciling/Updating")
    world.start()
    decision = world.step()
    assert deleted(decision, "Pod") == ["llama-0-0-0"]
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert (args_of(world), world.status["restarts"]) == ([True], 0)


@pytest.mark.parametrize(("surge", "most"), [(1, 4), (2, 5), (5, 6)])
def test_replicas_are_replaced_beside_one_another_as_many_at_a_time_as_allowed(surge: int, most: int) -> None:
    """All that were asked for serve all the time; never more groups than the strategy allows."""
    world = three(max_surge=surge)
    world.launch(args=NEW)
    seen = set()
    for _ in range(12):
        world.settle()
        assert world.status["readyReplicas"] >= 3
        seen.add(len(world.pods))
        world.start()
    assert max(seen) == most
    assert args_of(world) == [True] * 3
    assert world.standing() == "Ready/AllReplicasReady"


def test_the_budget_bounds_what_is_started_beside() -> None:
    """It is the most the object may ever hold."""
    world = three(budget=3)
    world.launch(args=NEW)
    for _ in range(8):
        world.settle()
        assert len(world.pods) <= 3
        world.start()
    assert args_of(world) == [True] * 3


@pytest.mark.parametrize(("unavailable", "least"), [(1, 2), (2, 1)])
def test_without_room_replicas_are_replaced_in_place(unavailable: int, least: int) -> None:
    """So that enough of them always serve, and each on its own node."""
    world = three(budget=3, max_unavailable=unavailable)
    before = world.nodes()
    world.launch(args=NEW)
    served = []
    for _ in range(6):
        world.settle()
        served.append(world.status["readyReplicas"])
        world.start()
    assert min(served) == least
    assert world.nodes() == before
    assert world.states() == ["Ready 1"] * 3


def test_recreate_replaces_all_at_once() -> None:
    world = three(recreate=True)
    world.launch(args=NEW)
    decision = world.step()
    assert deleted(decision, "Pod") == ["llama-0-0-0", "llama-1-0-0", "llama-2-0-0"]
    assert applied(decision, "Pod") == ["llama-0-1-0", "llama-1-1-0", "llama-2-1-0"]


def test_what_does_not_serve_is_renewed_first() -> None:
    """It costs nobody anything."""
    world = World(wants(a_demand(LLAMA_8B, budget=3, replicas=3)))
    world.settle()
    world.start(["llama-0-0-0"])
    world.settle()
    world.launch(args=NEW)
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-1-0", "llama-2-1-0"]
    assert world.status["readyReplicas"] == 1


@pytest.mark.parametrize("budget", [3, 8], ids=["in place", "beside"])
def test_an_update_stops_where_the_new_content_fails(budget: int) -> None:
    """The replicas of the old content serve on, until somebody mends it."""
    world = three(budget=budget, max_restarts=1)
    world.launch(args=NEW)
    world.settle()
    (trial,) = [name for name, new in zip(sorted(world.pods), args_of(world), strict=True) if new]
    for wait in (10, 3600):
        world.crash(max(name for name in world.pods if name.split("-")[1] == trial.split("-")[1]), "bad argument")
        world.settle()
        assert args_of(world).count(True) == 1
        world.now += wait
        world.settle()
    assert world.standing() == "Stalled/RestartsExhausted"
    assert world.condition("Degraded")["reason"] == "UpdateHalted"
    assert world.status["readyReplicas"] >= 2
    assert "UpdateHalted" in world.told()
    world.launch(args=("--mended",))
    finish(world)
    assert world.standing() == "Ready/AllReplicasReady"
    assert all("--mended" in pod["spec"]["containers"][0]["args"] for pod in world.pods.values())


def test_an_edit_taken_back_before_it_was_rolled_out_restarts_only_what_was_changed() -> None:
    world = three(budget=3)
    world.launch(args=NEW)
    world.settle()
    world.launch(args=())
    finish(world)
    assert world.states() == ["Ready 2", "Ready 0", "Ready 0"]


def test_an_edit_that_changes_no_pod_restarts_none() -> None:
    """What is written down of a group follows the edit; its pods are what they would be."""
    world = three()
    before = [group["content"] for group in world.status["groups"]]
    world.demand(within="topology.kubernetes.io/zone")
    world.fleet = a_fleet(h100s(3))
    world.demand(within=None, gpu_budget=9)
    world.settle()
    assert world.status["restarts"] == 0
    assert [group["content"] for group in world.status["groups"]] == before


def test_an_operator_that_renders_otherwise_restarts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade: the same object, other manifests. The next attempt is made of what is rendered then."""
    world = three()
    before = dict(world.pods)
    monkeypatch.setattr("shardwise.engines.vllm.DEFAULT_IMAGE", "vllm/vllm-openai:v9.9.9")
    assert world.settle().actions == ()
    assert world.pods == before
    world.crash("llama-1-0-0")
    world.run()
    images = [pod["spec"]["containers"][0]["image"] for _, pod in sorted(world.pods.items())]
    assert [image.endswith("v9.9.9") for image in images] == [False, True, False]
    assert world.status["restarts"] == 1


def test_a_change_of_demand_is_rolled_out_as_well() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=8, products=(H100,))), a_fleet(h100s(1), h200s(1)))
    world.run()
    world.demand(products=(H200,))
    world.settle()
    assert world.status["readyReplicas"] == 1
    finish(world)
    assert world.status["plan"]["product"] == H200
    assert sorted(world.pods) == ["llama-1-0-0"]
    assert world.told() == ["Planned", "GroupReady", "Planned", "GroupReady", "GroupRemoved"]


def test_another_shape_of_the_same_size_takes_the_gpus_of_one_group_after_the_other() -> None:
    """In place, where budget or fleet are full."""
    fleet = a_fleet(h100s(2))
    world = World(wants(a_demand(LLAMA_8B, budget=16, replicas=2, pins=Pins(4, 2, None))), fleet)
    world.run()
    world.demand(pins=Pins(8, 1, None))
    finish(world)
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.status["plan"]["tensor"] == 8
    assert len(world.pods) == 2


def test_a_shape_nothing_has_room_for_leaves_the_old_groups_serving() -> None:
    """They are given up for a place, not for a wish."""
    world = World(wants(a_demand(LLAMA_8B, budget=16, pins=Pins(2, 1, None))), a_fleet(h100s(1, free=[4])))
    world.run()
    world.demand(pins=Pins(8, 1, None))
    world.settle()
    assert world.status["readyReplicas"] == 1
    assert world.standing() == "Reconciling/CapacityShort"
    world.fleet = a_fleet(h100s(1, free=[8]))
    finish(world)
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.status["plan"]["tensor"] == 8


def test_scaling_down_takes_the_newest_groups() -> None:
    world = three()
    world.demand(replicas=1)
    decision = world.step()
    assert deleted(decision, "Pod") == ["llama-1-0-0", "llama-2-0-0"]
    assert deleted(world.step(), "Service") == ["llama-1-0", "llama-2-0"]
    assert world.status["replicas"] == 1
    assert world.standing() == "Ready/AllReplicasReady"


def test_scaling_down_takes_what_does_not_serve_first() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=3, replicas=3)))
    world.settle()
    world.start(["llama-1-0-0", "llama-2-0-0"])
    world.settle()
    world.demand(replicas=2)
    world.settle()
    assert sorted(world.pods) == ["llama-1-0-0", "llama-2-0-0"]
    world.demand(replicas=3)
    world.run()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-0-0", "llama-2-0-0"]


def test_a_replica_that_goes_is_drained_leader_first() -> None:
    """The leader ends what it has begun while all ranks are with it."""
    world = World(two_nodes_wide())
    world.run()
    world.demand(replicas=0)
    assert deleted(world.decide(), "Pod") == ["llama-0-0-0"]
    world.status = world.decide().written
    world.deleting("llama-0-0-0")
    assert deleted(world.step(), "Pod") == []
    world.gone()
    assert deleted(world.step(), "Pod") == ["llama-0-0-1"]
    assert "llama-0-0" in world.services, "they find each other by it to the end"
    world.step()
    assert "llama-0-0" not in world.services


@pytest.mark.parametrize("harm", ["crash", "evict", "deleting"])
def test_a_broken_replica_that_goes_is_not_drained(harm: str) -> None:
    """Its leader may hang in a collective until it is killed."""
    world = World(two_nodes_wide())
    world.run()
    getattr(world, harm)("llama-0-0-1")
    world.demand(replicas=0)
    assert deleted(world.step(), "Pod") == (["llama-0-0-0"] if harm == "deleting" else ["llama-0-0-0", "llama-0-0-1"])


def test_a_number_is_not_used_again_while_pods_have_it() -> None:
    """They drain, and their names are theirs."""
    world = World(two_nodes_wide(), a_fleet(h100s(4)))
    world.run()
    world.demand(replicas=0)
    world.status = world.decide().written
    world.deleting("llama-0-0-0")
    world.step()
    world.demand(replicas=1)
    world.step()
    assert {name.rsplit("-", 1)[0] for name in world.pods} == {"llama-0-0", "llama-1-0"}
