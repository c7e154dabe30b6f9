"""What other planners get wrong (planning facts, section 2): one test for each trap, by name."""

import pytest
from tests.support.fleets import H100, a_fleet, a_node, cuda_bytes, gb200_rack, h100s, h200s, l40s, priced
from tests.support.models import (
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    a_demand,
    a_model,
    attention,
    pinned,
)
from tests.support.plans import check_invariants, fate, planned, pods, refused

from shardwise.domain.demand import Objective
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Rule
from shardwise.domain.refusal import BlockSplit, MemoryShort, NotDivisible, RefusalReason
from shardwise.domain.units import GIB, MIB
from shardwise.planner.caches import kv_bytes
from shardwise.planner.memory import memory_use


@pytest.mark.parametrize("name", [LLAMA_8B, LLAMA_70B])
def test_tensor_is_not_blindly_the_gpus_of_a_node(name: str) -> None:
    assert planned(a_demand(name), a_fleet(h100s(1))).layout.tensor < 8


def test_tensor_is_the_nvlink_domains_where_it_is_wider_than_a_node() -> None:
    made = planned(a_demand(LLAMA_70B, budget=64, objective=Objective.LATENCY), a_fleet(gb200_rack(18)))
    assert made.layout.tensor > 4
    assert made.rule is Rule.MULTI_NODE_NVLINK


def test_a_dense_405b_in_bf16_fits_sixteen_h100() -> None:
    assert planned(a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2))).layout == Layout(8, 2)


def test_memory_is_checked_on_the_fullest_rank_not_as_a_sum() -> None:
    """Over 16 ranks each keeps one of eight KV heads: the ranks together hold the cache twice."""
    demand = a_demand(LLAMA_70B, budget=16, context=131072, concurrency=20)
    whole, sixteenth = (memory_use(demand, Layout(tensor, 1), 81559 * MIB) for tensor in (1, 16))
    assert sixteenth.kv_cache * 16 == 2 * whole.kv_cache


def test_the_heaviest_stage_decides_when_stages_are_uneven() -> None:
    """126 layers over 4 stages are 31, 32, 32, 31: the plan must hold 32 of them, not 31.5."""
    demand = a_demand(LLAMA_405B, budget=32)
    one_layer = memory_use(demand, Layout(8, 126), 0).kv_cache
    assert memory_use(demand, Layout(8, 4), 0).kv_cache == 32 * one_layer


def test_the_kv_cache_counts() -> None:
    short = planned(a_demand(LLAMA_8B, context=8192), a_fleet(l40s(1)))
    long = planned(a_demand(LLAMA_8B, context=131072, concurrency=4), a_fleet(l40s(1)))
    assert short.layout.world_size == 1
    assert long.layout.world_size > 1
    assert long.memory.kv_cache > short.memory.kv_cache


@pytest.mark.parametrize("tensor", [1, 2, 4, 8, 16, 32])
def test_the_kv_cache_of_latent_attention_is_not_divided_by_tensor(tensor: int) -> None:
    demand = a_demand(R1)
    assert kv_bytes(demand, demand.model.layers[0].cache, tensor) == (512 + 64) * 2 * 8192


@pytest.mark.parametrize(("tensor", "heads"), [(1, 8), (2, 4), (4, 2), (8, 1), (16, 1), (64, 1)])
def test_the_kv_cache_of_grouped_attention_stops_shrinking_at_one_head(tensor: int, heads: int) -> None:
    demand = a_demand(LLAMA_70B)
    assert kv_bytes(demand, demand.model.layers[0].cache, tensor) == 2 * heads * 128 * 2 * 8192


def test_free_gpus_in_unequal_parts_are_used() -> None:
    made = planned(a_demand(LLAMA_405B, budget=16), a_fleet(h100s(3, free=(8, 4, 4))))
    assert (made.layout, made.gpus) == (Layout(4, 4), 16)
    check_invariants(made)


@pytest.mark.parametrize("objective", list(Objective))
def test_pcie_and_nvlink_do_not_rank_equal(objective: Objective) -> None:
    nvlink = planned(a_demand(LLAMA_70B, objective=objective), priced(a_fleet(h100s(1))))
    pcie = a_node("pcie", product="NVIDIA-L40S")._replace(product="NVIDIA-H100-PCIe", memory=81559 * MIB)
    slow = planned(a_demand(LLAMA_70B, objective=objective), priced(a_fleet(pcie), {"NVIDIA-H100-PCIe": 2.0}))
    assert slow.estimate.seconds_per_token > nvlink.estimate.seconds_per_token


