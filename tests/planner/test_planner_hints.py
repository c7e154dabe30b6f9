"""Hints kind by kind: which change is tried, in which order, where a kind stops, and what each says."""

from dataclasses import replace
from typing import Any

import pytest
from tests.support.cases import in_levels
from tests.support.fleets import H100, H200, L40S, a_fleet, a_node, h100s, h200s, l40s
from tests.support.models import (
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    Dense,
    a_demand,
    a_model,
    attention,
    facts,
    pinned,
)
from tests.support.plans import planned, refused

from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Exclusion, Fleet, Taint
from shardwise.domain.layout import Layout
from shardwise.domain.refusal import Change, Hint
from shardwise.domain.units import GIB
from shardwise.planner.pools import eligible
from shardwise.planner.solve import survey
from shardwise.planner.trials import TrialFleet

SMALL = facts(LLAMA_8B, "fp8")
"""A model that no change of precision makes smaller, so that hints are of the kind in question alone."""

TEAM = Taint("team", "ml", "NoSchedule")
SOFT = Taint("soft", "", "PreferNoSchedule")
KEPT = Toleration("kept", "Equal", "", "NoSchedule")
SPECIAL = Taint("kept", "", "NoSchedule")

COARSE = (0, 28, 0)
"""The last release of vLLM that keeps the blocks of experts as the checkpoint has them."""


def hinted(demand: Demand, fleet: Fleet) -> list[Hint]:
    return list(refused(demand, fleet).hints)


def values(demand: Demand, fleet: Fleet) -> dict[str, Any]:
    return {hint.field: hint.value for hint in hinted(demand, fleet)}


LABELLED = a_fleet(
    a_node("a", labels={"a": "1", "b": "1", "c": "1", "d": "1"}),
    a_node("b", labels={"rack": "1", "row": "1", "zone": "1"}),
)
FOUR_LEVELS = ("rack", "row", "hall", "zone")
TWO_PER_RACK = in_levels(
    a_fleet(
        a_node(f"n{index}", labels={"rack": f"r{index}", "row": f"w{index // 2}", "hall": "h", "zone": "z"})
        for index in range(4)
    ),
    *FOUR_LEVELS,
)

KINDS: dict[str, tuple[Demand, Fleet, dict[str, Any]]] = {
    "the second of two labels": (
        a_demand(SMALL, node_selector=(("a", "1"), ("x", "1"))),
        LABELLED,
        {"spec.placement.nodeSelector": "x"},
    ),
    "the third of three labels": (
        a_demand(SMALL, node_selector=(("a", "1"), ("b", "1"), ("x", "1"))),
        LABELLED,
        {"spec.placement.nodeSelector": "x"},
    ),
    "the fourth of four labels is not tried: all are dropped": (
        a_demand(SMALL, node_selector=(("a", "1"), ("b", "1"), ("c", "1"), ("x", "1"))),
        LABELLED,
        {"spec.placement.nodeSelector": None},
    ),
    "the only label, with its key": (
        a_demand(SMALL, node_selector=(("x", "1"),)),
        LABELLED,
        {"spec.placement.nodeSelector": "x"},
    ),
    "from a node to the rack's row, past what is too small": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2), within="node"),
        TWO_PER_RACK,
        {"spec.placement.within": "row"},
    ),
    "from an NVLink domain to the row": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2), within="domain"),
        TWO_PER_RACK,
        {"spec.placement.within": "row"},
    ),
    "from a row to the hall, or to the depth that one row has room for, though three stages would lie in two": (
        a_demand(LLAMA_405B, budget=32, pins=pinned(8, 4), within="row"),
        TWO_PER_RACK,
        {"spec.placement.within": "hall", "spec.parallelism.pipeline": 2},
    ),
    "from a label to the nearest level": (
        a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2), within="example.com/none"),
        TWO_PER_RACK,
        {"spec.placement.within": "row"},
    ),
    "a toleration beside the one that is there": (
        a_demand(SMALL, tolerations=(KEPT,)),
        a_fleet(a_node(taints=[SPECIAL, TEAM])),
        {"spec.placement.tolerations": Toleration("team", "Equal", "ml", "NoSchedule")},
    ),
    "no toleration that does not suffice alone": (a_demand(SMALL), a_fleet(a_node(taints=[SPECIAL, TEAM])), {}),
    "a toleration of the taint on most free GPUs": (
        a_demand(SMALL),
        a_fleet(
            a_node("a", taints=[SPECIAL], free=1),
            a_node("b", taints=[SPECIAL], free=1),
            a_node("c", taints=[TEAM], free=8),
        ),
        {"spec.placement.tolerations": Toleration("team", "Equal", "ml", "NoSchedule")},
    ),
    "no toleration for a node that is out of use": (
        a_demand(SMALL),
        a_fleet(a_node("a", taints=[TEAM], exclusion=Exclusion.CORDONED)),
        {},
    ),
    "no toleration for a node without a free GPU, nor of a soft taint": (
        a_demand(SMALL),
        a_fleet(a_node("a", taints=[TEAM], free=0), a_node("b", taints=[SOFT], free=0)),
        {},
    ),
    "budgets of whole replicas, the smallest that has room": (
        a_demand(SMALL, budget=5, replicas=3, pins=pinned(2, 1)),
        a_fleet(h100s(1)),
        {"spec.gpuBudget.total": 6, "spec.parallelism.tensor": 1, "spec.replicas": 2},
    ),
    "no budget beyond what is free": (
        a_demand(LLAMA_405B, budget=8, pins=pinned(8, 2)),
        a_fleet(h100s(2, free=(8, 7))),
        {},
    ),
    "no other engine where the law is not what is broken": (
        a_demand(SMALL, budget=1, replicas=2, engine=EngineName.SGLANG),
        a_fleet(h100s(1)),
        {"spec.gpuBudget.total": 2, "spec.replicas": 1},
    ),
    "an engine that pads a vocabulary": (
        a_demand(a_model(4, attends=attention(60, 12), ffn=Dense(3000), vocabulary=32000), pins=pinned(3, 1)),
        a_fleet(h100s(1)),
        {"spec.parallelism.tensor": 4, "spec.engine.name": "sglang"},
    ),
    "no engine whose classes nobody knows for a class that is unknown": (
        a_demand(replace(facts(LLAMA_8B), architecture="NobodysForCausalLM")),
        a_fleet(h100s(1)),
        {},
    ),
    "replicas where the room lacks": (
        a_demand(SMALL, budget=64, replicas=4),
        a_fleet(h100s(1, free=[2])),
        {"spec.replicas": 2},
    ),
    "none but waiting for a single replica": (a_demand(SMALL), a_fleet(h100s(1, free=[0])), {}),
    "concurrency, and never as many as are asked": (
        a_demand(SMALL, budget=1, concurrency=3, context=393216, kv_bytes=1),
        a_fleet(h100s(1)),
        {"spec.gpuBudget.total": 2, "spec.model.concurrency": 2, "spec.model.contextLength": 262144},
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "expected"), KINDS.values(), ids=KINDS)
def test_a_kind_gives_its_least_change_that_works(demand: Demand, fleet: Fleet, expected: dict[str, Any]) -> None:
    assert values(demand, fleet) == expected


