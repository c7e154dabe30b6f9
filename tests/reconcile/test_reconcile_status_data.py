"""A status is a value: written and read back in one place, with everything that it says."""

import ast
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reconcile.support import World, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand
from tests.support.plans import planned
from tests.support.repository import PACKAGE
from tests.support.statuses import FULL

from shardwise.domain.cache_tokens import CacheTokens
from shardwise.domain.reasons import FailureKind
from shardwise.reconcile.conditions import DatedCondition
from shardwise.reconcile.object_status import GroupStatus, Status
from shardwise.reconcile.recorded_plan import record_plan
from shardwise.reconcile.records import WORDLESS, Record, State
from shardwise.reconcile.shunned import Shunned, ShunReason
from shardwise.reconcile.status_data import holdings, is_waiting, read_status, waiting_since, write_status

Json = dict[str, Any]

PLANS = [
    read_status(write_status(Status(plan=record_plan(planned(demand, a_fleet(h100s(4))), "asked")))).plan
    for demand in (a_demand(LLAMA_8B), a_demand(LLAMA_70B, budget=32, replicas=2))
]
"""Plans as they are read back: an estimate is recorded in whole microseconds."""

texts, counts = st.text(max_size=20), st.integers(0, 1000)
times = st.integers(1, 4_000_000_000).map(float)
some_nodes = st.lists(texts.filter(bool), min_size=1, max_size=4).map(tuple)


@st.composite
def group_statuses(draw: st.DrawFn, replica: int) -> GroupStatus:
    state, nodes, said = draw(st.sampled_from(State)), draw(st.just(()) | some_nodes), draw(texts)
    record = Record(
        replica,
        draw(counts),
        state,
        draw(times),
        draw(counts),
        draw(st.just(0.0) | times),
        draw(st.just(0.0) | times),
        nodes,
        draw(st.integers(1, 8)) if nodes else 0,
        draw(texts),
        "" if state in WORDLESS else said,
        draw(st.none() | st.sampled_from(FailureKind)),
        draw(st.integers(0, 3)),
        draw(st.none() | st.builds(CacheTokens, counts, counts)),
    )
    return GroupStatus(record, said, draw(counts) if nodes else 0, draw(st.none() | counts) if nodes else None)


conditions = st.builds(DatedCondition, texts, texts, texts, texts, times, counts)
shuns = st.builds(Shunned, texts, st.sampled_from(ShunReason), counts, times)


@st.composite
def statuses(draw: st.DrawFn) -> Status:
    groups = tuple(draw(group_statuses(replica)) for replica in range(draw(st.integers(0, 3))))
    return Status(
        generation=draw(counts),
        message=draw(texts),
        replicas=draw(counts),
        ready_replicas=draw(counts),
        selector=draw(texts),
        endpoint=draw(texts),
        restarts=draw(counts),
        groups=groups,
        plan=draw(st.none() | st.sampled_from(PLANS)),
        shuns=draw(st.lists(shuns, max_size=2).map(tuple)),
        waiting_since=draw(st.just(0.0) | times),
        conditions=draw(st.lists(conditions, max_size=3).map(tuple)),
    )


@given(statuses())
def test_a_status_is_read_back_as_it_was_written(status: Status) -> None:
    """The questions that are asked of thousands of objects give the same answers as the whole status."""
    data = json.loads(json.dumps(write_status(status)))
    assert read_status(data) == status
    assert (is_waiting(data), waiting_since(data)) == (bool(status.waiting_since), status.waiting_since)
    assert holdings(data) == status.holdings


def test_a_status_in_which_nothing_is_empty_is_read_back() -> None:
    assert read_status(write_status(FULL)) == FULL
    assert [field.name for field in fields(Status) if not getattr(FULL, field.name)] == ["unread_plan", "unread_groups"]


def test_an_object_that_nobody_has_looked_at_has_the_status_of_a_new_object() -> None:
    """The API server fills in the generation."""
    assert read_status({}) == read_status({"observedGeneration": -1}) == Status()


@pytest.mark.parametrize(
    "field", ["observedGeneration", "replicas", "restarts", "groups", "conditions", "waitingSince"]
)
@pytest.mark.parametrize("value", [None, "", [], "x", {"a": 1}], ids=str)
def test_a_field_of_another_type_counts_as_absent(field: str, value: object) -> None:
    """A file may hold anything. Entries that cannot be read keep the groups from being known."""
    read = read_status({field: value})
    assert (read.generation, read.replicas, read.restarts, read.conditions, read.waiting_since) == (-1, 0, 0, (), 0.0)
    assert read.records == {}


def unread(status: Json) -> Json:
    return status | {"plan": {"tensor": "many"}, "groups": [*status["groups"][:1], {"replica": 1, "state": "Dreaming"}]}


def test_data_that_this_version_cannot_read_stays_while_the_object_is_left_alone() -> None:
    """A later version wrote it, and may come back. Dropped, the group would look unwanted, and its pods would go."""
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)))
    world.run()
    world.status = before = unread(world.status)
    pods = dict(world.pods)
    world.wanted = replace(world.wanted, paused=True)
    world.settle()
    assert (world.status["plan"], world.status["groups"]) == (before["plan"], before["groups"])
    world.wanted = replace(world.wanted, paused=False)
    world.settle()
    assert sorted(world.pods) == sorted(pods)
    assert world.status["plan"]["tensor"] == 1


def test_a_new_object_that_is_left_alone_says_only_why() -> None:
    world = World(wants(paused=True))
    world.step()
    assert sorted(world.status) == ["conditions", "message", "observedGeneration"]


def texts_of(path: Any) -> Iterator[str]:
    """Give the string constants of a module, docstrings left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


OWN = ("waitingSince", "shunnedNodes", "readyReplicas", "gpusPerPod", "retryAt", "readyPods", "loadedPods", "madeAt")
"""Fields that only a status has."""


@pytest.mark.parametrize("folder", ["reconcile", "operate", "cli", "inventory", "render"])
def test_only_the_module_of_the_data_names_the_fields_of_a_status(folder: str) -> None:
    named = {
        path.name: sorted(set(OWN).intersection(texts_of(path))) for path in sorted((PACKAGE / folder).glob("*.py"))
    }
    found = {name: words for name, words in named.items() if words}
    assert found == ({"status_data.py": sorted(OWN)} if folder == "reconcile" else {})
