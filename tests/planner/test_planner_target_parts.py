"""A target that the fleet has no room for: the largest part of its rate is planned, and sized for the whole of it.

And the judgements that targets share: a layout is weighed once for all times, rates and budgets of the same requests.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.fleets import H100, a_fleet, a_node, h100s, priced
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand
from tests.support.plans import check_capacity, planned
from tests.support.targets import priced_fleets, targeted

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Plan
from shardwise.domain.target import Target
from shardwise.planner import most_replicas, plan, sizing_of
from shardwise.planner.judging import judged, weighed, without_place
from shardwise.planner.pools import eligible
from shardwise.planner.solve import SurveyedPool, fits, fitting, survey

RATED = Target(2000, 200, per_token=0.03, rate=60.0)
NODE = a_fleet(h100s(1))


def demand(target: Target | None = RATED, **changes: object) -> Demand:
    return replace(a_demand(LLAMA_8B, target=target), **changes)  # type: ignore[arg-type]


def surveyed(asked: Demand, fleet: Fleet = NODE) -> SurveyedPool:
    (found,) = survey(asked, eligible(asked, fleet))
    return found


@pytest.mark.parametrize("free", [1, 2, 5])
def test_as_many_replicas_as_have_room_serve_a_part_of_the_rate(free: int) -> None:
    fleet = a_fleet(a_node("node", free=free))
    made = most_replicas(demand(), fleet)
    assert made is not None
    assert made.sizing is not None
    assert made.gpus == free
    assert made.sizing.target == RATED
    assert made.sizing.replicas > made.replicas
    check_capacity(made, fleet)


def test_a_part_of_the_rate_stays_within_its_share_of_the_budget() -> None:
    made = most_replicas(demand(gpu_budget=3), NODE)
    assert made is not None
    assert made.gpus <= 3


def test_without_room_for_a_single_replica_there_is_no_part() -> None:
    assert most_replicas(demand(), a_fleet(a_node("node", free=0))) is None


def test_times_that_nothing_meets_leave_no_part_either() -> None:
    """Fewer requests do not make a lone request faster."""
    assert most_replicas(demand(replace(RATED, per_token=0.0001)), NODE) is None


def test_without_a_rate_parts_are_replicas_as_for_any_demand() -> None:
    """Each has its share of the budget: five of eight GPUs for five of eight replicas."""
    timed = demand(Target(2000, 200, per_token=0.03), replicas=8)
    made = most_replicas(timed, a_fleet(a_node("node", free=5)))
    assert made is not None
    assert made.replicas == 5
    assert made.sizing is not None
    assert made.sizing.replicas == 1


@given(targeted, priced_fleets())
@examples(40)
def test_the_sizing_of_a_plan_is_found_again_from_its_layout(asked: Demand, fleet: Fleet) -> None:
    """So the operator finds the same number of replicas for a plan that it keeps."""
    made = plan(asked, fleet, hinted=False)
    if isinstance(made, Plan):
        assert sizing_of(asked, fleet, made) == made.sizing


@given(targeted, priced_fleets(), st.sampled_from([0.1, 0.5, 3.0]))
@examples(40)
def test_a_plan_sized_for_another_rate_has_replicas_in_proportion(asked: Demand, fleet: Fleet, factor: float) -> None:
    made = plan(asked, fleet, hinted=False)
    if not isinstance(made, Plan) or asked.target is None or asked.target.rate is None:
        return
    other = sizing_of(replace(asked, target=replace(asked.target, rate=factor * asked.target.rate)), fleet, made)
    assert made.sizing is not None
    assert other is not None
    assert other.most_rate == made.sizing.most_rate
    assert (other.replicas - 1) * other.most_rate < factor * asked.target.rate
    assert other.replicas * other.most_rate >= factor * asked.target.rate * (1 - 1e-6)


def test_a_layout_is_weighed_once_for_all_targets_of_the_same_requests() -> None:
    gpus = surveyed(demand()).gpus
    first = weighed(demand(), gpus)
    assert weighed(demand(replace(RATED, rate=1.0)), gpus) is first
    assert weighed(demand(replace(RATED, per_token=0.5, first_token=9.0)), gpus) is first
    assert weighed(demand(gpu_budget=2, replicas=3), gpus) is first
    assert weighed(demand(replace(RATED, input_tokens=2001)), gpus) is not first
    assert weighed(demand(None), gpus) is not first


def test_layouts_are_judged_for_each_target() -> None:
    gpus = surveyed(demand()).gpus
    slow, fast = (judged(without_place(demand(replace(RATED, per_token=most))), gpus) for most in (0.05, 0.004))
    assert any(found.cause is None for found in slow)
    assert {found.layout for found in fast if found.cause is None} < {
        found.layout for found in slow if found.cause is None
    }


@given(targeted, priced_fleets())
@examples(40)
def test_whether_a_target_fits_is_told_without_planning_it(asked: Demand, fleet: Fleet) -> None:
    found = survey(asked, eligible(asked, fleet))
    assert fits(asked, found) is isinstance(plan(asked, fleet, hinted=False), Plan)


def test_the_layouts_that_fit_come_with_the_replicas_that_they_need() -> None:
    found = {str(layout): sized.replicas for sized, layout, _ in fitting(demand(), [surveyed(demand())])}
    for layout, replicas in found.items():
        made = planned(demand(pins=_pinned(layout)), NODE)
        assert made.replicas == replicas


def _pinned(layout: str) -> object:
    tensor, pipeline = layout.removeprefix("TP").split("×PP")
    return replace(a_demand().pins, tensor=int(tensor), pipeline=int(pipeline))


def test_a_pin_that_cannot_meet_the_target_is_refused() -> None:
    timed = a_demand(LLAMA_70B, target=Target(2000, 200, per_token=0.012), pins=replace(a_demand().pins, tensor=4))
    refusal = plan(timed, NODE)
    assert not isinstance(refusal, Plan)
    hints = {hint.field: hint.value for hint in refusal.hints}
    assert hints["spec.parallelism.tensor"] == 8
    assert "spec.target.timePerToken" in hints


def test_a_product_that_the_object_does_not_allow_is_not_used_for_its_target() -> None:
    fleet = priced(a_fleet(h100s(1)))
    asked = demand(products=(H100,), objective=Objective.CHEAPEST)
    assert planned(asked, fleet).product == H100
    assert not isinstance(plan(replace(asked, products=("NVIDIA-H200",)), fleet), Plan)