SAID: dict[str, tuple[Demand, Fleet, Hint]] = {
    "a value": (
        a_demand(SMALL, budget=1, replicas=2),
        a_fleet(h100s(1)),
        Hint("spec.gpuBudget.total", 2, Layout(1, 1), H100, 2, Change.SET, tight=False),
    ),
    "one product more": (
        a_demand(SMALL, products=(H200,), replicas=3),
        a_fleet(h100s(1)),
        Hint("spec.gpuBudget.products", H100, Layout(1, 1), H100, 3, Change.ADD, tight=False),
    ),
    "a label taken out": (
        a_demand(SMALL, node_selector=(("x", "1"),)),
        LABELLED,
        Hint("spec.placement.nodeSelector", "x", Layout(1, 1), H100, 1, Change.REMOVE, tight=False),
    ),
    "a plan that is tight": (
        a_demand(LLAMA_70B, budget=1),
        a_fleet(h100s(1, free=[2])),
        Hint("spec.gpuBudget.total", 2, Layout(2, 1), H100, 2, Change.SET, tight=True),
    ),
    "a field dropped": (
        a_demand(SMALL, reserve=75 * GIB),
        a_fleet(h100s(1)),
        Hint("spec.model.gpuMemoryReserve", None, Layout(1, 1), H100, 1, Change.UNSET, tight=False),
    ),
    "all pins dropped": (
        a_demand(SMALL, pins=pinned(3, 40)),
        a_fleet(h100s(1)),
        Hint("spec.parallelism", None, Layout(1, 1), H100, 1, Change.UNSET, tight=False),
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "hint"), SAID.values(), ids=SAID)
def test_a_hint_says_the_change_and_the_plan_it_gives(demand: Demand, fleet: Fleet, hint: Hint) -> None:
    assert hinted(demand, fleet)[0] == hint


