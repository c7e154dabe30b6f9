"""The order among layouts that meet a target, and the cause by which each of the others lost."""

from dataclasses import replace

import pytest
from hypothesis import given
from tests.support.examples import examples
from tests.support.fleets import H100, H200, L40S, PRICES, a_fleet, a_node, h100s, h200s, l40s, priced
from tests.support.models import LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, a_demand, facts
from tests.support.plans import planned
from tests.support.targets import priced_fleets, targeted

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.fleet import Fleet
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Estimate, LayoutOutcome, MemoryUse, Plan
from shardwise.domain.refusal import Cause, Merit, MoreGpus, OverBudget, Preferred, Slower, Tight
from shardwise.domain.target import Target
from shardwise.domain.target_causes import Dearer, FirstTokenLate, PriceUnknown, TokensSlow
from shardwise.planner import plan
from shardwise.planner.choose import Candidate, is_uneven, lost_because, preference
from shardwise.planner.pools import PoolGpus

ROOMY, TIGHT = MemoryUse(10, 0, 0, 0, 100), MemoryUse(97, 0, 0, 0, 100)
FEWEST, CHEAPEST, LATENCY = Objective.FEWEST_GPUS, Objective.CHEAPEST, Objective.LATENCY
SMALL, LARGE = 80, 141


def candidate(
    tensor: int = 1,
    pipeline: int = 1,
    *,
    replicas: int = 1,
    rate: float = 0.0,
    use: MemoryUse = ROOMY,
    product: str = H100,
    memory: int = SMALL,
    price: float | None = None,
    seconds: float = 0.01,
) -> Candidate:
    kind = replace(gpu_kind(product), price=price)
    pool = PoolGpus(kind, product, memory, frozenset({8}))
    return Candidate(Layout(tensor, pipeline), pool, use, Estimate(seconds, 100.0, 0.0), replicas, rate)


LOST: dict[str, tuple[Objective, Candidate, Candidate, Cause]] = {
    "more GPUs of all replicas": (
        FEWEST,
        candidate(2, replicas=2),
        candidate(1, replicas=5),
        MoreGpus(5, 4),
    ),
    "more GPUs, although of a single replica": (FEWEST, candidate(1, replicas=7), candidate(8), MoreGpus(8, 7)),
    "a higher price of fewer GPUs": (
        CHEAPEST,
        candidate(1, replicas=4, price=2.0),
        candidate(2, replicas=1, price=5.0, product=H200, memory=LARGE),
        Dearer(10.0, 8.0),
    ),
    "more GPUs at the same price": (
        CHEAPEST,
        candidate(2, replicas=1, price=4.0, product=H200, memory=LARGE),
        candidate(1, replicas=4, price=2.0),
        MoreGpus(4, 2),
    ),
    "the fewest GPUs are tight, and size comes first": (
        FEWEST,
        candidate(1, replicas=2, use=TIGHT),
        candidate(4),
        MoreGpus(4, 2),
    ),
    "of equal size the tight": (FEWEST, candidate(2), candidate(1, replicas=2, use=TIGHT), Tight(3, 5)),
    "the fewest GPUs are uneven, and size comes first": (FEWEST, candidate(1, 3), candidate(4), MoreGpus(4, 3)),
    "of equal size the uneven": (
        FEWEST,
        candidate(1, replicas=3),
        candidate(1, 3),
        Preferred(Merit.NODES_USED_EVENLY, H100),
    ),
    "of equal size the larger GPUs, although they serve more": (
        FEWEST,
        candidate(2, rate=10.0),
        candidate(2, rate=12.0, product=H200, memory=LARGE),
        Preferred(Merit.SMALLER_GPUS, H100),
    ),
    "of equal size and product the one that serves less": (
        FEWEST,
        candidate(1, replicas=4, rate=12.0),
        candidate(4, rate=8.0),
        Slower("GPU time per request", 1.5),
    ),
    "without a rate the narrower tensor group": (
        FEWEST,
        candidate(4),
        candidate(2, replicas=2),
        Preferred(Merit.TENSOR_FIRST, H100),
    ),
    "for latency the slower, whatever its size": (
        LATENCY,
        candidate(8, seconds=0.01),
        candidate(1, seconds=0.02),
        Slower("time per token", 2.0),
    ),
}
TARGET = Target(2000, 200, per_token=0.05, rate=8.0)


@pytest.mark.parametrize(("objective", "chosen", "loser", "cause"), LOST.values(), ids=LOST)
def test_a_layout_that_meets_the_target_lost_by_the_first_difference(
    objective: Objective, chosen: Candidate, loser: Candidate, cause: Cause
) -> None:
    demand = a_demand(objective=objective, target=TARGET)
    assert preference(demand, chosen) < preference(demand, loser)
    found = lost_because(demand, chosen, loser)
    if isinstance(cause, Slower):
        assert isinstance(found, Slower)
        assert found.measure == cause.measure
        assert found.ratio == pytest.approx(cause.ratio)
    else:
        assert found == cause


