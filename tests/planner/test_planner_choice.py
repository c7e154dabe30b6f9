"""The order of preference and the estimate behind it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import H100, H200, L40S, a_fleet, a_node, h100s, h200s, l40s, priced
from tests.support.models import (
    DATA,
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
from tests.support.plans import planned

from shardwise.checkpoint import from_config
from shardwise.domain.demand import Demand, Objective
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Estimate, MemoryUse
from shardwise.explain.notes import note
from shardwise.planner.choose import Candidate, is_uneven, preference
from shardwise.planner.cost import step_seconds
from shardwise.planner.links import Links, all_reduce_seconds
from shardwise.planner.pools import eligible

ROOMY = MemoryUse(10, 0, 0, 0, 100)
TIGHT = MemoryUse(97, 0, 0, 0, 100)
H100_POOL = eligible(a_demand(), a_fleet(h100s(2))).pools[0]
H200_POOL = eligible(a_demand(), a_fleet(h200s(2))).pools[0]
L40S_POOL = eligible(a_demand(), a_fleet(l40s(2))).pools[0]
ON_NVLINK = Links(gpu_kind(H100), tensor_on_nvlink=True, stages_in_domain=True)
ACROSS = Links(gpu_kind(H100), tensor_on_nvlink=False, stages_in_domain=False)
ON_PCIE = Links(gpu_kind(L40S), tensor_on_nvlink=False, stages_in_domain=True)


def candidate(
    tensor: int,
    pipeline: int = 1,
    *,
    expert: bool = False,
    seconds: float = 0.01,
    rate: float = 100.0,
    **changes: object,
) -> Candidate:
    made = Candidate(Layout(tensor, pipeline, expert), H100_POOL, ROOMY, Estimate(seconds, rate))
    return replace(made, **changes)  # type: ignore[arg-type]


FEWEST, LATENCY, THROUGHPUT, CHEAPEST = Objective
BETTER: dict[str, tuple[Objective, Candidate, Candidate]] = {
    "roomy before fewer GPUs": (FEWEST, candidate(4), candidate(2, memory=TIGHT)),
    "fewer GPUs": (FEWEST, candidate(2), candidate(4)),
    "tensor before pipeline on NVLink": (FEWEST, candidate(4), candidate(2, 2)),
    "experts split before whole": (FEWEST, candidate(4), candidate(4, expert=True)),
    "tight and even before roomy and uneven": (FEWEST, candidate(4, memory=TIGHT), candidate(1, 5)),
    "latency: roomy and uneven before tight": (LATENCY, candidate(1, 5), candidate(4, memory=TIGHT)),
    "even before uneven": (FEWEST, candidate(2, 2), candidate(1, 3)),
    "the smaller GPU": (FEWEST, candidate(2), candidate(2, pool=H200_POOL)),
    "the faster split on PCIe": (
        FEWEST,
        candidate(2, 2, pool=L40S_POOL, seconds=0.01),
        candidate(4, pool=L40S_POOL, seconds=0.02),
    ),
    "latency: the faster token": (LATENCY, candidate(8, seconds=0.01), candidate(4, seconds=0.02)),
    "latency: fewer GPUs as fast": (LATENCY, candidate(4), candidate(8)),
    "latency: roomy before fast": (LATENCY, candidate(8, seconds=0.02), candidate(2, seconds=0.01, memory=TIGHT)),
    "throughput: the higher rate": (THROUGHPUT, candidate(4, rate=200.0), candidate(2, rate=100.0)),
    "throughput: fewer GPUs at the same rate": (THROUGHPUT, candidate(2), candidate(4)),
}


@pytest.mark.parametrize(("objective", "better", "worse"), BETTER.values(), ids=BETTER)
def test_one_candidate_is_preferred(objective: Objective, better: Candidate, worse: Candidate) -> None:
    demand = a_demand(objective=objective)
    assert preference(demand, better) < preference(demand, worse)


@pytest.mark.parametrize("objective", list(Objective))
def test_no_two_candidates_share_a_key(objective: Objective) -> None:
    demand = a_demand(QWEN_235B_FP8, objective=objective)
    keys = [
        preference(demand, candidate(tensor, pipeline, expert=expert, pool=pool))
        for tensor in (1, 2, 4, 8)
        for pipeline in (1, 2, 3, 4)
        for expert in (False, True)
        for pool in (H100_POOL, H200_POOL, L40S_POOL)
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("layout", "uneven"),
    [
        ((8, 3), False),
        ((4, 4), False),
        ((4, 3), True),
        ((1, 3), True),
        ((2, 1), False),
        ((6, 1), True),
        ((1, 1), False),
    ],
)
def test_a_layout_is_uneven_when_it_leaves_nodes_in_odd_parts(layout: tuple[int, int], uneven: bool) -> None:
    assert is_uneven(candidate(*layout)) is uneven


def test_a_pinned_expert_split_is_no_handicap() -> None:
    free, fixed = a_demand(QWEN_235B_FP8), a_demand(QWEN_235B_FP8, pins=pinned(expert=True))
    whole = candidate(4, expert=True)
    assert preference(fixed, whole) < preference(free, whole)


@pytest.mark.parametrize("links", [ON_NVLINK, ACROSS, ON_PCIE])
def test_one_gpu_reduces_nothing(links: Links) -> None:
    assert all_reduce_seconds(1e6, 1, links) == 0


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_an_all_reduce_is_fastest_on_nvlink(gpus: int) -> None:
    on_nvlink, on_pcie = (all_reduce_seconds(1e6, gpus, links) for links in (ON_NVLINK, ON_PCIE))
    assert on_nvlink < on_pcie / 5
    assert on_nvlink < all_reduce_seconds(1e6, gpus, ACROSS) / 5


@given(st.floats(1, 1e9), st.floats(1, 1e9), st.integers(2, 64), st.sampled_from([ON_NVLINK, ACROSS, ON_PCIE]))
def test_a_larger_message_takes_no_less_time(small: float, more: float, gpus: int, links: Links) -> None:
    assert all_reduce_seconds(small + more, gpus, links) >= all_reduce_seconds(small, gpus, links) > 0


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_llama_8b_on_an_h200_decodes_as_fast_as_was_measured(batch: int) -> None:
    """Within 15 %: prompts of 512 tokens and 64 out, so that a sequence is 544 tokens long on average."""
    rows = json.loads((DATA / "vllm-h200-memory.json").read_text())["rows"]
    measured = next(row["measured"][f"b{batch}"]["msPerToken"] for row in rows if "measured" in row) / 1000
    demand = a_demand(LLAMA_8B, context=2 * 544)
    links = Links(gpu_kind(H200), tensor_on_nvlink=True, stages_in_domain=True)
    assert step_seconds(demand, Layout(1, 1), links, batch=batch) == pytest.approx(measured, rel=0.15)


def test_tensor_parallelism_is_faster_than_stages_on_nvlink() -> None:
    demand = a_demand(LLAMA_70B)
    tensor, stages = (step_seconds(demand, layout, ON_NVLINK, batch=1) for layout in (Layout(2, 1), Layout(1, 2)))
    assert 1.5 < stages / tensor < 2.0


def test_stages_are_faster_than_tensor_parallelism_over_a_network() -> None:
    """The network's all-reduce costs each layer, its send each border."""
    demand = a_demand(LLAMA_8B)
    tensor, stages = (step_seconds(demand, layout, ACROSS, batch=1) for layout in (Layout(2, 1), Layout(1, 2)))
    assert stages < tensor