PINNED: dict[str, tuple[Demand, Fleet, list[tuple[str, Any]]]] = {
    "twice the degree is as near as half of it: the smaller comes first": (
        a_demand(SMALL, budget=6, replicas=3, pins=pinned(None, 4)),
        a_fleet(h100s(1, free=[6])),
        [("spec.parallelism.pipeline", 2)],
    ),
    "3 is nearer to 4 than to 2": (
        a_demand(SMALL, pins=pinned(3)),
        a_fleet(h100s(1)),
        [("spec.parallelism.tensor", 4)],
    ),
    "of two pins the one whose move suffices": (
        a_demand(LLAMA_70B, budget=16, pins=pinned(8, 1), concurrency=16, context=131072),
        a_fleet(h100s(2)),
        [("spec.parallelism.pipeline", 2)],
    ),
    "experts whole before half the degree": (
        a_demand(QWEN_235B_FP8, release=COARSE, pins=pinned(8, 1, expert=False)),
        a_fleet(h100s(1)),
        [("spec.parallelism.expert", True)],
    ),
    "an only pin is moved and never dropped": (
        a_demand(SMALL, pins=pinned(3, None)),
        a_fleet(h100s(1, free=[0])),
        [],
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "expected"), PINNED.values(), ids=PINNED)
def test_a_pin_is_moved_the_shortest_way(demand: Demand, fleet: Fleet, expected: list[tuple[str, Any]]) -> None:
    """Degrees are as far apart as the halvings between them."""
    said = [(hint.field, hint.value) for hint in hinted(demand, fleet) if hint.field.startswith("spec.parallelism")]
    assert said == expected


def test_the_products_already_allowed_stay_allowed() -> None:
    """One H200 is free, and three replicas want room: two products may not mix in a plan, but both may be chosen."""
    fleet = a_fleet(h100s(1, free=[0]), h200s(1, free=[2]), l40s(1))
    demand = a_demand(SMALL, products=(H100, H200), replicas=3)
    (hint, *_) = hinted(demand, fleet)
    assert (hint.field, hint.value) == ("spec.gpuBudget.products", L40S)
    widened = replace(demand, products=(*demand.products, L40S), replicas=1)
    assert planned(replace(widened, pins=pinned(2)), a_fleet(h200s(1, free=[2]))).product == H200


@pytest.mark.parametrize("least", [4096, 200_000])
def test_a_demand_that_may_be_lowered_is_hinted_at_as_it_would_be_planned(least: int) -> None:
    """The budget that the least context needs, not the full one: the plan lowers the context to fit it."""
    demand = a_demand(LLAMA_70B, budget=1, context=1_000_000, least_context=least, concurrency=4)
    fleet = a_fleet(h100s(1))
    hint = next(hint for hint in hinted(demand, fleet) if hint.field == "spec.gpuBudget.total")
    assert isinstance(hint.value, int)
    assert planned(replace(demand, gpu_budget=hint.value), fleet).context_length >= least
    refused(replace(demand, gpu_budget=hint.value - 1), fleet)


def test_an_unquantised_models_other_weights_stay_as_they_are_in_fp8() -> None:
    """Norms and embeddings are no linear weights: a hint of fp8 counts them in two bytes."""
    model = a_model(80, hidden=8192, ffn=Dense(28672), attends=attention(64, 8), vocabulary=1_000_000)
    demand = a_demand(model, budget=1)
    assert "spec.model.quantization" not in values(demand, a_fleet(a_node(memory_mib=90_000)))
    assert "spec.model.quantization" in values(demand, a_fleet(a_node(memory_mib=120_000)))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_hint_of_fp8_forgets_the_size_of_the_checkpoint(scale: float) -> None:
    """The published size is that of the checkpoint in its own precision."""
    model = replace(facts(LLAMA_70B), checkpoint_bytes=int(141e9 * scale))
    hints = {hint.field: hint for hint in hinted(a_demand(model, budget=1), a_fleet(h200s(1)))}
    assert hints["spec.model.quantization"].layout == Layout(1, 1)


def test_pools_are_found_anew_where_nodes_are_chosen_otherwise() -> None:
    demand = a_demand(SMALL, products=(H100,), node_selector=(("zone", "a"),), tolerations=(KEPT,), within="rack")
    labels = {"zone": "a", "rack": "1"}
    fleet = a_fleet(
        a_node("a", labels=labels),
        a_node("b", product=L40S, labels=labels),
        a_node("c", labels={"rack": "1"}),
        a_node("d", labels=labels, taints=[TEAM]),
        a_node("e", labels={"zone": "a"}),
    )
    pools = eligible(demand, fleet)
    trials = TrialFleet(fleet, demand, pools, survey(demand, pools))
    team = Toleration("team", "Exists")
    changes: dict[str, dict[str, Any]] = {
        "a": {},
        "ab": {"products": ()},
        "ac": {"node_selector": ()},
        "ad": {"tolerations": (KEPT, team)},
        "ae": {"within": None},
    }
    for names, change in changes.items():
        found = trials.surveyed(replace(demand, **change))
        assert "".join(sorted(node.name for facts in found for node in facts.pool.nodes)) == names
