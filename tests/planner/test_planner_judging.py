"""Judgements about layouts: the same when kept as when made anew, and made once, whatever happens to the fleet."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from pytest_mock import MockerFixture
from tests.support.fleets import H100, L40S, a_fleet, gb200_rack, h100s, l40s
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, R1, a_demand, a_model, config, facts, pinned
from tests.support.strategies import demands, fleets

from shardwise.checkpoint import from_config
from shardwise.domain.demand import Demand, Objective, Operator, QueueOffer, Requirement, Toleration
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.model import LatentCache
from shardwise.domain.needs import A_CHANNEL, PodNeeds
from shardwise.domain.plan import LayoutOutcome
from shardwise.domain.refusal import CapabilityUnsupported, Cause, MemoryShort, NotDivisible, OverBudget
from shardwise.planner import judging, plan
from shardwise.planner.judging import Judged, Weighed, is_over_budget, judged, unfit_for, weighed, without_place
from shardwise.planner.pools import SurveyedGpus, eligible
from shardwise.planner.solve import solve, survey
from shardwise.planner.sparse_cache import on_gpus

NODES, RACK, CARDS = a_fleet(h100s(9)), a_fleet(gb200_rack(18)), a_fleet(l40s(4))


def gpus_of(demand: Demand, fleet: Fleet) -> SurveyedGpus:
    """Give the GPUs of a fleet of a single product."""
    (found,) = survey(demand, eligible(demand, fleet))
    return found.gpus


def found(demand: Demand, layout: Layout, fleet: Fleet = NODES) -> Judged:
    """Judge a layout of a demand on a fleet of a single product."""
    asked = judged(without_place(demand), gpus_of(demand, fleet))
    return next(known for known in asked if known.layout == layout)


def anew(demand: Demand, gpus: SurveyedGpus) -> Iterator[Judged]:
    """Judge every layout of a demand without a look at what was judged before."""
    layouts = [known.layout for known in weighed(demand, gpus)]
    adapted = on_gpus(demand, gpus.compute_capability)
    return (Judged(demand, gpus, Weighed(adapted, gpus, layout, unfit_for(adapted, gpus))) for layout in layouts)


LARGE = a_demand(LLAMA_405B, budget=8)
CAUSES: dict[str, tuple[Demand, Layout, Fleet, type[Cause] | None]] = {
    "a layout that may be used": (a_demand(LLAMA_70B), Layout(8, 1), NODES, None),
    "law": (a_demand(LLAMA_70B, pins=pinned(6)), Layout(6, 1), NODES, NotDivisible),
    "law before budget": (a_demand(LLAMA_70B, budget=1, pins=pinned(6)), Layout(6, 1), NODES, NotDivisible),
    "law before memory": (a_demand(LLAMA_405B, pins=pinned(6, 1)), Layout(6, 1), NODES, NotDivisible),
    "product before law": (
        a_demand(a_model(cache=LatentCache(576, 132)), pins=pinned(6)),
        Layout(6, 1),
        CARDS,
        CapabilityUnsupported,
    ),
    "budget": (a_demand(LLAMA_70B), Layout(8, 2), NODES, OverBudget),
    "the budget of all replicas": (a_demand(LLAMA_70B, replicas=2), Layout(8, 1), NODES, OverBudget),
    "budget before memory": (replace(LARGE, gpu_budget=1), Layout(2, 1), NODES, OverBudget),
    "memory": (LARGE, Layout(8, 1), NODES, MemoryShort),
    "a budget of as many GPUs": (a_demand(LLAMA_70B, budget=16, replicas=2), Layout(8, 1), NODES, None),
}


@pytest.mark.parametrize(("demand", "layout", "fleet", "cause"), CAUSES.values(), ids=CAUSES)
def test_a_layout_has_the_first_cause_against_it(
    demand: Demand, layout: Layout, fleet: Fleet, cause: type[Cause] | None
) -> None:
    known = found(demand, layout, fleet)
    assert (None if known.cause is None else type(known.cause)) == cause
    assert (known.lost is None) == (cause is None)


def test_a_rejected_layout_names_product_and_cause() -> None:
    known = found(LARGE, Layout(8, 1))
    assert known.lost is not None
    rejected, alternative = known.lost.rejected, known.lost.alternative
    assert (rejected.layout, rejected.product, rejected.cause) == (Layout(8, 1), H100, known.cause)
    assert (alternative.layout, alternative.product, alternative.cause) == (Layout(8, 1), H100, known.cause)
    assert alternative.outcome is LayoutOutcome.REFUSED
    assert known.lost.order == (8, 1)


@given(demands, fleets())
@settings(max_examples=60)
def test_judgements_that_are_kept_are_those_made_anew(demand: Demand, fleet: Fleet) -> None:
    """Whatever was asked before: with another budget, other replicas, another name."""
    for facts_ in survey(demand, eligible(demand, fleet)):
        kept = judged(without_place(demand), facts_.gpus)
        for before, now in zip(kept, anew(demand, facts_.gpus), strict=True):
            assert (before.layout, before.cause, before.lost) == (now.layout, now.cause, now.lost)
            if before.cause is None:
                assert (before.candidate, before.preference) == (now.candidate, now.preference)


@given(demands, fleets())
@settings(max_examples=60)
def test_alternatives_that_are_kept_are_those_made_anew(demand: Demand, fleet: Fleet) -> None:
    """For each layout that might be chosen."""
    for facts_ in survey(demand, eligible(demand, fleet)):
        kept = [known for known in judged(without_place(demand), facts_.gpus) if known.cause is None]
        fresh = [known for known in anew(demand, facts_.gpus) if known.cause is None]
        for chosen, again in zip(kept[:3], fresh[:3], strict=True):
            lost = [loser.lost_to(chosen) for loser in kept if loser is not chosen]
            assert lost == [loser.lost_to(again) for loser in fresh if loser is not again]
            assert {alternative.outcome for alternative in lost} <= {LayoutOutcome.FITS}
            assert lost == [loser.lost_to(chosen) for loser in kept if loser is not chosen]


def a_model_read(name: str) -> Demand:
    """Give a demand for a model that no other test has planned."""
    model = from_config(config(LLAMA_70B), name=f"judging/{name}", origin="test")
    return replace(a_demand(LLAMA_70B, budget=64), model=model)


KEPT: dict[str, dict[str, Any]] = {
    "the same": {},
    "another name": {"key": "team/other"},
    "another budget": {"gpu_budget": 32},
    "more replicas": {"replicas": 2},
    "another product": {"products": (H100, L40S)},
    "nodes chosen by label": {"node_selector": (("a", "b"),)},
    "nodes chosen by terms": {"node_affinity": ((Requirement("a", Operator.EXISTS),),)},
    "tolerations": {"tolerations": (Toleration("a", "Exists"),)},
    "inside a place": {"within": "node"},
    "an image of its own": {"own_image": True},
    "needs of its pods": {"needs": PodNeeds(each_gpu=(("cpu", 1000),))},
    "another objective": {"objective": Objective.LATENCY},
}
NOT_KEPT: dict[str, dict[str, Any]] = {
    "a longer context": {"context_length": 16384},
    "more sequences": {"concurrency": 7},
    "a smaller cache": {"kv_bytes": 1},
    "a reserve": {"reserve": 2**33},
    "another model": {"model": facts(LLAMA_8B)},
    "pins": {"pins": pinned(8)},
    "channels": {"needs": PodNeeds(in_stage=A_CHANNEL)},
    "another engine's release": {"release": (0, 32, 0)},
}


@pytest.mark.parametrize("change", KEPT.values(), ids=KEPT)
def test_what_a_layout_needs_of_a_gpu_is_worked_out_once(change: dict[str, Any], mocker: MockerFixture) -> None:
    """Neither free GPUs nor names, places and budgets change it."""
    demand = a_model_read(str(change))
    weighing = mocker.spy(judging, "memory_use")
    plan(demand, NODES)
    worked_out = weighing.call_count
    assert worked_out > 0
    nodes = [node._replace(labels=(("a", "b"),)) for node in h100s(9, free=(3,) * 9)]
    plan(replace(demand, **change), a_fleet(nodes), hinted=False)
    assert {call.args[1] for call in weighing.call_args_list} >= {Layout(8, 1)}
    objective = {"objective"} & change.keys()
    assert weighing.call_count == worked_out * (2 if objective else 1)


@pytest.mark.parametrize("change", NOT_KEPT.values(), ids=NOT_KEPT)
def test_a_demand_that_needs_something_else_is_judged_anew(change: dict[str, Any]) -> None:
    """No field that decides is forgotten."""
    demand = without_place(a_demand(LLAMA_70B))
    gpus = gpus_of(demand, NODES)
    assert judged(demand, gpus) is judged(demand, gpus)
    assert judged(without_place(replace(demand, **change)), gpus) is not judged(demand, gpus)


@pytest.mark.parametrize("fleet", [RACK, CARDS, a_fleet(h100s(8))], ids=["racks", "cards", "fewer nodes"])
def test_other_gpus_are_judged_anew(fleet: Fleet) -> None:
    demand = a_demand(R1, budget=64)
    assert judged(without_place(demand), gpus_of(demand, NODES)) is not judged(
        without_place(demand), gpus_of(demand, fleet)
    )


def test_only_fields_about_places_and_names_are_taken_from_a_demand() -> None:
    """Whether a judgement depends on a new field has to be looked at."""
    marked = replace(
        a_demand(LLAMA_8B),
        products=(H100,),
        own_image=True,
        node_selector=(("a", "b"),),
        node_affinity=((Requirement("a", Operator.EXISTS),),),
        offered=QueueOffer("team", ((("a", "b"),),)),
        tolerations=(Toleration("a"),),
        within="node",
        needs=PodNeeds(each_gpu=(("cpu", 1),)),
    )
    left = without_place(marked)
    changed = {field.name for field in fields(Demand) if getattr(left, field.name) != getattr(marked, field.name)}
    places = {"products", "own_image", "node_selector", "node_affinity", "offered", "tolerations", "within"}
    assert changed == {"key", "needs", *places}
    assert left == without_place(left)


@pytest.mark.parametrize(
    ("gpus", "replicas", "over"), [(8, 1, False), (7, 1, True), (15, 2, True), (16, 2, False)], ids=str
)
def test_a_budget_is_for_all_replicas(gpus: int, replicas: int, over: bool) -> None:
    demand = a_demand(LLAMA_70B, budget=gpus, replicas=replicas)
    assert is_over_budget(demand, Layout(8, 1)) == over


def test_a_plan_is_not_changed_by_what_was_judged_for_another(mocker: MockerFixture) -> None:
    """The same demand on two fleets in turn, and once more."""
    demand = a_demand(LLAMA_405B, budget=64)
    fleets_ = [NODES, a_fleet(h100s(9, free=(8, 8, 8, 0, 0, 0, 0, 0, 1))), a_fleet(gb200_rack(18, free=(2,) * 18))]
    first = [plan(demand, fleet) for fleet in fleets_]
    assert [plan(demand, fleet) for fleet in fleets_] == first
    for name in ("judged", "_weighed"):
        mocker.patch.object(judging, name, getattr(judging, name).__wrapped__)
    assert [repr(plan(demand, fleet)) for fleet in fleets_] == list(map(repr, first))
    assert len({repr(answer) for answer in first}) == len(fleets_)
    assert solve(demand, survey(demand, eligible(demand, NODES))).plan is not None
