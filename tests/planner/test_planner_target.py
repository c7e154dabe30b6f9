"""Targets: the times of a data rank term by term, the size that follows, and what binds."""

from dataclasses import replace
from typing import Any

import pytest
from tests.support.fleets import H100, H200, a_fleet, h100s, h200s, priced
from tests.support.models import LLAMA_8B, LLAMA_70B, Dense, a_demand, a_model, attention, pinned
from tests.support.plans import planned, refused

from shardwise.domain.demand import Objective
from shardwise.domain.hardware import GpuKind
from shardwise.domain.layout import Layout
from shardwise.domain.refusal import Hint, MoreGpus, RefusalReason
from shardwise.domain.target import Bound, Target
from shardwise.domain.target_causes import Dearer, FirstTokenLate, PriceUnknown, TokensSlow
from shardwise.planner import sizing_of
from shardwise.planner.cost import step_seconds
from shardwise.planner.links import Links
from shardwise.planner.rank_load import REQUEST_START, RankLoad, attention_flops

KIND = GpuKind("made-up", hbm=1e12 / 0.7, flops=1e15 / 0.7, nvlink=4e11, pcie=5e10)
LINKS = Links(KIND, tensor_on_nvlink=True, stages_in_domain=True)
MODEL = a_model(4, attends=attention(16, 4, 64), ffn=Dense(4096), hidden=1024, vocabulary=64000)
ELEMENTS = 2 * 1024 * 1024 + 2 * 1024 * 256 + 3 * 1024 * 4096 + 2 * 1024
DEMAND = a_demand(MODEL, target=Target(1000, 100))
PROMPT = 4 * (2 * ELEMENTS * 1000 + 4 * 1000 * 500 * 1024) / 1e15
"""Seconds of a prompt of 1,000 tokens: linear layers, and attention over half of the tokens on average."""


def load(pipeline: int = 1) -> RankLoad:
    return RankLoad(DEMAND, Layout(1, pipeline), LINKS, 1000, 100)


def test_a_prompt_takes_its_linear_layers_and_its_attention() -> None:
    assert load().prompt == pytest.approx(PROMPT)


@pytest.mark.parametrize(("window", "seen"), [(None, 500), (128, 128), (4096, 500)])
def test_a_window_bounds_the_tokens_that_a_prompt_attends_to(window: int | None, seen: int) -> None:
    layer = MODEL.kinds[0]
    assert layer.cache is not None
    windowed = replace(layer, cache=replace(layer.cache, window=window))  # type: ignore[arg-type]
    assert attention_flops(windowed, 1000) == 4 * 1000 * seen * 1024
    assert attention_flops(replace(layer, cache=None), 1000) == 0


@pytest.mark.parametrize("requests", [1, 8, 100])
def test_a_token_waits_for_a_step_and_for_the_prompts_of_all_requests(requests: int) -> None:
    step = step_seconds(DEMAND, Layout(1, 1), LINKS, batch=requests)
    assert load().per_token(requests) == pytest.approx(step + requests * PROMPT / 100)
    assert load().rate(requests) == pytest.approx(requests / (100 * step + requests * PROMPT))


def test_the_first_token_of_a_lone_request_waits_for_the_server_and_for_its_prompt() -> None:
    step = step_seconds(DEMAND, Layout(1, 1), LINKS, batch=1)
    assert load().first_token(1) == pytest.approx(REQUEST_START + max(PROMPT, step) + PROMPT**2 / (200 * step))


def test_among_others_a_request_waits_for_the_running_step_and_for_the_prompts_before_it() -> None:
    step = step_seconds(DEMAND, Layout(1, 1), LINKS, batch=8)
    queued = 8 * PROMPT**2 / (200 * step)
    assert load().first_token(8) == pytest.approx(REQUEST_START + max(PROMPT, step) + 1.5 * step + queued)


def test_stages_work_on_a_part_of_the_requests_each() -> None:
    of_one, of_two = load(2).step(1), load(2).step(2)
    assert of_one == pytest.approx(step_seconds(DEMAND, Layout(1, 2), LINKS, batch=1))
    assert of_two >= of_one
    assert load(2).prompt < load().prompt


EIGHT_H100 = a_fleet(h100s(1))

BINDS: dict[str, tuple[Target, dict[str, Any], Bound]] = {
    "tokens that must come fast": (Target(2000, 200, per_token=0.012, rate=20), {}, Bound.PER_TOKEN),
    "a first token that must come soon": (Target(2000, 200, first_token=0.1, rate=20), {}, Bound.FIRST_TOKEN),
    "long requests fill the cache": (Target(7000, 1000, rate=1), {"pins": pinned(1)}, Bound.CACHE),
    "short requests fill the engine's steps": (Target(100, 100, rate=20), {}, Bound.SEQUENCES),
    "without a rate the tighter time": (Target(2000, 200, first_token=9.0, per_token=0.012), {}, Bound.PER_TOKEN),
    "without a rate the other time": (Target(2000, 200, first_token=0.1, per_token=9.0), {}, Bound.FIRST_TOKEN),
}


@pytest.mark.parametrize(("target", "changes", "binds"), BINDS.values(), ids=BINDS)
def test_a_sizing_says_what_binds(target: Target, changes: dict[str, Any], binds: Bound) -> None:
    made = planned(a_demand(LLAMA_8B, target=target, **changes), EIGHT_H100)
    assert made.sizing is not None
    assert made.sizing.binds is binds


