"""Where an object stands: the plan in its status, whether it stays, what would be planned today, and who waits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reconcile.support import START, World, two_nodes_wide, unscheduled, wants
from tests.support.fleets import a_fleet, a_node, h100s, h200s
from tests.support.models import LLAMA_8B, LLAMA_70B, Pins, a_demand
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.standing import PodStanding, Standing
from shardwise.planner import plan
from shardwise.reconcile.standing import standing_of

AT_START = "2027-01-15T08:00:00Z"


def stands(world: World) -> Standing:
    return standing_of(world.wanted, world.observe(), world.now)


def running(demand: Demand | None = None, fleet: Fleet | None = None) -> World:
    world = World(wants(demand or a_demand(LLAMA_70B)), fleet or a_fleet(h100s(3)))
    world.run()
    return world


def test_before_any_operator_looked_there_is_no_plan_and_what_would_be_planned() -> None:
    standing = stands(World(wants(generation=3)))
    assert (standing.planned, standing.planned_at, standing.groups) == (None, "", ())
    assert (standing.generation, standing.observed) == (3, -1)
    assert isinstance(standing.next, Plan)
    assert standing.next == standing.today
    assert not standing.kept


def test_what_runs_stays_and_would_be_planned_the_same() -> None:
    """With the time of the decision, and every group's state."""
    standing = stands(running())
    assert standing.planned is not None
    assert (str(standing.planned.layout), standing.planned_at) == ("TP4×PP1", AT_START)
    assert (standing.kept, standing.same_today, standing.changed, standing.lost) == (True, True, False, ())
    (group,) = standing.groups
    assert (group.state, group.since, group.attempt, group.ready, group.pods) == ("Ready", AT_START, 0, 1, 1)
    assert group.waiting == ()


def test_the_time_of_a_plan_is_when_it_was_made() -> None:
    """Not when the group became ready, nor when one looks."""
    world = World(wants(), now=START)
    world.settle()
    world.now = START + 3600
    world.start()
    world.settle()
    world.now = START + 7200
    assert stands(world).planned_at == AT_START


def test_a_better_fleet_changes_nothing_and_is_told() -> None:
    """Today it would go to fewer, larger GPUs; the plan stays."""
    world = running()
    world.fleet = a_fleet(h100s(3), h200s(1))
    standing = stands(world)
    assert (standing.kept, standing.same_today) == (True, False)
    assert isinstance(standing.today, Plan)
    assert (str(standing.today.layout), standing.today.product) == ("TP2×PP1", "NVIDIA-H200")
    assert standing.planned is not None
    assert isinstance(standing.next, Plan)
    assert standing.next.groups == standing.planned.groups


def test_other_free_gpus_make_another_placement_of_the_same_layout() -> None:
    world = running(fleet=a_fleet(h100s(2, free=(0, 8))))
    world.fleet = a_fleet(h100s(2, free=(8, 8)))
    standing = stands(world)
    assert (standing.kept, standing.same_today) == (True, False)


def test_a_fleet_that_filled_up_elsewhere_changes_nothing() -> None:
    """Its own GPUs count as free: it holds them."""
    world = running()
    world.fleet = a_fleet(h100s(3, free=(8, 0, 0)))
    assert stands(world).same_today


def test_an_edit_of_the_demand_is_told_and_the_next_plan_with_it() -> None:
    world = running()
    world.demand(pins=Pins(8, 1, None))
    standing = stands(world)
    assert (standing.changed, standing.kept) == (True, False)
    assert isinstance(standing.next, Plan)
    assert str(standing.next.layout) == "TP8×PP1"
    assert (standing.generation, standing.observed) == (2, 1)


def test_an_edit_that_cannot_be_planned_is_refused() -> None:
    world = running()
    world.demand(pins=Pins(6, None, None))
    standing = stands(world)
    assert isinstance(standing.next, Refusal)
    assert standing.changed


def test_scaling_is_no_other_demand() -> None:
    """The groups that are there stay; the others are planned beside them."""
    world = running(a_demand(LLAMA_70B, budget=16))
    world.demand(replicas=2)
    standing = stands(world)
    assert not standing.changed
    assert isinstance(standing.next, Plan)
    assert standing.next.replicas == 2


def test_a_node_that_is_gone_is_named_and_the_plan_moves() -> None:
    world = World(two_nodes_wide())
    world.run()
    world.lose_node("h100-01")
    standing = stands(world)
    assert standing.lost == (("h100-01", None),)
    assert not standing.kept
    assert isinstance(standing.next, Plan)
    assert {pod.node for group in standing.next.groups for pod in group.pods} == {"h100-00", "h100-02"}


@pytest.mark.parametrize("exclusion", [Exclusion.CORDONED, Exclusion.NOT_READY])
def test_a_node_that_may_not_be_used_any_more_is_named_with_the_reason(exclusion: Exclusion) -> None:
    """While its pods live, the plan stays all the same."""
    world = running()
    (node, *others) = world.fleet.nodes
    world.fleet = a_fleet(node._replace(exclusion=exclusion, free=0), others)
    standing = stands(world)
    assert standing.lost == ((node.name, exclusion),)
    assert standing.kept


@pytest.mark.parametrize(("others", "kept"), [(2, False), (0, True)])
def test_a_faulty_node_is_left_where_there_is_another(others: int, kept: bool) -> None:
    """Else it serves on there: a bad node is better than none."""
    world = running(fleet=a_fleet(h100s(1 + others)))
    (node, *rest) = world.fleet.nodes
    world.fleet = a_fleet(node._replace(exclusion=Exclusion.FAULTY, free=0), rest)
    standing = stands(world)
    assert standing.lost == ((node.name, Exclusion.FAULTY),)
    assert standing.kept is kept
    assert isinstance(standing.next, Plan)
    nodes = {pod.node for group in standing.next.groups for pod in group.pods}
    assert (node.name in nodes) is kept


