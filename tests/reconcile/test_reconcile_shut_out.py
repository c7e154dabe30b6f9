"""Pods that wait for a node which may not be used any more are not waited for: their group looks for another."""

from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, node_wanted, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.fleet import Exclusion, Taint

MAINTENANCE = Taint("maintenance", "now", "NoExecute")


def starting() -> tuple[World, str]:
    """Give a group whose pod has found no place just now, and the node it waits for."""
    world = World(wants(a_demand(LLAMA_8B, budget=2)), a_fleet(h100s(2)))
    world.settle()
    assert world.states() == ["Starting 0"]
    world.unscheduled("llama-0-0-0")
    return world, node_wanted(world.pods["llama-0-0-0"])


def change(world: World, node: str, **changes: Any) -> None:
    """Change a node as the API server shows it."""
    nodes = (one._replace(**changes) if one.name == node else one for one in world.fleet.nodes)
    world.fleet = replace(world.fleet, nodes=tuple(nodes))


@pytest.mark.parametrize(
    "changes",
    [
        {"taints": (MAINTENANCE,)},
        {"exclusion": Exclusion.CORDONED, "free": 0},
        {"exclusion": Exclusion.NOT_READY, "free": 0},
    ],
    ids=["tainted", "cordoned", "not ready"],
)
def test_the_group_goes_elsewhere_at_once(changes: dict[str, Any]) -> None:
    """An eviction may be seen before the taint that caused it; the node is left out by the taint, not by us."""
    world, node = starting()
    change(world, node, **changes)
    world.settle()
    (pod,) = world.pods.values()
    assert node_wanted(pod) != node
    assert world.status.get("shunnedNodes", []) == []
    assert "NodeLeftOut" not in world.told()
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


@pytest.mark.parametrize("taint", [MAINTENANCE, Taint("maintenance", "now", "NoSchedule")], ids=["evicts", "shuts"])
def test_the_next_attempt_does_not_begin_on_a_node_that_is_tainted(taint: Taint) -> None:
    """Not even for the minute in which the scheduler would refuse it; what serves there stays until it is evicted."""
    world = World(wants(a_demand(LLAMA_8B, budget=2)), a_fleet(h100s(2)))
    world.run()
    (name,) = world.pods
    node = node_wanted(world.pods[name])
    change(world, node, taints=(taint,))
    world.settle()
    assert world.states() == ["Ready 0"]
    world.lose(name)
    world.settle()
    (pod,) = world.pods.values()
    assert node_wanted(pod) != node
    assert world.states() == ["Starting 1"]


def test_a_node_whose_gpus_a_stranger_took_is_not_waited_for() -> None:
    """The scheduler was faster with the pod of a stranger; the store sees that the GPUs are gone."""
    world, node = starting()
    change(world, node, free=0)
    world.settle()
    (pod,) = world.pods.values()
    assert (node_wanted(pod) != node, world.states()) == (True, ["Starting 1"])
    assert world.status.get("shunnedNodes", []) == []
    assert "found no place on" in next(event.message for event in world.events if event.reason == "GroupRestarted")


def test_without_another_node_the_gpus_are_given_back_at_once() -> None:
    """Nobody waits a minute for GPUs that the store sees in other hands."""
    world = World(wants(a_demand(LLAMA_8B, budget=2)), a_fleet(h100s(1)))
    world.settle()
    world.unscheduled("llama-0-0-0")
    change(world, "h100-00", free=0)
    world.settle()
    assert (world.pods, world.states(), world.nodes()) == ({}, ["Waiting 1"], [[]])
    change(world, "h100-00", free=8)
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_only_the_replica_without_gpus_leaves_a_node_that_lost_some() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)), a_fleet(h100s(2, free=[2, 2])))
    world.settle()
    (node,) = {node_wanted(pod) for pod in world.pods.values()}
    world.bind("llama-0-0-0")
    world.unscheduled("llama-1-0-0")
    change(world, node, free=1)
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-1-0"]
    assert node_wanted(world.pods["llama-1-1-0"]) != node


def test_a_node_that_may_be_used_is_waited_for() -> None:
    world, node = starting()
    world.settle()
    assert node_wanted(world.pods["llama-0-0-0"]) == node
    assert world.states() == ["Starting 0"]


def test_a_pod_that_is_bound_stays() -> None:
    """A taint that does not evict, and a cordon, leave what runs alone."""
    world, node = starting()
    world.bind("llama-0-0-0")
    change(world, node, taints=(replace(MAINTENANCE, effect="NoSchedule"),))
    world.settle()
    assert list(world.pods) == ["llama-0-0-0"]


def test_where_there_is_no_other_it_waits_without_a_place() -> None:
    """The GPUs are given back, and the object says what is missing."""
    world, node = starting()
    world.fleet = a_fleet(h100s(1)) if node == "h100-00" else world.fleet
    change(world, node, taints=(MAINTENANCE,))
    world.settle()
    assert world.pods == {}
    assert world.standing().startswith("Reconciling/")
    change(world, node, taints=())
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_group_does_not_leave_its_node_when_the_pods_before_took_long_to_end() -> None:
    """A leader ends what it has begun for up to a minute: as long as the scheduler gets to find a place."""
    world = World(wants(), a_fleet(h100s(1)))
    world.run()
    world.deleting("llama-0-0-0")
    world.settle()
    world.unscheduled("llama-0-1-0")
    world.now += 90
    world.settle()
    world.gone()
    world.settle()
    assert world.states() == ["Starting 1"]
    assert world.status.get("shunnedNodes", []) == []
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
