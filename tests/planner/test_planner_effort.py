"""Planning is bounded work, counted in searches: trials work out no hints, and no look is made once for each layout."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture
from tests.reconcile.support import wants
from tests.support.configs import MANY_LAYOUTS
from tests.support.fleets import a_fleet, a_node, h100s, l40s
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, a_demand
from tests.support.plans import planned, refused

from shardwise import planner
from shardwise.checkpoint import from_config
from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.planner import hints as planner_hints
from shardwise.planner import most_replicas, plan
from shardwise.planner import trials as planner_trials
from shardwise.planner.places import Scope
from shardwise.planner.pools import eligible
from shardwise.reconcile.plans import new_plan
from shardwise.reconcile.usable_fleet import UsableFleet


def costly(**changes: Any) -> Demand:
    model = from_config(MANY_LAYOUTS, name="x/y", origin="test")
    demand = replace(a_demand(LLAMA_8B, budget=10_000, replicas=17), model=model, objective=Objective.THROUGHPUT)
    return replace(demand, **changes)


SOME = a_fleet(h100s(16), l40s(8))


@pytest.fixture(scope="module")
def no_place() -> tuple[Demand, Fleet]:
    """Give a costly demand, and a fleet without a place for any of its replicas."""
    return costly(), SOME


def test_an_object_that_asks_for_replicas_in_vain_has_its_hints_worked_out_once(
    no_place: tuple[Demand, Fleet], mocker: MockerFixture
) -> None:
    """Fault: each trial of fewer replicas was a whole plan, with hints that nobody read."""
    demand, fleet = no_place
    refuse = mocker.spy(planner, "refuse")
    made = new_plan(wants(demand), UsableFleet(fleet, blamed=frozenset({fleet.nodes[0].name})))
    assert made.plan is None
    assert [call.kwargs["hinted"] for call in refuse.call_args_list] == [False, True]


def test_the_searches_for_hints_are_bounded_by_the_layouts_that_each_of_them_judges(
    no_place: tuple[Demand, Fleet], mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    demand, fleet = no_place
    monkeypatch.setattr(planner_hints, "MOST_JUDGED", 10_000)
    searched = [mocker.spy(planner_trials, name) for name in ("solve", "fits", "fitting")]
    refusal = refused(demand, fleet)
    most = max(planner_hints.FEWEST_SEARCHES, planner_hints.MOST_JUDGED // len(refusal.rejected))
    assert len(refusal.rejected) > 800
    assert 0 < sum(spy.call_count for spy in searched) <= most


ORDINARY: dict[str, tuple[Demand, Fleet]] = {
    "too small a budget": (a_demand(LLAMA_405B, budget=8), a_fleet(h100s(4))),
    "a long context": (a_demand(LLAMA_405B, budget=64, context=131_072, concurrency=200), a_fleet(h100s(4))),
    "a pin": (a_demand(LLAMA_70B, budget=8, pins=Pins(6, None, None)), a_fleet(h100s(4), l40s(4))),
    "replicas": (a_demand(LLAMA_70B, budget=64, replicas=20), a_fleet(h100s(4))),
}


@pytest.mark.parametrize(("demand", "fleet"), ORDINARY.values(), ids=ORDINARY)
def test_ordinary_objects_get_the_same_hints_without_a_bound(
    demand: Demand, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded = refused(demand, fleet)
    monkeypatch.setattr(planner_hints, "MOST_JUDGED", 10**9)
    assert bounded == refused(demand, fleet)
    assert bounded.hints


@pytest.mark.parametrize(("demand", "fleet"), ORDINARY.values(), ids=ORDINARY)
@pytest.mark.parametrize("searches", [0, 1, 3, 7])
def test_a_search_that_is_cut_short_gives_fewer_hints_and_no_false_hint(
    demand: Demand, fleet: Fleet, searches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kinds come in their order, so that the least changes are tried first."""
    whole = refused(demand, fleet)
    monkeypatch.setattr(planner_hints, "MOST_JUDGED", 0)
    monkeypatch.setattr(planner_hints, "FEWEST_SEARCHES", searches)
    cut = refused(demand, fleet)
    fields = {hint.field for hint in whole.hints}
    assert {hint.field for hint in cut.hints} <= fields
    assert replace(cut, hints=()) == replace(whole, hints=())
    assert len(cut.hints) <= searches


