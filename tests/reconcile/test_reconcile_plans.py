"""Which plan is in force: when the recorded one is kept, when groups move, and when all is planned anew."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, wants
from tests.support.fleets import H100, H200, a_fleet, a_node, h100s, h200s
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.fleet import Exclusion, Fleet, Node
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.plans import new_plan, recorded
from shardwise.reconcile.status_data import read_status, write_status
from shardwise.reconcile.usable_fleet import UsableFleet

FLEET = a_fleet(h100s(3, free=[1, 1, 1]))
TWO = a_demand(LLAMA_8B, budget=3, replicas=2)


def two(fleet: Fleet = FLEET, **changes: Any) -> World:
    world = World(wants(TWO, **changes), fleet)
    world.run()
    return world


def excluded(fleet: Fleet, name: str, why: Exclusion = Exclusion.CORDONED) -> Fleet:
    def changed(node: Node) -> Node:
        return node._replace(exclusion=why, free=0) if node.name == name else node

    return replace(fleet, nodes=tuple(map(changed, fleet.nodes)))


def test_a_plan_that_answers_the_demand_is_kept_to_the_letter() -> None:
    """Its explanation too: why it was chosen then is still why."""
    world = two()
    before = world.status["plan"]
    world.fleet = a_fleet(h100s(3), h200s(4))
    assert world.settle().written["plan"] == before
    assert world.nodes() == [["h100-00"], ["h100-01"]]


def test_a_group_that_lives_stays_on_a_node_nobody_else_may_use() -> None:
    """Cordoned or tainted: its pods run, so it stays."""
    world = two()
    world.fleet = excluded(FLEET, "h100-01")
    assert world.settle().actions == ()


def test_a_group_that_must_start_again_leaves_a_node_it_cannot_start_on() -> None:
    """As after a drain: the node is cordoned, its pods are evicted."""
    world = two()
    world.fleet = excluded(FLEET, "h100-01")
    world.deleting("llama-1-0-0")
    world.run()
    assert world.nodes() == [["h100-00"], ["h100-02"]]
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_group_whose_pods_are_gone_stays_where_it_was_while_it_can() -> None:
    """Weights may lie in the node's cache."""
    world = two()
    world.lose("llama-1-0-0")
    world.run()
    assert world.nodes() == [["h100-00"], ["h100-01"]]
    assert world.states() == ["Ready 0", "Ready 1"]


def test_a_place_that_strangers_took_meanwhile_is_left() -> None:
    """They came while the group waited to start again."""
    world = World(wants(), a_fleet(h100s(2, free=[1, 1])))
    world.settle()
    (place,) = world.nodes()
    world.crash("llama-0-0-0")
    world.settle()
    other = {"h100-00": [0, 1], "h100-01": [1, 0]}[place[0]]
    world.fleet = a_fleet(h100s(2, free=other))
    world.now += 10
    world.run()
    assert world.nodes() != [place]
    assert world.states() == ["Ready 1"]


@pytest.mark.parametrize("lost", ["h100-00", "h100-01"])
def test_only_the_group_of_a_lost_node_moves(lost: str) -> None:
    world = two()
    kept = next(nodes for nodes in world.nodes() if nodes != [lost])
    world.lose_node(lost)
    world.run()
    assert kept in world.nodes()
    assert sorted(world.nodes()) == sorted([kept, ["h100-02"]])
    assert world.status["restarts"] == 1


def test_a_node_that_is_gone_ends_its_group_though_its_pods_are_still_shown() -> None:
    """Kubernetes takes its time to collect them."""
    world = two()
    world.fleet = replace(FLEET, nodes=tuple(node for node in FLEET.nodes if node.name != "h100-01"))
    world.run()
    assert world.nodes() == [["h100-00"], ["h100-02"]]


def test_a_group_that_finds_no_other_node_waits_and_the_rest_serves() -> None:
    world = two(a_fleet(h100s(2, free=[1, 1])))
    world.lose_node("h100-01")
    world.settle()
    assert world.nodes() == [["h100-00"], []]
    assert world.standing() == "Reconciling/CapacityShort"
    assert (world.status["readyReplicas"], world.status["replicas"]) == (1, 1)
    assert world.condition("Degraded")["reason"] == "ReplicasMissing"
    world.fleet = a_fleet(h100s(2, free=[1, 1]))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert "waitingSince" not in world.status


