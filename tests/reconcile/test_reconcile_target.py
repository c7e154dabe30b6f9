"""An object with a target: as many groups as its rate needs, and no new start while its plan meets the target."""

from typing import Any

import pytest
from tests.reconcile.support import World, wants
from tests.support.fleets import H100, a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand

from shardwise.domain.target import Target
from shardwise.reconcile.status_data import wants_place

SLOW = Target(2000, 200, per_token=0.05)


def rated(rate: float, **changes: Any) -> Target:
    return Target(2000, 200, **({"per_token": 0.03, "rate": rate} | changes))


def serving(target: Target | None, *, budget: int = 16, model: str = LLAMA_8B, **changes: Any) -> World:
    world = World(wants(a_demand(model, budget=budget, target=target, **changes)), a_fleet(h100s(2)))
    world.run()
    return world


def attempts(world: World) -> dict[int, int]:
    return {group["replica"]: group["attempt"] for group in world.status["groups"]}


def test_a_rate_starts_as_many_groups_as_it_needs() -> None:
    world = serving(rated(40))
    needed = world.status["plan"]["target"]["replicas"]
    assert needed > 1
    assert world.status["readyReplicas"] == world.status["replicas"] == needed
    assert world.standing() == "Ready/AllReplicasReady"


def test_replicas_are_the_least_number_with_a_rate() -> None:
    assert serving(rated(1), replicas=3).status["readyReplicas"] == 3


def test_no_replicas_stay_none_whatever_the_rate() -> None:
    world = serving(rated(40), replicas=0)
    assert world.status["replicas"] == 0
    assert not wants_place({"spec": {"replicas": 0}, "status": world.status})


def test_a_higher_rate_adds_groups_and_restarts_none() -> None:
    world = serving(rated(10))
    before = attempts(world)
    world.demand(target=rated(40))
    world.run()
    after = attempts(world)
    assert len(after) > len(before)
    assert {replica: after[replica] for replica in before} == before
    assert set(after.values()) == {0}
    assert world.status["restarts"] == 0


def test_a_lower_rate_takes_groups_away_and_restarts_none() -> None:
    world = serving(rated(40))
    world.demand(target=rated(10))
    world.run()
    assert world.status["replicas"] == world.status["plan"]["target"]["replicas"] < 4
    assert set(attempts(world).values()) == {0}


@pytest.mark.parametrize("other", [None, SLOW, Target(2000, 200, first_token=1.0)], ids=["none", "slower", "another"])
def test_a_target_that_the_plan_meets_changes_no_pod(other: Target | None) -> None:
    world = serving(Target(2000, 200, per_token=0.03))
    pods = dict(world.pods)
    world.demand(target=other)
    world.run()
    assert world.pods == pods
    assert world.standing() == "Ready/AllReplicasReady"
    assert ("target" in world.status["plan"]) is (other is not None)


def test_a_target_for_an_object_that_had_none_changes_no_pod_if_its_plan_meets_the_target() -> None:
    world = serving(None)
    pods = dict(world.pods)
    world.demand(target=SLOW)
    world.run()
    assert world.pods == pods
    assert world.status["plan"]["target"]["asked"]["microsecondsPerToken"] == 50_000


def test_a_time_that_the_plan_misses_is_planned_anew_and_rolls() -> None:
    """70B on two GPUs takes over 30 ms a token; on eight it takes a third of that."""
    world = serving(Target(2000, 200, per_token=0.05), model=LLAMA_70B)
    assert (world.status["plan"]["tensor"], world.status["plan"]["product"]) == (2, H100)
    world.demand(target=Target(2000, 200, per_token=0.012))
    world.run()
    assert world.status["plan"]["tensor"] == 8
    assert world.status["readyReplicas"] == 1


def test_a_target_that_no_plan_meets_keeps_the_groups_that_run() -> None:
    world = serving(rated(40))
    pods, groups = dict(world.pods), world.status["replicas"]
    world.demand(target=rated(40, per_token=0.0001))
    world.settle()
    assert world.pods == pods
    assert world.status["replicas"] == groups
    assert world.condition("Planned")["reason"] == "TargetMissed"
    assert "spec.target.timePerToken" in world.condition("Planned")["message"]


def test_a_rate_beyond_the_budget_serves_as_much_as_the_budget_allows_and_says_so() -> None:
    world = serving(rated(1000), budget=4)
    assert world.status["readyReplicas"] == 4
    assert world.status["plan"]["target"]["replicas"] > 4
    assert world.standing() == "Stalled/BudgetShort"
    assert wants_place({"spec": {}, "status": world.status})


def test_groups_for_which_the_fleet_has_no_room_wait_for_it() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=16, target=rated(40))), a_fleet(h100s(1, free=[2])))
    world.run()
    assert world.status["readyReplicas"] == 2
    assert world.standing() == "Reconciling/CapacityShort"
    world.fleet = a_fleet(h100s(1))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.status["readyReplicas"] == world.status["plan"]["target"]["replicas"]