@pytest.mark.parametrize("objective", list(Objective))
@pytest.mark.parametrize("name", [LLAMA_8B, LLAMA_70B])
def test_the_plan_carries_the_estimate_it_was_ranked_by(objective: Objective, name: str) -> None:
    made = planned(a_demand(name, objective=objective), priced(a_fleet(h100s(1))))
    rivals = [
        alternative.estimate
        for alternative in made.alternatives
        if alternative.estimate is not None and alternative.memory is not None
    ]
    assert made.estimate.seconds_per_token > 0
    if objective is Objective.LATENCY:
        assert all(made.estimate.seconds_per_token <= rival.seconds_per_token for rival in rivals)


def test_a_mixture_reads_only_the_experts_that_are_picked() -> None:
    """3.3 of 30.5 billion parameters are active for one token."""
    links = Links(gpu_kind(H200), tensor_on_nvlink=True, stages_in_domain=True)
    sparse = step_seconds(a_demand("Qwen/Qwen3-30B-A3B"), Layout(1, 1), links, batch=1)
    dense = step_seconds(a_demand("Qwen/Qwen3-32B"), Layout(1, 1), links, batch=1)
    assert sparse < dense / 4


CODER_480B = "Qwen/Qwen3-Coder-480B-A35B-Instruct"
"""Its experts have 2560 columns, 20 blocks of fp8: eight GPUs cannot split them."""


@pytest.mark.parametrize("engine", [EngineName.VLLM, EngineName.SGLANG])
def test_experts_that_a_node_cannot_split_are_dealt_out_over_it(engine: EngineName) -> None:
    """As the model's card and vLLM's recipe start it: a tensor degree of 8, with expert parallelism."""
    blocks = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    stored = {**config(CODER_480B), "quantization_config": blocks}
    model = from_config(stored, name=f"{CODER_480B}-FP8", origin="t")
    made = planned(a_demand(model, engine=engine, budget=8, context=131072), a_fleet(h200s(1)))
    assert made.layout == Layout(8, 1, expert=True)