def test_without_a_target_evenness_and_slack_come_before_size() -> None:
    demand = a_demand()
    assert preference(demand, candidate(4)) < preference(demand, candidate(1, 3))
    assert preference(demand, candidate(4)) < preference(demand, candidate(1, use=TIGHT))
    priced_demand = a_demand(objective=CHEAPEST)
    assert preference(priced_demand, candidate(4, price=9.0)) < preference(priced_demand, candidate(1, 3, price=1.0))


@given(targeted, priced_fleets())
@examples(60)
def test_no_loser_of_a_target_is_told_to_be_better_than_the_chosen(demand: Demand, fleet: Fleet) -> None:
    made = plan(demand, fleet, hinted=False)
    if not isinstance(made, Plan):
        return
    for lost in made.alternatives:
        match lost.cause:
            case MoreGpus(gpus=gpus, chosen=chosen):
                assert gpus > chosen
                assert gpus % lost.layout.world_size == 0
            case Dearer(cost=cost, chosen=chosen):
                assert cost > chosen
                assert demand.objective is CHEAPEST
            case Slower(ratio=ratio):
                assert ratio >= 1
            case TokensSlow(seconds=seconds, most=most) | FirstTokenLate(seconds=seconds, most=most):
                assert seconds > most
                assert lost.outcome is LayoutOutcome.REFUSED
            case OverBudget(needed=needed, budget=budget):
                assert needed > budget == demand.gpu_budget
                assert needed % lost.layout.world_size == 0
            case _:
                pass


@given(targeted, priced_fleets())
@examples(60)
def test_a_plan_says_the_price_of_its_product(demand: Demand, fleet: Fleet) -> None:
    made = plan(demand, fleet, hinted=False)
    if isinstance(made, Plan):
        assert made.price == PRICES[made.product]


MIXED_FLEET = a_fleet(h100s(1), h200s(1), l40s(1))


@pytest.mark.parametrize("name", [LLAMA_8B, LLAMA_70B, QWEN_235B_FP8])
def test_the_cheapest_plan_costs_no_more_than_the_plan_on_any_single_product(name: str) -> None:
    demand = a_demand(facts(name, "fp8"), budget=24, objective=CHEAPEST, target=Target(1000, 200, rate=2.0))
    fleet = priced(MIXED_FLEET)
    best = planned(demand, fleet)
    costs = []
    for product in (H100, H200, L40S):
        alone = plan(replace(demand, products=(product,)), fleet, hinted=False)
        costs += [PRICES[product] * alone.gpus] if isinstance(alone, Plan) else []
    assert PRICES[best.product] * best.gpus == min(costs)


@pytest.mark.parametrize("name", [LLAMA_8B, LLAMA_70B, QWEN_235B_FP8])
def test_the_smallest_plan_has_no_more_gpus_than_the_plan_on_any_single_product(name: str) -> None:
    demand = a_demand(facts(name, "fp8"), budget=24, target=Target(1000, 200, rate=2.0))
    best = planned(demand, MIXED_FLEET)
    counts = []
    for product in (H100, H200, L40S):
        alone = plan(replace(demand, products=(product,)), MIXED_FLEET, hinted=False)
        counts += [alone.gpus] if isinstance(alone, Plan) else []
    assert best.gpus == min(counts)


def test_prices_change_nothing_for_other_objectives() -> None:
    demand = a_demand(LLAMA_8B, target=TARGET)
    dear = priced(MIXED_FLEET, {H100: 100.0, H200: 0.01, L40S: 0.02})
    first, second = planned(demand, MIXED_FLEET), planned(demand, dear)
    assert replace(second, price=None) == first
    assert second.price == 100.0 if second.product == H100 else second.price is not None


def test_a_product_without_a_price_stands_apart_from_those_that_miss_the_target() -> None:
    demand = a_demand(LLAMA_70B, objective=CHEAPEST, target=Target(2000, 200, per_token=0.02))
    made = planned(demand, priced(a_fleet(h100s(1), h200s(1)), {H100: 2.0}))
    kinds = {type(lost.cause) for lost in made.alternatives if lost.product == H200}
    assert kinds == {PriceUnknown}
    assert TokensSlow in {type(lost.cause) for lost in made.alternatives if lost.product == H100}


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_more_replicas_than_the_rate_needs_are_kept(replicas: int) -> None:
    demand = a_demand(LLAMA_8B, replicas=replicas, target=Target(2000, 200, per_token=0.03, rate=15.0))
    made = planned(demand, a_fleet(h100s(1)))
    assert made.sizing is not None
    assert made.replicas == max(replicas, made.sizing.replicas)


def test_a_demand_for_no_replicas_stays_one() -> None:
    made = planned(a_demand(LLAMA_8B, replicas=0, target=TARGET), a_fleet(h100s(1)))
    assert made.replicas == 0
    assert made.sizing is not None
    assert made.sizing.replicas == 1


def test_an_uneven_layout_is_chosen_if_it_is_the_smallest() -> None:
    """Three H100 of a node hold 70B in 16 bits with room; two hold it without room for the requests."""
    node = a_fleet(a_node("node", free=3))
    made = planned(a_demand(LLAMA_70B, target=Target(6000, 500, rate=0.3)), node)
    assert made.gpus == 3
    assert is_uneven(
        Candidate(made.layout, PoolGpus(gpu_kind(H100), H100, SMALL, frozenset({8})), ROOMY, made.estimate)
    )
