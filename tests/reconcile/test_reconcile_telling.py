"""What an object says of itself: conditions and their times, Events, sizes, and that an explanation says the same."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reconcile.support import START, World, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Exclusion
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.reconcile.group_set import GroupSet
from shardwise.reconcile.plans import new_plan
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.shunned import MOST, Shunned, ShunReason
from shardwise.reconcile.standing import standing_of
from shardwise.reconcile.status import MOST_BYTES, Progress, status_of
from shardwise.reconcile.status_data import read_records, read_status, write_status
from shardwise.reconcile.turns import Turn
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView

FLEET = a_fleet(h100s(4))
KINDS = ("Ready", "Reconciling", "Stalled")
WANTED = wants(a_demand(LLAMA_8B, budget=8, replicas=3), generation=7)
IN_FORCE = new_plan(WANTED, UsableFleet(FLEET))
SHORT = new_plan(wants(a_demand(LLAMA_405B, budget=16)), UsableFleet(a_fleet(h100s(1)))).refusal
NEVER = new_plan(wants(a_demand(LLAMA_8B, pins=Pins(6, None, None))), UsableFleet(FLEET)).refusal

views = st.builds(
    lambda state, served, stale, failures, attempt: GroupView(
        Record(
            0,
            attempt,
            state,
            START,
            failures,
            START if served else 0.0,
            START + 10,
            () if state is State.WAITING else ("h100-00",),
            0 if state is State.WAITING else 1,
            "c",
            "engine exited 1 (Error)" if failures else "",
        ),
        (),
        stale,
    ),
    st.sampled_from(list(State)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
)
progresses = st.builds(
    lambda groups, refusal, refused, planned, turn: Progress(
        WANTED,
        IN_FORCE.plan if planned else None,
        IN_FORCE.recorded if planned else None,
        GroupSet(tuple(replace(one, record=replace(one.record, replica=at)) for at, one in enumerate(groups)), refusal),
        turn=turn,
        refused=refused,
    ),
    st.lists(views, max_size=4),
    st.sampled_from([None, None, SHORT, NEVER]),
    st.sampled_from(["", "", "exceeded quota"]),
    st.sampled_from([True, True, False]),
    st.sampled_from([Turn(), Turn(2, 3, "ns/first")]),
).filter(lambda progress: progress.plan is not None or progress.group_set.refusal is not None)
"""Where there is no plan, planning was refused."""


def written(progress: Progress, before: dict[str, Any] | None = None, now: float = START) -> dict[str, Any]:
    return write_status(status_of(progress, read_status(before or {}), now))


def true_of(status: dict[str, Any]) -> list[str]:
    return [
        condition["type"]
        for condition in status["conditions"]
        if condition["type"] in KINDS and condition["status"] == "True"
    ]


@given(progresses)
def test_whatever_is_under_way_one_of_the_three_is_true_and_all_are_said(progress: Progress) -> None:
    """kstatus: a waiter never meets a missing condition, nor two that contradict each other."""
    status = written(progress)
    conditions = {condition["type"]: condition for condition in status["conditions"]}
    assert len(conditions) == len(status["conditions"]) == 6
    assert len(true_of(status)) == 1
    assert {condition["observedGeneration"] for condition in conditions.values()} == {7}
    assert status["observedGeneration"] == 7
    assert all(condition["reason"] and condition["status"] in ("True", "False") for condition in conditions.values())
    assert conditions["Ready"]["message"] == conditions[true_of(status)[0]]["message"] == status["message"]


@given(progresses)
def test_ready_means_that_all_that_is_wanted_serves_and_nothing_else_does(progress: Progress) -> None:
    status = written(progress)
    groups = progress.group_set.groups
    serves = len(groups) == 3 and all(group.record.state is State.READY and not group.stale for group in groups)
    clear = progress.group_set.refusal is None and not progress.refused and progress.plan is not None
    assert (true_of(status) == ["Ready"]) == (serves and clear)


@given(progresses)
def test_stalled_means_that_somebody_has_to_do_something(progress: Progress) -> None:
    """A group is held, or what is asked for can never be: waiting for GPUs is not that."""
    held = any(group.record.state is State.HELD for group in progress.group_set.groups)
    refusal = progress.group_set.refusal
    never = refusal is not None and not refusal.waits
    status = written(progress)
    assert (true_of(status) == ["Stalled"]) == (held or never)
    assert ("waitingSince" in status) == (refusal is not None and refusal.waits)


@given(progresses, progresses)
def test_a_condition_has_the_time_its_status_last_changed_and_no_other(first: Progress, then: Progress) -> None:
    """Whatever its words become: `kubectl wait` and alerts count from that time."""
    before = written(first)
    after = written(then, before, START + 60)
    old = {condition["type"]: condition for condition in before["conditions"]}
    for condition in after["conditions"]:
        same = condition["status"] == old[condition["type"]]["status"]
        assert condition["lastTransitionTime"] == ("2027-01-15T08:00:00Z" if same else "2027-01-15T08:01:00Z")


@given(progresses)
def test_a_status_reads_back_as_the_groups_it_was_written_of(progress: Progress) -> None:
    """What only waits, and never was anything, has nothing to remember."""
    records = read_records(written(progress))
    for view in progress.group_set.groups:
        record = view.record
        if record.nodes or record.attempt or record.failures:
            assert replace(records[record.replica], message=record.message) == record
        else:
            assert record.replica not in records


CROWDS = {"few small groups": (3, 1, 400), "many groups": (20, 10, 160), "many large groups": (20, 18, 60)}


@pytest.mark.parametrize(("count", "nodes", "cut"), CROWDS.values(), ids=CROWDS)
def test_a_status_of_long_words_is_cut_as_far_as_it_must_be(count: int, nodes: int, cut: int) -> None:
    """Every group failed with a page of output, and sixteen nodes are shunned: below 16 KiB all the same."""
    shuns = tuple(Shunned(f"gb200-{'n' * 40}-{at:02}", ShunReason.FAILED, 9, START + 3600) for at in range(MOST))
    record = Record(0, message="NCCL error " * 400, state=State.BACKOFF, nodes=("gb200-r00-t00",) * nodes, gpus=8)
    groups = tuple(GroupView(replace(record, replica=at), ()) for at in range(count))
    status = written(Progress(WANTED, IN_FORCE.plan, None, GroupSet(groups), shuns=shuns))
    assert max(len(condition["message"]) for condition in status["conditions"]) <= 1024
    assert {len(group["message"]) for group in status["groups"]} == {cut}
    assert len(json.dumps(status, separators=(",", ":"))) < MOST_BYTES


def standing_groups(world: World) -> list[tuple[int, str, int]]:
    standing = standing_of(world.wanted, world.observe(), world.now)
    return [(group.replica, group.state, group.attempt) for group in standing.groups]


HAPPENS: dict[str, Callable[[World], None]] = {
    "nothing": lambda _: None,
    "an engine exits": lambda world: world.crash("llama-0-0-1"),
    "a pod is lost": lambda world: world.lose("llama-0-0-0"),
    "a node is gone": lambda world: world.lose_node("h100-01"),
    "a node is faulty": lambda world: world.exclude("h100-00", Exclusion.FAULTY),
    "all nodes but one are gone": lambda world: world.lose_node("h100-01", "h100-02"),
    "other arguments": lambda world: world.launch(args=("--seed=7",)),
    "no replica": lambda world: world.demand(replicas=0),
    "too small a budget": lambda world: world.demand(gpu_budget=4),
    "another split": lambda world: world.demand(pins=Pins(4, 4, None)),
    "the status is lost": lambda world: setattr(world, "status", {}),
}


@pytest.mark.parametrize("happens", HAPPENS.values(), ids=HAPPENS)
def test_an_explanation_shows_the_groups_of_the_status_and_the_places_of_the_next_decision(
    happens: Callable[[World], None],
) -> None:
    """It decides nothing; and where it says that a plan is next, the decision has that, node for node."""
    world = World(two_nodes_wide(Pins(8, 2, None)))
    world.run()
    happens(world)
    told = [
        (record.replica, record.state.value, record.attempt)
        for record in read_records(world.status).values()
        if record.nodes
    ]
    assert standing_groups(world) == told
    standing = standing_of(world.wanted, world.observe(), world.now)
    after = read_records(world.decide().written)
    places = [one.nodes for one in after.values() if one.nodes]
    if isinstance(standing.next, Plan):
        assert [tuple(pod.node for pod in group.pods) for group in standing.next.groups] == places
    else:
        assert isinstance(standing.next, Refusal)
        reasons = [
            condition["reason"] for condition in world.decide().written["conditions"] if condition["status"] == "True"
        ]
        assert standing.next.reason.value in reasons


STORY: tuple[tuple[Callable[[World], None], list[str]], ...] = (
    (lambda _: None, ["Planned"]),
    (lambda world: world.start(), ["GroupReady"]),
    (lambda world: world.unready("llama-0-0-0"), ["GroupUnready"]),
    (lambda world: world.start(), []),
    (lambda world: world.crash("llama-0-0-0"), ["GroupRestarted"]),
    (lambda world: world.crash("llama-0-1-0"), ["GroupFailed", "NodeLeftOut"]),
    (lambda world: setattr(world, "now", world.now + 20), ["Planned", "GroupRestarted"]),
    (lambda world: world.crash("llama-0-2-0"), ["GroupHeld"]),
    (lambda world: world.launch(args=("--seed=7",)), ["GroupRestarted"]),
    (lambda world: world.start(), ["GroupReady"]),
    (lambda world: world.demand(replicas=2, gpu_budget=1), ["BudgetShort"]),
    (lambda world: world.demand(replicas=2, gpu_budget=2), ["Planned"]),
    (lambda world: world.demand(replicas=0), ["GroupRemoved", "GroupRemoved"]),
)


def test_each_change_of_a_long_life_is_told_once_by_its_reason() -> None:
    """One object through everything: what each step tells, and nothing more however often it is looked at."""
    world = World(wants(a_demand(LLAMA_8B, budget=1), max_restarts=2))
    told = []
    for act, _ in STORY:
        act(world)
        for name in world.pods:
            world.bind(name)
        before = len(world.told())
        world.settle()
        for _ in range(2):
            world.step()
        told.append(world.told()[before:])
    assert told == [expected for _, expected in STORY]


def test_a_refusal_that_a_held_group_hides_is_told_once_the_group_is_mended() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=1), max_restarts=0))
    world.settle()
    world.crash("llama-0-0-0")
    world.settle()
    world.demand(replicas=2)
    for _ in range(3):
        world.step()
    assert "BudgetShort" not in world.told()
    world.edit(restart=replace(world.wanted.restart, max_restarts=5))
    for _ in range(3):
        world.step()
    assert world.told().count("BudgetShort") == 1


def paused_for_a_while(world: World) -> None:
    for paused in (True, False):
        world.wanted = replace(world.wanted, paused=paused)
        world.step()


SAID_AGAIN: dict[str, tuple[Callable[[World], object], int]] = {
    "it is looked at again": (World.step, 1),
    "it is edited": (lambda world: world.launch(args=("--seed=7",)), 2),
    "it was paused": (paused_for_a_while, 2),
}


@pytest.mark.parametrize(("happens", "times"), SAID_AGAIN.values(), ids=SAID_AGAIN)
def test_a_refusal_is_told_again_to_whoever_has_edited_or_resumed_the_object(
    happens: Callable[[World], object], times: int
) -> None:
    world = World(two_nodes_wide(), a_fleet(h100s(2, free=[8, 0])))
    world.step()
    happens(world)
    world.step()
    assert world.told().count("CapacityShort") == times


def without_a_place(world: World) -> None:
    for node in ("h100-00", "h100-01", "h100-02"):
        world.lose_node(node)
    world.settle()


GOING: dict[str, tuple[Callable[[World], None], list[str]]] = {
    "one that serves": (lambda _: None, ["GroupRemoved"]),
    "one that has given its place back": (without_a_place, []),
    "pods left by an earlier object of the name": (lambda world: world.status.clear(), []),
}


@pytest.mark.parametrize(("what", "told"), GOING.values(), ids=GOING)
def test_only_what_has_a_place_by_the_status_is_told_to_be_removed(
    what: Callable[[World], None], told: list[str]
) -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=1)))
    world.run()
    what(world)
    before = len(world.events)
    world.demand(replicas=0)
    world.step()
    assert world.told()[before:] == told


def failed_twice(world: World) -> None:
    for attempt in (0, 1):
        world.start()
        world.settle()
        world.crash(f"llama-0-{attempt}-0")
        world.settle()


def took_no_pod(world: World) -> None:
    world.unscheduled("llama-0-0-0")
    world.settle()
    world.now += 60
    world.settle()


LEFT_OUT: dict[str, tuple[Callable[[World], None], str]] = {
    "its groups failed there": (failed_twice, "2027-01-15T09:00:00Z: a pod of this object failed here 2 times"),
    "it took no pod": (took_no_pod, "2027-01-15T08:06:00Z: a pod of this object found no place here"),
}


@pytest.mark.parametrize(("happens", "said"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_node_that_is_left_out_is_told_with_what_it_did_and_until_when(
    happens: Callable[[World], None], said: str
) -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=1)))
    world.settle()
    happens(world)
    (told,) = [event.message for event in world.events if event.reason == "NodeLeftOut"]
    assert told == f"h100-00 is left out until {said}"


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["crash", "deleting", "evict", "lose", "unready", "start"]), max_size=8))
def test_restarts_count_just_the_attempts_that_began(harms: list[str]) -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=1), max_restarts=9))
    world.run()
    for harm in harms:
        for name in list(world.pods):
            world.start() if harm == "start" else getattr(world, harm)(name)
        world.settle()
        world.now += 400
        world.settle()
        world.gone()
    assert world.status["restarts"] == world.status["groups"][0]["attempt"]
