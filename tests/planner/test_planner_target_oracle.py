"""Plans for targets against brute force on random small fleets, and what holds of every such plan."""

from dataclasses import replace
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.plans import check_capacity, check_invariants
from tests.support.targets import priced_fleets, smallest, targeted

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Plan
from shardwise.domain.target import Target
from shardwise.planner import plan

Answer = tuple[float, int] | None


def size(demand: Demand, fleet: Fleet) -> Answer:
    """Plan, and give the cost (0 unless the objective is the price) and the GPUs; ``None`` for a refusal."""
    made = plan(demand, fleet, hinted=False)
    if not isinstance(made, Plan):
        return None
    cheapest = demand.objective is Objective.CHEAPEST
    return (made.price or inf) * made.gpus if cheapest else 0.0, made.gpus


@given(targeted, priced_fleets())
@examples(40)
def test_a_plan_for_a_target_is_as_small_as_brute_force_finds(demand: Demand, fleet: Fleet) -> None:
    best = smallest(demand, fleet)
    assert size(demand, fleet) == (None if best is None else best[1:])


def test_the_random_targets_are_often_met() -> None:
    """The properties would be worth nothing were nearly every target refused."""
    met: list[bool] = []

    @given(targeted, priced_fleets())
    @examples(50)
    def collect(demand: Demand, fleet: Fleet) -> None:
        met.append(size(demand, fleet) is not None)

    collect()
    assert 0.25 < sum(met) / len(met) < 0.9


@given(targeted, priced_fleets())
@examples(40)
def test_a_met_target_is_met_by_the_estimate(demand: Demand, fleet: Fleet) -> None:
    made, target = plan(demand, fleet, hinted=False), demand.target
    if not isinstance(made, Plan):
        return
    assert made.sizing is not None
    assert target is not None
    check_invariants(made)
    check_capacity(made, fleet)
    assert made.gpus <= demand.gpu_budget
    assert made.sizing.target == target
    assert made.replicas == max(demand.replicas, made.sizing.replicas)
    assert (made.sizing.first_token or inf) <= (target.first_token or inf)
    assert (made.sizing.per_token or inf) <= (target.per_token or inf)
    assert made.replicas * made.sizing.most_rate >= (target.rate or 0) * (1 - 1e-6)


@given(targeted, priced_fleets(), st.sampled_from([1, 2, 7]))
@examples(40)
def test_more_budget_never_makes_a_plan_dearer(demand: Demand, fleet: Fleet, more: int) -> None:
    before = size(demand, fleet)
    after = size(replace(demand, gpu_budget=demand.gpu_budget + more), fleet)
    assert before is None or (after is not None and after <= before)


@given(targeted, priced_fleets(), st.sampled_from([1.01, 1.5, 4.0]))
@examples(40)
def test_a_target_that_asks_for_less_never_needs_more(demand: Demand, fleet: Fleet, factor: float) -> None:
    target = demand.target
    assert target is not None
    before = size(demand, fleet)
    for easier in less(target, factor):
        after = size(replace(demand, target=easier), fleet)
        assert before is None or (after is not None and after <= before)


def less(target: Target, factor: float) -> list[Target]:
    """Give the target with longer times, with each time, or with a lower rate, each alone."""
    changed = []
    if target.first_token is not None:
        changed.append(replace(target, first_token=target.first_token * factor))
    if target.per_token is not None:
        changed.append(replace(target, per_token=target.per_token * factor))
    if target.rate is not None:
        changed.append(replace(target, rate=target.rate / factor))
    return changed
