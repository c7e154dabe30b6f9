"""Which layouts with data ranks are chosen, for which objective, and how that agrees with published deployments."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import RDMA, with_rdma
from tests.support.examples import examples
from tests.support.fleets import B200, GB200, H100, H200, L40S, RTX_PRO, a_fleet, a_node, gb200_rack, h100s, h200s, l40s
from tests.support.models import CONFIGS, DATA, KIMI_K2, LLAMA_70B, QWEN_235B_FP8, R1, a_demand, config
from tests.support.plans import check_capacity, check_invariants, fate, planned

from shardwise.checkpoint import from_config
from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts
from shardwise.domain.notes import DataWouldServe, ExpertsAcrossDomains, ExpertsInsideGroup
from shardwise.domain.plan import LayoutOutcome, Plan, Rule
from shardwise.domain.refusal import Merit, Preferred, Tight
from shardwise.planner import plan
from shardwise.planner.cost import estimate
from shardwise.planner.links import EXCHANGE_START, NIC, NVLINK_SHARE, Links, all_reduce_seconds, exchange_seconds
from shardwise.planner.memory import memory_use

FEWEST, LATENCY, THROUGHPUT, CHEAPEST = Objective
ON_NVLINK = Links(gpu_kind(H200), tensor_on_nvlink=True, stages_in_domain=True, domain=8)
ACROSS = Links(gpu_kind(H200), tensor_on_nvlink=True, stages_in_domain=False, domain=8)
ON_PCIE = Links(gpu_kind(L40S), tensor_on_nvlink=False, stages_in_domain=True, domain=8)

CHOSEN: dict[str, tuple[Demand, Fleet, str, Rule]] = {
    "many sequences": (
        a_demand(R1, objective=THROUGHPUT),
        a_fleet(h200s(1)),
        "DP8×TP1×PP1 EP",
        Rule.DATA_IN_DOMAIN,
    ),
    "many sequences, grouped attention": (
        a_demand(QWEN_235B_FP8, objective=THROUGHPUT),
        a_fleet(h200s(1)),
        "DP8×TP1×PP1 EP",
        Rule.DATA_IN_DOMAIN,
    ),
    "a single sequence": (a_demand(R1, objective=LATENCY), a_fleet(h200s(1)), "TP8×PP1", Rule.ONE_NODE),
    "no more GPUs than needed": (a_demand(R1), a_fleet(h200s(1)), "TP8×PP1", Rule.ONE_NODE),
    "a rack": (
        a_demand(R1, objective=THROUGHPUT, budget=32),
        a_fleet(gb200_rack(8)),
        "DP32×TP1×PP1 EP",
        Rule.DATA_IN_DOMAIN,
    ),
    "two nodes with RDMA": (
        a_demand(R1, objective=THROUGHPUT, budget=16, needs=RDMA),
        a_fleet(with_rdma(h200s(2))),
        "DP16×TP1×PP1 EP",
        Rule.DATA_ACROSS,
    ),
    "two nodes without RDMA": (
        a_demand(R1, objective=THROUGHPUT, budget=16),
        a_fleet(h200s(2)),
        "DP8×TP1×PP1 EP",
        Rule.DATA_IN_DOMAIN,
    ),
    "a model without experts": (
        a_demand(LLAMA_70B, objective=THROUGHPUT),
        a_fleet(h100s(1)),
        "TP4×PP1",
        Rule.ONE_NODE,
    ),
    "caches that only data ranks divide": (
        a_demand(R1, context=65536, concurrency=16, pins=Pins(pipeline=1)),
        a_fleet(h200s(1)),
        "DP4×TP2×PP1 EP",
        Rule.PINNED,
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "layout", "rule"), CHOSEN.values(), ids=CHOSEN)
def test_data_ranks_are_chosen_where_they_serve(demand: Demand, fleet: Fleet, layout: str, rule: Rule) -> None:
    made = planned(demand, fleet)
    assert (str(made.layout), made.rule) == (layout, rule)
    check_invariants(made)
    check_capacity(made, fleet)


@pytest.mark.parametrize("name", [R1, QWEN_235B_FP8, KIMI_K2, "openai/gpt-oss-120b", "Qwen/Qwen3-30B-A3B"])
def test_a_single_sequence_never_gets_data_ranks_where_others_fit(name: str) -> None:
    """Only one of the data ranks would be busy."""
    demand = a_demand(name, objective=LATENCY, budget=16, needs=RDMA)
    made = planned(demand, a_fleet(with_rdma(h200s(2))))
    assert made.layout.data == 1
    with_data = [other for other in made.alternatives if other.layout.data > 1 and other.estimate is not None]
    assert with_data
    merits = {other.cause.merit for other in with_data if isinstance(other.cause, Preferred)}
    assert Merit.ONE_DATA_RANK in merits


def test_fewer_gpus_come_before_data_ranks_and_tensor_groups_before_both() -> None:
    made = planned(a_demand(R1), a_fleet(h200s(1)))
    assert fate(made, Layout(2, 1, True, 4)) == Preferred(Merit.ONE_DATA_RANK, H200)
    (note,) = [noted for noted in made.notes if isinstance(noted, DataWouldServe)]
    assert note.layout == Layout(1, 1, True, 8)
    assert note.speed > 4 * note.chosen_speed


def test_experts_inside_a_group_are_noted_only_where_no_rdma_would_let_them_out() -> None:
    plain, rdma = (
        planned(a_demand(R1, budget=16, needs=needs), a_fleet(with_rdma(h100s(2))))
        for needs in (a_demand(R1).needs, RDMA)
    )
    assert [noted for noted in plain.notes if isinstance(noted, ExpertsInsideGroup)] == [ExpertsInsideGroup(8, 16)]
    assert not any(isinstance(noted, ExpertsInsideGroup) for noted in rdma.notes)


@pytest.mark.parametrize(("needs", "rdma"), [(RDMA, True), (a_demand(R1).needs, False)])
def test_experts_across_domains_are_noted(needs: Any, rdma: bool) -> None:
    demand = a_demand(R1, budget=16, needs=needs, pins=Pins(1, 1, True, 16))
    made = planned(demand, a_fleet(with_rdma(h200s(2))))
    assert made.notes == (ExpertsAcrossDomains(16, 2, rdma),)


# The time of an exchange.


@pytest.mark.parametrize(
    ("gpus", "microseconds"), [(16, 118 + 195), (32, 155 + 273), (64, 173 + 314), (128, 192 + 369)]
)
def test_an_exchange_over_the_network_takes_as_long_as_published(gpus: int, microseconds: int) -> None:
    """DeepEP's kernels, 128 tokens a GPU, 8 of the experts each (deepseek-ai/DeepEP@0297fc801, docs/legacy.md)."""
    guess = exchange_seconds(128, 7168, 8, Layout(1, 1, True, gpus), ACROSS)
    assert guess == pytest.approx(microseconds * 1e-6, rel=0.1)


