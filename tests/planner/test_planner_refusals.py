"""Refusals: a cause for every layout, the right reason, whether waiting helps, and hints that work."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import RACKS, in_levels
from tests.support.fleets import H200, T4, a_fleet, a_node, gb200_rack, h100s, h200s, l40s
from tests.support.followed import CHANGES, follow
from tests.support.models import (
    KIMI_K2,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    a_demand,
    facts,
    pinned,
)
from tests.support.plans import refused
from tests.support.strategies import demands, fleets

from shardwise.api.spec import GpuBudget
from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.engine import EngineName
from shardwise.domain.exclusions import Mismatch
from shardwise.domain.fleet import Exclusion, Fleet, Taint
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import (
    BlockSplit,
    DomainTooSmall,
    MemoryShort,
    NoRoom,
    NotDivisible,
    OverBudget,
    Refusal,
    RefusalReason,
    TooManyStages,
)
from shardwise.domain.summary import DemandSummary
from shardwise.domain.units import GIB
from shardwise.planner import plan
from shardwise.planner.hints_on_place import MOST_BUDGET
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
        a_demand(QWEN_235B_FP8, release=(0, 28, 0), pins=pinned(8, expert=False)),
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
    "block": (a_demand(QWEN_235B_FP8, release=(0, 28, 0), pins=pinned(8, 1, expert=False)), BlockSplit),
    "stages": (a_demand(LLAMA_8B, pins=pinned(1, 33)), TooManyStages),
    "memory": (a_demand(LLAMA_405B, pins=pinned(8, 1)), MemoryShort),
    "budget": (a_demand(LLAMA_70B, pins=pinned(4, 4)), OverBudget),
    "domain": (a_demand(LLAMA_70B, budget=64, pins=pinned(64, 1)), DomainTooSmall),
    "room": (a_demand(LLAMA_70B, budget=64, pins=pinned(8, 4)), NoRoom),
}


@pytest.mark.parametrize(("demand", "kind"), CAUSES.values(), ids=CAUSES)
def test_a_pinned_layout_has_one_attempt_and_its_cause(demand: Demand, kind: type) -> None:
    refusal = refused(demand, a_fleet(h100s(2)))
    assert [type(rejected.cause) for rejected in refusal.rejected] == [kind]
    assert refusal.nearest == refusal.rejected[0]


def test_a_shortfall_of_memory_adds_up() -> None:
    cause = refused(a_demand(LLAMA_405B, pins=pinned(8, 1)), a_fleet(h100s(1))).rejected[0].cause
    assert isinstance(cause, MemoryShort)
    assert cause.weights + cause.kv_cache + cause.other == cause.needed > cause.budget


def test_a_room_that_lacks_one_slot_says_how_many_there_are() -> None:
    cause = refused(a_demand(LLAMA_405B, budget=16, pins=pinned(4, 4)), a_fleet(h100s(3, free=(8, 4, 3)))).rejected[0]
    assert cause.cause == NoRoom("NVIDIA-H100-80GB-HBM3", wanted=4, slots=3, slot_gpus=4, free=15)


def test_the_nearest_miss_is_room_before_memory() -> None:
    refusal = refused(a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2, free=(8, 3))))
    assert refusal.nearest is not None
    assert isinstance(refusal.nearest.cause, NoRoom)


def test_exclusions_and_free_gpus_are_counted() -> None:
    fleet = a_fleet(h100s(2, free=(0, 3)), a_node("zz", exclusion=Exclusion.CORDONED), l40s(1))
    refusal = refused(a_demand(LLAMA_70B, products=("NVIDIA-H100-80GB-HBM3",), pins=pinned(4)), fleet)
    assert (refusal.nodes, refusal.free_gpus) == (4, 3)
    assert refusal.excluded == ((Exclusion.CORDONED, 1), (Mismatch.UNLISTED_PRODUCT, 1))


def hints(refusal: Refusal) -> dict[str, object]:
    return {hint.field: hint.value for hint in refusal.hints}


TEAM = Taint("team", "ml", "NoSchedule")
BROKEN = Taint("node.kubernetes.io/unreachable", "", "NoExecute")

HINTED: dict[str, tuple[Demand, Fleet, dict[str, object]]] = {
    "the smallest budget that works, not all there is": (
        a_demand(LLAMA_405B, budget=8),
        a_fleet(h100s(8)),
        {"spec.gpuBudget.total": 12, "spec.model.quantization": "fp8"},
    ),
    "a budget for all replicas": (
        a_demand(facts(LLAMA_8B, "fp8"), budget=1, replicas=2),
        a_fleet(h100s(1)),
        {"spec.gpuBudget.total": 2, "spec.replicas": 1},
    ),
    "fp8": (a_demand(LLAMA_405B), a_fleet(h100s(1)), {"spec.model.quantization": "fp8"}),
    "as many replicas as fit": (
        a_demand(LLAMA_8B, budget=64, replicas=20),
        a_fleet(h100s(2, free=(8, 5))),
        {"spec.replicas": 13},
    ),
    "the nearest tensor degree": (
        a_demand(LLAMA_70B, pins=pinned(6)),
        a_fleet(h100s(1)),
        {"spec.parallelism.tensor": 8},
    ),
    "a tensor degree that fits the domain": (
        a_demand(LLAMA_70B, budget=64, pins=pinned(64)),
        a_fleet(h100s(7)),
        {"spec.parallelism.tensor": 8},
    ),
    "the nearest depth": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(8, 1)),
        a_fleet(h100s(2)),
        {"spec.parallelism.pipeline": 2, "spec.model.quantization": "fp8"},
    ),
    "experts whole rather than fewer GPUs": (
        a_demand(QWEN_235B_FP8, release=(0, 28, 0), pins=pinned(8, expert=False)),
        a_fleet(h100s(1)),
        {"spec.parallelism.expert": True},
    ),
    "no pins where no one of them is at fault": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(6, 5)),
        a_fleet(h100s(2)),
        {"spec.parallelism": None},
    ),
    "another product": (
        a_demand(LLAMA_8B, products=(H200,)),
        a_fleet(h100s(1), l40s(1)),
        {"spec.gpuBudget.products": "NVIDIA-L40S"},
    ),
    "the next level that holds it": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2), within="rack"),
        in_levels(RACKS, "rack", "zone"),
        {"spec.placement.within": "zone"},
    ),
    "no level where none holds it": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2), within="rack"),
        in_levels(RACKS, "rack"),
        {"spec.placement.within": None},
    ),
    "the level alone where its label is nowhere": (
        a_demand(facts(LLAMA_8B, "fp8"), within="zone"),
        a_fleet(h100s(1)),
        {"spec.placement.within": None},
    ),
    "one label less": (
        a_demand(LLAMA_8B, node_selector=(("disk", "ssd"), ("zone", "z"))),
        RACKS,
        {"spec.placement.nodeSelector": "disk"},
    ),
    "the only label": (
        a_demand(LLAMA_8B, node_selector=(("disk", "ssd"),)),
        RACKS,
        {"spec.placement.nodeSelector": "disk"},
    ),
    "no labels": (
        a_demand(LLAMA_8B, node_selector=(("disk", "ssd"), ("planet", "mars"))),
        RACKS,
        {"spec.placement.nodeSelector": None},
    ),
    "a toleration, of the taint that holds most": (
        a_demand(LLAMA_8B),
        a_fleet(a_node("a", taints=[Taint("x", "", "NoSchedule")], gpus=1), a_node("b", taints=[TEAM])),
        {"spec.placement.tolerations": Toleration("team", "Equal", "ml", "NoSchedule")},
    ),
    "never a toleration of what is broken": (a_demand(LLAMA_8B), a_fleet(a_node(taints=[BROKEN])), {}),
    "another engine where it can": (
        a_demand(
            replace(facts(LLAMA_70B), architecture="CohereForCausalLM"), engine=EngineName.SGLANG, pins=pinned(1, 4)
        ),
        a_fleet(h100s(1)),
        {"spec.parallelism": None, "spec.engine.name": "vllm"},
    ),
    "the cache in fp8, or less of it": (
        a_demand(KIMI_K2, context=131072),
        a_fleet(h200s(1)),
        {"spec.model.kvCacheDtype": "fp8", "spec.model.contextLength": 98304},
    ),
    "fewer sequences, or shorter ones": (
        a_demand(LLAMA_70B, context=131072, concurrency=40),
        a_fleet(h100s(1)),
        {"spec.model.concurrency": 10, "spec.model.contextLength": 32768},
    ),
    "the least context where it is what lacks": (
        a_demand(facts(LLAMA_8B, "fp8"), budget=1, context=2_000_000, least_context=1_500_000, kv_bytes=1),
        a_fleet(a_node(gpus=1)),
        {"spec.model.minContextLength": 786432},
    ),
    "no reserve of one's own": (
        a_demand(facts(LLAMA_8B, "fp8"), budget=1, reserve=70 * GIB),
        a_fleet(a_node(gpus=1)),
        {"spec.model.gpuMemoryReserve": None},
    ),
    "nothing but waiting": (a_demand(facts(LLAMA_8B, "fp8")), a_fleet(h100s(1, free=[0])), {}),
    "nothing helps": (a_demand(facts(R1)), a_fleet(a_node(product=T4, gpus=1)), {}),
}


@pytest.mark.parametrize(("demand", "fleet", "expected"), HINTED.values(), ids=HINTED)
def test_hints_name_the_field_and_the_value(demand: Demand, fleet: Fleet, expected: dict[str, object]) -> None:
    """The least change of each kind, in the order of how little they change."""
    assert list(hints(refused(demand, fleet)).items()) == list(expected.items())


def test_a_shorter_context_is_hinted_where_the_cache_is_what_lacks() -> None:
    refusal = refused(a_demand(facts(LLAMA_8B, "fp8"), budget=1, context=2_000_000), a_fleet(h100s(1)))
    assert hints(refusal)["spec.model.contextLength"] == 393216


def test_at_most_five_hints_are_given() -> None:
    """Those that change least: a shorter context and weights in fp8 would help here, too."""
    demand = a_demand(
        LLAMA_8B, budget=1, context=115_000, concurrency=4, reserve=3 * GIB, products=("NVIDIA-H100-80GB-HBM3",)
    )
    assert list(hints(refused(demand, a_fleet(h100s(1), h200s(1))))) == [
        "spec.gpuBudget.total",
        "spec.gpuBudget.products",
        "spec.model.kvCacheDtype",
        "spec.model.gpuMemoryReserve",
        "spec.model.concurrency",
    ]


def test_the_largest_budget_hinted_at_is_the_largest_an_object_takes() -> None:
    """A hint that the API refuses helps nobody."""
    total = GpuBudget.model_fields["total"]
    assert [one.le for one in total.metadata if hasattr(one, "le")] == [MOST_BUDGET]


def test_an_engine_that_can_is_hinted_at() -> None:
    """The first of those that do."""
    demand = a_demand(replace(facts(LLAMA_70B), architecture="Mamba2ForCausalLM"), pins=pinned(1, 4))
    assert hints(refused(demand, a_fleet(h100s(1))))["spec.engine.name"] == "tensorrt-llm"


def test_kimi_at_128k_does_not_fit_eight_h200_in_one_tensor_group() -> None:
    refusal = refused(a_demand(KIMI_K2, context=131072, pins=pinned(8)), a_fleet(h200s(1)))
    assert refusal.reason is RefusalReason.MEMORY_SHORT


harder = st.builds(
    replace,
    demands,
    concurrency=st.sampled_from([1, 40, 300]),
    context_length=st.sampled_from([8192, 131072]),
    within=st.sampled_from([None, None, "rack"]),
    node_selector=st.sampled_from([(), (), (("zone", "a"),), (("disk", "ssd"), ("zone", "a"))]),
    reserve=st.sampled_from([None, None, 30 * GIB]),
    least_context=st.sampled_from([None, None, 4096]),
)
"""Demands with more to go wrong: labels, levels, reserves, and caches of many sequences."""


@st.composite
def labelled_fleets(draw: st.DrawFn) -> Fleet:
    """Draw a fleet some nodes of which have labels or a taint."""
    nodes = [
        node._replace(labels=draw(st.sampled_from(LABELS)), taints=draw(st.sampled_from([(), (), (TEAM,)])))
        for node in draw(fleets()).nodes
    ]
    return in_levels(Fleet(tuple(nodes)), "rack", "zone")


LABELS = [(), (("rack", "1"), ("zone", "a")), (("rack", "2"), ("zone", "a")), (("rack", "3"), ("zone", "b"))]


@given(harder, labelled_fleets())
@settings(max_examples=200)
def test_every_hint_followed_gives_the_plan_it_promises(demand: Demand, fleet: Fleet) -> None:
    """Each on its own, through the planner's front door; and no hint changes nothing."""
    refusal = plan(demand, fleet)
    if isinstance(refusal, Plan):
        return
    for hint in refusal.hints:
        changed = follow(demand, hint)
        assert changed != demand
        made = plan(changed, fleet)
        assert isinstance(made, Plan)
        assert (made.layout, made.product, made.gpus, made.tight) == (hint.layout, hint.product, hint.gpus, hint.tight)