def test_replicas_follow_from_the_rate() -> None:
    """Each replica bears the same rate: twice the rate needs twice the replicas, up to rounding."""
    target = Target(2000, 200, per_token=0.03, rate=20)
    one, two = (planned(a_demand(target=replace(target, rate=rate)), EIGHT_H100) for rate in (20, 40))
    assert one.sizing is not None and two.sizing is not None  # noqa: PT018
    assert one.sizing.most_rate == two.sizing.most_rate
    assert two.replicas in (2 * one.replicas - 1, 2 * one.replicas)
    spare = one.sizing.spare_rate(one.replicas)
    assert spare == pytest.approx(one.replicas * one.sizing.most_rate / 20 - 1)


def test_a_target_chooses_the_product_with_the_fewest_gpus_or_the_lowest_price() -> None:
    """One H200 holds 70B in fp8 and bears the rate; H100s at a third of the price are cheaper, and more."""
    fleet = priced(a_fleet(h100s(1), h200s(1)), {H100: 1.0, H200: 6.0})
    demand = a_demand(LLAMA_8B, budget=16, target=Target(2000, 400, per_token=0.03, rate=30))
    fewest = planned(demand, fleet)
    cheapest = planned(replace(demand, objective=Objective.CHEAPEST), fleet)
    assert (fewest.product, cheapest.product) == (H200, H100)
    assert fewest.gpus < cheapest.gpus
    assert cheapest.price == 1.0
    assert cheapest.gpus * 1.0 < fewest.gpus * 6.0
    dearer = [other.cause for other in cheapest.alternatives if other.product == H200]
    assert Dearer(fewest.gpus * 6.0, cheapest.gpus * 1.0) in dearer
    assert any(isinstance(other.cause, MoreGpus) for other in fewest.alternatives if other.product == H100)


def test_without_a_target_the_cheapest_is_the_replica_that_costs_least() -> None:
    fleet = priced(a_fleet(h100s(1), h200s(1)), {H100: 1.0, H200: 1.5})
    assert planned(a_demand(LLAMA_70B, objective=Objective.CHEAPEST), fleet).product == H200
    fleet = priced(a_fleet(h100s(1), h200s(1)), {H100: 1.0, H200: 9.0})
    assert planned(a_demand(LLAMA_70B, objective=Objective.CHEAPEST), fleet).product == H100


def test_a_product_without_a_price_is_not_used_for_the_cheapest_plan() -> None:
    fleet = priced(a_fleet(h100s(1), h200s(1)), {H200: 9.0})
    made = planned(a_demand(LLAMA_8B, objective=Objective.CHEAPEST), fleet)
    assert made.product == H200
    assert PriceUnknown(H100) in [other.cause for other in made.alternatives]


def test_without_any_price_the_refusal_says_so_and_hints_at_the_fewest_gpus() -> None:
    refusal = refused(a_demand(LLAMA_8B, objective=Objective.CHEAPEST), EIGHT_H100)
    assert refusal.reason is RefusalReason.PRICE_UNKNOWN
    assert [(hint.field, hint.value) for hint in refusal.hints] == [("spec.objective", "fewest-gpus")]


HINTS: dict[str, tuple[Target, int, type[object], list[str]]] = {
    "a first token that comes too late": (
        Target(4000, 200, first_token=0.03, rate=1),
        8,
        FirstTokenLate,
        ["spec.target.timeToFirstToken"],
    ),
    "tokens that are too slow": (Target(4000, 200, per_token=0.001), 8, TokensSlow, ["spec.target.timePerToken"]),
    "tokens that are too slow beyond the budget as well": (
        Target(4000, 200, per_token=0.001),
        1,
        TokensSlow,
        ["spec.target.timePerToken"],
    ),
    "both times": (Target(4000, 200, first_token=0.03, per_token=0.001), 8, TokensSlow, ["spec.target"]),
}


@pytest.mark.parametrize(("target", "budget", "cause", "fields"), HINTS.values(), ids=HINTS)
def test_a_target_that_is_missed_is_refused_with_the_nearest_that_is_met(
    target: Target, budget: int, cause: type[object], fields: list[str]
) -> None:
    refusal = refused(a_demand(LLAMA_8B, budget=budget, target=target), EIGHT_H100)
    assert refusal.reason is RefusalReason.TARGET_MISSED
    assert not refusal.waits
    assert refusal.nearest is not None
    assert isinstance(refusal.nearest.cause, cause)
    assert [hint.field for hint in refusal.hints] == fields


def test_a_rate_beyond_the_budget_is_refused_with_the_budget_and_the_rate_that_would_do() -> None:
    refusal = refused(a_demand(LLAMA_8B, budget=2, target=Target(2000, 200, per_token=0.03, rate=30)), EIGHT_H100)
    assert refusal.reason is RefusalReason.BUDGET_SHORT
    found = {hint.field: hint for hint in refusal.hints}
    assert set(found) == {"spec.gpuBudget.total", "spec.target.requestsPerSecond"}
    assert _value(found["spec.gpuBudget.total"]) > 2
    assert 10 < _value(found["spec.target.requestsPerSecond"]) < 30


def _value(hint: Hint) -> float:
    assert isinstance(hint.value, int | float)
    return hint.value


def test_the_layout_of_a_plan_is_sized_for_another_target_on_a_full_fleet() -> None:
    made = planned(a_demand(LLAMA_8B, target=Target(2000, 200, per_token=0.03, rate=5)), EIGHT_H100)
    full = a_fleet(h100s(1, free=[0]))
    demand = a_demand(LLAMA_8B, budget=1, target=Target(2000, 200, per_token=0.03, rate=50))
    sizing = sizing_of(demand, full, made)
    assert sizing is not None
    assert sizing.replicas > 1
    assert sizing_of(replace(demand, target=Target(2000, 200, per_token=0.001)), full, made) is None
    assert sizing_of(replace(demand, target=None), full, made) is None
