"""Prefill and decode sized to a target: a queue of prompts, steps without prompts, and the smallest sum of both."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fleets import H100, H200, RDMA, a_fleet, a_node, h100s, h200s, priced, with_rdma
from tests.support.models import LLAMA_8B, LLAMA_70B, R1, a_demand, facts, pinned
from tests.support.plans import planned

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.needs import PodNeeds
from shardwise.domain.notes import EstimatesTrusted, TransferCounted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import RefusalReason
from shardwise.domain.roles import Half, Role, RoleName
from shardwise.domain.target import Bound, Sizing, Target
from shardwise.domain.target_causes import FirstTokenLate
from shardwise.domain.units import parse_latency
from shardwise.planner import sizing_of
from shardwise.planner.halves import Pair, PairRefusal, for_other
from shardwise.planner.pairs import part_of_rate, plan_pair
from shardwise.planner.prefill_sizing import most_share, queued
from shardwise.planner.transfer_time import cache_bytes, transfer_seconds

PREFILL, DECODE = RoleName
TARGET = Target(2000, 200, first_token=0.5, per_token=0.03, rate=10.0)


FLEET = a_fleet(with_rdma(h100s(8)))


def halves(
    target: Target = TARGET, model: str = LLAMA_8B, *, budget: int = 32, **changes: Any
) -> tuple[Demand, Demand]:
    """Give the demands of decode and prefill for a target, with RDMA."""
    given: dict[str, Any] = {"needs": RDMA} | changes
    demand = a_demand(facts(model), budget=budget, target=target, **given)
    return replace(demand, half=Half(Role(DECODE))), replace(demand, half=Half(Role(PREFILL)))


def paired(decode: Demand, prefill: Demand, fleet: Fleet = FLEET) -> Pair:
    found = plan_pair(decode, prefill, fleet)
    assert isinstance(found, Pair)
    return found


def refused(decode: Demand, prefill: Demand, fleet: Fleet = FLEET) -> PairRefusal:
    found = plan_pair(decode, prefill, fleet)
    assert isinstance(found, PairRefusal)
    return found


def sizing(made: Plan) -> Sizing:
    assert made.sizing is not None
    return made.sizing


def changed(roles: tuple[Demand, Demand], **changes: Any) -> tuple[Demand, Demand]:
    decode, prefill = roles
    return replace(decode, **changes), replace(prefill, **changes)


@given(st.floats(0.01, 1e5))
def test_the_share_of_time_for_a_queue_has_that_queue(prompts: float) -> None:
    assert queued(most_share(prompts)) == pytest.approx(prompts, rel=1e-4)


QUEUES: dict[str, tuple[float, float]] = {
    "an idle rank": (0.0, 0.0),
    "half of its time": (0.5, 0.75),
    "two thirds of its time": (2 / 3, 4 / 3),
    "nine tenths of its time": (0.9, 4.95),
}


@pytest.mark.parametrize(("share", "prompts"), QUEUES.values(), ids=QUEUES)
def test_prompts_wait_as_in_a_queue_of_random_arrivals(share: float, prompts: float) -> None:
    """M/D/1: the work and, of those before it, share² / 2(1 - share)."""
    assert queued(share) == pytest.approx(prompts)


def test_each_role_keeps_its_own_time_and_both_the_rate() -> None:
    pair = paired(*halves())
    prefill, decode = sizing(pair.prefill), sizing(pair.decode)
    assert prefill.first_token is not None
    assert prefill.first_token <= 0.5
    assert prefill.per_token is None
    assert decode.per_token is not None
    assert decode.per_token <= 0.03
    assert decode.first_token is None
    assert decode.of_first_token is not None
    for made in (pair.prefill, pair.decode):
        assert made.replicas == sizing(made).replicas
        assert made.replicas * sizing(made).most_rate >= 10.0 > (made.replicas - 1) * sizing(made).most_rate
    assert (prefill.target, decode.target) == (TARGET, TARGET)


OWN: dict[str, tuple[dict[str, Any], RoleName]] = {
    "a longer time per token": ({"per_token": 0.06}, PREFILL),
    "any time per token": ({"per_token": None}, PREFILL),
    "shorter answers": ({"output_tokens": 150}, PREFILL),
    "a longer time to the first token": ({"first_token": 1.0}, DECODE),
    "any time to the first token": ({"first_token": None}, DECODE),
}


@pytest.mark.parametrize(("changes", "same"), OWN.values(), ids=OWN)
def test_a_time_sizes_its_role_alone(changes: dict[str, Any], same: RoleName) -> None:
    before = paired(*halves())
    after = paired(*halves(replace(TARGET, **changes)))
    assert (after.of(same).layout, after.of(same).replicas) == (before.of(same).layout, before.of(same).replicas)


BINDS: dict[str, tuple[Target, Bound, Bound]] = {
    "both times": (TARGET, Bound.FIRST_TOKEN, Bound.PER_TOKEN),
    "the rate alone, short requests": (Target(500, 100, rate=10.0), Bound.PROMPTS, Bound.SEQUENCES),
    "the rate alone, long requests": (Target(7000, 1000, rate=10.0), Bound.PROMPTS, Bound.CACHE),
}


@pytest.mark.parametrize(("target", "prefill", "decode"), BINDS.values(), ids=BINDS)
def test_what_binds_is_said_for_each_role(target: Target, prefill: Bound, decode: Bound) -> None:
    pair = paired(*halves(target))
    assert (sizing(pair.prefill).binds, sizing(pair.decode).binds) == (prefill, decode)


def test_a_longer_wait_lets_prefill_work_a_larger_share_of_time() -> None:
    """The rate of a replica grows with the time to the first token, towards the time of the prompts."""
    rates = [
        sizing(paired(*halves(replace(TARGET, first_token=seconds), pins=pinned(1, 1))).prefill).most_rate
        for seconds in (0.3, 0.6, 1.2, None)
    ]
    assert rates == sorted(set(rates))
    assert rates[-1] < 1.5 * rates[0]


def test_no_time_is_left_to_wait_where_the_prompt_alone_is_late() -> None:
    found = refused(*halves(replace(TARGET, first_token=0.05)))
    assert (found.role, found.refusal.reason) == (PREFILL, RefusalReason.TARGET_MISSED)


def test_the_part_that_passes_in_decode_counts() -> None:
    """Prefill of the same layout has as much less time."""
    _, prefill = halves(pins=pinned(1, 1))
    pair = paired(*halves(pins=pinned(1, 1)))
    alone = sizing_of(replace(prefill, half=Half(Role(PREFILL), Layout(1, 1))), FLEET, pair.prefill)
    assert alone is not None
    assert alone.most_rate > sizing(pair.prefill).most_rate
    after = for_other(prefill, pair.decode)
    assert after.half is not None
    assert after.half.elsewhere == sizing(pair.decode).of_first_token
    assert sizing_of(after, FLEET, pair.prefill) == pair.prefill.sizing


def test_the_transfer_counts_where_it_is_estimated() -> None:
    """8B: 128 KiB a token over 32 layers; 2,000 tokens at 40 GB/s take 6.6 ms, and the network starts in 80 µs."""
    _, prefill = halves()
    told = replace(prefill, half=Half(Role(PREFILL), Layout(1, 1)))
    assert cache_bytes(prefill, 2000, Layout(1, 1)) == 2000 * 32 * 8 * 2 * 128 * 2
    assert transfer_seconds(told, Layout(1, 1)) == pytest.approx(80e-6 + 2000 * 131072 / 40e9)
    pair = paired(*halves())
    (counted,) = [note for note in pair.prefill.notes if isinstance(note, TransferCounted)]
    assert counted.decode == sizing(pair.decode).of_first_token
    assert not [note for note in pair.decode.notes if isinstance(note, TransferCounted)]


WIDTHS: dict[str, tuple[Layout, Layout, float]] = {
    "one GPU each": (Layout(1, 1), Layout(1, 1), 1.0),
    "each GPU of decode reads its heads": (Layout(4, 1), Layout(4, 1), 1 / 4),
    "a card of prefill serves four of decode": (Layout(1, 1), Layout(4, 1), 1.0),
    "four cards of prefill serve one of decode": (Layout(4, 1), Layout(1, 1), 1.0),
    "sixteen GPUs of decode hold eight heads twice": (Layout(8, 1), Layout(16, 1), 1 / 4),
}


@pytest.mark.parametrize(("prefill", "decode", "part"), WIDTHS.values(), ids=WIDTHS)
def test_the_fullest_card_sets_the_time_of_a_transfer(prefill: Layout, decode: Layout, part: float) -> None:
    demand = halves()[1]
    seconds = transfer_seconds(replace(demand, half=Half(Role(PREFILL), decode)), prefill)
    assert seconds == pytest.approx(80e-6 + part * 2000 * 131072 / 40e9)
    assert transfer_seconds(replace(demand, half=Half(Role(DECODE), prefill)), decode) == seconds


def test_latent_caches_are_read_whole_by_each_gpu_of_decode() -> None:
    demand = replace(a_demand(facts(R1), target=TARGET, needs=RDMA), half=Half(Role(PREFILL), Layout(8, 1)))
    assert cache_bytes(demand, 2000, Layout(8, 1)) == cache_bytes(demand, 2000, Layout(1, 1)) > 0


def test_a_transfer_by_tcp_counts_with_what_was_measured() -> None:
    """Half a second for a prompt of 2,000 tokens."""
    pair = paired(*halves(target=replace(TARGET, first_token=2.0), needs=PodNeeds()))
    (said,) = [note for note in pair.prefill.notes if isinstance(note, TransferCounted)]
    assert said.bytes == 2000 * 131072
    assert said.seconds == pytest.approx(80e-6 + said.bytes / 0.5e9)
    assert not said.by_rdma
    assert (sizing(pair.prefill).first_token or 0.0) > said.seconds + said.decode


def test_a_target_that_a_transfer_by_tcp_alone_exceeds_is_refused_with_its_part() -> None:
    """2,000 tokens of 128 KiB take 524 ms, and the target allows 500."""
    late = refused(*halves(needs=PodNeeds())).refusal
    assert late.reason is RefusalReason.TARGET_MISSED
    found = [layout.cause for layout in late.rejected if isinstance(layout.cause, FirstTokenLate)]
    assert max(cause.by_tcp for cause in found) == pytest.approx(80e-6 + 2000 * 131072 / 0.5e9)


def test_the_measurements_are_said_to_be_of_replicas_that_do_both() -> None:
    pair = paired(*halves())
    for made in (pair.prefill, pair.decode):
        (trusted,) = [note for note in made.notes if isinstance(note, EstimatesTrusted)]
        assert trusted.apart


def smallest_sum(decode: Demand, prefill: Demand, fleet: Fleet) -> int:
    """Search all pairs of tensor degrees: the fewest GPUs of both roles."""
    degrees = [1, 2, 4, 8]
    found = []
    for mine in degrees:
        for other in degrees:
            pins = replace(decode, pins=pinned(mine)), replace(prefill, pins=pinned(other))
            pair = plan_pair(*pins, fleet, hinted=False)
            found += [pair.gpus] if isinstance(pair, Pair) else []
    return min(found)


SUMS: dict[str, tuple[str, EngineName, Target]] = {
    "degrees that must be equal": (LLAMA_8B, EngineName.SGLANG, Target(4000, 100, 0.3, 0.006, 20.0)),
    "equal, a decode of one GPU": (LLAMA_8B, EngineName.SGLANG, Target(4000, 100, 0.2, 0.05, 10.0)),
    "equal, long answers": (LLAMA_70B, EngineName.SGLANG, Target(500, 1000, 1.0, 0.02, 3.0)),
    "degrees that divide": (LLAMA_70B, EngineName.VLLM, Target(4000, 300, 1.0, 0.02, 4.0)),
    "any degrees": (LLAMA_8B, EngineName.TENSORRT_LLM, Target(4000, 100, 0.3, 0.006, 20.0)),
}


@pytest.mark.parametrize(("model", "engine", "target"), SUMS.values(), ids=SUMS)
def test_no_pair_of_degrees_needs_fewer_gpus(model: str, engine: EngineName, target: Target) -> None:
    roles = halves(target, model, budget=64, engine=engine)
    fleet = a_fleet(with_rdma(h200s(8)))
    assert paired(*roles, fleet).gpus == smallest_sum(*roles, fleet)


def test_without_prices_the_cheapest_pair_is_not_known() -> None:
    roles = halves(objective=Objective.CHEAPEST)
    kinds = a_fleet(with_rdma(h100s(4)), with_rdma(h200s(4)))
    assert refused(*roles, kinds).refusal.reason is RefusalReason.PRICE_UNKNOWN


PRICES: dict[str, tuple[float, float, str]] = {
    "the smaller product is cheaper": (2.0, 3.5, H100),
    "the larger product is cheaper": (4.0, 3.5, H200),
}


@pytest.mark.parametrize(("smaller", "larger", "chosen"), PRICES.values(), ids=PRICES)
def test_the_sum_of_both_roles_has_the_lowest_price(smaller: float, larger: float, chosen: str) -> None:
    """On two products, and no dearer than on either alone."""
    target = Target(1000, 200, first_token=0.5, per_token=0.05, rate=5.0)
    roles = halves(target, objective=Objective.CHEAPEST)
    fleet = priced(a_fleet(with_rdma(h100s(2)), with_rdma(h200s(2))), {H100: smaller, H200: larger})
    pair = paired(*roles, fleet)
    assert {made.product for made in (pair.decode, pair.prefill)} == {chosen}
    for product in (H100, H200):
        assert cost(pair) <= cost(paired(*changed(roles, products=(product,)), fleet))


def cost(pair: Pair) -> float:
    return sum(made.gpus * (made.price or 0.0) for made in (pair.decode, pair.prefill))


def test_a_role_with_an_objective_of_its_own_is_not_made_small() -> None:
    """Decode for latency takes what prefill leaves it, although less would meet the target."""
    decode, prefill = halves(budget=6)
    fast = paired(replace(decode, objective=Objective.LATENCY), prefill)
    assert fast.decode.gpus > paired(decode, prefill).decode.gpus
    assert sizing(fast.decode).per_token is not None


def test_both_roles_of_a_target_lie_in_one_place() -> None:
    """The second rack has room for both; the refusal of none is that of the first."""
    decode, prefill = (
        replace(role, half=Half(Role(name, within="rack")))
        for role, name in zip(halves(replace(TARGET, rate=50.0)), (DECODE, PREFILL), strict=True)
    )
    racks = [
        a_node(f"{rack}-{number}", places=(rack,), free=free)
        for rack, free in (("a", 2), ("b", 4))
        for number in range(2)
    ]
    fleet = a_fleet(with_rdma(tuple(racks)), levels=("rack",))
    pair = paired(decode, prefill, fleet)
    assert {name[0] for made in (pair.decode, pair.prefill) for name in made.gpus_by_node()} == {"b"}
    assert part_of_rate(*changed((decode, prefill), target=replace(TARGET, rate=200.0)), fleet) is not None


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 12), st.floats(0.5, 40), st.floats(0.15, 3), st.floats(0.01, 0.1))
def test_more_budget_never_makes_a_pair_larger(budget: int, rate: float, first: float, token: float) -> None:
    target = Target(1500, 200, first, token, rate)
    small = plan_pair(*halves(target, budget=budget), FLEET, hinted=False)
    if isinstance(small, Pair):
        assert small.gpus <= budget
        assert paired(*halves(target, budget=budget + 8)).gpus <= small.gpus


HINTED: dict[str, tuple[Target, int, RoleName, set[str]]] = {
    "a late first token": (replace(TARGET, first_token=0.05), 32, PREFILL, {"spec.target.timeToFirstToken"}),
    "slow tokens": (replace(TARGET, per_token=0.001), 32, DECODE, {"spec.target.timePerToken"}),
    "both": (replace(TARGET, first_token=0.01, per_token=0.001), 32, PREFILL, {"spec.target"}),
    "a budget for less than the prompts": (
        replace(TARGET, rate=60.0),
        2,
        PREFILL,
        {"spec.gpuBudget.total", "spec.target.requestsPerSecond"},
    ),
    "a budget for the prompts alone": (
        replace(TARGET, output_tokens=2000, input_tokens=500),
        2,
        DECODE,
        {"spec.gpuBudget.total", "spec.target.requestsPerSecond"},
    ),
}


@pytest.mark.parametrize(("target", "budget", "role", "fields"), HINTED.values(), ids=HINTED)
def test_the_nearest_target_that_can_be_met_is_hinted(
    target: Target, budget: int, role: RoleName, fields: set[str]
) -> None:
    """And both roles have a plan with each hint."""
    roles = halves(target, budget=budget)
    found = refused(*roles)
    assert found.role is role
    assert fields <= {hint.field for hint in found.refusal.hints}
    for hint in found.refusal.hints:
        assert isinstance(plan_pair(*followed(roles, target, hint.field, hint.value), FLEET), Pair), hint


def followed(roles: tuple[Demand, Demand], target: Target, field: str, value: Any) -> tuple[Demand, Demand]:
    match field:
        case "spec.gpuBudget.total":
            return changed(roles, gpu_budget=value)
        case "spec.target.timeToFirstToken":
            return changed(roles, target=replace(target, first_token=parse_latency(value)))
        case "spec.target.timePerToken":
            return changed(roles, target=replace(target, per_token=parse_latency(value)))
        case "spec.target.requestsPerSecond":
            return changed(roles, target=replace(target, rate=float(value)))
        case _:
            return changed(roles, target=value)


def test_the_smallest_budget_is_hinted() -> None:
    roles = halves(replace(TARGET, rate=60.0), budget=2)
    (least,) = [hint.value for hint in refused(*roles).refusal.hints if hint.field == "spec.gpuBudget.total"]
    assert isinstance(least, int)
    assert isinstance(plan_pair(*changed(roles, gpu_budget=least - 1), FLEET, hinted=False), PairRefusal)


def test_both_roles_get_the_same_part_of_a_rate_that_does_not_fit() -> None:
    """The sizings are for the whole rate, so that the rest can come."""
    roles = halves(replace(TARGET, rate=200.0), budget=6)
    pair = part_of_rate(*roles, FLEET)
    assert pair is not None
    assert pair.gpus <= 6
    parts = [made.replicas * sizing(made).most_rate / 200 for made in (pair.decode, pair.prefill)]
    assert max(parts) < 1
    for made in (pair.decode, pair.prefill):
        assert sizing(made).target.rate == 200.0
        without_one = (made.replicas - 1) * sizing(made).most_rate / 200
        assert without_one < min(parts)


def test_no_part_of_a_rate_fits_where_no_layout_meets_the_times() -> None:
    assert part_of_rate(*halves(replace(TARGET, first_token=0.01)), FLEET) is None


def test_a_role_of_no_replicas_stays_without() -> None:
    decode, prefill = halves()
    pair = paired(decode, replace(prefill, replicas=0))
    assert (pair.prefill.replicas, pair.prefill.gpus) == (0, 0)
    part = part_of_rate(replace(decode, gpu_budget=1, replicas=1), replace(prefill, gpu_budget=1, replicas=0), FLEET)
    assert part is None or part.prefill.replicas == 0


def test_stated_replicas_are_the_least() -> None:
    decode, prefill = halves(replace(TARGET, rate=0.1))
    assert paired(decode, prefill).gpus == 2
    assert paired(replace(decode, replicas=3), prefill).decode.replicas == 3


PUBLISHED: dict[str, tuple[RoleName, int, int, float, float]] = {
    "prefill of 32 GPUs": (PREFILL, 32, 0, 52_300, 0.47),
    "decode of 72 GPUs with 32 copies of experts": (DECODE, 72, 32, 22_300, 0.89),
}
"""Tokens a second and node of eight H100 that SGLang's team published for DeepSeek-R1 and prompts of 2,000 tokens
(lmsys.org/blog/2025-05-05-large-scale-ep), and the part of them that the estimate gives."""


@pytest.mark.parametrize(("role", "gpus", "copies", "tokens", "part"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_rates_of_roles_beside_the_estimates(
    role: RoleName, gpus: int, copies: int, tokens: float, part: float
) -> None:
    """No estimate promises more than was measured."""
    target = Target(2000, 100, rate=1.0)
    demand = a_demand(facts(R1), budget=gpus, context=4096, target=target, engine=EngineName.SGLANG, needs=RDMA)
    wide = replace(
        demand,
        half=Half(Role(role)),
        pins=replace(pinned(1, 1, expert=True), data=gpus),
        concurrency=gpus,
        redundant_experts=copies,
    )
    made = planned(wide, a_fleet(with_rdma(h100s(9))))
    each = target.input_tokens if role is PREFILL else target.output_tokens
    assert sizing(made).most_rate * each * 8 / gpus / tokens == pytest.approx(part, abs=0.01)