PRACTICE: dict[str, tuple[Demand, Fleet, Objective, str]] = {
    "405B, latency, MLPerf": (a_demand(facts(LLAMA_405B, "fp8")), a_fleet(h200s(1)), LATENCY, "TP8×PP1"),
    "405B, throughput, MLPerf": (a_demand(facts(LLAMA_405B, "fp8")), a_fleet(h200s(1)), THROUGHPUT, "TP4×PP2"),
    "70B without NVLink, throughput": (a_demand(LLAMA_70B), a_fleet(l40s(1)), THROUGHPUT, "TP2×PP4"),
    "70B without NVLink, latency": (a_demand(LLAMA_70B), a_fleet(l40s(1)), LATENCY, "TP8×PP1"),
    "8B, throughput": (a_demand(LLAMA_8B), a_fleet(h100s(1)), THROUGHPUT, "TP1×PP1"),
    "70B, latency": (a_demand(LLAMA_70B), a_fleet(h100s(1)), LATENCY, "TP8×PP1"),
}


@pytest.mark.parametrize(("demand", "fleet", "objective", "layout"), PRACTICE.values(), ids=PRACTICE)
def test_the_estimate_ranks_as_published_practice_does(
    demand: Demand, fleet: Fleet, objective: Objective, layout: str
) -> None:
    """MLPerf entries of 405B: TP8 for latency, TP4·PP2 for throughput; without NVLink, tables take stages."""
    assert str(planned(replace(demand, objective=objective), fleet).layout) == layout


def test_experts_dealt_out_whole_cost_as_much_to_read_as_split_ones_where_they_divide() -> None:
    links = Links(gpu_kind(H200), tensor_on_nvlink=True, stages_in_domain=True)
    demand = a_demand(QWEN_235B_FP8)
    whole, split = (step_seconds(demand, Layout(4, 1, expert), links, batch=8) for expert in (True, False))
    assert whole == pytest.approx(split)


def test_a_larger_batch_takes_longer_and_less_for_each_sequence() -> None:
    links = Links(gpu_kind(H200), tensor_on_nvlink=True, stages_in_domain=True)
    steps = [step_seconds(a_demand(R1), Layout(8, 1), links, batch=batch) for batch in (1, 8, 64, 256)]
    assert steps == sorted(steps)
    each = [step / batch for step, batch in zip(steps, (1, 8, 64, 256), strict=True)]
    assert each == sorted(each, reverse=True)


NOTED: dict[str, tuple[Demand, Fleet, str | None]] = {
    "PCIe, what it was checked against": (
        a_demand(LLAMA_70B),
        a_fleet(l40s(1)),
        "TP4×PP1 was checked against TP2×PP2: an estimated 63.6 ms a token against 121.1 ms a token",
    ),
    "PCIe, stages that won": (
        a_demand(LLAMA_70B, objective=THROUGHPUT),
        a_fleet(l40s(1)),
        "TP2×PP4 was checked against TP4×PP2: an estimated 88 tokens a second and GPU against 77 tokens",
    ),
    "NVLink needs no check": (a_demand(LLAMA_70B), a_fleet(h100s(1)), None),
    "latent attention's cache on every rank": (
        a_demand(R1, context=131072, budget=16),
        a_fleet(h100s(2)),
        "`spec.parallelism.data` and `spec.parallelism.context` divide it where the engine can",
    ),
    "data ranks that would serve far more": (
        a_demand(R1),
        a_fleet(h200s(1)),
        "with `spec.objective: throughput`, DP8×TP1×PP1 EP would serve an estimated",
    ),
    "data ranks serve no single sequence better": (a_demand(R1, objective=LATENCY), a_fleet(h200s(1)), None),
    "experts over several stages": (
        a_demand(R1, budget=16),
        a_fleet(h100s(2)),
        "data ranks that share them over all 16 GPUs need RDMA",
    ),
    "an unknown product": (
        a_demand(LLAMA_8B),
        a_fleet(a_node(product="NVIDIA-X1", memory_mib=81559)),
        "no NVLink is assumed",
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "words"), NOTED.values(), ids=NOTED)
def test_what_data_ranks_would_change_or_was_checked_is_said_where_it_matters(
    demand: Demand, fleet: Fleet, words: str | None
) -> None:
    said = [note(noted) for noted in planned(demand, fleet).notes]
    assert said == [] if words is None else any(words in text for text in said)
