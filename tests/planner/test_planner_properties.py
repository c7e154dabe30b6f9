"""What holds of every plan, whatever the demand and the fleet."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.models import a_demand
from tests.support.plans import check_capacity, check_invariants
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Merit, Preferred, Refusal
from shardwise.planner import plan, take
from shardwise.planner.memory import memory_use


@given(demands, fleets())
@settings(max_examples=200)
def test_a_plan_keeps_capacity_ranks_shares_and_domains(demand: Demand, fleet: Fleet) -> None:
    made = plan(demand, fleet)
    if isinstance(made, Refusal):
        return
    check_invariants(made)
    check_capacity(made, fleet)


def test_the_random_demands_often_fit() -> None:
    """Properties of plans would be worth nothing were nearly every example refused."""
    outcomes: list[bool] = []

    @given(demands, fleets())
    @settings(max_examples=100)
    def collect(demand: Demand, fleet: Fleet) -> None:
        outcomes.append(isinstance(plan(demand, fleet), Plan))

    collect()
    assert 0.25 < sum(outcomes) / len(outcomes) < 0.9


@given(demands, fleets())
@settings(max_examples=200)
def test_a_plan_keeps_budget_memory_pins_and_products(demand: Demand, fleet: Fleet) -> None:
    made = plan(demand, fleet)
    if isinstance(made, Refusal):
        return
    assert made.gpus <= demand.gpu_budget
    assert made.replicas == demand.replicas
    assert made.memory.slack >= 0
    assert demand.pins.tensor in (None, made.layout.tensor)
    assert demand.pins.pipeline in (None, made.layout.pipeline)
    assert demand.pins.expert in (None, made.layout.expert)
    assert not demand.products or made.product in demand.products
    assert {node.product for node in fleet.nodes if node.name in names(made)} == {made.product}
    labelled = min(node.memory for node in fleet.nodes if node.product == made.product)
    assert made.memory == memory_use(demand, made.layout, labelled - gpu_kind(made.product).driver_memory)


@given(demands, fleets())
def test_the_same_inputs_give_the_same_answer_to_the_letter(demand: Demand, fleet: Fleet) -> None:
    assert repr(plan(demand, fleet)) == repr(plan(replace(demand), Fleet(fleet.nodes, fleet.levels)))


@given(demands, fleets(), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(demand: Demand, fleet: Fleet, random: object) -> None:
    shuffled = list(fleet.nodes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert repr(plan(demand, fleet)) == repr(plan(demand, Fleet(tuple(shuffled), fleet.levels)))


@given(demands, fleets())
def test_renaming_the_nodes_in_their_order_changes_only_names(demand: Demand, fleet: Fleet) -> None:
    renamed = {node.name: f"other-{index:03d}" for index, node in enumerate(fleet.nodes)}
    domains = {node.domain: renamed.get(node.domain, "other-rack") for node in fleet.nodes}
    other = Fleet(
        tuple(node._replace(name=renamed[node.name], domain=domains[node.domain]) for node in fleet.nodes),
        fleet.levels,
    )
    before, after = plan(demand, fleet), plan(demand, other)
    if isinstance(before, Refusal) or isinstance(after, Refusal):
        assert before == after
        return
    groups = tuple(
        replace(
            group,
            pods=tuple(replace(pod, node=renamed[pod.node], domain=domains[pod.domain]) for pod in group.pods),
        )
        for group in before.groups
    )
    assert replace(before, groups=groups) == after


@given(demands, fleets(), st.integers(0, 5))
@settings(max_examples=200)
def test_freeing_a_gpu_never_turns_a_fit_into_a_refusal(demand: Demand, fleet: Fleet, which: int) -> None:
    if isinstance(plan(demand, fleet), Refusal):
        return
    nodes = [
        node._replace(free=min(node.gpus, node.free + 1)) if index == which % len(fleet.nodes) else node
        for index, node in enumerate(fleet.nodes)
    ]
    assert isinstance(plan(demand, Fleet(tuple(nodes), fleet.levels)), Plan)


@given(demands, fleets(), st.sampled_from([1, 2, 8]))
def test_a_larger_budget_never_turns_a_fit_into_a_refusal(demand: Demand, fleet: Fleet, factor: int) -> None:
    if isinstance(plan(demand, fleet), Refusal):
        return
    assert isinstance(plan(replace(demand, gpu_budget=demand.gpu_budget * factor), fleet), Plan)


@given(st.lists(demands, min_size=2, max_size=3), fleets())
@settings(max_examples=100)
def test_demands_planned_one_after_the_other_never_share_a_gpu(wanted: list[Demand], fleet: Fleet) -> None:
    left, held = fleet, dict.fromkeys((node.name for node in fleet.nodes), 0)
    for demand in wanted:
        made = plan(demand, left)
        if isinstance(made, Plan):
            check_capacity(made, left)
            for group in made.groups:
                for pod in group.pods:
                    held[pod.node] += pod.gpus
            left = take(left, made)
    assert all(held[node.name] <= node.free for node in fleet.nodes)
    assert [node.free for node in left.nodes] == [node.free - held[node.name] for node in fleet.nodes]


@given(fleets())
def test_taking_a_plan_changes_nothing_but_what_is_free(fleet: Fleet) -> None:
    made = plan(a_demand(), fleet)
    if isinstance(made, Refusal):
        return
    left = take(fleet, made)
    assert left.levels == fleet.levels
    assert [node._replace(free=0) for node in left.nodes] == [node._replace(free=0) for node in fleet.nodes]
    assert sum(node.free for node in fleet.nodes) - sum(node.free for node in left.nodes) == made.gpus


@given(demands, fleets())
def test_a_plan_is_tight_only_when_nothing_roomier_fits_as_evenly(demand: Demand, fleet: Fleet) -> None:
    made = plan(demand, fleet)
    if isinstance(made, Refusal):
        return
    if made.tight:
        roomy = [
            alternative
            for alternative in made.alternatives
            if alternative.outcome.value == "fits"
            and alternative.memory is not None
            and alternative.cause != Preferred(Merit.NODES_USED_EVENLY, made.product)
        ]
        assert all(one.memory is not None and one.memory.slack < one.memory.budget * 0.05 for one in roomy)


def names(made: Plan) -> set[str]:
    return {pod.node for group in made.groups for pod in group.pods}
