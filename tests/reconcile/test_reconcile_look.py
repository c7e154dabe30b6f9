"""From a status and pods to groups: what is lost of either, what is there of other attempts, and what is nobody's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import START, World, deleted, seen, two_nodes_wide, wants
from tests.support.fleets import a_fleet, a_node, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Exclusion
from shardwise.reconcile.look import look
from shardwise.reconcile.observed import Observed, PodSeen
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.status_data import read_status, write_record
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView

FLEET = a_fleet(h100s(3))
NODES = ("h100-00", "h100-01")
READY = Record(0, 3, State.READY, START, 1, START, nodes=NODES, gpus=8, content="c")


def status(*records: Record, **more: Any) -> dict[str, Any]:
    return {"groups": [write_record(record) for record in records]} | more


def pods(attempt: int, *indexes: int, replica: int = 0, **changes: Any) -> tuple[PodSeen, ...]:
    """Give pods of a group on two nodes, as they are to go there."""
    made = (seen(index, size=2, wants=NODES[index], gpus=8, node=NODES[index]) for index in indexes)
    return tuple(replace(pod, attempt=attempt, replica=replica, **changes) for pod in made)


def looked(found: tuple[PodSeen, ...], told: dict[str, Any]) -> tuple[GroupView, ...]:
    """Look, without a plan: records and pods alone."""
    observed = Observed(found, {}, read_status(told), FLEET)
    return look(two_nodes_wide(), None, observed, UsableFleet(FLEET), START + 50)


CASES: dict[str, tuple[tuple[PodSeen, ...], dict[str, Any], list[tuple[int, int, State, int, int]]]] = {
    "nothing at all": ((), {}, []),
    "as it was written down": (pods(3, 0, 1), status(READY), [(0, 3, State.READY, 2, 2)]),
    "pods of the attempt before linger": (pods(2, 0, 1) + pods(3, 0, 1), status(READY), [(0, 3, State.READY, 2, 2)]),
    "only pods of the attempt before": (pods(2, 0, 1), status(READY), [(0, 3, State.READY, 0, 2)]),
    "a later attempt is there whole": (pods(4, 0, 1), status(READY), [(0, 4, State.PENDING, 2, 2)]),
    "a later attempt beside the present": (
        pods(3, 0, 1) + pods(4, 0, 1),
        status(READY),
        [(0, 4, State.PENDING, 2, 2)],
    ),
    "a later attempt is there in part: it is left behind": (
        pods(4, 1),
        status(READY),
        [(0, 5, State.WAITING, 0, 0)],
    ),
    "the latest of several": (pods(4, 0, 1) + pods(6, 0, 1), status(READY), [(0, 6, State.PENDING, 2, 2)]),
    "a later one whose pods differ in size": (
        pods(4, 0) + pods(4, 1, gpus=4),
        status(READY),
        [(0, 5, State.WAITING, 0, 0)],
    ),
    "a later one of which nobody knows where it goes": (
        pods(4, 0, 1, wants=""),
        status(READY),
        [(0, 5, State.WAITING, 0, 0)],
    ),
    "pods of this attempt are for another place": (
        pods(3, 0, 1),
        status(replace(READY, nodes=("h100-00", "h100-02"))),
        [(0, 3, State.PENDING, 2, 2)],
    ),
    "pods of this attempt are for another place, and not all are there": (
        pods(3, 1),
        status(replace(READY, nodes=("h100-00", "h100-02"))),
        [(0, 4, State.WAITING, 0, 0)],
    ),
    "the status is lost": (pods(3, 0, 1), {}, [(0, 3, State.PENDING, 2, 2)]),
    "the status is lost, and a pod": (pods(3, 1), {}, [(0, 4, State.WAITING, 0, 0)]),
    "the groups are lost, the plan is not": (pods(3, 0, 1), {"plan": {"x": 1}}, [(0, 3, State.PENDING, 2, 2)]),
    "no group is left, and pods go": (pods(3, 0, 1), status(), []),
    "a replica is no longer wanted, and its pods go": (
        pods(3, 0, 1) + pods(0, 0, 1, replica=1),
        status(READY),
        [(0, 3, State.READY, 2, 2)],
    ),
    "one of two records cannot be read": (
        pods(3, 0, 1) + pods(0, 0, 1, replica=1),
        {"groups": [write_record(READY), {"replica": 1, "state": "Dreaming"}]},
        [(0, 3, State.READY, 2, 2), (1, 0, State.PENDING, 2, 2)],
    ),
    "a record that cannot be read has no pods": (
        pods(3, 0, 1),
        {"groups": [write_record(READY), "?"]},
        [(0, 3, State.READY, 2, 2)],
    ),
    "records in any order": (
        (),
        status(replace(READY, replica=2), replace(READY, replica=0)),
        [(0, 3, State.READY, 0, 2), (2, 3, State.READY, 0, 2)],
    ),
}


@pytest.mark.parametrize(("found", "told", "groups"), CASES.values(), ids=CASES)
def test_the_groups_that_are_found(
    found: tuple[PodSeen, ...], told: dict[str, Any], groups: list[tuple[int, int, State, int, int]]
) -> None:
    """By replica: its attempt, its state, how many pods that attempt has, and on how many nodes it is."""
    views = looked(found, told)
    records = [(view.record.replica, view.record.attempt, view.record.state) for view in views]
    assert records == [group[:3] for group in groups]
    assert [(len(view.pods), len(view.record.nodes)) for view in views] == [group[3:] for group in groups]


def test_an_attempt_that_is_found_keeps_the_count_of_failures_and_begins_now() -> None:
    """The count is of the group; what else was written is of an attempt that is over."""
    (view,) = looked(pods(4, 0, 1), status(READY))
    assert view.record == Record(0, 4, State.PENDING, START + 50, failures=1, nodes=NODES, gpus=8)


def test_the_place_of_a_group_is_where_its_pods_are_to_go_whatever_was_written() -> None:
    """Another operator made them before it noticed that it leads no more; or the status was set back by hand."""
    (view,) = looked(pods(3, 0, 1), status(replace(READY, nodes=("h100-02", "h100-01"))))
    assert view.record == Record(0, 3, State.PENDING, START + 50, failures=1, nodes=NODES, gpus=8)


def test_pods_are_in_the_order_of_their_ranks_however_they_were_listed() -> None:
    (view,) = looked(pods(3, 1) + pods(3, 0), status(READY))
    assert [pod.index for pod in view.pods] == [0, 1]


def test_nodes_where_pods_of_attempts_that_are_over_still_are() -> None:
    """Of any replica, also of one that is gone; not those of pods that were never bound."""
    over = pods(2, 0) + pods(2, 1, node="") + pods(7, 1, replica=5, node="h100-02")
    (view,) = looked(over + pods(3, 0, 1), status(READY))
    assert view.linger == {"h100-00", "h100-02"}


def test_what_is_said_of_the_nodes_of_a_group() -> None:
    """Of those it is to be on, and of those its pods are on; one that is gone has no word."""
    nodes = (
        a_node("h100-00"),
        a_node("h100-01", exclusion=Exclusion.FAULTY),
        a_node("h100-02", exclusion=Exclusion.NOT_READY),
    )
    elsewhere = pods(3, 0) + pods(3, 1, node="h100-02", wants="")
    observed = Observed(elsewhere, {}, read_status(status(replace(READY, nodes=("h100-00", "gone")))), a_fleet(nodes))
    (view,) = look(two_nodes_wide(), None, observed, UsableFleet(a_fleet(nodes)), START)
    assert view.nodes == (("h100-00", None), ("h100-02", Exclusion.NOT_READY))


def running() -> World:
    world = World(wants(a_demand(LLAMA_8B, budget=3, replicas=3)))
    world.run()
    return world


def without(name: str) -> Callable[[World], None]:
    def lose(world: World) -> None:
        for group in world.status["groups"]:
            group.pop(name, None)

    return lose


def unreadable(world: World) -> None:
    world.status["groups"][1] = {"replica": "one"}


def no_groups(world: World) -> None:
    del world.status["groups"]


def no_plan(world: World) -> None:
    del world.status["plan"]


def odd_plan(world: World) -> None:
    world.status["plan"] = world.status["plan"] | {"tensor": "eight"}


def nothing(world: World) -> None:
    world.status = {}


LOSSES: dict[str, Callable[[World], None]] = {
    "everything": nothing,
    "the groups": no_groups,
    "the plan": no_plan,
    "the plan is of another version": odd_plan,
    "one group cannot be read": unreadable,
    "what groups were made from": without("content"),
    "when they served": without("served"),
    "since when": without("since"),
    "their attempt": without("attempt"),
    "their state": without("state"),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_whatever_is_lost_of_a_status_no_pod_that_serves_is_touched(loss: Callable[[World], None]) -> None:
    """The next decision finds all groups again, and soon the status says what it said."""
    world = running()
    before = dict(world.pods)
    loss(world)
    world.settle()
    assert world.pods == before
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.states() == ["Ready 0"] * 3
    assert world.status["restarts"] == 0


def test_pods_that_go_are_no_group_where_nothing_is_planned() -> None:
    """They would hold GPUs in the status, and be told as failed, for as long as a dead node keeps them."""
    world = World(two_nodes_wide(Pins(8, 2, None)))
    world.settle()
    world.demand(gpu_budget=8)
    world.status = world.decide().written
    for name in world.pods:
        world.deleting(name)
    for _ in range(3):
        world.now += 30
        assert world.step().written["groups"] == []
    assert world.told() == ["Planned"]


def test_pods_of_numbers_beyond_what_is_wanted_are_found_once_and_then_go() -> None:
    """After a lost status more may be there than are wanted: those that serve least, then the newest, go."""
    world = running()
    world.status = {}
    world.demand(replicas=2)
    decision = world.step()
    assert deleted(decision, "Pod") == ["llama-2-0-0"]
    assert world.settle().actions == ()
