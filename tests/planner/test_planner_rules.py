"""The sharding guide's five rules, one table each, and that the plan names the rule that decided."""

import pytest
from tests.support.fleets import A100, B200, GB200, L40S, UNKNOWN, a_fleet, a_node, gb200_rack, h100s, h200s, l40s
from tests.support.models import (
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    Dense,
    Objective,
    a_demand,
    a_model,
    attention,
    facts,
    pinned,
)
from tests.support.plans import check_capacity, check_invariants, fate, planned, pods

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.notes import DomainUnlabelled, UnknownProduct
from shardwise.domain.plan import Rule
from shardwise.domain.refusal import MemoryShort, MoreGpus, NoRoom, OverBudget, Preferred, Slower, Tight

CASES: dict[str, tuple[Demand, Fleet, Layout, Rule]] = {
    "1: what fits one GPU is not sharded": (a_demand(LLAMA_8B), a_fleet(h100s(1)), Layout(1, 1), Rule.ONE_GPU),
    "1: not on PCIe either": (a_demand(LLAMA_8B), a_fleet(l40s(1)), Layout(1, 1), Rule.ONE_GPU),
    "1: not in a rack either": (a_demand(LLAMA_8B), a_fleet(gb200_rack(4)), Layout(1, 1), Rule.ONE_GPU),
    "1: 70B in fp8 fits one B200": (
        a_demand(facts(LLAMA_70B, "fp8")),
        a_fleet(a_node(product=B200)),
        Layout(1, 1),
        Rule.ONE_GPU,
    ),
    "2: what fits a node is tensor-parallel": (
        a_demand(LLAMA_70B),
        a_fleet(h100s(1)),
        Layout(4, 1),
        Rule.ONE_NODE,
    ),
    "2: on A100 as well": (a_demand(LLAMA_70B), a_fleet(a_node(product=A100)), Layout(4, 1), Rule.ONE_NODE),
    "2: inside one tray of a rack": (
        a_demand(facts(LLAMA_405B, "fp8")),
        a_fleet(gb200_rack(4)),
        Layout(4, 1),
        Rule.ONE_NODE,
    ),
    "2: a second node changes nothing": (a_demand(LLAMA_70B), a_fleet(h100s(2)), Layout(4, 1), Rule.ONE_NODE),
    "2: for latency all links of the node": (
        a_demand(LLAMA_70B, objective=Objective.LATENCY),
        a_fleet(h100s(1)),
        Layout(8, 1),
        Rule.ONE_NODE,
    ),
    "3: several nodes are stages": (
        a_demand(LLAMA_405B, budget=16),
        a_fleet(h100s(2)),
        Layout(8, 2),
        Rule.TENSOR_IN_NODE_PIPELINE_ACROSS,
    ),
    "3: three nodes are no more than needed": (
        a_demand(LLAMA_405B, budget=24),
        a_fleet(h100s(3)),
        Layout(8, 2),
        Rule.TENSOR_IN_NODE_PIPELINE_ACROSS,
    ),
    "3: on smaller nodes more stages": (
        a_demand(LLAMA_405B, budget=16),
        a_fleet(*(a_node(f"half-{index}", gpus=4) for index in range(4))),
        Layout(4, 3),
        Rule.TENSOR_IN_NODE_PIPELINE_ACROSS,
    ),
    "3: two racks are two stages": (
        a_demand(facts(LLAMA_405B), budget=8, reserve=60 * 2**30),
        a_fleet(gb200_rack(1, clique="a"), gb200_rack(1, clique="b")),
        Layout(4, 2),
        Rule.TENSOR_IN_NODE_PIPELINE_ACROSS,
    ),
    "4: a rack carries tensor parallelism over trays": (
        a_demand(R1),
        a_fleet(gb200_rack(2)),
        Layout(8, 1),
        Rule.MULTI_NODE_NVLINK,
    ),
    "4: for latency over four trays": (
        a_demand(LLAMA_70B, budget=16, objective=Objective.LATENCY),
        a_fleet(gb200_rack(4)),
        Layout(16, 1),
        Rule.MULTI_NODE_NVLINK,
    ),
    "5: the guide's own example, 2 nodes of 8 GPUs": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2)),
        a_fleet(h100s(2)),
        Layout(8, 2),
        Rule.PINNED,
    ),
    "pinned pipeline only": (a_demand(LLAMA_70B, pins=pinned(None, 2)), a_fleet(h100s(1)), Layout(2, 2), Rule.PINNED),
    "pinned tensor only": (a_demand(LLAMA_8B, pins=pinned(2)), a_fleet(h100s(1)), Layout(2, 1), Rule.PINNED),
    "without NVLink and without a tensor degree, stages": (
        a_demand(a_model(80, hidden=8192, ffn=Dense(10007), attends=attention(64, 64))),
        a_fleet(l40s(1)),
        Layout(1, 4),
        Rule.PIPELINE_ON_PCIE,
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "layout", "rule"), CASES.values(), ids=CASES)
def test_the_guides_rules_decide(demand: Demand, fleet: Fleet, layout: Layout, rule: Rule) -> None:
    made = planned(demand, fleet)
    assert (str(made.layout), made.rule) == (str(layout), rule)
    check_invariants(made)
    check_capacity(made, fleet)