@pytest.mark.parametrize("first", ["aaa", "zzz"])
def test_no_single_node_speaks_for_the_cluster(first: str) -> None:
    """A small node first or last in the list changes nothing about what the large one can do."""
    small = a_node(first, product="Tesla-T4", gpus=1)
    made = planned(a_demand(LLAMA_70B), a_fleet(small, h100s(1)))
    assert (made.product, made.layout) == (H100, Layout(4, 1))


def test_the_smallest_gpu_of_a_pool_sets_its_budget() -> None:
    fleet = a_fleet(a_node("a", memory_mib=81559), a_node("b", memory_mib=60000))
    assert planned(a_demand(LLAMA_8B), fleet).memory.budget == int(cuda_bytes(H100, 60000) * 0.92)


INDIVISIBLE = [
    ("heads", LLAMA_70B, pinned(6), NotDivisible("attention heads", 64, 6, (1, 2, 4, 8, 16, 32, 64))),
    (
        "block",
        QWEN_235B_FP8,
        pinned(32, expert=False),
        BlockSplit("outputs of `mlp.experts.gate_proj`", 48, 128, 32, (1, 2, 4, 8, 16)),
    ),
]


@pytest.mark.parametrize(("what", "name", "pins", "cause"), INDIVISIBLE)
def test_what_would_crash_at_load_is_refused_before(what: str, name: str, pins: object, cause: object) -> None:
    refusal = refused(a_demand(name, pins=pins), a_fleet(h100s(1)))
    assert (refusal.reason, refusal.waits) == (RefusalReason.ILLEGAL_LAYOUT, False)
    assert [rejection.cause for rejection in refusal.rejected] == [cause]


def test_kv_heads_are_checked_though_the_engine_finds_them_only_at_load() -> None:
    """28 heads and 4 KV heads on 7 ranks pass vLLM's own check of the config and die when weights are loaded."""
    model = a_model(28, attends=attention(28, 4), hidden=3584)
    refusal = refused(a_demand(model, pins=pinned(7)), a_fleet(h100s(1)))
    assert refusal.rejected[0].cause == NotDivisible("KV heads", 4, 7, (1, 2, 4))


@pytest.mark.parametrize("tensor", [1, 2, 4, 8])
@pytest.mark.parametrize("pipeline", [1, 2, 3])
def test_no_gpu_a_pod_requests_is_idle(tensor: int, pipeline: int) -> None:
    made = planned(a_demand(LLAMA_8B, budget=24, pins=pinned(tensor, pipeline)), a_fleet(h100s(3)))
    assert made.layout == Layout(tensor, pipeline)
    check_invariants(made)


def test_no_more_nodes_are_asked_for_than_exist() -> None:
    refusal = refused(a_demand(LLAMA_405B, budget=64, pins=pinned(8, 4)), a_fleet(h100s(3)))
    assert refusal.reason is RefusalReason.CAPACITY_SHORT
    assert not refusal.waits


def test_a_rack_with_trays_out_of_use_is_planned_on_what_is_left() -> None:
    trays = [tray._replace(free=0) if index in (3, 11) else tray for index, tray in enumerate(gb200_rack(18))]
    made = planned(a_demand(R1, budget=64, objective=Objective.LATENCY), a_fleet(trays))
    assert made.layout.world_size <= 64
    assert {"rack-0-tray-03", "rack-0-tray-11"}.isdisjoint(node for node, _ in pods(made))


def test_the_405b_that_one_node_cannot_hold_is_refused_with_the_shortfall() -> None:
    refusal = refused(a_demand(LLAMA_405B), a_fleet(h100s(1)))
    assert refusal.reason is RefusalReason.MEMORY_SHORT
    assert refusal.nearest is not None
    cause = refusal.nearest.cause
    assert isinstance(cause, MemoryShort)
    assert (cause.needed - cause.budget) / GIB == pytest.approx(24.9, abs=0.5)


def test_a_tight_layout_is_left_for_a_roomier_one_and_says_why() -> None:
    made = planned(a_demand(R1, budget=8), a_fleet(gb200_rack(2)))
    assert made.layout == Layout(8, 1)
    assert fate(made, Layout(4, 1)).__class__.__name__ == "Tight"


def test_h200_is_not_mistaken_for_h100() -> None:
    assert planned(a_demand(R1), a_fleet(h200s(1))).layout == Layout(8, 1)
    assert refused(a_demand(R1), a_fleet(h100s(1))).reason is RefusalReason.MEMORY_SHORT
