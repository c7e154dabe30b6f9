"""Plans and refusals as data: plain JSON, read back with all that decides, and complete enough to draw."""

import json
from typing import Any

import pytest
from hypothesis import given
from tests.support.cases import PLANNED, REFUSED
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_405B, a_demand, facts
from tests.support.plans import planned, refused
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Plan
from shardwise.explain.alternatives import telling
from shardwise.explain.answers import plan_answer, refusal_answer
from shardwise.explain.causes import cause
from shardwise.explain.plans import plan_message
from shardwise.planner import plan
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.recorded_plan import record_plan
from shardwise.reconcile.status_data import write_status


def as_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


@given(demands, fleets())
def test_an_answer_is_plain_data(demand: Demand, fleet: Fleet) -> None:
    """Whatever is planned, and wherever; and a plan's message is one short line."""
    outcome = plan(demand, fleet)
    data = plan_answer(outcome) if isinstance(outcome, Plan) else refusal_answer(outcome)
    assert as_json(data) == data
    if isinstance(outcome, Plan):
        message = plan_message(outcome)
        assert 0 < len(message) <= 1024
        assert "\n" not in message


def test_an_answer_lists_few_alternatives_and_counts_all() -> None:
    answer = plan_answer(planned(a_demand(facts(LLAMA_405B), budget=64), a_fleet(h100s(8))))
    assert len(answer["alternatives"]) == 5 < answer["alternativesTotal"]


@pytest.mark.parametrize("name", PLANNED)
def test_an_answer_holds_what_a_status_holds(name: str) -> None:
    """And more of each alternative; the status stays small."""
    made = planned(*PLANNED[name])
    answer, status = plan_answer(made), write_status(Status(plan=record_plan(made, "")))["plan"]
    del status["demand"]
    assert {key: answer[key] for key in status if key != "alternatives"} == {
        key: value for key, value in status.items() if key != "alternatives"
    }
    for one, brief in zip(answer["alternatives"], status["alternatives"], strict=True):
        assert {key: one[key] for key in brief} == brief


@pytest.mark.parametrize("name", PLANNED)
def test_an_alternative_brings_its_memory_its_speed_and_the_numbers_of_its_cause(name: str) -> None:
    made = planned(*PLANNED[name])
    for one, data in zip(telling(made), plan_answer(made)["alternatives"], strict=True):
        assert data["reason"] == cause(one.cause)
        assert data["cause"]["kind"] == type(one.cause).__name__
        assert (data["memory"] is None) == (one.memory is None)
        assert (data["estimate"] is None) == (one.estimate is None)
        assert data["worldSize"] == one.layout.world_size


def test_what_became_of_the_others_is_counted() -> None:
    answer = plan_answer(planned(a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2))))
    assert sum(other["count"] for other in answer["others"]) == answer["alternativesTotal"] - len(
        answer["alternatives"]
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_as_data_says_all_that_its_text_does(name: str) -> None:
    """Reason, what was asked, the nearest miss, every node, and each hint with the edit it stands for."""
    refusal = refused(*REFUSED[name])
    data = refusal_answer(refusal)
    assert data["reason"] == refusal.reason.value
    assert data["waits"] is refusal.waits
    assert data["asked"]["gpuBudget"] == REFUSED[name][0].gpu_budget
    assert (data["nearest"] is None) == (refusal.nearest is None)
    counted = sum(node["nodes"] for node in data["nodes"]["usable"]) + sum(
        node["count"] for node in data["nodes"]["excluded"]
    )
    assert counted == data["nodes"]["total"] == len(REFUSED[name][1].nodes)
    assert data["nodes"]["freeGpus"] == sum(node["free"] for node in data["nodes"]["usable"])
    assert [hint["field"] for hint in data["hints"]] == [hint.field for hint in refusal.hints]


def test_a_clause_as_data_names_its_kind_its_product_its_ranges_and_its_nearest_miss() -> None:
    data = refusal_answer(refused(a_demand(LLAMA_405B), a_fleet(h100s(1))))
    (clause,) = data["derivation"]
    assert (clause["kind"], clause["product"], clause["count"]) == ("MemoryShort", "NVIDIA-H100-80GB-HBM3", 15)
    assert clause["layouts"] == [
        {"tensor": 1, "expert": False, "pipelineFrom": 1, "pipelineTo": 8},
        {"tensor": 2, "expert": False, "pipelineFrom": 1, "pipelineTo": 4},
        {"tensor": 4, "expert": False, "pipelineFrom": 1, "pipelineTo": 2},
        {"tensor": 8, "expert": False, "pipelineFrom": 1, "pipelineTo": 1},
    ]
    assert clause["nearest"]["cause"]["needed"] > clause["nearest"]["cause"]["budget"]
    assert clause["nearest"] == data["nearest"]
