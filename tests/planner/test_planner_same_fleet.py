"""Results for a fleet are kept while the same fleet is asked about, and given for no other fleet and no other wish."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture
from tests.support.fleets import H100, H200, a_fleet, a_node, h100s, h200s
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand

from shardwise.domain.demand import Demand, Operator, QueueOffer, Requirement, Toleration
from shardwise.domain.fleet import Taint
from shardwise.planner import plan, same_fleet
from shardwise.planner.pools import eligible
from shardwise.planner.same_fleet import MOST_FLEETS, MOST_RESULTS, on_same_fleet

WISHES: list[Demand] = [
    a_demand(LLAMA_8B),
    a_demand(LLAMA_8B, products=(H100,)),
    a_demand(LLAMA_8B, products=(H200,), own_image=True),
    a_demand(LLAMA_8B, node_selector=(("team", "blue"),)),
    a_demand(LLAMA_8B, node_affinity=((Requirement("team", Operator.EXISTS),),)),
    *(
        a_demand(
            LLAMA_8B,
            node_affinity=((Requirement("team", Operator.IN, ("blue",)),),),
            offered=QueueOffer(queue, ((("team", "blue"),),)),
        )
        for queue in ("blue", "other")
    ),
    a_demand(LLAMA_8B, tolerations=(Toleration("dedicated", "Equal", "x", "NoSchedule"),)),
    a_demand(LLAMA_8B, within="team"),
]
NODES = [
    a_node("a"),
    a_node("b", labels={"team": "blue"}),
    a_node("c", product=H200),
    a_node("d", taints=(Taint("dedicated", "NoSchedule", "x"),)),
    a_node("e", free=0),
]


@given(st.lists(st.tuples(st.sampled_from(WISHES), st.integers(0, 3)), min_size=1, max_size=12))
def test_the_pools_of_a_demand_are_those_of_a_fleet_that_was_never_asked_about(asked: list[tuple[Demand, int]]) -> None:
    fleets = [a_fleet(NODES[: len(NODES) - left]) for left in range(4)]
    for demand, number in asked:
        found = eligible(demand, fleets[number])
        anew = eligible(demand, replace(fleets[number]))
        assert (found.pools, found.excluded) == (anew.pools, anew.excluded)
        assert [pool.nodes for pool in found.pools] == [pool.nodes for pool in anew.pools]


def test_many_demands_of_the_same_wish_sort_a_fleet_once(mocker: MockerFixture) -> None:
    """Ten thousand objects wait for the same GPUs."""
    fleet = a_fleet(h100s(3, free=[0, 0, 0]), h200s(2, free=[0, 0]))
    plan(a_demand(LLAMA_8B, products=(H100,)), fleet)
    sorted_out = mocker.spy(same_fleet, "Sorting")
    for number in range(5):
        plan(replace(a_demand(LLAMA_70B, products=(H100,)), key=f"ns/{number}"), fleet)
    assert sorted_out.call_count == 0


def test_a_fleet_is_forgotten_when_others_were_asked_about_since() -> None:
    fleets = [a_fleet(h100s(number + 1)) for number in range(MOST_FLEETS + 1)]
    asked: list[int] = []

    def answer(number: int) -> int:
        asked.append(number)
        return number

    for number, fleet in enumerate(fleets):
        assert on_same_fleet(fleet, "q", lambda number=number: answer(number)) == number  # type: ignore[misc]
    assert on_same_fleet(fleets[-1], "q", lambda: answer(-1)) == MOST_FLEETS
    assert on_same_fleet(fleets[0], "q", lambda: answer(99)) == 99
    assert asked == [*range(MOST_FLEETS + 1), 99]


def test_no_more_results_than_so_many_are_kept_for_a_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = a_fleet(h100s(1))
    for number in range(3 * MOST_RESULTS):
        on_same_fleet(fleet, number, lambda: 0)
    assert max(len(results) for _, results in same_fleet._recent) <= MOST_RESULTS