@pytest.mark.parametrize(("demand", "fleet", "layout", "rule"), CASES.values(), ids=CASES)
def test_tensor_times_pipeline_is_the_number_of_gpus(demand: Demand, fleet: Fleet, layout: Layout, rule: Rule) -> None:
    made = planned(demand, fleet)
    held = sum(pod.gpus for group in made.groups for pod in group.pods)
    assert held == made.layout.tensor * made.layout.pipeline * made.replicas == made.gpus


def test_every_other_layout_is_told_with_its_cause() -> None:
    made = planned(a_demand(LLAMA_70B), a_fleet(h100s(2)))
    assert isinstance(fate(made, Layout(1, 1)), MemoryShort)
    assert isinstance(fate(made, Layout(2, 1)), Tight)
    assert isinstance(fate(made, Layout(8, 1)), MoreGpus)
    assert isinstance(fate(made, Layout(2, 2)), Preferred)
    assert isinstance(fate(made, Layout(8, 2)), OverBudget)
    assert Layout(4, 1) not in {alternative.layout for alternative in made.alternatives}


def test_no_layout_is_told_twice() -> None:
    made = planned(a_demand(QWEN_235B_FP8), a_fleet(h100s(2), h200s(1)))
    told = [(alternative.layout, alternative.product) for alternative in made.alternatives]
    assert len(told) == len(set(told))


def test_for_latency_the_losers_are_slower() -> None:
    made = planned(a_demand(LLAMA_70B, objective=Objective.LATENCY), a_fleet(h100s(1)))
    cause = fate(made, Layout(4, 1))
    assert isinstance(cause, Slower)
    assert cause.measure == "time per token"
    assert cause.ratio > 1


def test_over_pcie_tensor_and_pipeline_are_both_weighed() -> None:
    made = planned(a_demand(LLAMA_70B), a_fleet(l40s(1)))
    assert made.layout.world_size == 4
    considered = {made.layout} | {alternative.layout for alternative in made.alternatives}
    assert {Layout(4, 1), Layout(2, 2), Layout(1, 4)} <= considered
    losers = {Layout(4, 1), Layout(2, 2), Layout(1, 4)} - {made.layout}
    assert all(isinstance(fate(made, layout), Slower | Tight | MemoryShort | Preferred) for layout in losers)


def test_no_tensor_group_leaves_a_node_without_multi_node_nvlink() -> None:
    made = planned(a_demand(LLAMA_405B, budget=32), a_fleet(h100s(4)))
    assert max(alternative.layout.tensor for alternative in made.alternatives) <= 128
    assert all(
        not (alternative.layout.tensor > 8 and alternative.outcome.value == "fits") for alternative in made.alternatives
    )