def test_with_no_group_left_the_whole_demand_is_planned_anew() -> None:
    """In whatever layout is best now, of no fewer GPUs."""
    world = World(wants(a_demand(LLAMA_70B, pins=Pins(4, 1, None))), a_fleet(h100s(1)))
    before = world.run()["plan"]
    world.pods.clear()
    world.fleet = a_fleet(h200s(1))
    world.run()
    assert world.status["plan"]["product"] == H200
    assert world.status["plan"]["worldSize"] >= before["worldSize"]


def test_a_group_that_has_only_nodes_left_with_too_little_memory_waits_for_such_as_it_had() -> None:
    """Its shape had a place once: that is no mistake of the object, and comes right by itself."""
    world = World(wants(a_demand(LLAMA_8B, budget=1, pins=Pins(1, 1, None))), a_fleet(h100s(1)))
    world.run()
    world.pods.clear()
    world.fleet = a_fleet([a_node("small", memory_mib=16_000)])
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"
    assert "3.6 GiB short" in world.status["message"]


@pytest.mark.parametrize("allowed", [False, True])
def test_a_smaller_layout_is_taken_only_where_the_object_allows_it(allowed: bool) -> None:
    """Half the GPUs are half the speed: some would rather wait for the node."""
    fleet = a_fleet(h100s(1))
    world = World(wants(a_demand(LLAMA_70B, budget=8, pins=Pins(None, 1, None)), smaller_layout=allowed), fleet)
    world.run()
    before = world.status["plan"]["worldSize"]
    world.pods.clear()
    world.fleet = a_fleet(h200s(1, free=[before // 2]))
    world.run()
    if allowed:
        assert world.standing() == "Ready/AllReplicasReady"
        assert world.status["plan"]["worldSize"] < before
    else:
        assert world.standing() == "Reconciling/NoMatchingNodes"
        assert "hint: with `spec.restartPolicy.smallerLayout: true`" in world.status["message"]
        assert world.pods == {}


def test_as_many_replicas_as_there_is_room_for_are_begun() -> None:
    """Those that are missing wait, each with its share of the budget."""
    world = World(wants(a_demand(LLAMA_8B, budget=8, replicas=4)), a_fleet(h100s(1, free=[3])))
    world.run()
    assert (world.status["readyReplicas"], world.status["replicas"]) == (3, 3)
    assert world.standing() == "Reconciling/CapacityShort"
    assert world.status["message"].startswith("3 of 4 replicas serve; waiting for GPUs")
    world.fleet = a_fleet(h100s(1, free=[4]))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


@pytest.mark.parametrize(
    ("replicas", "nodes"),
    [(0, []), (1, [["h100-00"]]), (2, [["h100-00"], ["h100-01"]]), (3, [["h100-00"], ["h100-01"], ["h100-02"]])],
)
def test_scaling_keeps_the_first_groups_where_they_are(replicas: int, nodes: list[list[str]]) -> None:
    world = two()
    world.demand(replicas=replicas)
    world.run()
    assert world.nodes() == nodes
    assert world.status["restarts"] == 0


def test_groups_that_scaling_adds_have_the_layout_of_the_others() -> None:
    """Even where another would now be preferred."""
    world = World(wants(a_demand(LLAMA_8B, budget=8, pins=Pins(2, None, None))), a_fleet(h100s(2)))
    world.run()
    world.fleet = a_fleet(h100s(2), h200s(1))
    world.demand(replicas=3)
    world.run()
    plan = world.status["plan"]
    assert (plan["tensor"], plan["pipeline"], plan["product"]) == (2, 1, H100)
    assert world.status["readyReplicas"] == 3


def test_replicas_beyond_the_budget_are_refused_by_its_numbers_and_those_within_serve() -> None:
    """An autoscaler may ask for more than it is allowed: it gets what it is."""
    world = World(wants(a_demand(LLAMA_8B, budget=3)), a_fleet(h100s(3)))
    world.run()
    world.demand(replicas=5)
    world.run()
    assert world.status["readyReplicas"] == 3
    assert world.standing() == "Stalled/BudgetShort"
    assert "hint: with `spec.gpuBudget.total: 5`" in world.status["message"]


@pytest.mark.parametrize(
    ("demand", "serve"),
    [
        (a_demand(LLAMA_8B, budget=3, replicas=5), 3),
        (a_demand(LLAMA_8B, budget=9, replicas=4, pins=Pins(4, 1, None)), 2),
        (a_demand(LLAMA_8B, budget=8, replicas=2, pins=Pins(8, 1, None)), 1),
    ],
    ids=["less than a GPU for each", "pinned", "one group takes all"],
)
def test_an_object_made_with_more_replicas_than_its_budget_allows_has_those_it_does(demand: Demand, serve: int) -> None:
    """As if it had been scaled there; what is written first and what comes later are one object."""
    world = World(wants(demand), a_fleet(h100s(3)))
    world.run()
    assert world.status["readyReplicas"] == serve
    assert world.standing() == "Stalled/BudgetShort"
    world.lose(min(world.pods))
    world.run()
    assert world.status["readyReplicas"] == serve, "one that is lost is made again"


def test_no_hint_is_given_that_the_fleet_could_not_keep() -> None:
    """More budget would not help: there are no more GPUs."""
    world = World(wants(a_demand(LLAMA_8B, budget=1)), a_fleet(h100s(1, free=[1])))
    world.run()
    world.demand(replicas=2)
    world.run()
    assert "hint" not in world.status["message"]


@pytest.mark.parametrize("document", [{}, {"tensor": 1}, {"tensor": "x"}, {"memory": 3}, 7], ids=str)
def test_a_record_that_cannot_be_read_is_no_record(document: Any) -> None:
    wanted = replace(wants(TWO), asks="")
    assert recorded(read_status({"plan": document}), wanted, FLEET) is None
    assert recorded(read_status({}), wanted, FLEET) is None


@pytest.mark.parametrize(("asks", "found"), [("asked", True), ("other", False)])
def test_a_plan_answers_the_demand_it_was_made_for(asks: str, found: bool) -> None:
    wanted = replace(wants(TWO), asks="asked")
    made = new_plan(wanted, UsableFleet(FLEET))
    assert (recorded(Status(plan=made.recorded), replace(wanted, asks=asks), FLEET) is not None) is found


def test_a_recorded_plan_says_how_and_not_where() -> None:
    """Where, every group says itself: nothing stands in a status twice."""
    made = new_plan(wants(TWO), UsableFleet(FLEET))
    assert not {"groups", "replicas"} & set(write_status(Status(plan=made.recorded))["plan"])
    assert [group.pods[0].node for group in made.fresh] == ["h100-00", "h100-01"]


def test_a_demand_nothing_serves_has_no_plan_but_a_refusal() -> None:
    made = new_plan(wants(replace(TWO, pins=Pins(6, None, None))), UsableFleet(FLEET))
    assert (made.plan, made.recorded, made.fresh) == (None, None, ())
    assert made.refusal is not None


FAULTS: dict[str, tuple[Callable[[], Fleet], list[list[str]], str]] = {
    "another node is free": (lambda: FLEET, [["h100-00"], ["h100-02"]], "AsPlanned"),
    "no other node is free": (lambda: a_fleet(h100s(2, free=[1, 1])), [["h100-00"], ["h100-01"]], "NodeFaulty"),
}


@pytest.mark.parametrize(("fleet", "nodes", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_group_leaves_a_faulty_node_if_it_has_where_to_go(
    fleet: Callable[[], Fleet], nodes: list[list[str]], reason: str
) -> None:
    """What serves is not given up for nothing; the object says that a node is faulty."""
    world = two(fleet())
    world.fleet = excluded(world.fleet, "h100-01", Exclusion.FAULTY)
    for _ in range(3):
        world.run()
    assert sorted(world.nodes()) == nodes
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.condition("Degraded")["reason"] == reason


def test_a_group_leaves_a_faulty_node_beside_which_the_new_one_serves_first() -> None:
    """Where budget and fleet have room for both."""
    world = two()
    world.fleet = excluded(FLEET, "h100-01", Exclusion.FAULTY)
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-0-0", "llama-2-0-0"]
    assert world.status["readyReplicas"] == 2
    world.run()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-2-0-0"]


def test_a_replica_only_another_product_could_take_says_so() -> None:
    """Replicas are alike. The object lists no products: its list of them must not be blamed."""
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)), a_fleet(h100s(1), h200s(2)))
    world.run()
    shut = [node._replace(exclusion=Exclusion.CORDONED) if node.product == H100 else node for node in world.fleet.nodes]
    world.fleet = a_fleet(shut)
    world.lose("llama-1-0-0")
    world.settle()
    assert world.standing() == "Reconciling/NoMatchingNodes"
    assert "1 of 2 replicas serve" in world.status["message"]
    assert "2 have another product than the plan, 1 is cordoned" in world.status["message"]
    assert "gpuBudget" not in world.status["message"]
