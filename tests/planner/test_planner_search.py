"""The search itself: what is remembered changes nothing, asking whether something fits agrees with planning it."""

from collections import Counter
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import PLANNED, REFUSED, Case
from tests.support.fleets import a_fleet, gb200_rack, h100s, l40s
from tests.support.models import (
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    a_demand,
    config,
    facts,
    pinned,
)
from tests.support.strategies import demands, fleets

from shardwise.checkpoint import from_config
from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import LayoutOutcome, Plan
from shardwise.planner import plan
from shardwise.planner.hints import hints
from shardwise.planner.hints_on_load import _lengths
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.layouts import layouts
from shardwise.planner.pools import eligible
from shardwise.planner.shorten import at_least, with_shorter_context
from shardwise.planner.solve import fits, fitting, solve, survey
from shardwise.planner.stages import layers_per_stage, stages_of
from shardwise.planner.trials import TrialFleet

CASES: dict[str, Case] = {**PLANNED, **{f"refused: {name}": case for name, case in REFUSED.items()}}


@given(demands, fleets())
@settings(max_examples=150)
def test_something_fits_where_there_is_a_plan_and_nowhere_else(demand: Demand, fleet: Fleet) -> None:
    """Without choosing the best."""
    pools = survey(demand, eligible(demand, fleet))
    assert fits(demand, pools) == (solve(demand, pools).plan is not None)


@given(demands, fleets())
@settings(max_examples=150)
def test_what_nothing_rules_out_is_what_the_plan_chose_from(demand: Demand, fleet: Fleet) -> None:
    """The chosen layout, and those that fit and lost."""
    pools = survey(demand, eligible(demand, fleet))
    made = solve(demand, pools).plan
    if made is None:
        return
    found = {(layout, pool.product) for _, layout, pool in fitting(demand, pools)}
    lost = {
        (alternative.layout, alternative.product)
        for alternative in made.alternatives
        if alternative.outcome is LayoutOutcome.FITS
    }
    assert {(made.layout, made.product), *lost} <= found
    assert found <= {(layout, pool.pool.product) for pool in pools for layout in layouts(demand, pool.gpus.gpus)}


@pytest.mark.parametrize("name", CASES)
def test_pools_surveyed_once_serve_many_searches(name: str) -> None:
    """Nothing is used up."""
    demand, fleet = CASES[name]
    pools = survey(demand, eligible(demand, fleet))
    assert solve(demand, pools) == solve(demand, pools) == solve(demand, survey(demand, eligible(demand, fleet)))


@pytest.mark.parametrize("name", [LLAMA_8B, LLAMA_405B, R1, QWEN_235B_FP8])
def test_a_model_read_again_is_planned_alike_and_compared_once(name: str) -> None:
    """Each object reads its own; comparing them weight by weight at every look-up took longer than planning."""
    fleet, first = a_fleet(h100s(4)), a_demand(facts(name), budget=32)
    model, again = (from_config(config(name), name=f"read-anew/{name}", origin="tests") for _ in range(2))
    first = replace(first, model=model)
    assert again is not model
    before = plan(first, fleet)
    compared = Counter[str]()
    kind, equal = type(again), type(again).__eq__

    def counted(one: object, other: object) -> bool:
        compared["models"] += one is not other
        return bool(equal(one, other))

    with patch.object(kind, "__eq__", counted):
        assert repr(plan(replace(first, model=again), fleet)) == repr(before)
    assert compared["models"] <= 1


@given(st.sampled_from([LLAMA_8B, R1, QWEN_235B_FP8]), st.sampled_from(list(EngineName)), st.integers(1, 30))
def test_stages_hold_every_layer_of_its_kind_once(name: str, engine: EngineName, pipeline: int) -> None:
    """Counted by differences; here one by one."""
    model, start = facts(name), 0
    wanted: Counter[tuple[tuple[int, ...], bool, bool]] = Counter()
    for index, count in enumerate(layers_per_stage(engine, len(model.order), pipeline)):
        held = model.order[start : start + count]
        kinds = tuple(held.count(kind) for kind in range(len(model.kinds)))
        wanted[kinds, index == 0, index == pipeline - 1] += 1
        start += count
    found = {(stage.layers, stage.first, stage.last): many for stage, many in stages_of(model, engine, pipeline)}
    assert found == dict(wanted)


@pytest.mark.parametrize(
    "fleet",
    [
        a_fleet(h100s(5, free=(8, 8, 3, 0, 3))),
        a_fleet(gb200_rack(4, free=(4, 2, 0, 4)), gb200_rack(2, clique="rack-1")),
        a_fleet(l40s(2), h100s(1)),
    ],
    ids=["nodes", "racks", "two products"],
)
def test_shapes_count_every_domain_by_what_is_free(fleet: Fleet) -> None:
    """Each domain once, its nodes' free GPUs in order of size."""
    for pool in eligible(a_demand(LLAMA_8B), fleet).pools:
        one_by_one = Counter(tuple(sorted(node.free for node in nodes)) for nodes in pool.all_domains().values())
        assert pool.domain_counts == {"": one_by_one}


