"""Hints on targets: each was tried, each is the least change in steps of two digits, and none changes anything else."""

from dataclasses import replace
from math import isclose

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.fleets import a_fleet, h100s
from tests.support.followed import follow
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand
from tests.support.plans import refused
from tests.support.targets import priced_fleets, targeted

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Hint, Refusal
from shardwise.domain.target import Target
from shardwise.domain.units import latency_text, parse_latency
from shardwise.planner import plan
from shardwise.planner.hints_on_target import round_numbers

ROUND: dict[str, tuple[float, float, list[float]]] = {
    "within a power of ten": (0.25, 0.29, [0.25, 0.26, 0.27, 0.28, 0.29]),
    "over a power of ten": (9.7, 12, [9.7, 9.8, 9.9, 10, 11, 12]),
    "between two numbers": (0.251, 0.259, []),
    "of thousands": (1900, 2300, [1900, 2000, 2100, 2200, 2300]),
    "a single number": (3, 3, [3]),
    "small numbers": (0.001, 0.0012, [0.001, 0.0011, 0.0012]),
}


@pytest.mark.parametrize(("least", "most", "numbers"), ROUND.values(), ids=ROUND)
def test_round_numbers_have_two_digits(least: float, most: float, numbers: list[float]) -> None:
    assert round_numbers(least, most) == pytest.approx(numbers)


@given(st.floats(1e-3, 1e3), st.floats(1, 100))
def test_round_numbers_ascend_and_are_written_in_two_digits(least: float, factor: float) -> None:
    found = round_numbers(least, least * factor)
    assert found == sorted(set(found))
    assert all(least <= number <= least * factor for number in found)
    assert all(isclose(float(f"{number:.2g}"), number) for number in found)


LATENCIES: dict[str, tuple[float, str]] = {
    "microseconds": (0.0005, "0.5ms"),
    "milliseconds": (0.0333, "33.3ms"),
    "hundreds": (0.45, "450ms"),
    "almost a second": (0.9994, "999ms"),
    "a second": (1.0, "1s"),
    "seconds": (2.1, "2.1s"),
    "many": (61.0, "61s"),
    "thousands": (12_345.0, "12345s"),
}


@pytest.mark.parametrize(("seconds", "text"), LATENCIES.values(), ids=LATENCIES)
def test_a_time_is_written_as_the_object_takes_it(seconds: float, text: str) -> None:
    assert latency_text(seconds) == text
    assert parse_latency(text) == pytest.approx(seconds, rel=1e-2)


@pytest.mark.parametrize("text", ["", "50", "ms", "0ms", "0.000s", "-1s", "1m", "1e3ms", "1.2345s", "1.s", " 1s"])
def test_a_text_that_is_no_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time such as 50ms or 1.5s"):
        parse_latency(text)


NODE = a_fleet(h100s(1))


def one_hint(target: Target) -> Hint:
    (hint,) = refused(a_demand(LLAMA_8B, target=target), NODE).hints
    return hint


def test_the_shortest_time_to_the_first_token_is_hinted_at() -> None:
    target = Target(4000, 200, first_token=0.03, rate=1)
    hint = one_hint(target)
    assert hint.field == "spec.target.timeToFirstToken"
    shorter = 0.99 * parse_latency(str(hint.value))
    assert isinstance(plan(a_demand(target=replace(target, first_token=shorter)), NODE), Refusal)


def test_the_shortest_time_per_token_is_hinted_at() -> None:
    target = Target(4000, 200, per_token=0.001, rate=1)
    hint = one_hint(target)
    assert hint.field == "spec.target.timePerToken"
    shorter = 0.94 * parse_latency(str(hint.value))
    assert isinstance(plan(a_demand(target=replace(target, per_token=shorter)), NODE), Refusal)


def test_if_neither_time_alone_helps_both_get_longer_by_the_same_factor() -> None:
    target = Target(4000, 200, first_token=0.04, per_token=0.001, rate=0.5)
    hint = one_hint(target)
    assert hint.field == "spec.target"
    assert isinstance(hint.value, Target)
    assert (hint.value.input_tokens, hint.value.output_tokens, hint.value.rate) == (4000, 200, 0.5)
    assert hint.value.first_token is not None
    assert hint.value.per_token is not None
    assert hint.value.first_token / 0.04 == pytest.approx(hint.value.per_token / 0.001, rel=0.02)


def test_if_one_time_alone_helps_both_are_not_hinted_at() -> None:
    target = Target(4000, 200, first_token=5.0, per_token=0.001, rate=0.5)
    assert one_hint(target).field == "spec.target.timePerToken"


def test_the_highest_rate_within_the_budget_is_hinted_at() -> None:
    target = Target(2000, 200, per_token=0.03, rate=500)
    found = {hint.field: hint.value for hint in refused(a_demand(LLAMA_8B, target=target), NODE).hints}
    rate = found["spec.target.requestsPerSecond"]
    assert isinstance(rate, int | float)
    assert isinstance(plan(a_demand(target=replace(target, rate=rate)), NODE), Plan)
    assert isinstance(plan(a_demand(target=replace(target, rate=rate * 1.11)), NODE), Refusal)
    assert "spec.gpuBudget.total" not in found, "the fleet has no more GPUs"


def test_a_model_that_does_not_fit_gets_no_hint_on_its_target() -> None:
    refusal = refused(a_demand(LLAMA_70B, budget=1, target=Target(2000, 200, per_token=0.001)), NODE)
    assert not any(hint.field.startswith("spec.target") for hint in refusal.hints)


@given(targeted, priced_fleets())
@examples(60)
def test_every_hint_on_a_target_gives_the_plan_that_it_promises(demand: Demand, fleet: Fleet) -> None:
    refusal = plan(demand, fleet)
    assume(isinstance(refusal, Refusal))
    assert isinstance(refusal, Refusal)
    for hint in refusal.hints:
        changed = follow(demand, hint)
        assert changed != demand
        made = plan(changed, fleet, hinted=False)
        assert isinstance(made, Plan)
        assert (made.layout, made.product, made.gpus) == (hint.layout, hint.product, hint.gpus)
