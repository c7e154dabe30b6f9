"""A status of the version before is taken over: what serves is not touched, what was edited since is."""

from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, applied, deleted, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.reconcile.status_data import holdings

Json = dict[str, Any]


def as_before(status: Json, *, pruned: bool = True, **states: Any) -> Json:
    """Give a status as the version before wrote it, read through this version's schema or through its own."""
    plan = {name: value for name, value in status["plan"].items() if name != "demand"} | {"demand": "4a00c551c28c"}
    if not pruned:
        pods = [{"index": 0, "node": "h100-1", "domain": "h100-1", "gpus": 8, "ranks": list(range(8))}]
        plan |= {"groups": [{"replica": 0, "pods": pods}], "replicas": len(status["groups"])}
    new = ("served", "content", "gpusPerPod", "retryAt")
    groups = [{name: value for name, value in group.items() if name not in new} for group in status["groups"]]
    changes = {int(key.removeprefix("r")): value for key, value in states.items()}
    groups = [group | changes.get(group["replica"], {}) for group in groups]
    return {**status, "plan": plan, "groups": groups}


def three() -> World:
    world = World(wants(a_demand(LLAMA_8B, budget=6, replicas=3)), a_fleet(h100s(2)))
    world.run()
    return world


@pytest.mark.parametrize("pruned", [True, False])
@pytest.mark.parametrize("wanted", [wants(a_demand(LLAMA_8B, budget=6, replicas=3)), two_nodes_wide()])
def test_what_serves_is_taken_over_without_a_write_to_its_pods(wanted: Any, pruned: bool) -> None:
    world = World(wanted)
    before = world.run()
    world.status = as_before(before, pruned=pruned)
    pods = dict(world.pods)
    decision = world.settle()
    assert world.pods == pods
    assert world.standing() == "Ready/AllReplicasReady"
    assert decision.written["plan"] == before["plan"]
    assert decision.written["groups"] == before["groups"]
    assert not {"GroupRestarted", "GroupRemoved"} & set(world.told())


def test_its_gpus_count_as_held_before_anything_is_decided() -> None:
    """Equal shares of what the plan says a group has."""
    world = World(two_nodes_wide())
    before = world.run()
    assert holdings(as_before(before)) == holdings(before)
    assert sorted(holdings(before).values()) == [8, 8]


def test_what_was_edited_since_rolls() -> None:
    world = three()
    world.status = as_before(world.status)
    world.launch(args=("--seed=8",))
    decision = world.step()
    assert len(applied(decision, "Pod")) == 1
    assert deleted(decision, "Pod") == []


def test_a_group_that_was_being_made_begins_again() -> None:
    """Its pods would be of two versions; those that serve stay."""
    world = three()
    world.status = as_before(world.status, r2={"state": "Pending", "message": "pod 0 is gone"})
    world.lose("llama-2-0-0")
    world.run()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-0-0", "llama-2-1-0"]


def test_an_update_that_may_be_under_way_goes_on() -> None:
    """One group begins without having been lost: the others may be of the content before the edit."""
    world = three()
    world.status = as_before(world.status, r0={"state": "Starting", "attempt": 1})
    world.pods["llama-0-1-0"] = world.pods.pop("llama-0-0-0")
    world.pods["llama-0-1-0"]["metadata"]["name"] = "llama-0-1-0"
    world.pods["llama-0-1-0"]["metadata"]["labels"]["shardwise.dev/attempt"] = "1"
    for pod in world.pods.values():
        pod["metadata"]["labels"]["shardwise.dev/revision"] = "of-before"
    for _ in range(10):
        world.settle()
        world.start()
    assert not {"llama-1-0-0", "llama-2-0-0"} & set(world.pods)
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_group_that_waits_out_a_failure_begins_again_alone() -> None:
    """Until when it waits was not written down."""
    world = three()
    world.crash("llama-2-0-0")
    world.settle()
    world.crash("llama-2-1-0")
    assert world.settle().written["groups"][2]["state"] == "Backoff"
    world.status = as_before(world.status)
    world.run()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-0-0", "llama-2-2-0"]


def test_a_plan_that_cannot_be_read_is_made_anew() -> None:
    world = three()
    world.status = as_before(world.status)
    world.status["plan"]["tensor"] = "many"
    world.settle()
    assert world.status["plan"]["tensor"] == 1


def test_an_object_that_was_paused_is_taken_over_when_it_goes_on() -> None:
    """Its status stays in the old form, or nothing would show that its groups answer the demand."""
    world = three()
    pods = dict(world.pods)
    world.status = as_before(world.status)
    world.wanted = replace(world.wanted, paused=True)
    world.settle()
    assert not any("gpusPerPod" in group for group in world.status["groups"])
    world.wanted = replace(world.wanted, paused=False)
    world.settle()
    assert world.pods == pods
    assert world.standing() == "Ready/AllReplicasReady"