LENGTHS = {
    1: [],
    2048: [],
    2049: [2048],
    8192: [2048, 3072, 4096, 6144],
    10_000: [2048, 3072, 4096, 6144, 8192],
    131072: [2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536, 98304],
}


@pytest.mark.parametrize(("asked", "lengths"), LENGTHS.items())
def test_contexts_are_tried_at_the_lengths_people_ask_for(asked: int, lengths: list[int]) -> None:
    """Powers of two and those halfway, below what was asked for."""
    assert _lengths(asked) == lengths


@given(st.integers(1, 300), st.integers(0, 300))
def test_the_largest_value_that_fits_is_found_in_few_looks(count: int, limit: int) -> None:
    """Of values that fit up to a limit; nine looks are enough for three hundred, and one where nothing fits."""
    looks: list[int] = []

    def fits(value: int) -> bool:
        looks.append(value)
        return value <= limit

    assert largest_that_fits(range(1, count + 1), fits) == (min(limit, count) or None)
    assert len(looks) <= (10 if limit else 1)


def test_nodes_are_sorted_once_for_each_way_to_choose_them() -> None:
    """However many changes are tried: 5,000 nodes take longer than all layouts."""
    demand, fleet = a_demand(LLAMA_70B, budget=8, concurrency=40, context=131072), a_fleet(h100s(4))
    pools = eligible(demand, fleet)
    trials = TrialFleet(fleet, demand, pools, survey(demand, pools))
    rejected = solve(demand, trials.surveyed(demand)).rejected
    with patch("shardwise.planner.trials.eligible", wraps=eligible) as sorted_again:
        assert hints(demand, trials, rejected)
    assert not sorted_again.called


@pytest.mark.parametrize("budget", [1, 8])
def test_changes_that_the_causes_leave_no_chance_are_not_tried(budget: int) -> None:
    """A layout that the law forbids needs no less memory."""
    demand, fleet = a_demand(LLAMA_70B, budget=budget, pins=pinned(6)), a_fleet(h100s(1))
    refused = solve(demand, survey(demand, eligible(demand, fleet))).rejected
    trials = TrialFleet(fleet, demand, eligible(demand, fleet), survey(demand, eligible(demand, fleet)))
    with patch.object(TrialFleet, "fits", side_effect=AssertionError("searched")):
        hints(demand, trials, refused)


@given(demands, fleets())
@settings(max_examples=60)
def test_a_search_leaves_out_no_layout_and_tells_none_twice(demand: Demand, fleet: Fleet) -> None:
    """Refused, fitting or chosen: each enumerated layout has one fate."""
    pools = survey(demand, eligible(demand, fleet))
    solution = solve(demand, pools)
    told = Counter((rejection.layout, rejection.product) for rejection in solution.rejected)
    if solution.plan is not None:
        told = Counter((alternative.layout, alternative.product) for alternative in solution.plan.alternatives)
        told[solution.plan.layout, solution.plan.product] += 1
    assert told == Counter((layout, pool.pool.product) for pool in pools for layout in layouts(demand, pool.gpus.gpus))


def test_a_demand_that_may_be_lowered_fits_where_its_least_does() -> None:
    demand, fleet = a_demand(LLAMA_8B, budget=1, context=1_000_000, least_context=4096), a_fleet(h100s(1))
    pools = survey(demand, eligible(demand, fleet))
    assert not fits(demand, pools)
    assert fits(at_least(demand), pools)
    made = with_shorter_context(demand, pools)
    assert made is not None
    assert 4096 <= made.context_length < 1_000_000
    assert isinstance(plan(demand, fleet), Plan)


@pytest.mark.parametrize(("tensor", "joined"), [(None, False), (8, False), (16, True)])
def test_a_survey_is_of_a_pinned_tensor_degree(tensor: int | None, joined: bool) -> None:
    """Nodes are joined only for a pin that no NVLink domain holds: a survey serves demands that pin the same."""
    demand, fleet = a_demand(LLAMA_70B, budget=16, pins=pinned(tensor)), a_fleet(h100s(2))
    pools = eligible(demand, fleet)
    (found,) = survey(demand, pools)
    assert (found.pool.joined, found.free) == (joined, 16)
    trials = TrialFleet(fleet, demand, pools, (found,))
    assert trials.surveyed(demand) == (found,)
    (other,) = trials.surveyed(replace(demand, pins=pinned(4)))
    assert not other.pool.joined
    assert trials.surveyed(replace(demand, pins=pinned(4))) == (other,)