@given(harder, labelled_fleets())
@settings(max_examples=100)
def test_a_hints_number_is_the_least_change_that_works(demand: Demand, fleet: Fleet) -> None:
    """One GPU less of budget, one replica or sequence more, and there is no plan."""
    refusal = plan(demand, fleet)
    if isinstance(refusal, Plan):
        return
    steps = {"spec.gpuBudget.total": -1, "spec.replicas": 1, "spec.model.concurrency": 1}
    for hint in refusal.hints:
        if hint.field in steps:
            assert isinstance(hint.value, int)
            nearer = CHANGES[hint.field](demand, hint.value + steps[hint.field])
            assert isinstance(plan(nearer, fleet), Refusal)


@given(harder, labelled_fleets())
@settings(max_examples=100)
def test_the_pools_and_exclusions_of_a_refusal_count_every_node(demand: Demand, fleet: Fleet) -> None:
    refusal = plan(demand, fleet)
    if isinstance(refusal, Refusal):
        usable = sum(pool.nodes for pool in refusal.pools)
        assert usable + sum(count for _, count in refusal.excluded) == refusal.nodes == len(fleet.nodes)
        assert sum(pool.free for pool in refusal.pools) == refusal.free_gpus
        assert all(pool.free <= pool.gpus for pool in refusal.pools)
        assert refusal.asked == DemandSummary(
            demand.replicas, demand.gpu_budget, demand.context_length, demand.concurrency
        )


