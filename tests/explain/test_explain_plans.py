"""Plans in words: what is said, to the letter, which alternatives are shown, and that no word goes beyond the data."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from syrupy.assertion import SnapshotAssertion
from tests.support.cases import PLANNED
from tests.support.fleets import H100, H200, L40S, a_fleet, h100s, h200s, l40s
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, Objective, a_demand
from tests.support.plans import planned
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.plan import LayoutOutcome, Plan
from shardwise.domain.refusal import MemoryShort, MoreGpus, NoRoom, Slower
from shardwise.domain.units import GIB
from shardwise.explain.alternatives import MOST, grounds, rest, telling
from shardwise.explain.answers import plan_answer
from shardwise.explain.plans import plan_message, plan_text
from shardwise.planner import plan

LAYOUT = re.compile(r"TP(\d+)×PP(\d+)( EP)?")
AMOUNT = re.compile(r"(\d+\.\d) GiB")


@pytest.mark.parametrize("name", PLANNED)
def test_a_plan_reads_well(name: str, snapshot: SnapshotAssertion) -> None:
    """Read the golden: it is what people see, and as one line in a condition."""
    made = planned(*PLANNED[name])
    assert f"{plan_text(made, name)}\n\n{plan_message(made)}" == snapshot


def test_a_plan_of_no_replicas_names_no_node() -> None:
    made = planned(a_demand(LLAMA_8B, replicas=0), a_fleet(h100s(1)))
    assert plan_message(made) == f"TP1×PP1 on {H100}, 0 replicas"


def test_the_product_is_said_once_where_there_is_only_one() -> None:
    """Headline only: the table needs no column for it."""
    made = planned(a_demand(LLAMA_70B), a_fleet(h100s(1)))
    assert plan_text(made, "x").count(H100) == 1


def test_every_product_that_lost_has_a_line_that_says_why() -> None:
    """Best first; whatever else there is to show."""
    made = planned(a_demand(LLAMA_70B, budget=16), a_fleet(h100s(2), h200s(2), l40s(2)))
    assert {alternative.product for alternative in telling(made)} == {H100, H200, L40S}


def test_the_runner_up_is_always_shown_first() -> None:
    made = planned(a_demand(LLAMA_405B, budget=64), a_fleet(h100s(8)))
    assert telling(made)[0] == made.alternatives[0]


def test_of_those_refused_for_memory_the_closest_is_shown() -> None:
    """One GPU that lacks ten times its memory teaches nothing."""
    made = planned(a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2)))
    (shown,) = (alternative for alternative in telling(made) if isinstance(alternative.cause, MemoryShort))
    shares = [
        alternative.cause.needed for alternative in made.alternatives if isinstance(alternative.cause, MemoryShort)
    ]
    assert isinstance(shown.cause, MemoryShort)
    assert shown.cause.needed == min(shares)


def test_a_product_without_room_says_so() -> None:
    made = planned(a_demand(LLAMA_70B), a_fleet(h100s(1, free=[0]), h200s(1)))
    assert any(alternative.product == H100 and isinstance(alternative.cause, NoRoom) for alternative in telling(made))


def test_the_rule_rests_on_what_was_simpler() -> None:
    """One GPU for a node's rule; one node for several nodes'; nothing where nothing is simpler."""
    found = {
        name: grounds(planned(*PLANNED[name]))
        for name in ("one GPU", "tensor in a node", "two nodes", "across trays", "pinned")
    }
    layouts = {name: None if one is None else one.layout for name, one in found.items()}
    assert layouts == {
        "one GPU": None,
        "tensor in a node": Layout(1, 1),
        "two nodes": Layout(8, 1),
        "across trays": Layout(4, 1),
        "pinned": None,
    }


def test_for_speed_a_rule_rests_on_the_slower_layout() -> None:
    """The smaller layout would have fitted."""
    one = grounds(planned(a_demand(LLAMA_8B, objective=Objective.LATENCY), a_fleet(h100s(1))))
    assert one is not None
    assert isinstance(one.cause, Slower)


@given(demands, fleets())
def test_few_alternatives_are_shown_and_all_are_counted(demand: Demand, fleet: Fleet) -> None:
    """Those shown and those counted add up to those there are; the fitting ones stand first, best first."""
    made = plan(demand, fleet)
    if not isinstance(made, Plan):
        return
    shown = telling(made)
    assert len(shown) == len(set(map(id, shown))) == min(MOST, len(made.alternatives))
    assert len(shown) + sum(count for _, count in rest(made, shown)) == len(made.alternatives)
    fitting = [alternative for alternative in made.alternatives if alternative.outcome is LayoutOutcome.FITS]
    places = [fitting.index(one) for one in shown if one.outcome is LayoutOutcome.FITS]
    assert places == sorted(places)
    assert [one.outcome for one in shown] == sorted((one.outcome for one in shown), key=lambda one: one.value)


@given(demands, fleets())
@settings(max_examples=150)
def test_the_text_of_a_plan_names_only_what_the_data_holds(demand: Demand, fleet: Fleet) -> None:
    """Layouts, nodes, products and amounts of memory: a screen drawn from the data can say all of it."""
    made = plan(demand, fleet)
    if not isinstance(made, Plan):
        return
    text, data = plan_text(made, "x"), plan_answer(made)
    notes = "\n".join(data["notes"])
    held = {_layout(one) for one in (data, *data["alternatives"], *filter(None, [data["grounds"]]))}
    assert {match.group() for match in LAYOUT.finditer(text)} <= held | {one.group() for one in LAYOUT.finditer(notes)}
    nodes = {pod["node"] for group in data["groups"] for pod in group["pods"]}
    assert {node.name for node in fleet.nodes if re.search(rf"\b{node.name}\b", text)} <= nodes
    products = {one["product"] for one in (data, *data["alternatives"])}
    assert {node.product for node in fleet.nodes if node.product in text} <= products
    assert set(AMOUNT.findall(text)) <= set(_amounts(data))


@given(demands, fleets())
def test_every_number_beside_an_alternative_is_its_own(demand: Demand, fleet: Fleet) -> None:
    """Memory and speed of each row are those of the data."""
    made = plan(demand, fleet)
    if not isinstance(made, Plan) or not made.alternatives:
        return
    lines = plan_text(made, "x").splitlines()
    start = next(index for index, line in enumerate(lines) if "GiB a GPU  ms a token" in line)
    for one, line in zip(telling(made), lines[start + 2 :], strict=False):
        assert str(one.layout) in line
        if one.memory is not None and one.estimate is not None:
            assert f"{one.memory.needed / GIB:.1f}" in line
            assert f"{one.estimate.seconds_per_token * 1000:.1f}" in line


def test_more_gpus_are_told_by_their_number() -> None:
    made = planned(a_demand(LLAMA_8B), a_fleet(h100s(1)))
    assert isinstance(telling(made)[0].cause, MoreGpus)
    assert "needs 2 GPUs where 1 is enough" in plan_text(made, "x")


def _layout(data: dict[str, Any]) -> str:
    return str(Layout(data["tensor"], data["pipeline"], data["expert"]))


def _amounts(data: Any) -> Iterator[str]:
    """Give every amount of memory in the data, and what is short where both need and budget are told."""
    if isinstance(data, dict):
        if {"needed", "budget"} <= data.keys():
            yield f"{(data['needed'] - data['budget']) / GIB:.1f}"
        for one in data.values():
            yield from _amounts(one)
    elif isinstance(data, list):
        for one in data:
            yield from _amounts(one)
    elif isinstance(data, int):
        yield f"{data / GIB:.1f}"
