"""The law of data ranks and of divided caches: by engine, by release and by model, with the words of a refusal."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import a_fleet, gb200_rack, h100s, h200s
from tests.support.models import DATA, LLAMA_70B, QWEN_235B_FP8, R1, a_demand, facts
from tests.support.plans import planned, refused

from shardwise.domain.data_causes import (
    ContextUneven,
    ContextUnsupported,
    DataAlone,
    DataOfDense,
    DataUnsupported,
    ExpertsAcross,
    TooFewExperts,
)
from shardwise.domain.demand import EngineSetup, Objective, Pins
from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.needs import PodNeeds
from shardwise.domain.refusal import BlockSplit, Cause, NotDivisible, RefusalReason
from shardwise.domain.version import Version, parse_version
from shardwise.planner.data_support import data_cause, has_data, legal_contexts, row_of
from shardwise.planner.layouts import layouts
from shardwise.planner.legality import illegal
from shardwise.planner.pools import eligible

VLLM, SGLANG, TENSORRT_LLM = EngineName
MIXTRAL, GPT_OSS = "mistralai/Mixtral-8x7B-v0.1", "openai/gpt-oss-20b"
QWEN_30B = "Qwen/Qwen3-30B-A3B"


def ranks(data: int, tensor: int = 1, pipeline: int = 1, *, whole: bool = True, context: int = 1) -> Layout:
    return Layout(tensor, pipeline, whole, data, context)


LAW: dict[str, tuple[str, EngineName, Layout, Cause | None]] = {
    "a GPU each": (R1, VLLM, ranks(8), None),
    "tensor groups": (R1, VLLM, ranks(4, 2), None),
    "in stages": (R1, VLLM, ranks(4, 2, 2), None),
    "experts split over all": (R1, VLLM, ranks(8, whole=False), None),
    "72 GPUs": (R1, VLLM, ranks(72), None),
    "every GPU an expert": (MIXTRAL, VLLM, ranks(8), None),
    "fewer experts than GPUs": (MIXTRAL, VLLM, ranks(16), TooFewExperts(8, 16)),
    "fewer experts than GPUs of tensor groups": (MIXTRAL, SGLANG, ranks(4, 4), TooFewExperts(8, 16)),
    "experts split where there are fewer": (MIXTRAL, VLLM, ranks(16, whole=False), None),
    "SGLang, experts that divide": (R1, SGLANG, ranks(16, 2), None),
    "SGLang, experts that do not divide": (R1, SGLANG, ranks(72), NotDivisible("experts", 256, 72)),
    "TensorRT-LLM, a GPU each": (R1, TENSORRT_LLM, ranks(8), None),
    "TensorRT-LLM, in stages": (R1, TENSORRT_LLM, ranks(8, pipeline=2), None),
    "TensorRT-LLM, tensor groups": (R1, TENSORRT_LLM, ranks(4, 2), DataAlone("tensorrt-llm", 2, 4)),
    "TensorRT-LLM, experts that do not divide": (R1, TENSORRT_LLM, ranks(12), NotDivisible("experts", 256, 12)),
    "no experts": (LLAMA_70B, VLLM, ranks(2, 4, whole=False), DataOfDense(2)),
    "no experts, on SGLang": (LLAMA_70B, SGLANG, ranks(2, 4, whole=False), DataOfDense(2)),
    "no experts, a single data rank": (LLAMA_70B, VLLM, ranks(1, 4, whole=False), None),
    "the columns of experts, split": (
        QWEN_235B_FP8,
        TENSORRT_LLM,
        ranks(8, whole=False),
        BlockSplit("outputs of `mlp.experts.gate_proj`", 192, 128, 8),
    ),
    "columns in finer blocks": (QWEN_235B_FP8, VLLM, ranks(16, whole=False), None),
    "columns in blocks too fine": (
        QWEN_235B_FP8,
        VLLM,
        ranks(32, whole=False),
        BlockSplit("outputs of `mlp.experts.gate_proj`", 48, 128, 32),
    ),
    "columns that do not divide": (
        QWEN_30B,
        VLLM,
        ranks(5, whole=False),
        NotDivisible("expert columns", 768, 5),
    ),
    "heads that do not divide, whatever the data degree": (
        QWEN_30B,
        VLLM,
        ranks(2, 5),
        NotDivisible("attention heads", 32, 5),
    ),
    "a cache of latent attention": (R1, VLLM, ranks(1, 8, whole=False, context=8), None),
    "a cache beside data ranks": (R1, VLLM, ranks(2, 8, context=4), None),
    "a cache that the group does not divide": (
        R1,
        VLLM,
        ranks(1, 8, whole=False, context=3),
        ContextUneven(3, 8, (1, 2, 4, 8)),
    ),
    "a cache of heads that several GPUs hold": (QWEN_235B_FP8, VLLM, ranks(1, 8, context=2), None),
    "a cache of heads, too far": (QWEN_235B_FP8, VLLM, ranks(1, 8, context=4), ContextUneven(4, 8, (1, 2))),
    "a cache of heads that no two GPUs hold": (QWEN_235B_FP8, VLLM, ranks(1, 4, context=2), ContextUneven(2, 4, (1,))),
    "a cache of as many heads as GPUs": (GPT_OSS, VLLM, ranks(1, 8, context=2), ContextUneven(2, 8, (1,))),
    "SGLang, a cache of latent attention": (R1, SGLANG, ranks(1, 8, whole=False, context=4), None),
    "SGLang, a cache of heads": (
        QWEN_30B,
        SGLANG,
        ranks(1, 8, context=2),
        ContextUnsupported("sglang", "0.5.23", latent_only=True),
    ),
    "TensorRT-LLM, a cache": (
        R1,
        TENSORRT_LLM,
        ranks(1, 8, whole=False, context=2),
        ContextUnsupported("tensorrt-llm", "1.2.1"),
    ),
}


@pytest.mark.parametrize(("model", "engine", "layout", "cause"), LAW.values(), ids=LAW)
def test_the_law_of_data_ranks(model: str, engine: EngineName, layout: Layout, cause: Cause | None) -> None:
    assert illegal(facts(model), engine, layout) == cause


REDUNDANT: dict[str, tuple[EngineName, Layout, int, Cause | None]] = {
    "72 GPUs with 32": (SGLANG, ranks(72), 32, None),
    "vLLM, 32 GPUs with 32": (VLLM, ranks(32), 32, None),
    "vLLM divides no odd number": (VLLM, ranks(32), 30, NotDivisible("experts, 30 redundant,", 286, 32)),
    "a tensor group": (VLLM, ranks(1, 8), 4, NotDivisible("experts, 4 redundant,", 260, 8)),
    "SGLang, a tensor group": (SGLANG, ranks(1, 8), 8, None),
    "split experts have no copies": (VLLM, ranks(8, whole=False), 3, None),
}


@pytest.mark.parametrize(("engine", "layout", "redundant", "cause"), REDUNDANT.values(), ids=REDUNDANT)
def test_redundant_experts_count_where_experts_are_dealt_out(
    engine: EngineName, layout: Layout, redundant: int, cause: Cause | None
) -> None:
    assert illegal(facts(R1), engine, layout, EngineSetup(redundant_experts=redundant)) == cause


SINCE: dict[EngineName, tuple[Version, Version]] = {
    SGLANG: ((0, 4, 9), (0, 5, 0)),
    TENSORRT_LLM: ((0, 21, 0), (1, 0, 0)),
    VLLM: ((0, 11, 0), (0, 11, 1)),
}


@pytest.mark.parametrize(("engine", "releases"), SINCE.items())
def test_releases_without_data_ranks_are_told_from_those_with(
    engine: EngineName, releases: tuple[Version, Version]
) -> None:
    before, since = releases
    assert not has_data(engine, before)
    assert has_data(engine, since)
    assert has_data(engine, None)
    found = illegal(facts(R1), engine, ranks(8), EngineSetup(before))
    assert isinstance(found, DataUnsupported)
    assert parse_version(found.since) == since
    assert illegal(facts(R1), engine, ranks(8), EngineSetup(since)) is None


def test_an_older_sglang_divides_no_cache() -> None:
    layout = ranks(1, 8, whole=False, context=2)
    found = data_cause(facts(R1), SGLANG, layout, (0, 5, 16))
    assert found == ContextUnsupported("sglang", "0.5.16")
    assert data_cause(facts(R1), SGLANG, layout, (0, 5, 17)) is None
    assert data_cause(facts(R1), SGLANG, layout, RELEASES[SGLANG]) is None


@pytest.mark.parametrize("engine", list(EngineName))
def test_every_engine_has_a_row_with_its_first_release(engine: EngineName) -> None:
    row = row_of(engine)
    assert parse_version(row.since) is not None
    assert set(row.over_stage) <= {"dense", "head", "shared"}
    assert row.context_since is None or parse_version(row.context_since) is not None


def test_vllm_refuses_what_its_own_classes_refused_to_build() -> None:
    """Of the layouts whose bytes were asked of vLLM: all are legal but the one that cuts blocks."""
    rows = json.loads((DATA / "data-parallel-weights.json").read_text())["rows"]
    for row in rows:
        if "redundantExperts" in row:
            continue
        layout = Layout(row["tensor"], row["pipeline"], row["expertParallel"], row["data"])
        assert (illegal(facts(row["model"]), VLLM, layout) is None) == ("refused" not in row), layout


@given(st.integers(1, 64))
def test_legal_context_degrees_divide_the_tensor_degree(tensor: int) -> None:
    of_latent, of_heads = (legal_contexts(facts(name), tensor) for name in (R1, QWEN_235B_FP8))
    assert of_latent == tuple(degree for degree in range(1, tensor + 1) if tensor % degree == 0)
    assert of_heads[0] == 1
    assert set(of_heads) <= set(of_latent)
    assert max(of_heads) <= max(1, tensor // 4)


def tried(name: str, *, budget: int = 16, engine: EngineName = VLLM, **changes: Any) -> list[Layout]:
    demand = a_demand(name, budget=budget, engine=engine, **changes)
    pool = eligible(demand, a_fleet(h200s(budget // 8))).pools[0]
    return list(layouts(demand, pool.gpus))


def test_data_degrees_are_tried_for_mixtures_of_experts_alone() -> None:
    """A model without experts costs no search for them."""
    assert {layout.data for layout in tried(LLAMA_70B)} == {1}
    assert {layout.data for layout in tried(R1)} == {1, 2, 4, 8, 16}


@pytest.mark.parametrize("engine", list(EngineName))
@pytest.mark.parametrize("name", [R1, QWEN_235B_FP8, MIXTRAL])
def test_the_layouts_with_data_ranks_are_few_and_each_is_tried_once(name: str, engine: EngineName) -> None:
    """Within the budget, experts whole, in depths that are powers of two."""
    found = [layout for layout in tried(name, engine=engine) if layout.data > 1]
    assert len(found) == len(set(found)) <= 60
    assert all(layout.expert and layout.world_size <= 16 for layout in found)
    assert {layout.pipeline for layout in found} <= {1, 2, 4, 8}
    if engine is TENSORRT_LLM:
        assert {layout.tensor for layout in found} == {1}


def test_numbers_of_whole_nodes_that_are_no_power_of_two_are_tried_too() -> None:
    """Not every number of nodes, because each costs a search of all depths."""
    found = {layout.stage_gpus for layout in tried(R1, budget=48) if layout.data > 1}
    assert found == {2, 4, 8, 16, 32} | {24, 48} | {40}


def test_a_large_fleet_has_no_more_than_some_hundred_layouts_with_data_ranks() -> None:
    found = [layout for layout in layouts(a_demand(R1), 5000) if layout.data > 1]
    assert len(found) == len(set(found)) < 500
    assert max(layout.world_size for layout in found) <= 576


PINS: dict[str, tuple[Pins, set[int]]] = {
    "none": (Pins(), {1, 2, 4, 8, 16}),
    "a data degree": (Pins(data=8), {8}),
    "one data rank": (Pins(data=1), {1}),
    "tensor and pipeline": (Pins(8, 2), {1}),
    "tensor alone": (Pins(4), {1, 2, 4}),
    "pipeline alone": (Pins(None, 2), {1, 2, 4, 8}),
    "all three": (Pins(4, 1, data=3), {3}),
}


@pytest.mark.parametrize(("pins", "degrees"), PINS.values(), ids=PINS)
def test_pins_narrow_the_data_degrees(pins: Pins, degrees: set[int]) -> None:
    """Whoever pins tensor and pipeline states all GPUs: no data rank is added to them."""
    assert {layout.data for layout in tried(R1, pins=pins)} == degrees


def test_a_pinned_context_degree_is_in_every_layout() -> None:
    assert {layout.context for layout in tried(R1, pins=Pins(context=2))} == {2}


@pytest.mark.parametrize("engine", list(EngineName))
def test_data_ranks_of_a_model_without_experts_are_replicas(engine: EngineName) -> None:
    refusal = refused(a_demand(LLAMA_70B, pins=Pins(data=2), engine=engine, budget=16), a_fleet(h100s(2)))
    assert refusal.reason is RefusalReason.ILLEGAL_LAYOUT
    assert {lost.cause for lost in refusal.rejected} == {DataOfDense(2)}
    assert ("spec.parallelism.data", 1) in {(hint.field, hint.value) for hint in refusal.hints}


def test_data_ranks_across_domains_need_rdma_or_a_pin() -> None:
    """One layout, three ways to ask for it."""
    demand = a_demand(R1, budget=16, pins=Pins(None, 1, True))
    alone = a_fleet(h100s(2))
    across = next(
        lost.cause for lost in refused(demand, alone).rejected if lost.layout == Layout(1, 1, expert=True, data=16)
    )
    assert across == ExpertsAcross(alone.nodes[0].product, 16, 8)
    by_pin = planned(a_demand(R1, budget=16, pins=Pins(1, 1, True, 16)), alone)
    assert by_pin.layout == Layout(1, 1, True, 16)


def test_a_rack_is_a_domain_for_data_ranks() -> None:
    made = planned(a_demand(R1, budget=32, objective=Objective.THROUGHPUT), a_fleet(gb200_rack(8)))
    assert made.layout == Layout(1, 1, True, 32)
    assert made.linked
    assert made.nvlink_gpus == 32
    assert {pod.domain for pod in made.groups[0].pods} == {"rack-0"}


def test_pods_of_data_ranks_on_a_rack_need_a_channel_each() -> None:
    """Two replicas of eight GPUs cannot share a tray: its channel goes to a single pod."""
    channel = PodNeeds(in_stage=(("IMEX channel", 1000),))
    pins = Pins(1, 1, True, 8)
    demand = a_demand(R1, budget=16, replicas=2, pins=pins, needs=channel)
    made = planned(demand, a_fleet(gb200_rack(4)))
    nodes = [pod.node for group in made.groups for pod in group.pods]
    assert len(nodes) == len(set(nodes)) == 4
