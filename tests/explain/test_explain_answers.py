"""Plans and refusals as data: plain JSON, read back with all that decides, and complete enough to draw."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from tests.support.cases import PLANNED, REFUSED
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand, facts
from tests.support.plans import planned, refused
from tests.support.strategies import demands, fleets

from shardwise.api.crd import object_schema
from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Plan
from shardwise.explain.alternatives import telling
from shardwise.explain.answers import plan_answer, refusal_answer
from shardwise.explain.causes import cause
from shardwise.explain.documents import plan_document, plan_from_document
from shardwise.explain.plans import plan_message
from shardwise.planner import plan


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


@given(demands, fleets())
def test_a_plan_is_read_back_with_all_that_decides(demand: Demand, fleet: Fleet) -> None:
    """Its alternatives stay in the document."""
    made = plan(demand, fleet)
    if isinstance(made, Plan):
        read = plan_from_document(as_json(plan_document(made)))
        assert (read.layout, read.groups, read.memory, read.rule, read.product) == (
            made.layout,
            made.groups,
            made.memory,
            made.rule,
            made.product,
        )
        again = plan_document(read) | {"alternatives": [], "alternativesTotal": 0}
        assert again == plan_document(made) | {"alternatives": [], "alternativesTotal": 0}


def test_a_document_lists_few_alternatives_and_counts_all() -> None:
    document = plan_document(planned(a_demand(facts(LLAMA_405B), budget=64), a_fleet(h100s(8))))
    assert len(document["alternatives"]) == 5 < document["alternativesTotal"]


@pytest.mark.parametrize("missing", ["tensor", "groups", "memory", "rule", "product"])
def test_a_document_that_lacks_what_decides_is_refused(missing: str) -> None:
    """It was written by another version."""
    document = plan_document(planned(a_demand(LLAMA_8B), a_fleet(h100s(1))))
    del document[missing]
    with pytest.raises(KeyError):
        plan_from_document(document)


@pytest.mark.parametrize("name", PLANNED)
def test_an_answer_holds_what_a_status_holds(name: str) -> None:
    """And more of each alternative; the status stays small."""
    made = planned(*PLANNED[name])
    answer, status = plan_answer(made), plan_document(made)
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
    assert sum(one["count"] for one in answer["others"]) == answer["alternativesTotal"] - len(answer["alternatives"])


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_as_data_says_all_that_its_text_does(name: str) -> None:
    """Reason, what was asked, the nearest miss, every node, and each hint with the edit it stands for."""
    refusal = refused(*REFUSED[name])
    data = refusal_answer(refusal)
    assert data["reason"] == refusal.reason.value
    assert data["waits"] is refusal.waits
    assert data["asked"]["gpuBudget"] == REFUSED[name][0].gpu_budget
    assert (data["nearest"] is None) == (refusal.nearest is None)
    counted = sum(one["nodes"] for one in data["nodes"]["usable"]) + sum(
        one["count"] for one in data["nodes"]["excluded"]
    )
    assert counted == data["nodes"]["total"] == len(REFUSED[name][1].nodes)
    assert data["nodes"]["freeGpus"] == sum(one["free"] for one in data["nodes"]["usable"])
    assert [one["field"] for one in data["hints"]] == [one.field for one in refusal.hints]


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


def test_the_resource_of_a_plan_is_kept_where_it_is_not_nvidias() -> None:
    """In the status too, whose schema must know it. Where groups are, each of them says there."""
    made = planned(a_demand(LLAMA_8B), a_fleet(h100s(1)))
    assert "resource" not in plan_document(made)
    other = plan_document(replace(made, resource="amd.com/gpu"))
    assert plan_from_document(other).resource == "amd.com/gpu"
    plan_schema = object_schema()["properties"]["status"]["properties"]["plan"]["properties"]
    assert set(other) - {"groups", "replicas"} <= set(plan_schema)
