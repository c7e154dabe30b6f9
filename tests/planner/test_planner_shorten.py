"""A context that may be lowered: to the longest that fits, and only where nothing fits otherwise."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fleets import a_fleet, h100s, h200s
from tests.support.models import KIMI_K2, LLAMA_8B, LLAMA_70B, a_demand
from tests.support.plans import check_capacity, planned, refused

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.notes import ContextShortened
from shardwise.domain.plan import Plan
from shardwise.planner import plan

KIMI_ON_8 = a_demand(KIMI_K2, context=131072)
ONE_H200 = a_fleet(h200s(1))


def test_a_context_that_fits_is_not_lowered() -> None:
    made = planned(a_demand(LLAMA_8B, context=32768, least_context=1024), a_fleet(h100s(1)))
    assert (made.context_length, made.notes) == (32768, ())


def test_a_context_is_never_lowered_unasked() -> None:
    refused(KIMI_ON_8, ONE_H200)


def test_the_longest_context_that_fits_is_taken_and_said() -> None:
    made = planned(replace(KIMI_ON_8, least_context=8192), ONE_H200)
    assert (str(made.layout), made.tight) == ("TP4×PP2", True)
    assert 65536 < made.context_length < 131072
    assert made.notes == (ContextShortened(made.context_length, 131072),)
    refused(replace(KIMI_ON_8, context_length=made.context_length + 1024), ONE_H200)


def test_no_less_than_what_will_do_is_given() -> None:
    """Even the least does not fit two GPUs: the refusal speaks of what was asked."""
    refusal = refused(replace(KIMI_ON_8, gpu_budget=2, least_context=4096), ONE_H200)
    assert refusal.nearest is not None


@pytest.mark.parametrize("least", [131072, 131071])
def test_hardly_any_leave_is_no_help(least: int) -> None:
    refused(replace(KIMI_ON_8, least_context=least), ONE_H200)


@given(context=st.integers(2048, 131072), share=st.floats(0.01, 1), budget=st.sampled_from([1, 2, 4]))
@settings(max_examples=60)
def test_a_lowered_plan_keeps_its_bounds_and_a_longer_one_is_refused(context: int, share: float, budget: int) -> None:
    demand = a_demand(LLAMA_70B, context=context, budget=budget, concurrency=8)
    demand = replace(demand, least_context=max(1, int(context * share)))
    fleet = a_fleet(h100s(1))
    made = plan(demand, fleet)
    if isinstance(made, Plan):
        assert _bounded(made, demand)
        check_capacity(made, fleet)
        longer = replace(demand, context_length=made.context_length + 1024, least_context=None)
        assert made.context_length == context or _is_refused(longer, fleet)


def _bounded(made: Plan, demand: Demand) -> bool:
    return (demand.least_context or 0) <= made.context_length <= demand.context_length


def _is_refused(demand: Demand, fleet: Fleet) -> bool:
    return not isinstance(plan(demand, fleet), Plan)
