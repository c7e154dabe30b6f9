"""Known models on common fleets at 8k context: the layout each gets, and that no smaller one would have done.

The table is a record of what the planner chose, looked over by hand; the test below it is not: it searches all layouts
anew, with an exact oracle for room, and says how few GPUs could have been enough.
"""

from dataclasses import replace

import pytest
from tests.support import oracle
from tests.support.fleets import a_fleet, gb200_rack, h100s, h200s, l40s
from tests.support.models import a_demand, facts
from tests.support.plans import check_capacity, check_invariants

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.planner import plan
from shardwise.planner.legality import has_experts, illegal
from shardwise.planner.memory import memory_use

FLEETS: dict[str, Fleet] = {
    "H100": a_fleet(h100s(1)),
    "2 H100": a_fleet(h100s(2)),
    "H200": a_fleet(h200s(1)),
    "L40S": a_fleet(l40s(1)),
    "GB200": a_fleet(gb200_rack(4)),
}

ATLAS: dict[str, dict[str, str]] = {
    "Qwen/Qwen3-0.6B": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP1×PP1",
        "GB200": "TP1×PP1",
    },
    "Qwen/Qwen3-235B-A22B": {
        "H100": "TP8×PP1",
        "2 H100": "TP8×PP1",
        "H200": "TP4×PP1",
        "L40S": "MemoryShort",
        "GB200": "TP4×PP1",
    },
    "Qwen/Qwen3-235B-A22B-FP8": {
        "H100": "TP4×PP1",
        "2 H100": "TP4×PP1",
        "H200": "TP2×PP1",
        "L40S": "TP4×PP2",
        "GB200": "TP2×PP1",
    },
    "Qwen/Qwen3-30B-A3B": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP2×PP1",
        "GB200": "TP1×PP1",
    },
    "Qwen/Qwen3-30B-A3B-FP8": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP1×PP1",
        "GB200": "TP1×PP1",
    },
    "Qwen/Qwen3-32B": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP2×PP1",
        "GB200": "TP1×PP1",
    },
    "Qwen/Qwen3-32B-FP8": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP1×PP1",
        "GB200": "TP1×PP1",
    },
    "Qwen/Qwen3-8B": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP1×PP1",
        "GB200": "TP1×PP1",
    },
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": {
        "H100": "MemoryShort",
        "2 H100": "TP8×PP2",
        "H200": "TP8×PP1",
        "L40S": "MemoryShort",
        "GB200": "TP8×PP1",
    },
    "deepseek-ai/DeepSeek-R1": {
        "H100": "MemoryShort",
        "2 H100": "TP8×PP2",
        "H200": "TP8×PP1",
        "L40S": "MemoryShort",
        "GB200": "TP8×PP1",
    },
    "meta-llama/Meta-Llama-3.1-405B": {
        "H100": "MemoryShort",
        "2 H100": "TP8×PP2",
        "H200": "TP8×PP1",
        "L40S": "MemoryShort",
        "GB200": "TP8×PP1",
    },
    "meta-llama/Meta-Llama-3.1-70B": {
        "H100": "TP4×PP1",
        "2 H100": "TP4×PP1",
        "H200": "TP2×PP1",
        "L40S": "TP4×PP1",
        "GB200": "TP1×PP1",
    },
    "meta-llama/Meta-Llama-3.1-8B": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP1×PP1",
        "GB200": "TP1×PP1",
    },
    "mistralai/Mixtral-8x22B-v0.1": {
        "H100": "TP4×PP1",
        "2 H100": "TP4×PP1",
        "H200": "TP4×PP1",
        "L40S": "TP8×PP1",
        "GB200": "TP2×PP1",
    },
    "mistralai/Mixtral-8x7B-v0.1": {
        "H100": "TP2×PP1",
        "2 H100": "TP2×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP4×PP1",
        "GB200": "TP1×PP1",
    },
    "moonshotai/Kimi-K2-Instruct": {
        "H100": "MemoryShort",
        "2 H100": "TP8×PP2",
        "H200": "TP8×PP1 tight",
        "L40S": "MemoryShort",
        "GB200": "TP8×PP1",
    },
    "openai/gpt-oss-120b": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP2×PP1",
        "GB200": "TP1×PP1",
    },
    "openai/gpt-oss-20b": {
        "H100": "TP1×PP1",
        "2 H100": "TP1×PP1",
        "H200": "TP1×PP1",
        "L40S": "TP1×PP1",
        "GB200": "TP1×PP1",
    },
}

CELLS = [(name, fleet, layout) for name, row in ATLAS.items() for fleet, layout in row.items()]
IDS = [f"{name} on {fleet}" for name, fleet, _ in CELLS]