def test_two_stages_may_share_a_node() -> None:
    made = planned(a_demand(LLAMA_405B, budget=16), a_fleet(h100s(3, free=(8, 4, 4))))
    assert made.layout == Layout(4, 4)
    assert sorted(gpus for _, gpus in pods(made)) == [4, 4, 4, 4]
    assert [node for node, _ in pods(made)] == ["h100-00", "h100-00", "h100-01", "h100-02"]


def test_an_unknown_product_has_no_nvlink_and_the_plan_says_so() -> None:
    made = planned(a_demand(LLAMA_8B), a_fleet(a_node(product=UNKNOWN)))
    assert made.notes == (UnknownProduct(UNKNOWN),)


def test_the_smaller_gpu_that_is_enough_is_taken() -> None:
    made = planned(a_demand(LLAMA_8B), a_fleet(h100s(1), h200s(1), l40s(1)))
    assert made.product == L40S


def test_products_are_never_mixed_in_a_group() -> None:
    made = planned(a_demand(LLAMA_405B, budget=24), a_fleet(h100s(1), h200s(1)))
    nodes = {node for node, _ in pods(made)}
    assert made.product == "NVIDIA-H200"
    assert nodes == {"h200-00"}


def test_replicas_are_groups_of_the_same_layout() -> None:
    made = planned(a_demand(LLAMA_70B, replicas=2), a_fleet(h100s(1)))
    assert (made.replicas, made.gpus) == (2, 8)
    assert pods(made, 0) == pods(made, 1) == [("h100-00", 4)]


def test_the_budget_is_for_all_replicas_together() -> None:
    made = planned(a_demand(LLAMA_70B, replicas=3, budget=12), a_fleet(h100s(3)))
    assert isinstance(fate(made, Layout(8, 1)), OverBudget)
    assert fate(made, Layout(8, 1)) == OverBudget(needed=24, budget=12, replicas=3)


def test_what_the_free_gpus_do_not_hold_is_told_as_no_room() -> None:
    made = planned(a_demand(LLAMA_70B, objective=Objective.LATENCY), a_fleet(h100s(2, free=(4, 4))))
    cause = fate(made, Layout(8, 1))
    assert isinstance(cause, NoRoom)
    assert (cause.wanted, cause.slots, cause.slot_gpus, cause.free) == (1, 0, 8, 8)


@pytest.mark.parametrize(("labelled", "unlabelled"), [(4, 0), (0, 4), (3, 1)])
def test_a_rack_whose_trays_lack_the_label_of_their_domain_is_noted(labelled: int, unlabelled: int) -> None:
    """A product with NVLink between nodes plans inside single trays without the label: nobody would know why."""
    trays = [*gb200_rack(labelled), *(a_node(f"tray-{n}", product=GB200, gpus=4) for n in range(unlabelled))]
    made = planned(a_demand(LLAMA_8B), a_fleet(trays))
    said = DomainUnlabelled(GB200, unlabelled, labelled + unlabelled, "tray-0")
    assert made.notes == ((said,) if unlabelled else ())


def test_a_product_with_nvlink_but_without_a_rack_is_not_noted() -> None:
    assert planned(a_demand(LLAMA_8B), a_fleet(h100s(2))).notes == ()


def test_two_nodes_of_h20_are_stages_of_tensor_groups() -> None:
    """Two nodes of 8 H20 serve DeepSeek-R1 as TP8 x PP2 (vllm-project/vllm#13778): NVLink joins the GPUs of a node."""
    h20s = (a_node(f"h20-{n}", product="NVIDIA-H20", memory_mib=97871) for n in range(2))
    assert planned(a_demand(R1, budget=16), a_fleet(h20s)).layout == Layout(8, 2)