@pytest.mark.parametrize(("demand", "fleet"), ORDINARY.values(), ids=ORDINARY)
def test_a_refusal_without_hints_is_the_same_but_for_them(demand: Demand, fleet: Fleet) -> None:
    bare = plan(demand, fleet, hinted=False)
    assert isinstance(bare, Refusal)
    assert bare.hints == ()
    assert bare == replace(refused(demand, fleet), hints=())


def test_room_is_counted_once_for_each_degree_and_not_for_each_layout(mocker: MockerFixture) -> None:
    """Fault: every layout went through all racks; 15 s for 5,000 racks."""
    racks = [a_node(f"n{number:02}", labels={"rack": str(number)}) for number in range(30)]
    counted = mocker.spy(Scope, "_count")
    refusal = refused(replace(costly(replicas=1), within="rack"), a_fleet(racks))
    tensors = {layout.layout.tensor for layout in refusal.rejected}
    assert len(refusal.rejected) > 500
    searches = 3
    assert 0 < counted.call_count <= searches * len(tensors) * (len(racks) + 1)


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abc")), min_size=1, max_size=8), st.integers(1, 8))
def test_slots_of_places_are_those_of_their_domains(nodes: list[tuple[int, str]], tensor: int) -> None:
    fleet = a_fleet(
        [a_node(f"n{number}", free=free, labels={"rack": rack}) for number, (free, rack) in enumerate(nodes)]
    )
    (pool,) = eligible(a_demand(LLAMA_8B, within="rack"), fleet).pools
    by_rack = {rack: sum(free // tensor for free, other in nodes if other == rack) for _, rack in nodes}
    assert sorted(slots for slots, count in pool.place_slots(tensor).items() for _ in range(count)) == sorted(
        by_rack.values()
    )
    assert sum(slots * count for slots, count in pool.place_slots(tensor).items()) == sum(by_rack.values())


def fewer(demand: Demand, replicas: int, budget: int) -> Demand:
    return replace(demand, replicas=replicas, gpu_budget=budget)


def naive_most(demand: Demand, fleet: Fleet) -> Plan | None:
    """Plan each number of replicas, from the largest down, first with shares of the budget and then with all of it."""
    shared: Callable[[int], int] = lambda replicas: demand.gpu_budget * replicas // demand.replicas  # noqa: E731
    whole: Callable[[int], int] = lambda _: demand.gpu_budget  # noqa: E731
    for budget in (shared, whole):
        for replicas in range(demand.replicas - 1, 0, -1):
            made = plan(fewer(demand, replicas, budget(replicas)), fleet, hinted=False)
            if isinstance(made, Plan):
                return made
    return None


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([LLAMA_8B, LLAMA_70B]),
    st.integers(1, 40),
    st.integers(1, 9),
    st.lists(st.integers(0, 8), min_size=1, max_size=4),
    st.sampled_from([Pins(), Pins(4, 1, None), Pins(8, None, None)]),
)
def test_as_many_replicas_are_planned_as_trying_each_number_would_find(
    model: str, budget: int, replicas: int, free: list[int], pins: Pins
) -> None:
    demand = a_demand(model, budget=budget, replicas=replicas, pins=pins)
    fleet = a_fleet(h100s(len(free), free=free))
    if isinstance(plan(demand, fleet, hinted=False), Refusal):
        assert most_replicas(demand, fleet) == naive_most(demand, fleet)


def test_replicas_that_fit_are_searched_for_and_planned_once(mocker: MockerFixture) -> None:
    demand = a_demand(LLAMA_8B, budget=64, replicas=60)
    solved, fitted = (mocker.spy(planner_trials, name) for name in ("solve", "fits"))
    made = most_replicas(demand, a_fleet(h100s(4)))
    assert made is not None
    assert (made.replicas, solved.call_count) == (32, 1)
    assert fitted.call_count <= 8
    assert planned(fewer(demand, 32, 64 * 32 // 60), a_fleet(h100s(4))) == made