def demand_for(name: str, fleet: Fleet) -> Demand:
    return a_demand(name, budget=sum(node.gpus for node in fleet.nodes))


@pytest.mark.parametrize(("name", "fleet", "expected"), CELLS, ids=IDS)
def test_a_known_model_gets_its_layout(name: str, fleet: str, expected: str) -> None:
    made = plan(demand_for(name, FLEETS[fleet]), FLEETS[fleet])
    if not isinstance(made, Plan):
        assert made.reason.value == expected
        return
    assert f"{made.layout}{' tight' if made.tight else ''}" == expected
    check_invariants(made)
    check_capacity(made, FLEETS[fleet])


def fewest_gpus(demand: Demand, fleet: Fleet, share_free: float) -> int | None:
    """Search every layout of whole powers of two for the fewest GPUs that leave this share of the budget free."""
    rack = gpu_kind(fleet.nodes[0].product).rack
    found = []
    for layout in powers_of_two(demand):
        use = memory_use(demand, layout, fleet.nodes[0].memory)
        enough = use.slack >= int(use.budget * share_free)
        legal = illegal(demand.model, EngineName.VLLM, layout) is None
        if enough and legal and oracle.fewest_domains(fleet.nodes, layout, rack=rack) is not None:
            found.append(layout.world_size)
    return min(found, default=None)


def powers_of_two(demand: Demand) -> list[Layout]:
    experts = (False, True) if has_experts(demand.model) else (False,)
    degrees = (1, 2, 4, 8, 16)
    tried = [Layout(tensor, pipeline, expert) for tensor in degrees for pipeline in degrees for expert in experts]
    return [layout for layout in tried if layout.world_size <= demand.gpu_budget]


@pytest.mark.parametrize(("name", "fleet", "expected"), CELLS, ids=IDS)
def test_no_fewer_gpus_would_have_done(name: str, fleet: str, expected: str) -> None:
    demand = demand_for(name, FLEETS[fleet])
    made = plan(demand, FLEETS[fleet])
    roomy = fewest_gpus(demand, FLEETS[fleet], 0.05)
    any_fit = fewest_gpus(demand, FLEETS[fleet], 0.0)
    if not isinstance(made, Plan):
        assert any_fit is None
    elif made.tight:
        assert roomy is None
        assert made.gpus == any_fit
    else:
        assert made.gpus == roomy


GROWTH = ["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-70B", "Qwen/Qwen3-235B-A22B-FP8", "deepseek-ai/DeepSeek-R1"]


@pytest.mark.parametrize("name", GROWTH)
def test_a_longer_context_never_takes_fewer_gpus(name: str) -> None:
    fleet = a_fleet(h200s(2))
    made = [plan(a_demand(name, budget=16, context=tokens), fleet) for tokens in (2048, 8192, 32768, 131072)]
    sizes = [one.gpus for one in made if isinstance(one, Plan)]
    assert sizes == sorted(sizes)
    assert len(sizes) == len(made)


@pytest.mark.parametrize("name", GROWTH)
def test_more_sequences_at_once_never_take_fewer_gpus(name: str) -> None:
    fleet = a_fleet(h200s(2))
    made = [plan(a_demand(name, budget=16, concurrency=count), fleet) for count in (1, 4, 16)]
    sizes = [one.gpus for one in made if isinstance(one, Plan)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-405B"])
@pytest.mark.parametrize("quantization", ["fp8", "int4", "nvfp4"])
def test_a_quantised_model_never_takes_more_gpus(name: str, quantization: str) -> None:
    fleet = a_fleet(h100s(2))
    plain = plan(a_demand(name, budget=16), fleet)
    small = plan(a_demand(facts(name, quantization), budget=16), fleet)
    assert isinstance(plain, Plan)
    assert isinstance(small, Plan)
    assert small.gpus <= plain.gpus


@pytest.mark.parametrize("name", list(ATLAS))
def test_every_layout_that_fitted_is_accepted_when_pinned(name: str) -> None:
    """What the planner weighed and left is the user's to take."""
    fleet = FLEETS["H200"]
    demand = demand_for(name, fleet)
    made = plan(demand, fleet)
    assert isinstance(made, Plan)
    for other in made.alternatives:
        if other.outcome.value != "fits":
            continue
        pins = Pins(other.layout.tensor, other.layout.pipeline, other.layout.expert, other.layout.data)
        fixed = plan(replace(demand, pins=pins), fleet)
        assert isinstance(fixed, Plan)
        assert fixed.layout == other.layout