@given(demands, fleets())
@settings(max_examples=150)
def test_every_enumerated_layout_has_exactly_one_cause(demand: Demand, fleet: Fleet) -> None:
    answer = plan(demand, fleet)
    tried = [(layout, pool.product) for pool in eligible(demand, fleet).pools for layout in layouts(demand, pool.gpus)]
    assert len(tried) == len(set(tried))
    if isinstance(answer, Refusal):
        assert sorted((rejection.layout, rejection.product) for rejection in answer.rejected) == sorted(tried)
        assert answer.nearest in answer.rejected or not answer.rejected
    else:
        told = [(alternative.layout, alternative.product) for alternative in answer.alternatives]
        assert sorted([*told, (answer.layout, answer.product)]) == sorted(tried)


@given(demands, fleets())
@settings(max_examples=150)
def test_a_refusal_that_waits_fits_once_the_gpus_are_free(demand: Demand, fleet: Fleet) -> None:
    refusal = plan(demand, fleet)
    if isinstance(refusal, Plan) or refusal.reason is RefusalReason.NO_MATCHING_NODES:
        return
    emptied = Fleet(tuple(node._replace(free=node.gpus) for node in fleet.nodes), fleet.levels)
    assert isinstance(plan(demand, emptied), Plan) is refusal.waits


