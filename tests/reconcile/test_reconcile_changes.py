"""Edits of the object: what they restart, what they leave alone, and what a wrong one does."""

from dataclasses import replace

import pytest
from tests.reconcile.support import START, World, node_wanted, two_nodes_wide, wants
from tests.support.fleets import H100, H200, a_fleet, h100s, h200s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Objective, Pins
from shardwise.domain.reasons import Reason
from shardwise.reconcile.actions import Emit
from shardwise.reconcile.conditions import MOST_MESSAGE
from shardwise.reconcile.decide import Invalid, decide_invalid


@pytest.mark.parametrize(
    "change",
    [{"context_length": 4096}, {"concurrency": 4}, {"pins": Pins(2, None, None)}, {"objective": Objective.LATENCY}],
    ids=str,
)
def test_every_part_of_the_demand_counts(change: dict[str, object]) -> None:
    """The recorded plan answers the recorded demand, and no other."""
    world = World(wants())
    before = world.run()["plan"]["demand"]
    world.demand(**change)
    assert world.decide().written["plan"]["demand"] != before


def test_a_larger_budget_moves_a_group_only_if_its_plan_changes() -> None:
    """A plan that comes out the same restarts nothing."""
    world = World(wants())
    world.run()
    world.demand(gpu_budget=9)
    world.settle()
    assert world.status["restarts"] == 0


def test_a_better_node_that_comes_later_moves_nothing() -> None:
    """Moving costs minutes of loading; the plan in force works."""
    world = World(wants(), a_fleet(h100s(1)))
    before = world.run()
    world.fleet = a_fleet(h100s(1), h200s(4))
    assert (world.step().actions, world.status) == ((), before)


def test_scaling_up_adds_groups_in_the_layout_of_the_others() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=8, pins=Pins(2, None, None))))
    world.run()
    uid = world.pods["llama-0-0-0"]["metadata"]["uid"]
    world.demand(replicas=3)
    world.run()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-0-0", "llama-2-0-0"]
    assert world.pods["llama-0-0-0"]["metadata"]["uid"] == uid
    assert world.status["replicas"] == 3
    assert world.status["restarts"] == 0


def test_scaling_beyond_what_is_free_keeps_what_serves() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=8)), a_fleet(h100s(1, free=[1])))
    world.run()
    world.demand(replicas=2)
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0"]
    assert world.standing() == "Reconciling/CapacityShort"
    assert world.status["readyReplicas"] == 1


def test_scaling_beyond_the_budget_keeps_what_serves_and_names_the_field() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=1)))
    world.run()
    world.demand(replicas=2)
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0"]
    assert world.standing() == "Stalled/BudgetShort"
    assert world.status["message"].endswith("; hint: with `spec.gpuBudget.total: 2`, TP1×PP1 fits on 2 " + H100)


def test_scaling_to_nothing_and_back() -> None:
    world = World(two_nodes_wide())
    world.run()
    world.demand(replicas=0)
    world.settle()
    assert (world.pods, world.standing()) == ({}, "Ready/ScaledToZero")
    world.demand(replicas=1)
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_demand_that_cannot_be_met_leaves_what_serves() -> None:
    """The mistake is the last edit's; and nothing would be won."""
    world = World(wants())
    world.run()
    world.demand(pins=Pins(6, None, None))
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0"]
    assert world.standing() == "Stalled/IllegalLayout"
    assert world.status["readyReplicas"] == 1
    world.demand(pins=Pins())
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.status["restarts"] == 0


def test_an_edit_the_engine_cannot_honour_leaves_what_runs_alone() -> None:
    """The mistake is the last edit's; the service goes on until it is mended."""
    world = World(wants())
    before = world.run()
    world.launch(args=("--port=1",))
    world.settle()
    assert world.standing() == "Stalled/InvalidSpec"
    assert sorted(world.pods) == ["llama-0-0-0"]
    assert world.status["groups"] == before["groups"]
    assert world.status["plan"] == before["plan"]
    world.launch(args=())
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.status["restarts"] == 0


