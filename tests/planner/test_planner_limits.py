"""Bounds, one by one: layouts tried, degrees, links, memory to the byte, near misses in order, plans that persist."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.support.fleets import H100, L40S, a_fleet, a_node, cuda_bytes, gb200_rack, h100s, h200s, priced
from tests.support.models import (
    KIMI_K2,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    R1,
    Dense,
    Mixed,
    Objective,
    a_demand,
    a_model,
    attention,
    facts,
    pinned,
)
from tests.support.plans import planned, refused
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand, Operator, Requirement
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Precision, Quantization, Split
from shardwise.domain.notes import ContextShortened, Remark
from shardwise.domain.plan import LayoutOutcome, Plan
from shardwise.domain.refusal import (
    BlockSplit,
    Cause,
    MemoryShort,
    NoExperts,
    NoRoom,
    NotDivisible,
    OverBudget,
    RefusalReason,
    RejectedLayout,
)
from shardwise.planner import plan, take
from shardwise.planner.affinity import matches_any
from shardwise.planner.cost import estimate
from shardwise.planner.layouts import layouts
from shardwise.planner.legality import heads, illegal, legal_pipelines, legal_tensors
from shardwise.planner.links import Links, all_reduce_seconds, send_seconds
from shardwise.planner.memory import memory_use
from shardwise.planner.pools import eligible

VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM
INT4 = Precision(0.5, (1, 32))
NVFP4 = Precision(0.5625, (1, 16))
PLAIN_HEADS = a_model(attends=attention(64, 8, 32), ffn=Dense(1024), quantization=Quantization.INT4)
"""Attention that an int4 checkpoint left unquantised: partitions of 32 outputs, of no block."""

NARROW = a_model(ffn=Dense(1024), precision=NVFP4, quantization=Quantization.NVFP4)
ALLOWED: dict[str, tuple[ModelFacts, Layout, Cause | None]] = {
    "SGLang's block is of quantised weights alone": (PLAIN_HEADS, Layout(8, 1), None),
    "SGLang's block is of int4 alone: 64 inputs of NVFP4 are four of its blocks": (NARROW, Layout(16, 1), None),
    "and of all int4": (
        replace(a_model(ffn=Dense(1024), precision=INT4), quantization=Quantization.INT4),
        Layout(16, 1),
        BlockSplit("inputs of `mlp.down_proj`", 64, 128, 16, (1, 2, 4, 8)),
    ),
    "experts do not divide": (
        a_model(ffn=Mixed(6, 2, 128)),
        Layout(4, 1, expert=True),
        NotDivisible("experts", 6, 4, (1, 2)),
    ),
    "no experts at all, whatever the degree": (facts(LLAMA_8B), Layout(3, 1, expert=True), NoExperts()),
}


@pytest.mark.parametrize(("model", "layout", "cause"), ALLOWED.values(), ids=ALLOWED)
def test_sglang_is_held_to_its_own_blocks(model: ModelFacts, layout: Layout, cause: Cause | None) -> None:
    assert illegal(model, SGLANG, layout) == cause


@pytest.mark.parametrize(
    ("model", "engine", "deepest"),
    [
        (facts(LLAMA_8B), VLLM, 32),
        (facts(LLAMA_405B), SGLANG, 126),
        (a_model(architecture="Zamba2ForCausalLM"), VLLM, 1),
        (a_model(architecture="Zamba2ForCausalLM"), TENSORRT_LLM, 32),
        (a_model(architecture="Gemma2ForCausalLM"), SGLANG, 1),
    ],
)
def test_pipelines_go_from_one_stage_to_one_for_each_layer(model: ModelFacts, engine: EngineName, deepest: int) -> None:
    allowed = legal_pipelines(model, engine)
    assert (min(allowed), max(allowed), len(allowed)) == (1, deepest, deepest)
    for pipeline in (1, deepest, deepest + 1):
        assert (illegal(model, engine, Layout(1, pipeline)) is None) is (pipeline in allowed)


def test_the_fewest_units_bound_the_degree_however_they_are_split() -> None:
    """By outputs, by inputs; a weight that every rank holds whole bounds nothing."""
    model = a_model(1)
    (few,) = (weight for weight in model.kinds[0].weights if weight.name == "self_attn.o_proj.weight")
    assert few.split is Split.INPUTS
    one_kind = replace(model.kinds[0], weights=(few,))
    assert heads(replace(model, kinds=(one_kind,))) == few.units == 64
    whole = replace(one_kind, weights=(replace(few, split=Split.WHOLE, units=3),))
    assert heads(replace(model, kinds=(whole,))) == 1
    assert legal_tensors(replace(model, kinds=(whole,)), VLLM) == (1,)


@pytest.mark.parametrize("end", ["embedding", "head"])
def test_either_end_may_forbid_a_degree_by_its_vocabulary(end: str) -> None:
    """32000 entries are no multiple of three; the other end has one of its own."""
    shape = {"attends": attention(60, 12), "ffn": Dense(3000)}
    bad, good = a_model(1, vocabulary=32000, **shape), a_model(1, vocabulary=192 * 100, **shape)  # type: ignore[arg-type]
    assert illegal(good, VLLM, Layout(3, 1)) is None
    mixed = replace(good, **{end: getattr(bad, end)})
    cause = illegal(mixed, VLLM, Layout(3, 1))
    assert cause == NotDivisible("vocabulary entries", 32000, 3, (1, 2, 4))


def test_degrees_up_to_512_are_considered() -> None:
    wide = a_model(1, attends=attention(1024, 1024, 8), ffn=Dense(1024), vocabulary=1024 * 64)
    assert legal_tensors(wide, VLLM)[-2:] == (256, 512)


def test_a_group_of_exactly_eight_racks_is_considered() -> None:
    """576 GPUs of eight NVL72 racks, and none more of twelve."""
    fleet = a_fleet(*(gb200_rack(18, clique=f"r{index:02d}") for index in range(12)))
    (racks,) = eligible(a_demand(), fleet).pools
    sizes = {layout.world_size for layout in layouts(a_demand(LLAMA_405B, budget=864), racks.gpus)}
    assert max(sizes) == 576


def test_no_more_stages_than_layers_are_enumerated_unless_pinned() -> None:
    (pool,) = eligible(a_demand(), a_fleet(h100s(8))).pools
    assert max(layout.pipeline for layout in layouts(a_demand(LLAMA_8B, budget=64), pool.gpus)) == 32
    assert list(layouts(a_demand(LLAMA_8B, pins=pinned(1, 40)), pool.gpus)) == [Layout(1, 40)]


H100_KIND, L40S_KIND = gpu_kind(H100), gpu_kind(L40S)
MESSAGE = 2**20
TIMES: dict[str, tuple[Links, int, int, float]] = {
    "NVLink, up to 8 MiB, by the engine's own kernels": (
        Links(H100_KIND, True, True),
        8 * 2**20,
        2,
        6e-6 + 1.2e-6 + 8 * 2**20 / (0.62 * 450e9),
    ),
    "NVLink, beyond": (Links(H100_KIND, True, True), 8 * 2**20 + 1, 2, 30e-6 + (8 * 2**20 + 1) / (0.62 * 450e9)),
    "NVLink, three quarters twice over four": (
        Links(H100_KIND, True, True),
        MESSAGE,
        4,
        6e-6 + 2.4e-6 + 1.5 * MESSAGE / (0.62 * 450e9),
    ),
    "two over PCIe": (Links(L40S_KIND, False, True), MESSAGE, 2, 30e-6 + MESSAGE / 14e9),
    "three over PCIe as four": (Links(L40S_KIND, False, True), MESSAGE, 3, 30e-6 + 4 / 3 * MESSAGE / 5e9),
    "eight over PCIe": (Links(L40S_KIND, False, True), MESSAGE, 8, 30e-6 + 1.75 * MESSAGE / 2e9),
    "sixteen over PCIe as eight": (Links(L40S_KIND, False, True), MESSAGE, 16, 30e-6 + 1.875 * MESSAGE / 2e9),
    "over PCIe in a node, with stages in others": (
        Links(L40S_KIND, False, False),
        MESSAGE,
        2,
        30e-6 + MESSAGE / 14e9,
    ),
    "inside a node beside its NVLink": (Links(H100_KIND, False, True), MESSAGE, 2, 30e-6 + MESSAGE / 14e9),
    "over the network": (Links(H100_KIND, False, False), MESSAGE, 16, 80e-6 + 1.875 * MESSAGE / 40e9),
}


@pytest.mark.parametrize(("links", "message", "gpus", "seconds"), TIMES.values(), ids=TIMES)
def test_an_all_reduce_takes_a_start_and_its_bytes(links: Links, message: int, gpus: int, seconds: float) -> None:
    assert all_reduce_seconds(message, gpus, links) == pytest.approx(seconds, rel=1e-9)


@pytest.mark.parametrize(
    ("links", "seconds"),
    [
        (Links(H100_KIND, True, True), 12e-6 + MESSAGE / (0.72 * 450e9)),
        (Links(L40S_KIND, False, True), 12e-6 + MESSAGE / (0.72 * 32e9)),
        (Links(H100_KIND, True, False), 80e-6 + MESSAGE / 40e9),
        (Links(L40S_KIND, False, False), 80e-6 + MESSAGE / 40e9),
    ],
)
def test_a_send_takes_a_start_and_its_bytes(links: Links, seconds: float) -> None:
    assert send_seconds(MESSAGE, links) == pytest.approx(seconds, rel=1e-9)


JOINED: dict[str, tuple[Demand, Fleet, bool, bool]] = {
    "a node": (a_demand(LLAMA_70B, pins=pinned(4, 2)), a_fleet(h100s(2)), True, True),
    "two nodes": (a_demand(LLAMA_70B, budget=16, pins=pinned(8, 2)), a_fleet(h100s(2)), True, False),
    "two trays of a rack": (a_demand(LLAMA_70B, pins=pinned(4, 2)), a_fleet(gb200_rack(4)), True, True),
    "two racks": (
        a_demand(LLAMA_70B, pins=pinned(4, 2)),
        a_fleet(gb200_rack(1, clique="a"), gb200_rack(1, clique="b")),
        True,
        False,
    ),
    "racks that a pin joins": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(16)),
        a_fleet(gb200_rack(2, clique="a"), gb200_rack(2, clique="b")),
        False,
        False,
    ),
    "nodes of two sizes: as in the larger": (
        a_demand(LLAMA_70B, pins=pinned(8)),
        a_fleet(h100s(1), a_node("half", gpus=4)),
        True,
        True,
    ),
    "stages of one GPU on two nodes": (a_demand(LLAMA_8B, budget=9, pins=pinned(1, 9)), a_fleet(h100s(2)), True, False),
}


@pytest.mark.parametrize(("demand", "fleet", "on_nvlink", "in_domain"), JOINED.values(), ids=JOINED)
def test_a_plan_is_estimated_over_the_links_its_ranks_have(
    demand: Demand, fleet: Fleet, on_nvlink: bool, in_domain: bool
) -> None:
    made = planned(demand, fleet)
    links = Links(gpu_kind(made.product), on_nvlink, in_domain)
    assert made.estimate == estimate(demand, made.layout, links, made.memory)


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (1, True), (-1, False)])
def test_memory_fits_to_the_last_byte(spare: int, fits: bool) -> None:
    demand = a_demand(LLAMA_8B, budget=1, reserve=0)
    slack = memory_use(demand, Layout(1, 1), cuda_bytes(H100)).slack
    made = plan(replace(demand, reserve=slack - spare), a_fleet(h100s(1)))
    assert isinstance(made, Plan) is fits
    if isinstance(made, Plan):
        assert (made.memory.slack, made.tight) == (spare, True)


def test_a_shortfall_says_each_part() -> None:
    demand = a_demand(LLAMA_405B, pins=pinned(8, 1), context=100_000)
    use = memory_use(demand, Layout(8, 1), cuda_bytes(H100))
    cause = refused(demand, a_fleet(h100s(1))).rejected[0].cause
    other = use.activations + use.reserve
    assert cause == MemoryShort(H100, use.needed, use.budget, use.weights, use.kv_cache, other)


ZONES = a_fleet(
    *(a_node(f"n{index}", free=free, labels={"zone": "ab"[index % 2]}) for index, free in enumerate((8, 8, 0, 0)))
)
FIRST_CAUSE: dict[str, tuple[Demand, Fleet, Cause]] = {
    "law before budget": (
        a_demand(LLAMA_8B, budget=1, pins=pinned(6, 1)),
        a_fleet(h100s(1)),
        NotDivisible("attention heads", 32, 6, (1, 2, 4, 8, 16, 32)),
    ),
    "budget before memory": (a_demand(LLAMA_405B, budget=1, pins=pinned(2, 1)), a_fleet(h100s(1)), OverBudget(2, 1, 1)),
    "too few slots over all places, and where": (
        a_demand(LLAMA_405B, budget=24, pins=pinned(8, 3), within="zone"),
        ZONES,
        NoRoom(H100, 3, 2, 8, 16, "zone"),
    ),
    "slots enough, in two places": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2), within="zone"),
        ZONES,
        NoRoom(H100, 2, 1, 8, 16, "zone"),
    ),
    "one group of two has room": (
        a_demand(LLAMA_8B, budget=16, pins=pinned(4, 2), within="zone", replicas=2),
        a_fleet(*(a_node(f"n{free}", free=free, labels={"zone": str(free)}) for free in (8, 4, 5))),
        NoRoom(H100, 4, 2, 4, 17, "zone"),
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "cause"), FIRST_CAUSE.values(), ids=FIRST_CAUSE)
def test_a_layout_has_the_first_cause_that_rules_it_out(demand: Demand, fleet: Fleet, cause: Cause) -> None:
    assert [layout.cause for layout in refused(demand, fleet).rejected] == [cause]


def test_memory_rules_a_layout_out_before_the_want_of_room() -> None:
    """Waiting for GPUs that are too small would be for nothing."""
    (layout,) = refused(a_demand(LLAMA_405B, pins=pinned(8, 1)), a_fleet(h100s(1, free=[0]))).rejected
    assert isinstance(layout.cause, MemoryShort)


def missed(cause: Cause, tensor: int = 1, pipeline: int = 1, product: str = "a") -> RejectedLayout:
    return RejectedLayout(Layout(tensor, pipeline), product, cause)


MISSES = [
    missed(NoRoom("a", wanted=4, slots=3, slot_gpus=1, free=3)),
    missed(NoRoom("a", wanted=2, slots=1, slot_gpus=1, free=1)),
    missed(NoRoom("a", wanted=1, slots=0, slot_gpus=1, free=0)),
    missed(MemoryShort("a", 110, 100, 110, 0, 0), product="b"),
    missed(MemoryShort("a", 110, 100, 110, 0, 0), 2),
    missed(MemoryShort("a", 120, 100, 120, 0, 0)),
    missed(OverBudget(3, 2, 1)),
    missed(OverBudget(4, 2, 1)),
    missed(NoExperts(), product="z"),
    missed(NoExperts(), 1, 2),
]


def test_near_misses_are_in_order_of_what_lacks() -> None:
    """Room, memory, budget, law; the smaller share that lacks, the smaller layout, the product's name."""
    shuffled = MISSES[::-1]
    assert sorted(shuffled, key=lambda layout: layout.distance) == MISSES


