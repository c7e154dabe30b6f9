"""Events: a few at once, then one every five minutes, for each object by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwise.cluster.spam import BURST, REFILL_SECONDS, EventBudget


def test_an_object_in_a_loop_has_a_burst_and_then_one_every_five_minutes() -> None:
    budget = EventBudget()
    assert [budget.allows("a", 0.0) for _ in range(BURST + 3)] == [True] * BURST + [False] * 3
    assert not budget.allows("a", REFILL_SECONDS - 1)
    assert budget.allows("a", REFILL_SECONDS + 1)
    assert not budget.allows("a", REFILL_SECONDS + 2)


def test_others_are_not_silenced_by_one() -> None:
    budget = EventBudget()
    for _ in range(BURST + 1):
        budget.allows("a", 0.0)
    assert budget.allows("b", 0.0)


@pytest.mark.parametrize("silent", [BURST * REFILL_SECONDS, 1e9])
def test_one_that_was_silent_has_all_again(silent: float) -> None:
    budget = EventBudget()
    for _ in range(BURST):
        budget.allows("a", 0.0)
    assert [budget.allows("a", silent) for _ in range(BURST + 1)] == [True] * BURST + [False]


def test_one_that_is_gone_is_forgotten() -> None:
    budget = EventBudget()
    for _ in range(BURST + 1):
        budget.allows("a", 0.0)
    budget.forget("a")
    budget.forget("never seen")
    assert budget.allows("a", 0.0)


@given(st.lists(st.floats(0, 1000), max_size=200))
def test_whatever_the_times_no_more_than_burst_and_refill_are_recorded(gaps: list[float]) -> None:
    budget, now, allowed = EventBudget(), 0.0, 0
    for gap in gaps:
        now += gap
        allowed += budget.allows("a", now)
    assert allowed <= BURST + now / REFILL_SECONDS + 1
