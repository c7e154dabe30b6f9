"""What the planner chooses for prefill and decode of the usual targets: layouts, replicas and what binds, written out.

A change of an estimate that moves a case here moves the GPUs of users: read the difference.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.fleets import RDMA, a_fleet, gb200_rack, h100s, h200s, l40s, with_rdma
from tests.support.models import LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, R1, a_demand, facts
from tests.support.plans import check_capacity, check_invariants
from tests.support.targets import priced_fleets, targeted

from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.roles import Half, Role, RoleName
from shardwise.domain.target import Bound, Target
from shardwise.planner import take
from shardwise.planner.halves import Pair
from shardwise.planner.pairs import plan_pair
from shardwise.planner.transfer_support import transfer_cause

PREFILL, DECODE = RoleName
VLLM, SGLANG, TENSORRT_LLM = EngineName
Chosen = tuple[Layout, int, Bound]
Case = tuple[str, EngineName, Fleet, Target, Chosen, Chosen]

CASES: dict[str, Case] = {
    "a chat": (
        LLAMA_8B,
        VLLM,
        a_fleet(h100s(2)),
        Target(500, 200, first_token=0.3, per_token=0.02, rate=20.0),
        (Layout(1, 1), 1, Bound.FIRST_TOKEN),
        (Layout(1, 1), 1, Bound.PER_TOKEN),
    ),
    "a chat of many": (
        LLAMA_8B,
        VLLM,
        a_fleet(h100s(4)),
        Target(500, 200, first_token=0.3, per_token=0.02, rate=300.0),
        (Layout(1, 2), 2, Bound.FIRST_TOKEN),
        (Layout(1, 1), 7, Bound.PER_TOKEN),
    ),
    "long documents": (
        LLAMA_8B,
        VLLM,
        a_fleet(h100s(4)),
        Target(7500, 300, first_token=1.0, rate=12.0),
        (Layout(1, 1), 3, Bound.FIRST_TOKEN),
        (Layout(1, 1), 3, Bound.CACHE),
    ),
    "long answers": (
        LLAMA_8B,
        VLLM,
        a_fleet(h100s(4)),
        Target(200, 4000, per_token=0.02, rate=10.0),
        (Layout(1, 1), 1, Bound.PROMPTS),
        (Layout(1, 1), 10, Bound.PER_TOKEN),
    ),
    "fast answers": (
        LLAMA_8B,
        VLLM,
        a_fleet(h100s(4)),
        Target(500, 200, per_token=0.003, rate=5.0),
        (Layout(1, 1), 1, Bound.PROMPTS),
        (Layout(4, 1), 1, Bound.PER_TOKEN),
    ),
    "fast answers with equal degrees": (
        LLAMA_8B,
        SGLANG,
        a_fleet(h100s(4)),
        Target(500, 200, per_token=0.003, rate=5.0),
        (Layout(4, 1), 1, Bound.PROMPTS),
        (Layout(4, 1), 1, Bound.PER_TOKEN),
    ),
    "a large model": (
        LLAMA_70B,
        VLLM,
        a_fleet(h100s(4)),
        Target(4000, 300, first_token=1.0, per_token=0.03, rate=3.0),
        (Layout(2, 2), 1, Bound.FIRST_TOKEN),
        (Layout(4, 1), 1, Bound.PER_TOKEN),
    ),
    "a large model on TensorRT-LLM": (
        LLAMA_70B,
        TENSORRT_LLM,
        a_fleet(h200s(4)),
        Target(4000, 300, first_token=1.0, per_token=0.03, rate=3.0),
        (Layout(2, 2), 1, Bound.FIRST_TOKEN),
        (Layout(2, 1), 1, Bound.PER_TOKEN),
    ),
    "no NVLink": (
        LLAMA_8B,
        VLLM,
        a_fleet(l40s(4)),
        Target(1000, 200, first_token=0.5, per_token=0.04, rate=10.0),
        (Layout(1, 1), 1, Bound.FIRST_TOKEN),
        (Layout(2, 1), 1, Bound.PER_TOKEN),
    ),
    "a mixture": (
        QWEN_235B_FP8,
        VLLM,
        a_fleet(h200s(4)),
        Target(1000, 500, first_token=1.0, per_token=0.05, rate=10.0),
        (Layout(1, 2), 1, Bound.FIRST_TOKEN),
        (Layout(1, 1, expert=True, data=4), 1, Bound.PER_TOKEN),
    ),
    "latent attention in a rack": (
        R1,
        VLLM,
        a_fleet(gb200_rack(8)),
        Target(2000, 500, first_token=2.0, per_token=0.05, rate=8.0),
        (Layout(2, 2), 1, Bound.FIRST_TOKEN),
        (Layout(1, 1, expert=True, data=8), 1, Bound.SEQUENCES),
    ),
}


def halves(demand: Demand) -> tuple[Demand, Demand]:
    return replace(demand, half=Half(Role(DECODE))), replace(demand, half=Half(Role(PREFILL)))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_usual_target_is_met_by_the_usual_pair(case: Case) -> None:
    name, engine, fleet, target, prefill, decode = case
    pair = plan_pair(
        *halves(a_demand(facts(name), budget=32, engine=engine, target=target, needs=RDMA)),
        a_fleet(with_rdma(fleet.nodes)),
    )
    assert isinstance(pair, Pair)
    found = []
    for made in (pair.prefill, pair.decode):
        check_invariants(replace(made, groups=made.numbered_from(0).groups))
        assert made.sizing is not None
        found.append((made.layout, made.replicas, made.sizing.binds))
    assert found == [prefill, decode]


@given(targeted, priced_fleets(), st.sampled_from(list(EngineName)), st.floats(0.01, 20.0))
@examples(40)
def test_what_is_planned_for_a_target_keeps_target_budget_fleet_and_law(
    demand: Demand, fleet: Fleet, engine: EngineName, rate: float
) -> None:
    assert demand.target is not None
    target = replace(demand.target, rate=rate)
    asked = replace(demand, target=target, engine=engine, release=None)
    pair = plan_pair(*halves(asked), fleet, hinted=False)
    if not isinstance(pair, Pair):
        return
    assert pair.gpus <= demand.gpu_budget
    check_capacity(pair.decode, fleet)
    check_capacity(pair.prefill, take(fleet, pair.decode))
    for name in RoleName:
        made, half = pair.of(name), Half(Role(name), pair.of(name.other).layout)
        assert transfer_cause(demand.model, engine, made.layout, half) is None
        assert made.sizing is not None
        assert made.replicas == max(demand.replicas, made.sizing.replicas)
        assert made.replicas * made.sizing.most_rate >= rate * (1 - 1e-6)
        assert (made.sizing.first_token or 0.0) <= (target.first_token or 1e9) * (1 + 1e-9)
        assert (made.sizing.per_token or 0.0) <= (target.per_token or 1e9)