def test_a_context_that_may_be_lowered_waits_for_gpus_that_hold_the_least() -> None:
    demand = a_demand(KIMI_K2, context=131072, least_context=8192)
    refusal = refused(demand, a_fleet(h200s(1, free=[0])))
    assert (refusal.reason, refusal.waits) == (RefusalReason.CAPACITY_SHORT, True)
    planned(demand, a_fleet(h200s(1)))
    assert not refused(replace(demand, least_context=None), a_fleet(h200s(1, free=[0]))).waits


@pytest.mark.parametrize("least", [1, 1000, 4096, 70_000, 70_656])
def test_a_lowered_context_is_the_least_or_a_whole_step_and_noted_last(least: int) -> None:
    model = replace(facts(KIMI_K2), notes=("as published",))
    made = planned(a_demand(model, context=131072, least_context=least), a_fleet(h200s(1)))
    assert made.context_length % 1024 == 0
    assert made.notes[0] == Remark("as published")
    assert made.notes[-1] == ContextShortened(made.context_length, 131072)
    refused(a_demand(model, context=made.context_length + 1024), a_fleet(h200s(1)))


@pytest.mark.parametrize("engine", EngineName)
def test_a_plan_says_what_it_was_made_for(engine: EngineName) -> None:
    made = planned(a_demand(LLAMA_8B, engine=engine, concurrency=3, context=5000), a_fleet(h100s(1)))
    assert (made.engine, made.concurrency, made.context_length) == (engine, 3, 5000)


