"""Prefill and decode planned together: one budget, layouts that agree, and numbers that the estimates give."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fleets import RDMA, a_fleet, a_node, h100s, h200s, l40s
from tests.support.models import LLAMA_8B, LLAMA_70B, R1, a_demand, pinned
from tests.support.plans import check_capacity, check_invariants, planned
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.notes import CacheByTcp, RolesCounted
from shardwise.domain.refusal import RefusalReason
from shardwise.domain.role_causes import PrefillWider, ShareShort, TensorApart
from shardwise.domain.roles import Connector, Half, Role, RoleName
from shardwise.planner import take
from shardwise.planner.halves import Pair, PairRefusal, for_other, only_in, within_of, without
from shardwise.planner.pairs import PROMPT_TOKENS, plan_pair
from shardwise.planner.transfer_support import transfer_cause

PREFILL, DECODE = RoleName
VLLM, SGLANG, TENSORRT_LLM = EngineName


def halves(
    model: str = LLAMA_70B, *, budget: int = 16, counted: bool = False, within: str | None = None, **changes: Any
) -> tuple[Demand, Demand]:
    """Give the demands of decode and prefill, a replica each unless counted."""
    made = (
        replace(
            a_demand(model, budget=budget), half=Half(Role(name, Connector.NIXL, within), counted=counted), **changes
        )
        for name in (DECODE, PREFILL)
    )
    decode, prefill = made
    return decode, prefill


def paired(decode: Demand, prefill: Demand, *nodes: object, levels: tuple[str, ...] = ()) -> Pair:
    found = plan_pair(decode, prefill, a_fleet(*nodes, levels=levels))  # type: ignore[arg-type]
    assert isinstance(found, Pair)
    return found


def test_each_role_gets_its_smallest_plan_and_groups_have_a_number_each() -> None:
    pair = paired(*halves(), h100s(2))
    assert (pair.decode.layout, pair.prefill.layout) == (Layout(4, 1), Layout(4, 1))
    assert [group.replica for made in (pair.decode, pair.prefill) for group in made.groups] == [0, 1]
    for made in (pair.decode, pair.prefill):
        check_invariants(replace(made, groups=made.numbered_from(0).groups))
    assert pair.of(PREFILL) is pair.prefill
    assert pair.of(DECODE) is pair.decode


def test_no_gpu_is_given_to_both_roles() -> None:
    pair = paired(*halves(), h100s(1))
    assert {node: pair.prefill.gpus_by_node()[node] + gpus for node, gpus in pair.decode.gpus_by_node().items()} == {
        "h100-00": 8
    }


def test_a_role_leaves_the_other_role_its_share_of_the_budget() -> None:
    """Decode for latency would take every GPU."""
    decode, prefill = halves(LLAMA_8B, budget=8)
    pair = paired(replace(decode, objective=Objective.LATENCY), prefill, h100s(2))
    assert (pair.decode.layout, pair.prefill.layout) == (Layout(4, 1), Layout(1, 1))


def test_a_budget_too_small_for_both_names_the_role_that_lacks_gpus() -> None:
    found = plan_pair(*halves(budget=5), a_fleet(h100s(2)))
    assert isinstance(found, PairRefusal)
    assert (found.role, found.beside, found.refusal.reason) == (DECODE, 4, RefusalReason.BUDGET_SHORT)
    short = ShareShort(2, 1, 1, role="decode", other="prefill", total=5, taken=4)
    assert short in {rejected.cause for rejected in found.refusal.rejected}


def test_the_smallest_budget_for_both_is_a_hint() -> None:
    """Prefill takes four GPUs at least, and decode needs two: a budget of six, and no smaller one, is enough."""
    decode, prefill = halves(budget=5)
    found = plan_pair(decode, prefill, a_fleet(h100s(2)))
    assert isinstance(found, PairRefusal)
    (hint,) = found.refusal.hints
    assert (hint.field, hint.value) == ("spec.gpuBudget.total", 6)
    followed = plan_pair(replace(decode, gpu_budget=6), replace(prefill, gpu_budget=6), a_fleet(h100s(2)))
    assert isinstance(followed, Pair)
    assert (hint.layout, hint.product, hint.gpus) == (followed.decode.layout, followed.decode.product, 2)


def test_no_budget_is_a_hint_where_the_fleet_has_no_room_for_both() -> None:
    found = plan_pair(*halves(budget=5), a_fleet(h100s(1, free=[5])))
    assert isinstance(found, PairRefusal)
    assert found.refusal.hints == ()


def test_a_fleet_too_small_for_both_waits() -> None:
    found = plan_pair(*halves(), a_fleet(h100s(1, free=[5])))
    assert isinstance(found, PairRefusal)
    assert (found.role, found.refusal.reason, found.refusal.waits) == (DECODE, RefusalReason.CAPACITY_SHORT, True)


def test_prefill_takes_a_layout_that_suits_decode() -> None:
    """Eight KV heads: a prefill wider than decode has at most eight GPUs."""
    decode, prefill = halves(budget=40)
    pair = paired(replace(decode, pins=pinned(2)), replace(prefill, pins=pinned(8)), h100s(5))
    assert (pair.decode.layout.tensor, pair.prefill.layout.tensor) == (2, 8)


def test_decode_follows_prefill_where_its_best_layout_suits_no_prefill() -> None:
    """On SGLang both have the same degree: the smallest is that of prefill, although decode wants latency."""
    decode, prefill = halves(LLAMA_8B, budget=16, engine=EngineName.SGLANG)
    pair = paired(replace(decode, objective=Objective.LATENCY), replace(prefill, pins=pinned(2)), h100s(2))
    assert (pair.decode.layout, pair.prefill.layout) == (Layout(2, 1), Layout(2, 1))


def test_pins_that_no_caches_travel_between_are_refused_with_the_law() -> None:
    decode, prefill = halves(R1, budget=64, engine=EngineName.VLLM)
    decode, prefill = replace(decode, pins=pinned(16, 1)), replace(prefill, pins=pinned(12, 1))
    found = plan_pair(decode, prefill, a_fleet(h200s(8)))
    assert isinstance(found, PairRefusal)
    causes = {type(rejected.cause) for rejected in found.refusal.rejected}
    assert found.refusal.reason is RefusalReason.ILLEGAL_LAYOUT or TensorApart in causes
    decode, prefill = halves(budget=64)
    wide = plan_pair(replace(decode, pins=pinned(8)), replace(prefill, pins=pinned(16)), a_fleet(h100s(8)))
    assert isinstance(wide, PairRefusal)
    assert PrefillWider("vllm", 16, 8, 8) in {rejected.cause for rejected in wide.refusal.rejected}


def test_the_estimates_give_the_numbers_of_replicas() -> None:
    """A replica of prefill feeds as many of decode as answer its prompts, and the note says the speeds."""
    decode, prefill = halves(budget=64, counted=True)
    pair = paired(replace(decode, pins=pinned(2)), prefill, h100s(8))
    note = next(noted for noted in pair.decode.notes if isinstance(noted, RolesCounted))
    ratio = note.prefill_speed / (PROMPT_TOKENS * note.decode_speed)
    assert (note.prefill, note.decode) == note.wanted == (pair.prefill.replicas, pair.decode.replicas)
    assert note.wanted == (1, round(ratio))
    assert round(ratio) > 1


def test_as_many_replicas_as_there_is_room_for_are_planned() -> None:
    """And the note says how many the estimates ask for."""
    decode, prefill = halves(budget=16, counted=True)
    pair = paired(replace(decode, pins=pinned(2)), prefill, h100s(2))
    note = next(noted for noted in pair.decode.notes if isinstance(noted, RolesCounted))
    assert (pair.prefill.gpus, pair.decode.gpus) == (4, 12)
    assert (note.prefill, note.decode) == (1, 6)
    assert note.wanted > (1, 6)


def test_the_replicas_that_the_object_states_stay() -> None:
    decode, prefill = halves(budget=32, counted=True)
    stated = replace(prefill, replicas=2, half=Half(Role(PREFILL)))
    pair = paired(decode, stated, h100s(4))
    assert pair.prefill.replicas == 2
    assert pair.decode.replicas > 2


@pytest.mark.parametrize(("budget", "nodes"), [(8, 4), (16, 1)], ids=["by the budget", "by the fleet"])
def test_the_estimates_ask_for_no_more_than_there_is(budget: int, nodes: int) -> None:
    pair = paired(*halves(budget=budget, counted=True), h100s(nodes))
    assert (pair.prefill.replicas, pair.decode.replicas) == (1, 1)


def test_caches_that_travel_by_tcp_are_noted() -> None:
    slow = paired(*halves(), h100s(2))
    assert CacheByTcp() in slow.decode.notes
    ready = [node._replace(allocatable=(("rdma/ib", 8000),)) for node in h100s(2)]
    assert CacheByTcp() not in paired(*halves(needs=RDMA), ready).decode.notes


def test_a_lone_pod_needs_a_device_for_its_caches() -> None:
    """A node with a single device has room for a single pod of either role."""
    one_each = [node._replace(allocatable=(("rdma/ib", 1000),)) for node in h100s(2)]
    pair = paired(*halves(LLAMA_8B, needs=RDMA), one_each)
    assert {*pair.decode.gpus_by_node()} != {*pair.prefill.gpus_by_node()}


RACKS = [
    a_node(f"{rack}-{number}", places=(rack,), free=free) for rack, free in (("a", 6), ("b", 4)) for number in range(2)
]


def test_both_roles_lie_in_a_place_that_has_room_for_both() -> None:
    """Rack a has more free GPUs and no node with eight; neither role leaves rack b."""
    decode, prefill = halves(budget=16, within="rack")
    pair = paired(decode, prefill, RACKS, levels=("rack",))
    nodes = {*pair.decode.gpus_by_node(), *pair.prefill.gpus_by_node()}
    assert {name[0] for name in nodes} == {"a"}
    full = [node._replace(free=2) if node.name.startswith("a") else node for node in RACKS]
    pair = paired(decode, prefill, full, levels=("rack",))
    assert {name[0] for name in {*pair.decode.gpus_by_node(), *pair.prefill.gpus_by_node()}} == {"b"}


def test_no_place_that_holds_both_roles_is_a_refusal() -> None:
    found = plan_pair(*halves(budget=16, within="node"), a_fleet(h100s(4, free=[4] * 4)))
    assert isinstance(found, PairRefusal)
    assert found.refusal.reason is RefusalReason.CAPACITY_SHORT
    assert isinstance(plan_pair(*halves(budget=16), a_fleet(h100s(4, free=[4] * 4))), Pair)


def test_roles_may_use_different_products() -> None:
    decode, prefill = halves(LLAMA_8B)
    pair = paired(
        replace(decode, products=("NVIDIA-H200",)), replace(prefill, products=("NVIDIA-L40S",)), h200s(1), l40s(1)
    )
    assert (pair.decode.product, pair.prefill.product) == ("NVIDIA-H200", "NVIDIA-L40S")


SHAPES: dict[str, tuple[str, EngineName, int, Objective, Layout, Layout]] = {
    "a model of one GPU": (LLAMA_8B, VLLM, 8, Objective.FEWEST_GPUS, Layout(1, 1), Layout(1, 1)),
    "a model of one GPU, fast": (LLAMA_8B, VLLM, 8, Objective.LATENCY, Layout(4, 1), Layout(4, 1)),
    "a model of one GPU, fast, on SGLang": (LLAMA_8B, SGLANG, 8, Objective.LATENCY, Layout(4, 1), Layout(4, 1)),
    "a model of one GPU, many tokens": (LLAMA_8B, VLLM, 8, Objective.THROUGHPUT, Layout(1, 1), Layout(1, 1)),
    "a model of four GPUs": (LLAMA_70B, VLLM, 16, Objective.FEWEST_GPUS, Layout(4, 1), Layout(4, 1)),
    "a model of four GPUs, fast": (LLAMA_70B, VLLM, 16, Objective.LATENCY, Layout(8, 1), Layout(8, 1)),
    "a model of four GPUs on TensorRT-LLM": (
        LLAMA_70B,
        TENSORRT_LLM,
        16,
        Objective.FEWEST_GPUS,
        Layout(2, 1),
        Layout(2, 1),
    ),
}


@pytest.mark.parametrize(("model", "engine", "budget", "objective", "decode", "prefill"), SHAPES.values(), ids=SHAPES)
def test_the_shapes_of_both_roles(
    model: str, engine: EngineName, budget: int, objective: Objective, decode: Layout, prefill: Layout
) -> None:
    """On two nodes of H100: what decode leaves of the budget is for prefill."""
    pair = paired(*halves(model, budget=budget, engine=engine, objective=objective), h100s(2))
    assert (pair.decode.layout, pair.prefill.layout) == (decode, prefill)


def test_a_demand_without_a_role_has_no_other_and_no_place() -> None:
    plain = a_demand(LLAMA_8B)
    assert for_other(plain, planned(plain, a_fleet(h100s(1)))) is plain
    assert within_of(plain) is None


def test_the_layout_of_the_other_role_is_part_of_the_demand() -> None:
    decode, _ = halves(within="rack")
    made = planned(a_demand(LLAMA_70B, pins=pinned(2)), a_fleet(h100s(2)))
    told = for_other(decode, made)
    assert told.half == Half(Role(DECODE, Connector.NIXL, "rack"), made.layout)
    assert within_of(told) == "rack"
    assert for_other(told, None) == decode


def test_outside_a_place_nothing_is_free() -> None:
    """The nodes stay: what runs there goes on."""
    fleet = only_in(a_fleet(*RACKS, levels=("rack",)), "rack", "a")
    assert {node.name: node.free for node in fleet.nodes} == {"a-0": 6, "a-1": 6, "b-0": 0, "b-1": 0}


def test_what_a_role_takes_is_not_there_for_the_other() -> None:
    """GPUs, and every other resource that its pods need."""
    node = a_node("a")._replace(allocatable=(("rdma/ib", 4000),))
    demand = a_demand(LLAMA_8B, needs=RDMA)
    left = without(a_fleet(node), demand, planned(demand, a_fleet(node)))
    assert [(found.free, found.taken) for found in left.nodes] == [(7, (("rdma/ib", 1000),))]


@given(demands, fleets(), st.sampled_from(list(EngineName)), st.booleans())
@settings(max_examples=60)
def test_whatever_is_planned_keeps_budget_fleet_and_law(
    demand: Demand, fleet: Fleet, engine: EngineName, counted: bool
) -> None:
    """The plans of both roles stand together, each as the plan of an object would."""
    decode, prefill = (
        replace(demand, engine=engine, half=Half(Role(name), counted=counted)) for name in (DECODE, PREFILL)
    )
    found = plan_pair(decode, prefill, fleet)
    if isinstance(found, PairRefusal):
        assert found.role in RoleName
        for hint in found.refusal.hints:
            assert isinstance(hint.value, int)
            richer = replace(decode, gpu_budget=hint.value), replace(prefill, gpu_budget=hint.value)
            assert isinstance(plan_pair(*richer, fleet), Pair)
        return
    assert found.decode.gpus + found.prefill.gpus <= demand.gpu_budget
    check_capacity(found.decode, fleet)
    check_capacity(found.prefill, take(fleet, found.decode))
    numbers = [group.replica for made in (found.decode, found.prefill) for group in made.groups]
    assert numbers == list(range(len(numbers)))
    for name in RoleName:
        half = Half(Role(name), found.of(name.other).layout)
        assert transfer_cause(demand.model, engine, found.of(name).layout, half) is None


@given(demands, fleets(), st.sampled_from(list(EngineName)))
@settings(max_examples=30)
def test_the_same_pair_is_planned_for_the_same_fleet(demand: Demand, fleet: Fleet, engine: EngineName) -> None:
    decode, prefill = (replace(demand, engine=engine, half=Half(Role(name))) for name in (DECODE, PREFILL))
    assert plan_pair(decode, prefill, fleet) == plan_pair(decode, prefill, fleet)


REFUSED: dict[str, tuple[str, int, tuple[int, ...], RoleName, RefusalReason, bool]] = {
    "no GPU for prefill": (LLAMA_70B, 16, (0, 0), PREFILL, RefusalReason.CAPACITY_SHORT, True),
    "no GPU for decode": (LLAMA_70B, 16, (2, 0), PREFILL, RefusalReason.CAPACITY_SHORT, True),
    "a budget for prefill alone": (LLAMA_8B, 1, (8, 8), DECODE, RefusalReason.BUDGET_SHORT, False),
    "a budget for no role": (LLAMA_70B, 1, (8, 8), PREFILL, RefusalReason.BUDGET_SHORT, False),
    "GPUs for a role of one GPU": (LLAMA_8B, 8, (1,), DECODE, RefusalReason.CAPACITY_SHORT, True),
}


@pytest.mark.parametrize(("model", "budget", "free", "role", "reason", "waits"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_the_role_and_whether_waiting_helps(
    model: str, budget: int, free: tuple[int, ...], role: RoleName, reason: RefusalReason, waits: bool
) -> None:
    decode, prefill = halves(model, budget=budget)
    pinned_prefill = replace(prefill, pins=pinned(4 if model == LLAMA_70B and budget > 1 else None))
    found = plan_pair(decode, pinned_prefill, a_fleet(h100s(len(free), free=free)))
    assert isinstance(found, PairRefusal)
    assert (found.role, found.refusal.reason, found.refusal.waits) == (role, reason, waits)
    assert all(hint.field == "spec.gpuBudget.total" for hint in found.refusal.hints)


COUNTS: dict[str, tuple[int | None, int | None, int]] = {
    "both stated": (2, 1, 3),
    "decode stated": (2, None, 3),
    "prefill stated": (None, 1, 2),
}


@pytest.mark.parametrize(("decoding", "prefilling", "least"), COUNTS.values(), ids=COUNTS)
def test_stated_numbers_are_kept_and_others_are_at_least_one(
    decoding: int | None, prefilling: int | None, least: int
) -> None:
    decode, prefill = (
        replace(demand, replicas=count or 1, half=Half(Role(name), counted=count is None))
        for demand, count, name in zip(
            halves(LLAMA_8B, budget=16), (decoding, prefilling), (DECODE, PREFILL), strict=True
        )
    )
    pair = paired(decode, prefill, h100s(2))
    assert decoding in (None, pair.decode.replicas)
    assert prefilling in (None, pair.prefill.replicas)
    assert pair.decode.replicas + pair.prefill.replicas >= least
    counted = [noted for noted in pair.decode.notes if isinstance(noted, RolesCounted)]
    assert len(counted) == (None in (decoding, prefilling))


@given(demands, fleets(), st.integers(1, 8))
@settings(max_examples=30)
def test_more_free_gpus_never_lose_a_pair(demand: Demand, fleet: Fleet, more: int) -> None:
    """A node with free GPUs beside the others: whatever was planned can still be planned."""
    decode, prefill = (replace(demand, half=Half(Role(name))) for name in (DECODE, PREFILL))
    if isinstance(plan_pair(decode, prefill, fleet), PairRefusal):
        return
    wider = a_fleet(fleet.nodes, a_node("z-more", free=more))
    assert isinstance(plan_pair(decode, prefill, wider), Pair)


def test_the_plan_of_a_role_is_that_of_an_object_where_the_other_role_leaves_it_all() -> None:
    """The same planner: layout, memory and estimate of decode are those of a demand without a role."""
    decode, prefill = halves(budget=16)
    alone = planned(replace(decode, half=None, gpu_budget=12), a_fleet(h100s(4)))
    pair = paired(decode, prefill, h100s(4))
    assert (pair.decode.layout, pair.decode.memory) == (alone.layout, alone.memory)
    assert pair.decode.estimate == alone.estimate
