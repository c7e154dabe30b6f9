"""Examples that must hold: 8k context, one sequence, a budget of all GPUs named, unless said."""

import pytest
from tests.support.fleets import a_fleet, gb200_rack, h100s, h200s, l40s
from tests.support.models import (
    KIMI_K2,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    Objective,
    a_demand,
    config,
    facts,
    pinned,
)
from tests.support.plans import check_capacity, check_invariants, planned, pods, refused

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.refusal import MemoryShort, RefusalReason

HOLDS: dict[str, tuple[Demand, Fleet, str, bool]] = {
    "8B": (a_demand(LLAMA_8B), a_fleet(h100s(1)), "TP1×PP1", False),
    "70B": (a_demand(LLAMA_70B), a_fleet(h100s(1)), "TP4×PP1", False),
    "70B, latency": (a_demand(LLAMA_70B, objective=Objective.LATENCY), a_fleet(h100s(1)), "TP8×PP1", False),
    "70B, budget 2": (a_demand(LLAMA_70B, budget=2), a_fleet(h100s(1)), "TP2×PP1", True),
    "70B, L40S": (a_demand(LLAMA_70B), a_fleet(l40s(1)), "TP4×PP1", False),
    "405B, 16 H100": (a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2)), "TP8×PP2", False),
    "405B, 8 + 4 + 4": (a_demand(LLAMA_405B, budget=16), a_fleet(h100s(3, free=(8, 4, 4))), "TP4×PP4", False),
    "405B fp8": (a_demand(facts(LLAMA_405B, "fp8")), a_fleet(h100s(1)), "TP8×PP1", False),
    "R1, 8 H200": (a_demand(R1), a_fleet(h200s(1)), "TP8×PP1", False),
    "R1, 16 H100": (a_demand(R1, budget=16), a_fleet(h100s(2)), "TP8×PP2", False),
    "R1, two trays": (a_demand(R1), a_fleet(gb200_rack(2)), "TP8×PP1", False),
    "R1, its own context": (a_demand(R1, context=163840), a_fleet(gb200_rack(4)), "TP8×PP1", False),
    "Qwen3-235B fp8, TP8": (a_demand(QWEN_235B_FP8, pins=pinned(8)), a_fleet(h100s(1)), "TP8×PP1 EP", False),
    "Kimi, 8 H200": (a_demand(KIMI_K2), a_fleet(h200s(1)), "TP8×PP1", True),
    "Kimi, 128k": (a_demand(KIMI_K2, budget=16, context=131072), a_fleet(h200s(2)), "TP8×PP2", False),
}


@pytest.mark.parametrize(("demand", "fleet", "layout", "tight"), HOLDS.values(), ids=HOLDS)
def test_the_example_holds(demand: Demand, fleet: Fleet, layout: str, tight: bool) -> None:
    made = planned(demand, fleet)
    assert (str(made.layout), made.tight) == (layout, tight)
    check_invariants(made)
    check_capacity(made, fleet)


def test_r1_lies_across_two_trays() -> None:
    made = planned(a_demand(R1), a_fleet(gb200_rack(4)))
    assert pods(made) == [("rack-0-tray-00", 4), ("rack-0-tray-01", 4)]


def test_one_node_of_h100_lacks_memory_for_405b() -> None:
    refusal = refused(a_demand(LLAMA_405B), a_fleet(h100s(1)))
    assert (refusal.reason, refusal.waits) == (RefusalReason.MEMORY_SHORT, False)
    assert [(hint.field, hint.value, str(hint.layout)) for hint in refusal.hints] == [
        ("spec.model.quantization", "fp8", "TP8×PP1")
    ]
    assert refusal.nearest is not None
    assert isinstance(refusal.nearest.cause, MemoryShort)


PUBLISHED = [
    (LLAMA_405B, "fp8", a_fleet(h100s(1)), 8, 1),
    (LLAMA_405B, "fp8", a_fleet(h100s(1)), 4, 2),
    (LLAMA_405B, "auto", a_fleet(h100s(2)), 8, 2),
    (LLAMA_70B, "fp8", a_fleet(h100s(1)), 1, 2),
    (LLAMA_70B, "fp8", a_fleet(l40s(1)), 2, 4),
    (R1, "auto", a_fleet(h200s(2)), 8, 2),
    (R1, "nvfp4", a_fleet(gb200_rack(2)), 8, 1),
]


@pytest.mark.parametrize(("name", "quantization", "fleet", "tensor", "pipeline"), PUBLISHED)
def test_a_published_layout_is_accepted_when_pinned(
    name: str, quantization: str, fleet: Fleet, tensor: int, pipeline: int
) -> None:
    demand = a_demand(facts(name, quantization), budget=tensor * pipeline, pins=pinned(tensor, pipeline))
    assert str(planned(demand, fleet).layout) == f"TP{tensor}×PP{pipeline}"


def test_the_configs_of_the_examples_are_the_real_ones() -> None:
    assert config(LLAMA_405B)["num_hidden_layers"] == 126
    assert config(R1)["quantization_config"]["weight_block_size"] == [128, 128]