@pytest.mark.parametrize("objective", Objective)
def test_those_that_fit_are_told_first_the_best_first_then_the_others_by_size(objective: Objective) -> None:
    made = planned(a_demand(R1, budget=16, objective=objective), priced(a_fleet(h200s(2))))
    outcomes = [lost.outcome for lost in made.alternatives]
    fitting = outcomes.count(LayoutOutcome.FITS)
    assert set(outcomes[:fitting]) == {LayoutOutcome.FITS}
    sizes = [(lost.layout.world_size, lost.layout.pipeline) for lost in made.alternatives[fitting:]]
    assert sizes == sorted(sizes)


LABELS = {"disks": "12"}


@pytest.mark.parametrize("operator", [Operator.GREATER, Operator.LESS])
@pytest.mark.parametrize("bound", ["-5", "0", "5"])
def test_a_label_that_is_not_there_is_no_number(operator: Operator, bound: str) -> None:
    assert not matches_any(((Requirement("row", operator, (bound,)),),), LABELS)


@given(demands, fleets())
@settings(max_examples=60)
def test_a_plan_stays_when_a_node_that_it_does_not_use_goes(demand: Demand, fleet: Fleet) -> None:
    """Of another product, or without a free GPU: such a node changes no preference either."""
    made = plan(demand, fleet)
    if not isinstance(made, Plan):
        return
    kept = [node for node in fleet.nodes if node.product == made.product and (node.free or node.domain != node.name)]
    idle = {node.name for node in fleet.nodes if node not in kept and node.name not in made.gpus_by_node()}
    same_size = {node.gpus for node in kept} == {node.gpus for node in fleet.nodes if node.product == made.product}
    again = plan(demand, Fleet(tuple(node for node in fleet.nodes if node.name not in idle), fleet.levels))
    assert isinstance(again, Plan)
    if same_size:
        assert (again.layout, again.product, again.groups) == (made.layout, made.product, made.groups)


@given(demands, fleets())
@settings(max_examples=60)
def test_a_plan_fits_the_gpus_it_took_and_no_others(demand: Demand, fleet: Fleet) -> None:
    """Planned again where nothing else is free, it gets the same; after it, the rest is as before."""
    made = plan(demand, fleet)
    if not isinstance(made, Plan):
        return
    held = made.gpus_by_node()
    only = Fleet(tuple(node._replace(free=held.get(node.name, 0)) for node in fleet.nodes), fleet.levels)
    again = plan(demand, only)
    assert isinstance(again, Plan)
    assert again.gpus <= made.gpus
    left = take(fleet, made)
    assert {node.name: node.free for node in left.nodes} == {
        node.name: node.free - held.get(node.name, 0) for node in fleet.nodes
    }


def test_taking_more_than_is_free_leaves_nothing_and_no_less() -> None:
    """A plan in force is taken off a fleet in which its pods are counted already."""
    made = planned(a_demand(LLAMA_70B), a_fleet(h100s(1)))
    (node,) = take(a_fleet(h100s(1, free=[1])), made).nodes
    assert node.free == 0