def test_other_content_for_the_same_plan_keeps_the_plan() -> None:
    """Its groups roll, which is no other plan."""
    world = running()
    world.launch(args=("--seed=7",))
    standing = stands(world)
    assert (standing.changed, standing.kept) == (False, True)


def test_where_no_other_node_will_do_the_refusal_is_next() -> None:
    world = World(two_nodes_wide(), a_fleet(h100s(2)))
    world.run()
    world.lose_node("h100-01")
    standing = stands(world)
    assert isinstance(standing.next, Refusal)
    assert not standing.kept


def test_a_group_without_place_makes_the_refusal_next_while_the_others_serve() -> None:
    world = running(a_demand(LLAMA_70B, budget=16, replicas=2), a_fleet(h100s(1)))
    world.demand(replicas=3)
    standing = stands(world)
    assert isinstance(standing.next, Refusal)
    assert [group.state for group in standing.groups] == ["Ready", "Ready"]


def test_pods_that_are_not_ready_say_what_they_wait_for() -> None:
    """With the node they are bound to, if any."""
    (group,) = stands(unscheduled()).groups
    assert (group.state, group.ready, group.pods) == ("Starting", 0, 2)
    assert group.waiting == (
        PodStanding(0, "h100-00", "not started"),
        PodStanding(1, "", "not scheduled: 0/3 nodes are available"),
    )


def test_a_group_that_failed_says_how_and_how_often() -> None:
    world = World(wants())
    world.settle()
    world.crash("llama-0-0-0", "CUDA out of memory")
    world.step()
    (group,) = stands(world).groups
    assert (group.state, group.failures) == ("Backoff", 1)
    assert "CUDA out of memory" in group.message


def test_pods_of_an_older_attempt_are_not_the_groups() -> None:
    world = running(a_demand(LLAMA_8B))
    world.crash("llama-0-0-0")
    world.step(keep=lambda _: False)
    (group,) = stands(world).groups
    assert (group.attempt, group.ready, group.waiting) == (1, 0, ())


def test_a_pod_that_is_being_deleted_says_so() -> None:
    world = World(wants())
    world.settle()
    world.deleting("llama-0-0-0")
    (group,) = stands(world).groups
    assert group.waiting == (PodStanding(0, "", "being deleted"),)


def test_a_paused_object_is_told() -> None:
    assert stands(World(wants(paused=True))).paused


@pytest.mark.parametrize("document", [{"tensor": 1}, {"groups": "none"}, {}, None])
def test_a_plan_of_another_version_counts_as_none(document: object) -> None:
    """As it does for the operator, which then plans anew."""
    world = World(wants())
    world.status = {"plan": document}
    assert stands(world).planned is None


def test_a_plan_that_takes_the_place_of_another_has_its_own_time() -> None:
    """That there is one has been true all along, as its condition says."""
    world = running()
    world.now += 3600
    world.demand(pins=Pins(8, 1, None))
    world.run()
    world.run()
    assert world.condition("Planned")["lastTransitionTime"] == AT_START
    assert world.status["plan"]["madeAt"] == stands(world).planned_at == "2027-01-15T09:00:00Z"


@pytest.mark.parametrize(
    "conditions",
    [
        None,
        [],
        [{"type": "Planned", "status": "False", "lastTransitionTime": "x"}],
        [{"type": "Ready", "status": "True", "lastTransitionTime": "x"}],
        [{"type": "Planned", "status": "True"}],
    ],
)
def test_a_time_that_no_condition_tells_is_left_empty(conditions: object) -> None:
    world = running()
    plan = {name: value for name, value in world.status["plan"].items() if name != "madeAt"}
    world.status = world.status | {"conditions": conditions, "plan": plan}
    assert stands(world).planned_at == ""


@given(demands, fleets())
@settings(max_examples=60)
def test_looking_decides_nothing(demand: Demand, fleet: Fleet) -> None:
    """Where an object stands agrees with what the next decision does, and with what the planner says today."""
    world = World(wants(demand), fleet)
    world.settle()
    standing, again = stands(world), stands(world)
    assert standing == again
    assert standing.today == plan(demand, fleet)
    whole = standing.planned is not None and standing.planned.replicas == demand.replicas
    assert isinstance(standing.next, Plan) == whole
    assert standing.kept == whole


@given(st.sampled_from([(8, 8, 8), (0, 8, 8), (4, 4, 8)]), st.sampled_from(["", "h100-00", "h100-01", "h100-02"]))
@settings(max_examples=30)
def test_what_is_said_to_come_next_is_what_the_operator_does_next(free: tuple[int, ...], lost: str) -> None:
    """Whatever was lost."""
    world = World(two_nodes_wide(), a_fleet(h100s(3, free=free)))
    world.run()
    if lost:
        world.lose_node(lost)
    standing = stands(world)
    world.settle()
    placed = [group["nodes"] for group in world.status["groups"] if group.get("nodes")]
    assert isinstance(standing.next, Plan) == bool(placed)
    if isinstance(standing.next, Plan):
        nodes = [pod.node for group in standing.next.groups for pod in group.pods]
        assert nodes == [node for group in placed for node in group]


def test_a_fleet_without_the_plans_product_has_no_same_plan() -> None:
    world = running()
    world.fleet = a_fleet(a_node("other", product="NVIDIA-H200"))
    standing = stands(world)
    assert not standing.same_today
    assert {why for _, why in standing.lost} == {None}
