"""Refusals: a cause for every layout, the right reason, whether waiting helps, and hints that work."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.support.fleets import H200, T4, a_fleet, a_node, gb200_rack, h100s, h200s, l40s
from tests.support.models import (
    KIMI_K2,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    Pins,
    a_demand,
    facts,
    pinned,
)
from tests.support.plans import refused
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import (
    BlockSplit,
    DomainTooSmall,
    Hint,
    MemoryShort,
    NoRoom,
    NotDivisible,
    OverBudget,
    Refusal,
    RefusalReason,
    TooManyStages,
)
from shardwise.planner import plan
from shardwise.planner.layouts import layouts
from shardwise.planner.pools import eligible

REASONS: dict[str, tuple[Demand, Fleet, RefusalReason, bool]] = {
    "no nodes": (a_demand(), a_fleet(), RefusalReason.NO_MATCHING_NODES, True),
    "no node of the product": (
        a_demand(products=(H200,)),
        a_fleet(h100s(2)),
        RefusalReason.NO_MATCHING_NODES,
        True,
    ),
    "all nodes out of use": (
        a_demand(),
        a_fleet(a_node(exclusion=Exclusion.CORDONED)),
        RefusalReason.NO_MATCHING_NODES,
        True,
    ),
    "no label matches": (
        a_demand(node_selector=(("zone", "mars"),)),
        a_fleet(h100s(1)),
        RefusalReason.NO_MATCHING_NODES,
        True,
    ),
    "memory": (a_demand(LLAMA_405B), a_fleet(h100s(1)), RefusalReason.MEMORY_SHORT, False),
    "memory for R1": (a_demand(R1), a_fleet(h100s(1)), RefusalReason.MEMORY_SHORT, False),
    "memory on small GPUs": (
        a_demand(facts(LLAMA_70B)),
        a_fleet(a_node(product=T4, gpus=4)),
        RefusalReason.MEMORY_SHORT,
        False,
    ),
    "budget": (a_demand(LLAMA_405B, budget=8), a_fleet(h100s(2)), RefusalReason.BUDGET_SHORT, False),
    "budget for the replicas": (
        a_demand(LLAMA_8B, budget=2, replicas=3),
        a_fleet(h100s(2)),
        RefusalReason.BUDGET_SHORT,
        False,
    ),
    "all GPUs taken": (a_demand(LLAMA_8B), a_fleet(h100s(2, free=(0, 0))), RefusalReason.CAPACITY_SHORT, True),
    "one GPU too few of twelve": (
        a_demand(LLAMA_405B, budget=16),
        a_fleet(h100s(2, free=(8, 3))),
        RefusalReason.CAPACITY_SHORT,
        True,
    ),
    "free GPUs in wrong places": (
        a_demand(LLAMA_70B, pins=pinned(4)),
        a_fleet(h100s(3, free=(3, 3, 3))),
        RefusalReason.CAPACITY_SHORT,
        True,
    ),
    "a node too few, ever": (
        a_demand(LLAMA_405B, budget=64, pins=pinned(8, 4)),
        a_fleet(h100s(3)),
        RefusalReason.CAPACITY_SHORT,
        False,
    ),
    "a tensor group wider than all nodes": (
        a_demand(LLAMA_70B, budget=32, pins=pinned(32)),
        a_fleet(h100s(2)),
        RefusalReason.CAPACITY_SHORT,
        False,
    ),
    "heads": (a_demand(LLAMA_70B, pins=pinned(6)), a_fleet(h100s(1)), RefusalReason.ILLEGAL_LAYOUT, False),
    "block": (
        a_demand(QWEN_235B_FP8, pins=pinned(8, expert=False)),
        a_fleet(h100s(1)),
        RefusalReason.ILLEGAL_LAYOUT,
        False,
    ),
    "whole experts of a dense model": (
        a_demand(LLAMA_8B, pins=pinned(expert=True)),
        a_fleet(h100s(1)),
        RefusalReason.ILLEGAL_LAYOUT,
        False,
    ),
    "stages": (
        a_demand(LLAMA_8B, budget=64, pins=pinned(1, 33)),
        a_fleet(h100s(8)),
        RefusalReason.ILLEGAL_LAYOUT,
        False,
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "reason", "waits"), REASONS.values(), ids=REASONS)
def test_the_reason_is_stable_and_says_whether_to_wait(
    demand: Demand,
    fleet: Fleet,
    reason: RefusalReason,
    waits: bool,
) -> None:
    refusal = refused(demand, fleet)
    assert (refusal.reason, refusal.waits) == (reason, waits)


CAUSES = {
    "heads": (a_demand(LLAMA_70B, pins=pinned(6, 1)), NotDivisible),
    "block": (a_demand(QWEN_235B_FP8, pins=pinned(8, 1, expert=False)), BlockSplit),
    "stages": (a_demand(LLAMA_8B, pins=pinned(1, 33)), TooManyStages),
    "memory": (a_demand(LLAMA_405B, pins=pinned(8, 1)), MemoryShort),
    "budget": (a_demand(LLAMA_70B, pins=pinned(4, 4)), OverBudget),
    "domain": (a_demand(LLAMA_70B, budget=64, pins=pinned(64, 1)), DomainTooSmall),
    "room": (a_demand(LLAMA_70B, budget=64, pins=pinned(8, 4)), NoRoom),
}


@pytest.mark.parametrize(("demand", "kind"), CAUSES.values(), ids=CAUSES)
def test_a_pinned_layout_has_one_attempt_and_its_cause(demand: Demand, kind: type) -> None:
    refusal = refused(demand, a_fleet(h100s(2)))
    assert [type(attempt.cause) for attempt in refusal.attempts] == [kind]
    assert refusal.nearest == refusal.attempts[0]


def test_a_shortfall_of_memory_adds_up() -> None:
    cause = refused(a_demand(LLAMA_405B, pins=pinned(8, 1)), a_fleet(h100s(1))).attempts[0].cause
    assert isinstance(cause, MemoryShort)
    assert cause.weights + cause.kv_cache + cause.other == cause.needed > cause.budget


def test_a_room_that_lacks_one_slot_says_how_many_there_are() -> None:
    cause = refused(a_demand(LLAMA_405B, budget=16, pins=pinned(4, 4)), a_fleet(h100s(3, free=(8, 4, 3)))).attempts[0]
    assert cause.cause == NoRoom("NVIDIA-H100-80GB-HBM3", wanted=4, slots=3, slot_gpus=4, free=15)


def test_the_nearest_miss_is_room_before_memory() -> None:
    refusal = refused(a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2, free=(8, 3))))
    assert refusal.nearest is not None
    assert isinstance(refusal.nearest.cause, NoRoom)


def test_exclusions_and_free_gpus_are_counted() -> None:
    fleet = a_fleet(h100s(2, free=(0, 3)), a_node("zz", exclusion=Exclusion.CORDONED), l40s(1))
    refusal = refused(a_demand(LLAMA_70B, products=("NVIDIA-H100-80GB-HBM3",), pins=pinned(4)), fleet)
    assert (refusal.nodes, refusal.free_gpus) == (4, 3)
    assert refusal.excluded == (("has a product `spec.gpuBudget.products` does not list", 1), ("is cordoned", 1))


def hints(refusal: Refusal) -> dict[str, str]:
    return {hint.field: hint.value for hint in refusal.hints}


HINTED: dict[str, tuple[Demand, Fleet, dict[str, str]]] = {
    "more budget": (
        a_demand(LLAMA_405B, budget=8),
        a_fleet(h100s(2)),
        {"spec.gpuBudget.total": "16", "spec.model.quantization": "fp8"},
    ),
    "fp8": (a_demand(LLAMA_405B), a_fleet(h100s(1)), {"spec.model.quantization": "fp8"}),
    "fewer replicas": (
        a_demand(facts(LLAMA_8B, "fp8"), budget=1, replicas=2),
        a_fleet(a_node(gpus=1)),
        {"spec.replicas": "1"},
    ),
    "no pins": (a_demand(LLAMA_70B, pins=pinned(6)), a_fleet(h100s(1)), {"spec.parallelism": "unset"}),
    "another product": (
        a_demand(LLAMA_8B, products=(H200,)),
        a_fleet(h100s(1)),
        {"spec.gpuBudget.products": "unset"},
    ),
    "no bounding label": (
        a_demand(facts(LLAMA_8B, "fp8"), within="zone"),
        a_fleet(h100s(1)),
        {"spec.placement.within": "unset"},
    ),
    "nothing helps": (a_demand(facts(R1)), a_fleet(a_node(product=T4, gpus=1)), {}),
}


@pytest.mark.parametrize(("demand", "fleet", "expected"), HINTED.values(), ids=HINTED)
def test_hints_name_the_field_and_the_value(demand: Demand, fleet: Fleet, expected: dict[str, str]) -> None:
    assert hints(refused(demand, fleet)) == expected


def test_a_shorter_context_is_hinted_where_the_cache_is_what_lacks() -> None:
    refusal = refused(a_demand(facts(LLAMA_8B, "fp8"), budget=1, context=2_000_000), a_fleet(h100s(1)))
    assert int(hints(refusal)["spec.model.contextLength"]) < 2_000_000


def test_kimi_at_128k_does_not_fit_eight_h200_in_one_tensor_group() -> None:
    refusal = refused(a_demand(KIMI_K2, context=131072, pins=pinned(8)), a_fleet(h200s(1)))
    assert refusal.reason is RefusalReason.MEMORY_SHORT


CHANGES: dict[str, Callable[[Demand, str], Demand]] = {
    "spec.gpuBudget.total": lambda demand, value: replace(demand, gpu_budget=int(value)),
    "spec.model.quantization": lambda demand, value: replace(demand, model=facts(demand.model.name, value)),
    "spec.model.contextLength": lambda demand, value: replace(demand, context_length=int(value)),
    "spec.replicas": lambda demand, value: replace(demand, replicas=int(value)),
    "spec.parallelism": lambda demand, _: replace(demand, pins=Pins()),
    "spec.gpuBudget.products": lambda demand, _: replace(demand, products=()),
    "spec.placement.within": lambda demand, _: replace(demand, within=None),
}


def follow(demand: Demand, hint: Hint) -> Demand:
    return CHANGES[hint.field](demand, hint.value)


@given(demands, fleets())
@settings(max_examples=150)
def test_every_hint_applied_gives_the_layout_it_promises(demand: Demand, fleet: Fleet) -> None:
    refusal = plan(demand, fleet)
    if isinstance(refusal, Plan):
        return
    for hint in refusal.hints:
        made = plan(follow(demand, hint), fleet)
        assert isinstance(made, Plan)
        assert (made.layout, made.product) == (hint.layout, hint.product)


@given(demands, fleets())
@settings(max_examples=150)
def test_every_enumerated_layout_has_exactly_one_cause(demand: Demand, fleet: Fleet) -> None:
    answer = plan(demand, fleet)
    tried = [(layout, pool.product) for pool in eligible(demand, fleet).pools for layout in layouts(demand, pool)]
    assert len(tried) == len(set(tried))
    if isinstance(answer, Refusal):
        assert sorted((one.layout, one.product) for one in answer.attempts) == sorted(tried)
        assert answer.nearest in answer.attempts or not answer.attempts
    else:
        told = [(one.layout, one.product) for one in answer.alternatives]
        assert sorted([*told, (answer.layout, answer.product)]) == sorted(tried)


@given(demands, fleets())
@settings(max_examples=150)
def test_a_refusal_that_waits_fits_once_the_gpus_are_free(demand: Demand, fleet: Fleet) -> None:
    refusal = plan(demand, fleet)
    if isinstance(refusal, Plan) or refusal.reason is RefusalReason.NO_MATCHING_NODES:
        return
    emptied = Fleet(tuple(replace(node, free=node.gpus) for node in fleet.nodes), fleet.levels)
    assert isinstance(plan(demand, emptied), Plan) is refusal.waits


@given(demands, fleets())
def test_a_refusal_is_the_same_to_the_letter(demand: Demand, fleet: Fleet) -> None:
    assert repr(plan(demand, fleet)) == repr(plan(demand, fleet))


def test_layouts_are_enumerated_once_and_in_order() -> None:
    demand = a_demand(QWEN_235B_FP8)
    pool = eligible(demand, a_fleet(h100s(1))).pools[0]
    found = list(layouts(demand, pool))
    assert found[0] == Layout(1, 1)
    assert {layout.tensor for layout in found if not layout.expert} == {1, 2, 4}
    assert {layout.tensor for layout in found if layout.expert} == {2, 4, 8}
    assert all(layout.world_size <= 8 for layout in found)


def test_whole_experts_on_one_gpu_are_enumerated_only_when_pinned() -> None:
    demand = a_demand("Qwen/Qwen3-30B-A3B", pins=pinned(expert=True))
    pool = eligible(demand, a_fleet(a_node(gpus=1))).pools[0]
    assert list(layouts(demand, pool)) == [Layout(1, 1, expert=True)]


def test_no_group_of_more_than_eight_racks_is_considered() -> None:
    demand = a_demand(LLAMA_405B, budget=4000)
    pool = eligible(demand, a_fleet(*(gb200_rack(18, clique=f"r{index:02d}") for index in range(12)))).pools[0]
    assert max(layout.world_size for layout in layouts(demand, pool)) <= 576
