"""What the planner chooses for the usual targets: layout, number of replicas, and what binds, written out.

A change of an estimate that moves a case here moves the GPUs of users: read the difference.
"""

import pytest
from tests.support.fleets import a_fleet, gb200_rack, h100s, h200s, l40s
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, QWEN_235B_FP8, R1, a_demand, facts
from tests.support.plans import check_capacity, check_invariants, planned

from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.target import Bound, Target

Case = tuple[str, str, Fleet, Target, Layout, int, Bound]

CASES: dict[str, Case] = {
    "a chat on one GPU": (
        LLAMA_8B,
        "auto",
        a_fleet(h100s(1)),
        Target(500, 200, per_token=0.02, rate=5.0),
        Layout(1, 1),
        1,
        Bound.PER_TOKEN,
    ),
    "a chat of many": (
        LLAMA_8B,
        "auto",
        a_fleet(h100s(1)),
        Target(500, 200, per_token=0.02, rate=120.0),
        Layout(1, 1),
        5,
        Bound.PER_TOKEN,
    ),
    "a chat of many in fp8": (
        LLAMA_8B,
        "fp8",
        a_fleet(h100s(1)),
        Target(500, 200, per_token=0.02, rate=120.0),
        Layout(1, 1),
        4,
        Bound.PER_TOKEN,
    ),
    "fast answers": (
        LLAMA_8B,
        "auto",
        a_fleet(h100s(1)),
        Target(500, 200, per_token=0.003, rate=5.0),
        Layout(4, 1),
        1,
        Bound.PER_TOKEN,
    ),
    "long documents": (
        LLAMA_8B,
        "auto",
        a_fleet(h100s(1)),
        Target(7500, 300, first_token=1.0, rate=6.0),
        Layout(1, 1),
        3,
        Bound.CACHE,
    ),
    "70B on two products": (
        LLAMA_70B,
        "auto",
        a_fleet(h100s(1), h200s(1)),
        Target(2000, 300, per_token=0.05, rate=3.0),
        Layout(4, 1),
        1,
        Bound.PER_TOKEN,
    ),
    "70B in fp8 on two products": (
        LLAMA_70B,
        "fp8",
        a_fleet(h100s(1), h200s(1)),
        Target(2000, 300, per_token=0.05, rate=3.0),
        Layout(2, 1),
        1,
        Bound.PER_TOKEN,
    ),
    "70B, fast": (
        LLAMA_70B,
        "fp8",
        a_fleet(h100s(2)),
        Target(2000, 300, per_token=0.012, rate=3.0),
        Layout(8, 1),
        2,
        Bound.PER_TOKEN,
    ),
    "70B without NVLink": (
        LLAMA_70B,
        "fp8",
        a_fleet(l40s(2)),
        Target(1000, 200, per_token=0.2, rate=1.0),
        Layout(1, 3),
        1,
        Bound.PER_TOKEN,
    ),
    "405B over two nodes": (
        LLAMA_405B,
        "auto",
        a_fleet(h100s(4)),
        Target(2000, 300, per_token=0.1, rate=1.0),
        Layout(8, 2),
        1,
        Bound.PER_TOKEN,
    ),
    "405B in a rack": (
        LLAMA_405B,
        "auto",
        a_fleet(gb200_rack(8)),
        Target(2000, 300, per_token=0.05, rate=2.0),
        Layout(8, 1),
        1,
        Bound.PER_TOKEN,
    ),
    "a mixture for many": (
        QWEN_235B_FP8,
        "auto",
        a_fleet(h200s(2)),
        Target(1000, 500, per_token=0.05, rate=20.0),
        Layout(1, 1, expert=True, data=8),
        1,
        Bound.PER_TOKEN,
    ),
    "a mixture for few": (
        QWEN_235B_FP8,
        "auto",
        a_fleet(h200s(2)),
        Target(1000, 500, per_token=0.05, rate=0.5),
        Layout(1, 1, expert=True, data=2),
        1,
        Bound.PER_TOKEN,
    ),
    "latent attention for many": (
        R1,
        "auto",
        a_fleet(h200s(2)),
        Target(2000, 500, per_token=0.05, rate=8.0),
        Layout(1, 1, expert=True, data=8),
        2,
        Bound.PER_TOKEN,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_usual_target_is_met_by_the_usual_plan(case: Case) -> None:
    name, quantization, fleet, target, layout, replicas, binds = case
    made = planned(a_demand(facts(name, quantization), budget=32, target=target), fleet)
    check_invariants(made)
    check_capacity(made, fleet)
    assert made.sizing is not None
    assert (made.layout, made.replicas, made.sizing.binds) == (layout, replicas, binds)