def test_the_faster_way_to_exchange_counts() -> None:
    """Few tokens are gathered on all GPUs; many are sent to their experts alone."""
    layout, hidden = Layout(1, 1, True, 8), 7168
    gathered = all_reduce_seconds(8 * hidden * 2, 8, ON_NVLINK)
    assert exchange_seconds(1, hidden, 8, layout, ON_NVLINK) == gathered
    bus = NVLINK_SHARE * 450e9
    assert exchange_seconds(4096, hidden, 2, layout, ON_NVLINK) == pytest.approx(
        2 * EXCHANGE_START + 4096 * 2 * hidden * 3 * (7 / 8) / bus
    )
    half_away = 2 * EXCHANGE_START + 128 * 8 * hidden * 3 * 0.5 / NIC
    assert exchange_seconds(128, hidden, 8, Layout(1, 1, True, 16), ACROSS) == pytest.approx(half_away)


def test_without_nvlink_all_tokens_are_gathered_over_pcie() -> None:
    layout = Layout(1, 1, True, 8)
    assert exchange_seconds(64, 4096, 8, layout, ON_PCIE) == all_reduce_seconds(8 * 64 * 4096 * 2, 8, ON_PCIE)


def test_the_gpus_of_a_tensor_group_share_the_tokens_of_their_data_rank() -> None:
    alone = exchange_seconds(512, 7168, 8, Layout(1, 1, True, 16), ACROSS)
    shared = exchange_seconds(512, 7168, 8, Layout(4, 1, True, 4), ACROSS)
    assert shared < alone


