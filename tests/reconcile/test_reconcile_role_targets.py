"""Objects with roles and a target: replicas of each role for the rate, new targets in place, and parts of a rate."""

from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World
from tests.reconcile.test_reconcile_roles import an_object, gpus_of, roles_of, started
from tests.support.fleets import a_fleet, h100s

from shardwise.domain.launch import Wanted
from shardwise.domain.target import Target

BY_TCP = 2000 * 131072 / 0.5e9
"""Seconds in which the KV cache of a prompt travels to decode: nothing here has RDMA."""

TARGET = Target(2000, 200, first_token=0.5 + BY_TCP, per_token=0.03, rate=60.0)
"""Three replicas of each role, of a GPU each."""


def an_aimed(target: Target = TARGET, **changes: Any) -> Wanted:
    return an_object(target=target, **{"budget": 16, **changes})


def aim(world: World, target: Target) -> None:
    """Give the object another target; it asks for the same otherwise."""
    roles = tuple(replace(part, demand=replace(part.demand, target=target)) for part in world.wanted.roles)
    world.wanted = replace(roles[0], roles=roles, generation=world.wanted.generation + 1)


def aimed(world: World) -> dict[str, Any]:
    """Give the target that the plan of each role was sized for."""
    return {role["name"]: role["plan"]["target"] for role in world.status["roles"]}


def test_each_role_gets_the_replicas_that_its_time_needs() -> None:
    world = started(an_aimed())
    assert roles_of(world) == {"decode": 3, "prefill": 3}
    assert {role["name"]: role["wantedReplicas"] for role in world.status["roles"]} == {"decode": 3, "prefill": 3}
    asked = {name: target["asked"] for name, target in aimed(world).items()}
    assert asked["decode"] == asked["prefill"]
    assert {name: target["binds"] for name, target in aimed(world).items()} == {
        "decode": "per-token",
        "prefill": "first-token",
    }
    assert world.condition("Ready")["status"] == "True"
    assert world.step().actions == ()


MOVED: dict[str, tuple[Target, dict[str, int]]] = {
    "a higher rate": (replace(TARGET, rate=90.0), {"decode": 4, "prefill": 4}),
    "a lower rate": (replace(TARGET, rate=5.0), {"decode": 1, "prefill": 1}),
    "a shorter time per token": (replace(TARGET, per_token=0.012), {"decode": 5, "prefill": 3}),
    "a shorter time to the first token": (replace(TARGET, first_token=0.2 + BY_TCP), {"decode": 3, "prefill": 4}),
}


@pytest.mark.parametrize(("target", "replicas"), MOVED.values(), ids=MOVED)
def test_a_new_target_changes_the_replicas_of_its_role_in_place(target: Target, replicas: dict[str, int]) -> None:
    """Groups come or go, and none starts again."""
    world = started(an_aimed())
    old = set(world.pods)
    aim(world, target)
    world.settle()
    world.start()
    world.settle()
    assert roles_of(world) == replicas
    assert old <= set(world.pods) or set(world.pods) <= old
    assert all(group["attempt"] == 0 for group in world.status["groups"])
    assert {target["asked"]["requestsPerSecond"] for target in aimed(world).values()} == {target.rate}


def test_a_target_that_nothing_meets_ends_no_group() -> None:
    world = started(an_aimed())
    old = set(world.pods)
    aim(world, replace(TARGET, first_token=0.01))
    world.settle()
    assert set(world.pods) == old
    assert "to the first token" in world.status["message"]
    aim(world, TARGET)
    world.settle()
    assert set(world.pods) == old
    assert world.condition("Ready")["status"] == "True"


@pytest.mark.parametrize("budget", [3, 4, 6])
def test_a_budget_for_a_part_of_the_rate_is_shared(budget: int) -> None:
    """Neither role holds GPUs that serve requests which the other role cannot take."""
    world = started(an_aimed(replace(TARGET, rate=200.0), budget=budget))
    found = roles_of(world)
    assert gpus_of(world) <= budget
    assert min(found["prefill"], found["decode"]) >= 1
    assert abs(found["decode"] - found["prefill"]) <= 1
    assert world.condition("Ready")["status"] == "False"
    assert "`spec.gpuBudget.total` allows" in world.status["message"]


def test_a_new_target_beyond_the_budget_is_planned_for_both() -> None:
    """Each role alone would fit the budget; both together do not. Both serve the same part of the rate."""
    world = started(an_aimed(budget=6))
    old = set(world.pods)
    aim(world, replace(TARGET, rate=80.0))
    world.settle()
    world.start()
    world.settle()
    assert old <= set(world.pods)
    assert roles_of(world)["decode"] + roles_of(world)["prefill"] <= 6
    assert world.condition("Ready")["status"] == "False"


def test_the_rest_of_the_rate_follows_when_gpus_come_free() -> None:
    world = started(an_aimed(), fleet=a_fleet(h100s(1, free=[3])))
    found = roles_of(world)
    assert sum(found.values()) <= 3
    assert set(found) == {"decode", "prefill"}
    world.fleet = a_fleet(h100s(1))
    world.settle()
    world.start()
    world.settle()
    assert roles_of(world) == {"decode": 3, "prefill": 3}


@pytest.mark.parametrize(("free", "decode"), [(2, 1), (3, 2), (4, 3), (5, 3)])
def test_a_role_begins_nowhere_where_the_other_is_about_to_begin(free: int, decode: int) -> None:
    """Three replicas of decode and one of prefill: decode leaves the place that was planned for prefill."""
    world = World(an_object({"replicas": 3}), fleet=a_fleet(h100s(1, free=[free])))
    world.settle()
    assert roles_of(world) == {"decode": decode, "prefill": 1}
    assert gpus_of(world) <= free