@pytest.mark.parametrize("long", ["", "; spec.replicas: `-1` must be at least 0" * 40], ids=["short", "cut"])
def test_an_object_that_cannot_be_read_keeps_its_status_and_says_so_once(long: str) -> None:
    """Also if the status holds only the beginning of a long message."""
    world = World(wants())
    before = world.run()
    wrong = Invalid(2, f"spec.gpuBudget.total: `0` must be at least 1{long}")
    decision = decide_invalid(wrong, world.observe(), world.now)
    assert decision.written["message"] == wrong.message[:MOST_MESSAGE]
    assert decision.written["groups"] == before["groups"]
    assert [action for action in decision.actions if isinstance(action, Emit)] == [
        Emit(Reason.INVALID_SPEC, wrong.message, warning=True)
    ]
    world.status = decision.written
    assert decide_invalid(wrong, world.observe(), world.now).actions == ()


def test_a_model_that_is_not_known_yet_is_waited_for() -> None:
    """The Hub may be away: that is no fault of the object."""
    world = World(wants())
    late = Invalid(1, "the Hub does not answer", Reason.MODEL_FACTS_UNAVAILABLE, 30.0)
    decision = decide_invalid(late, world.observe(), START)
    world.status = decision.written
    assert world.standing() == "Reconciling/ModelFactsUnavailable"
    assert decision.retry_after == 30.0
    assert decision.actions == ()


def test_a_paused_object_is_left_as_it_is() -> None:
    """Whatever happens to it, until it is resumed."""
    world = World(two_nodes_wide())
    before = world.run()
    world.wanted = replace(world.wanted, paused=True)
    world.lose("llama-0-0-0")
    decision = world.step()
    assert decision.actions == ()
    assert world.standing() == "Reconciling/Paused"
    (group,) = world.status["groups"]
    assert group == before["groups"][0] | {"readyPods": 1}
    world.wanted = replace(world.wanted, paused=False)
    world.run()
    assert sorted(world.pods) == ["llama-0-1-0", "llama-0-1-1"]


def test_a_paused_object_that_never_ran_makes_nothing() -> None:
    world = World(wants(paused=True))
    assert world.step().actions == ()
    assert world.standing() == "Reconciling/Paused"


def test_a_budget_that_shrinks_below_what_runs_is_refused_and_frees_it() -> None:
    world = World(two_nodes_wide())
    world.run()
    world.demand(gpu_budget=8)
    world.settle()
    assert world.pods == {}
    assert world.standing() == "Stalled/BudgetShort"


def test_a_group_that_was_moved_by_a_new_plan_goes_to_its_new_nodes() -> None:
    world = World(wants(a_demand(LLAMA_8B, products=(H100,))), a_fleet(h100s(1), h200s(1)))
    world.run()
    world.demand(products=(H200,))
    world.run()
    assert [node_wanted(pod) for pod in world.pods.values()] == ["h200-00"]


@pytest.mark.parametrize(("pins", "nodes"), [(Pins(8, 2, None), 2), (Pins(8, 3, None), 3)], ids=["fewer", "more"])
def test_a_group_that_loses_a_pod_just_as_it_is_edited_begins_again_in_the_new_shape(pins: Pins, nodes: int) -> None:
    """Its old place has room, and not the number of pods that is wanted now."""
    world = World(wants(a_demand(LLAMA_405B, budget=32, pins=Pins(8, 4, None))), a_fleet(h100s(5)))
    world.run()
    world.demand(pins=pins)
    world.lose("llama-0-0-1")
    world.settle()
    assert [len(places) for places in world.nodes()] == [nodes]
    assert sorted(world.pods) == [f"llama-0-1-{index}" for index in range(nodes)]


def test_a_replica_added_with_another_layout_begins_beside_what_serves_and_not_on_its_gpus() -> None:
    """The places of the new plan are those the object would have if it held nothing."""
    world = World(wants(a_demand(LLAMA_8B, budget=16, pins=Pins(8, 1, None))))
    world.run()
    world.demand(pins=Pins(4, 1, None), replicas=2)
    world.settle()
    assert (world.nodes(), world.status["readyReplicas"]) == ([["h100-00"], ["h100-01"]], 1)


def test_a_status_of_another_version_is_planned_anew_and_found_again() -> None:
    """A plan that cannot be read is no plan; its pods are found by their labels."""
    world = World(wants())
    world.run()
    world.status = world.status | {"plan": {"demand": world.status["plan"]["demand"], "tensor": "two"}, "groups": [{}]}
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0"]
    assert world.standing() == "Ready/AllReplicasReady"
