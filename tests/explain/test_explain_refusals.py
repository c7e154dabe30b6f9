"""Refusals in words: a derivation that covers every layout once, to the letter; and one line for a condition."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from syrupy.assertion import SnapshotAssertion
from tests.support.cases import H100, PLANNED, REFUSED
from tests.support.causes import CAUSES
from tests.support.fleets import a_fleet, h100s, l40s
from tests.support.models import LLAMA_70B, LLAMA_405B, a_demand, pinned
from tests.support.plans import planned, refused
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand
from shardwise.domain.exclusions import NoPlace
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.plan_data import read_layout
from shardwise.domain.refusal import Change, MemoryShort, OverBudget, OverQuota, Refusal
from shardwise.domain.role_causes import ShareShort
from shardwise.explain.answers import refusal_answer
from shardwise.explain.derivation import derive
from shardwise.explain.refusals import refusal_message, refusal_text
from shardwise.planner import plan
from shardwise.planner.hints import MOST_HINTS

RANGE = re.compile(r"(?:DP(\d+)×)?TP(\d+)×PP(\d+)(?: to PP(\d+))?( EP)?(?: CP(\d+))?")


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_reads_well(name: str, snapshot: SnapshotAssertion) -> None:
    """As a derivation, and as one line."""
    refusal = refused(*REFUSED[name])
    assert f"{refusal_text(refusal, name)}\n\n{refusal_message(refusal)}" == snapshot


def test_nodes_that_nobody_counted_are_not_told() -> None:
    """A refusal of more replicas than the budget allows looks at no nodes."""
    counted = refused(a_demand(LLAMA_405B, budget=8), a_fleet(h100s(2)))
    assert "nodes: 2 of 2 usable" in refusal_text(counted, "m")
    assert "nodes:" not in refusal_text(replace(counted, pools=(), excluded=()), "m")


def test_the_cases_show_every_cause_there_is() -> None:
    """In a golden text each: those of refusals here, those of what fits and lost among the plans."""
    refusals = {type(layout.cause) for case in REFUSED.values() for layout in refused(*case).rejected}
    lost = {type(alternative.cause) for case in PLANNED.values() for alternative in planned(*case).alternatives}
    elsewhere = {OverQuota, ShareShort}  # the life of an object finds the first, the planner of pairs the second
    assert refusals | lost == set(CAUSES) - elsewhere


def test_the_cases_show_every_hint_there_is() -> None:
    """Every field, and every way to change one."""
    hints = [hint for case in REFUSED.values() for hint in refused(*case).hints]
    assert {hint.change for hint in hints} == set(Change)
    assert {hint.field for hint in hints} == {
        "spec.engine.args",
        "spec.engine.name",
        "spec.gpuBudget.products",
        "spec.gpuBudget.total",
        "spec.model.concurrency",
        "spec.model.contextLength",
        "spec.model.gpuMemoryReserve",
        "spec.model.kvCacheDtype",
        "spec.model.minContextLength",
        "spec.model.quantization",
        "spec.objective",
        "spec.parallelism",
        "spec.parallelism.context",
        "spec.parallelism.data",
        "spec.parallelism.expert",
        "spec.parallelism.pipeline",
        "spec.parallelism.tensor",
        "spec.placement.nodeSelector",
        "spec.placement.tolerations",
        "spec.placement.within",
        "spec.replicas",
        "spec.target",
        "spec.target.requestsPerSecond",
        "spec.target.timePerToken",
        "spec.target.timeToFirstToken",
    }


@given(demands, fleets())
@settings(max_examples=150)
def test_every_layout_that_was_tried_is_covered_by_exactly_one_stated_cause(demand: Demand, fleet: Fleet) -> None:
    """On every product; and the nearest miss of a clause is one of its own."""
    refusal = plan(demand, fleet)
    if not isinstance(refusal, Refusal):
        return
    clauses = derive(refusal)
    covered = Counter(rejected for clause in clauses for rejected in clause.rejected)
    assert covered == Counter(refusal.rejected)
    assert max(covered.values(), default=1) == 1
    for clause in clauses:
        assert clause.closest in clause.rejected
        assert {type(layout.cause).__name__ for layout in clause.rejected} == {clause.kind}
        assert {layout.product for layout in clause.rejected} <= ({clause.product} if clause.product else _all(fleet))


@given(demands, fleets())
@settings(max_examples=150)
def test_what_a_clause_says_of_all_its_layouts_is_true_of_each(demand: Demand, fleet: Fleet) -> None:
    """As in `need 5 GPUs or more` and `the 73.3 GiB there are`: the nearest miss bounds the rest."""
    refusal = plan(demand, fleet)
    if not isinstance(refusal, Refusal):
        return
    for clause in derive(refusal):
        least = clause.closest.cause
        for rejection in clause.rejected:
            if isinstance(least, MemoryShort) and isinstance(rejection.cause, MemoryShort):
                assert (rejection.cause.budget, rejection.cause.product) == (least.budget, least.product)
                assert rejection.cause.needed >= least.needed > least.budget
            if isinstance(least, OverBudget) and isinstance(rejection.cause, OverBudget):
                assert (rejection.cause.budget, rejection.cause.replicas) == (least.budget, least.replicas)
                assert rejection.cause.needed >= least.needed > least.budget


@given(demands, fleets())
@settings(max_examples=150)
def test_the_data_of_a_derivation_covers_every_layout_too(demand: Demand, fleet: Fleet) -> None:
    """Its ranges, taken apart, are the layouts that were tried; and the text names no others."""
    refusal = plan(demand, fleet)
    if not isinstance(refusal, Refusal):
        return
    data = refusal_answer(refusal)
    held = {
        read_layout({**layout, "pipeline": depth})
        for clause in data["derivation"]
        for layout in clause["layouts"]
        for depth in range(layout["pipelineFrom"], layout["pipelineTo"] + 1)
    }
    assert held == {rejected.layout for rejected in refusal.rejected}
    hinted = set(map(read_layout, data["hints"]))
    assert _named(refusal_text(refusal, "x")) <= held | hinted


@given(demands, fleets())
def test_a_message_is_one_line_short_enough_for_a_condition(demand: Demand, fleet: Fleet) -> None:
    refusal = plan(demand, fleet)
    if isinstance(refusal, Refusal):
        message = refusal_message(refusal)
        assert 0 < len(message) <= 1024
        assert "\n" not in message
        assert not message.endswith(".")


@given(demands, fleets())
def test_hints_are_few_and_each_of_another_kind(demand: Demand, fleet: Fleet) -> None:
    refusal = plan(demand, fleet)
    if isinstance(refusal, Refusal):
        assert len(refusal.hints) <= MOST_HINTS
        assert len({hint.field for hint in refusal.hints}) == len(refusal.hints)


def test_a_message_that_is_too_long_ends_with_an_ellipsis() -> None:
    """A taint may be as long as its owner likes."""
    refusal = refused(a_demand(LLAMA_70B), a_fleet())
    long = Refusal(
        refusal.reason, refusal.waits, (), None, (), nodes=3, free_gpus=0, excluded=((NoPlace("x" * 2000), 3),)
    )
    assert len(refusal_message(long)) == 1024
    assert refusal_message(long).endswith("…")


def test_one_layout_on_two_products_is_named_once_and_counted_once() -> None:
    (clause,) = derive(refused(a_demand(LLAMA_70B, pins=pinned(6, 1)), a_fleet(h100s(1), l40s(1))))
    assert (len(clause.rejected), clause.layouts, clause.product) == (2, (Layout(6, 1),), None)


def test_causes_of_gpus_are_told_product_by_product() -> None:
    clauses = derive(refused(a_demand(LLAMA_405B), a_fleet(h100s(1), l40s(1))))
    assert [(clause.kind, clause.product) for clause in clauses] == [
        ("MemoryShort", H100),
        ("MemoryShort", "NVIDIA-L40S"),
    ]


def test_law_comes_first_and_room_last() -> None:
    """As one narrows a search down: what waiting would mend stands next to the conclusion."""
    refusal = refused(a_demand(LLAMA_405B, budget=12), a_fleet(h100s(2, free=(8, 0))))
    assert [clause.kind for clause in derive(refusal)] == [
        "MemoryShort",
        "OverBudget",
        "NoRoom",
    ]


def _named(text: str) -> set[Layout]:
    named = set()
    for data, tensor, first, last, expert, context in RANGE.findall(text):
        more = {"data": int(data or 1), "context": int(context or 1)}
        depths = range(int(first), int(last or first) + 1)
        named |= {Layout(int(tensor), depth, bool(expert), **more) for depth in depths}
    return named


def _all(fleet: Fleet) -> set[str]:
    return {node.product for node in fleet.nodes}
