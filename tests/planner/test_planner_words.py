"""What a plan or a refusal says of itself: a faster plan on a few more GPUs, and where free GPUs lie."""

from dataclasses import replace

import pytest
from tests.support.fleets import GB200, H100, a_fleet, gb200_rack, h100s
from tests.support.models import LLAMA_70B, LLAMA_405B, R1, Objective, a_demand, pinned
from tests.support.plans import planned, refused

from shardwise.domain.demand import Demand
from shardwise.domain.layout import Layout
from shardwise.domain.needs import A_CHANNEL, PodNeeds
from shardwise.domain.notes import FasterWithMore
from shardwise.domain.plan import Plan, Rule
from shardwise.domain.refusal import NoRoom

RACK = a_fleet(gb200_rack(4))


def faster(made: Plan) -> list[FasterWithMore]:
    return [note for note in made.notes if isinstance(note, FasterWithMore)]


@pytest.mark.parametrize("budget", [5, 6, 7])
def test_a_pipeline_of_odd_length_names_the_gpus_that_make_it_faster(budget: int) -> None:
    made = planned(a_demand(LLAMA_405B, budget=budget), RACK)
    assert (made.layout, made.rule) == (Layout(1, 5), Rule.STAGES_IN_DOMAIN)
    (note,) = faster(made)
    assert (note.layout, note.gpus) == (Layout(8, 1), 8)
    assert note.chosen_speed == made.estimate.seconds_per_token > 6 * note.speed


def test_stages_on_trays_are_estimated_over_the_network_where_nvlink_takes_a_channel() -> None:
    """The five stages get no channel, so that each of the four borders between them costs the network's start."""
    demand = a_demand(LLAMA_405B, budget=5)
    made = planned(replace(demand, needs=PodNeeds(in_stage=A_CHANNEL)), RACK)
    assert (made.layout, made.rule) == (Layout(1, 5), Rule.STAGES_BETWEEN_NODES)
    slower = made.estimate.seconds_per_token - planned(demand, RACK).estimate.seconds_per_token
    assert 4 * 60e-6 < slower < 4 * 80e-6


SILENT: dict[str, Demand] = {
    "the budget allows the faster plan": a_demand(LLAMA_405B, budget=16),
    "stages that the user pinned": a_demand(LLAMA_405B, budget=5, pins=pinned(None, 5)),
    "a tensor degree that the user pinned": a_demand(LLAMA_405B, budget=5, pins=pinned(1)),
    "another objective": a_demand(LLAMA_405B, budget=5, objective=Objective.LATENCY),
    "no stages": a_demand(R1, budget=5),
}


@pytest.mark.parametrize("demand", SILENT.values(), ids=SILENT)
def test_other_plans_name_no_faster_one(demand: Demand) -> None:
    assert faster(planned(demand, RACK)) == []


def test_gpus_that_are_not_free_make_nothing_faster() -> None:
    assert faster(planned(a_demand(LLAMA_405B, budget=5), a_fleet(gb200_rack(2, free=(4, 1))))) == []


@pytest.mark.parametrize("budget", [4, 5, 6, 7])
def test_a_tight_tensor_group_wins_over_a_pipeline_of_odd_length(budget: int) -> None:
    made = planned(a_demand(R1, budget=budget), RACK)
    assert (made.layout, made.tight) == (Layout(4, 1), True)


def test_free_gpus_that_are_enough_and_lie_apart_are_told_by_domain() -> None:
    refusal = refused(a_demand(LLAMA_70B, pins=pinned(8, 1)), a_fleet(h100s(4, free=(4, 4, 4, 4))))
    (only,) = refusal.rejected
    assert only.cause == NoRoom(H100, 1, 0, 8, 16, None, (4, 4, 4, 4), 4)


def test_at_most_five_domains_are_told() -> None:
    fleet = a_fleet(h100s(8, free=(1, 2, 3, 4, 5, 6, 7, 0)))
    (only,) = refused(a_demand(LLAMA_70B, pins=pinned(8, 1)), fleet).rejected
    assert only.cause == NoRoom(H100, 1, 0, 8, 28, None, (7, 6, 5, 4, 3), 7)


def test_trays_of_a_rack_are_told_as_its_domain() -> None:
    fleet = a_fleet(gb200_rack(2, clique="a", free=(2, 2)), gb200_rack(2, clique="b", free=(4, 1)))
    (only,) = refused(a_demand(LLAMA_70B, pins=pinned(8, 1)), fleet).rejected
    assert only.cause == NoRoom(GB200, 1, 0, 8, 9, None, (5, 4), 2)


def test_too_few_free_gpus_are_told_as_their_number_alone() -> None:
    (only,) = refused(a_demand(LLAMA_70B, pins=pinned(8, 1)), a_fleet(h100s(1, free=[4]))).rejected
    assert only.cause == NoRoom(H100, 1, 0, 8, 4)
