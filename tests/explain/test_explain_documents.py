"""Plans and refusals as data and as text: what is read back decides the same, and nothing outgrows a status."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from syrupy.assertion import SnapshotAssertion
from tests.support.fleets import H100, a_fleet, gb200_rack, h100s, h200s, l40s
from tests.support.models import KIMI_K2, LLAMA_8B, LLAMA_70B, LLAMA_405B, R1, Objective, a_demand, facts, pinned
from tests.support.plans import planned, refused
from tests.support.strategies import demands, fleets

from shardwise.api.crd import object_schema
from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.domain.plan import Plan
from shardwise.explain import (
    plan_document,
    plan_from_document,
    plan_message,
    plan_text,
    refusal_document,
    refusal_message,
    refusal_text,
)
from shardwise.planner import plan

PLANNED: dict[str, tuple[Demand, Fleet]] = {
    "one GPU": (a_demand(LLAMA_8B), a_fleet(h100s(1))),
    "tensor in a node": (a_demand(LLAMA_70B), a_fleet(h100s(1))),
    "for latency": (a_demand(LLAMA_70B, objective=Objective.LATENCY), a_fleet(h100s(1))),
    "tight": (a_demand(LLAMA_70B, budget=2), a_fleet(h100s(1))),
    "over PCIe": (a_demand(LLAMA_70B), a_fleet(l40s(1))),
    "two nodes": (a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2))),
    "across trays": (a_demand(R1), a_fleet(gb200_rack(2))),
    "three replicas": (a_demand(LLAMA_8B, replicas=3), a_fleet(h100s(1))),
    "pinned": (a_demand(LLAMA_70B, pins=pinned(2, 4)), a_fleet(h100s(1))),
    "two products": (a_demand(LLAMA_70B), a_fleet(h100s(1), h200s(1))),
}
REFUSED: dict[str, tuple[Demand, Fleet]] = {
    "memory": (a_demand(LLAMA_405B), a_fleet(h100s(1))),
    "budget": (a_demand(LLAMA_405B, budget=4), a_fleet(h100s(2))),
    "heads": (a_demand(LLAMA_70B, pins=pinned(6)), a_fleet(h100s(1), h200s(1))),
    "room": (a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2, free=(8, 0)))),
    "no nodes": (a_demand(LLAMA_8B), a_fleet(replace(h100s(1)[0], exclusion=Exclusion.CORDONED, free=0))),
    "an empty cluster": (a_demand(LLAMA_8B), a_fleet()),
    "another product": (a_demand(LLAMA_8B, products=("NVIDIA-B300",)), a_fleet(h100s(1))),
    "context": (a_demand(KIMI_K2, context=131072), a_fleet(h100s(1))),
    "no experts": (a_demand(LLAMA_8B, pins=pinned(2, expert=True)), a_fleet(h100s(1))),
}


@pytest.mark.parametrize("name", PLANNED)
def test_a_plan_reads_well(name: str, snapshot: SnapshotAssertion) -> None:
    """Read the golden: it is what people see."""
    made = planned(*PLANNED[name])
    assert f"{plan_text(made, name)}\n\n{plan_message(made)}" == snapshot


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_reads_well(name: str, snapshot: SnapshotAssertion) -> None:
    """As a derivation, and as one line."""
    refusal = refused(*REFUSED[name])
    assert f"{refusal_text(refusal, name)}\n\n{refusal_message(refusal)}" == snapshot


@given(demands, fleets())
def test_what_is_said_is_one_line_short_enough_for_a_condition_and_plain_data(demand: Demand, fleet: Fleet) -> None:
    """Whatever is planned, and wherever."""
    outcome = plan(demand, fleet)
    if isinstance(outcome, Plan):
        message, document = plan_message(outcome), plan_document(outcome)
    else:
        message, document = refusal_message(outcome), refusal_document(outcome)
    assert 0 < len(message) <= 1024
    assert "\n" not in message
    assert json.loads(json.dumps(document)) == document


@given(demands, fleets())
def test_a_plan_is_read_back_with_all_that_decides(demand: Demand, fleet: Fleet) -> None:
    """Its alternatives stay in the document."""
    made = plan(demand, fleet)
    if isinstance(made, Plan):
        read = plan_from_document(json.loads(json.dumps(plan_document(made))))
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
    assert len(document["alternatives"]) == 8 < document["alternativesTotal"]


@pytest.mark.parametrize("missing", ["tensor", "groups", "memory", "rule", "product"])
def test_a_document_that_lacks_what_decides_is_refused(missing: str) -> None:
    """It was written by another version."""
    document = plan_document(planned(a_demand(LLAMA_8B), a_fleet(h100s(1))))
    del document[missing]
    with pytest.raises(KeyError):
        plan_from_document(document)


def test_a_plan_of_no_replicas_names_no_node() -> None:
    made = planned(a_demand(LLAMA_8B, replicas=0), a_fleet(h100s(1)))
    assert plan_message(made) == f"TP1×PP1 on {H100}, 0 replicas"


def test_the_resource_of_a_plan_is_kept_where_it_is_not_nvidias() -> None:
    """In the status too, whose schema must know it."""
    made = planned(a_demand(), a_fleet(h100s(1)))
    assert "resource" not in plan_document(made)
    other = plan_document(replace(made, resource="amd.com/gpu"))
    assert plan_from_document(other).resource == "amd.com/gpu"
    plan_schema = object_schema()["properties"]["status"]["properties"]["plan"]["properties"]
    assert set(other) <= set(plan_schema)