@given(st.integers(1, 4096), st.integers(1, 4096), st.sampled_from([2, 4, 8, 16, 64]))
@examples(100)
def test_more_tokens_take_longer_to_exchange(tokens: int, more: int, gpus: int) -> None:
    layout = Layout(1, 1, True, gpus)
    few, many = (exchange_seconds(count, 7168, 8, layout, ACROSS) for count in (tokens, tokens + more))
    assert few <= many


def test_each_data_rank_has_a_batch_of_its_own() -> None:
    """Eight data ranks decode more sequences at once than a tensor group of eight: they cache each sequence once."""
    demand = a_demand(R1)
    for context in (8192, 32768):
        asked = replace(demand, context_length=context)
        speeds = [
            estimate(asked, layout, ON_NVLINK, memory_use(asked, layout, 141 * 2**30)).tokens_per_second_per_gpu
            for layout in (Layout(8, 1), Layout(4, 1, True, 2), Layout(2, 1, True, 4), Layout(1, 1, True, 8))
        ]
        assert speeds == sorted(speeds)
        assert speeds[-1] > 2 * speeds[0]


def test_a_single_sequence_is_slower_on_a_data_rank_than_on_a_tensor_group() -> None:
    demand = a_demand(R1)
    tensor, data = (
        estimate(demand, layout, ON_NVLINK, memory_use(demand, layout, 141 * 2**30)).seconds_per_token
        for layout in (Layout(8, 1), Layout(1, 1, True, 8))
    )
    assert data > 1.9 * tensor


# Published deployments.

_READ: Final = json.loads((DATA / "data-parallel-deployments.json").read_text())
DEPLOYED: Final[list[dict[str, Any]]] = _READ["rows"]
OTHERS: Final[list[dict[str, Any]]] = _READ["others"]
"""Deployments on which the planner was never fitted: they were looked for when it was done."""

GPUS: Final = {
    "H100-SXM-80GB": (H100, 81559),
    "H800-SXM-80GB": (H100, 81559),
    "H200-SXM-141GB": (H200, 143771),
    "B200-SXM-180GB": (B200, 183359),
    "GB200-186GB": (GB200, 189471),
    "GB300-288GB": ("NVIDIA-GB300", 284208),
    "RTX-PRO-6000-96GB": (RTX_PRO, 97887),
}
"""The products of the rows, with the MiB that their labels report. Rows of an unknown GPU are left out."""

_MODELOPT: Final = {"fp4": "NVFP4", "nvfp4": "NVFP4", "fp8": "FP8"}
_SAME: Final = {
    "MiniMaxAI/MiniMax-M2.5": "MiniMaxAI/MiniMax-M2",
    "MiniMaxAI/MiniMax-M2.7": "MiniMaxAI/MiniMax-M2",
    "deepseek-ai/DeepSeek-R1-0528": R1,
    "nvidia/DeepSeek-R1-0528-FP4-V2": "nvidia/DeepSeek-V3.1-NVFP4",
    "nvidia/DeepSeek-R1-0528-FP4-v2": "nvidia/DeepSeek-V3.1-NVFP4",
    "nvidia/DeepSeek-R1-FP4": "nvidia/DeepSeek-V3.1-NVFP4",
    "nvidia/DeepSeek-V3-FP4": "nvidia/DeepSeek-V3.1-NVFP4",
    "zai-org/GLM-4.6": "zai-org/GLM-4.5",
    "zai-org/GLM-4.6-FP8": "zai-org/GLM-4.5",
}
"""Models whose weights have the sizes of another whose config is here."""


@cache
def deployed_model(name: str, precision: str) -> ModelFacts | None:
    """Give the facts of a deployed checkpoint; ``None`` for a model whose config is not here."""
    name = _SAME.get(name, name)
    if precision == "fp4" and name == R1:
        name = "nvidia/DeepSeek-V3.1-NVFP4"
    if not (CONFIGS / f"{name.replace('/', '__')}.json").exists():
        return None
    stored = config(name)
    if "quantization_config" not in stored and precision != "bf16":
        stored["quantization_config"] = {"quant_method": "modelopt", "quant_algo": _MODELOPT[precision]}
    return from_config(stored, name=name, origin="tests/data/models")