@given(demands, fleets())
def test_a_refusal_is_the_same_to_the_letter(demand: Demand, fleet: Fleet) -> None:
    assert repr(plan(demand, fleet)) == repr(plan(demand, fleet))


def test_layouts_are_enumerated_once_and_in_order() -> None:
    demand = a_demand(QWEN_235B_FP8)
    pool = eligible(demand, a_fleet(h100s(1))).pools[0]
    found = list(layouts(demand, pool.gpus))
    assert found[0] == Layout(1, 1)
    assert {layout.tensor for layout in found if not layout.expert} == {1, 2, 4, 8}
    assert {layout.tensor for layout in found if layout.expert and layout.data == 1} == {2, 4, 8}
    assert all(layout.world_size <= 8 for layout in found)


def test_whole_experts_on_one_gpu_are_enumerated_only_when_pinned() -> None:
    demand = a_demand("Qwen/Qwen3-30B-A3B", pins=pinned(expert=True))
    pool = eligible(demand, a_fleet(a_node(gpus=1))).pools[0]
    assert list(layouts(demand, pool.gpus)) == [Layout(1, 1, expert=True)]


def test_no_group_of_more_than_eight_racks_is_considered() -> None:
    demand = a_demand(LLAMA_405B, budget=4000)
    pool = eligible(demand, a_fleet(*(gb200_rack(18, clique=f"r{index:02d}") for index in range(12)))).pools[0]
    assert max(layout.world_size for layout in layouts(demand, pool.gpus)) <= 576