def deployed(row: dict[str, Any]) -> tuple[Demand, Fleet] | None:
    """Give the demand and the fleet of a published deployment."""
    model = deployed_model(row["model"], row["precision"])
    if row["gpu"] not in GPUS or model is None:
        return None
    product, memory = GPUS[row["gpu"]]
    domain = "rack" if gpu_kind(product).rack else None
    nodes = (
        a_node(f"n-{index:02d}", product=product, gpus=row["gpusPerNode"], memory_mib=memory, domain=domain)
        for index in range(row["nodes"])
    )
    demand = a_demand(model, budget=row["gpus"], engine=EngineName(row["engine"]), needs=RDMA)
    return demand, a_fleet(with_rdma(nodes))


def pins_of(row: dict[str, Any]) -> Pins:
    return Pins(row["tensor"], row["pipeline"], row["expert"] > 1, row["data"])


def scored(rows: Sequence[dict[str, Any]] = DEPLOYED) -> Iterator[tuple[dict[str, Any], Demand, Fleet]]:
    for row in rows:
        found = deployed(row)
        if found is not None:
            yield row, *found


IMPOSSIBLE: Final = {
    ("deepseek-ai/DeepSeek-R1-0528", "H100-SXM-80GB", 8): "671 GB of weights do not fit 640 GB",
    ("moonshotai/Kimi-K2-Instruct", "H800-SXM-80GB", 16): "73 GiB of weights leave no room in 0.92 of 80 GB",
    ("deepseek-ai/DeepSeek-R1", "H100-SXM-80GB", 72): "256 experts over 72 GPUs need redundant experts",
    (
        "Qwen/Qwen3-235B-A22B-FP8",
        "H200-SXM-141GB",
        8,
    ): "192 columns of a split expert cut blocks of 128",
}
"""Deployments that are not legal as the row states them, by model, GPU and number of GPUs."""


def test_published_deployments_are_accepted_as_they_are() -> None:
    """All that are legal; and what is refused is known, with its reason."""
    refused, accepted = set(), 0
    for row, demand, fleet in scored():
        made = plan(replace(demand, pins=pins_of(row)), fleet)
        if isinstance(made, Plan):
            accepted += 1
            check_invariants(made)
            assert made.layout == Layout(row["tensor"], row["pipeline"], row["expert"] > 1, row["data"])
        else:
            refused.add((row["model"], row["gpu"], row["gpus"]))
    assert refused == set(IMPOSSIBLE)
    assert accepted >= 50


def has_the_shape(row: dict[str, Any], demand: Demand, fleet: Fleet) -> bool:
    """Tell whether the plan for throughput has data ranks, and experts over as many GPUs as are published."""
    made = plan(replace(demand, objective=THROUGHPUT), fleet)
    return isinstance(made, Plan) and made.layout.data > 1 and made.layout.stage_gpus == row["tensor"] * row["data"]


def test_throughput_has_the_shape_of_published_deployments() -> None:
    """Of 40 of the 47 that are legal and have data ranks."""
    legal = [
        (row, demand, fleet)
        for row, demand, fleet in scored()
        if row["data"] > 1 and (row["model"], row["gpu"], row["gpus"]) not in IMPOSSIBLE
    ]
    assert len(legal) >= 47
    assert sum(has_the_shape(*case) for case in legal) / len(legal) >= 40 / 47


def test_other_published_deployments_are_accepted_and_have_the_shape_too() -> None:
    """All are accepted as they are. On two nodes of H100 the plan for throughput has two stages instead."""
    found = list(scored(OTHERS))
    assert len(found) == 23
    for row, demand, fleet in found:
        made = planned(replace(demand, pins=pins_of(row)), fleet)
        assert made.layout == Layout(row["tensor"], row["pipeline"], row["expert"] > 1, row["data"])
    differs = [(row["gpu"], row["gpus"]) for row, demand, fleet in found if not has_the_shape(row, demand, fleet)]
    assert differs == [("H100-SXM-80GB", 16)]


def test_the_same_deployments_get_data_ranks_for_latency_only_where_nothing_else_fits_with_room() -> None:
    for _, demand, fleet in scored():
        made = plan(replace(demand, objective=LATENCY), fleet)
        if isinstance(made, Plan) and made.layout.data > 1:
            others = [other for other in made.alternatives if other.layout.data == 1]
            assert all(other.outcome is LayoutOutcome.REFUSED or isinstance(other.cause, Tight) for other in others)


def test_pcie_nodes_may_have_data_ranks_too() -> None:
    made = planned(a_demand("Qwen/Qwen3-30B-A3B", objective=THROUGHPUT), a_fleet(l40s(1)))
    check_invariants(made)
    assert made.rule in set(Rule)
