"""Each row of the table of a group's life, taken once on a cluster: what happens there, and what follows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.reconcile.support import World, two_nodes_wide
from tests.support.fleets import a_fleet, h100s

from shardwise.domain.fleet import Exclusion
from shardwise.domain.launch import ClusterQueue, LaunchSite, QueueSystem
from shardwise.reconcile import life
from shardwise.reconcile.life import LIFE, Step, Terms, Trigger
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.views import GroupView

Act = Callable[[World], None]
LAST = "llama-0-0-1"


def written() -> World:
    """Give a group that is written down, and none of its pods made."""
    world = World(two_nodes_wide(max_restarts=2))
    world.step(keep=lambda _: False)
    return world


def made() -> World:
    """Give one whose pods were just made."""
    world = World(two_nodes_wide(max_restarts=2))
    world.step()
    return world


IN_QUEUE: dict[str, Any] = {
    "queue": ClusterQueue(QueueSystem.KUEUE, "team"),
    "site": LaunchSite(queue_systems=(QueueSystem.KUEUE,)),
    "max_restarts": 2,
}


def enters_queue() -> World:
    """Give a group whose pods were just made, and are gated."""
    world = World(two_nodes_wide(**IN_QUEUE))
    world.step()
    return world


def entering_queue() -> World:
    """Give a group that is to be queued, and none of its pods made."""
    world = World(two_nodes_wide(**IN_QUEUE))
    world.step(keep=lambda _: False)
    return world


def refused_in_queue() -> World:
    """Give a queued group of which a pod is refused."""
    world = World(two_nodes_wide(**IN_QUEUE))
    world.denies = lambda pod: "exceeded quota" if pod["metadata"]["name"].endswith("-1") else ""
    world.step()
    return world


def admitted_by_queue(how: Act = lambda _: None) -> Callable[[], World]:
    """Give a group that was admitted, and then something happened to it."""

    def begin() -> World:
        world = enters_queue()
        world.admit()
        world.settle()
        how(world)
        world.settle()
        return world

    return begin


def admit_and_start(world: World) -> None:
    world.admit()
    world.start()


def start_and_unready(world: World) -> None:
    world.start()
    world.settle()
    world.unready(LAST)


def take_away(world: World) -> None:
    world.take_away()


def starting() -> World:
    world = World(two_nodes_wide(max_restarts=2))
    world.settle()
    return world


def serving() -> World:
    world = World(two_nodes_wide(max_restarts=2))
    world.run()
    return world


def unready() -> World:
    world = serving()
    world.unready(LAST)
    world.settle()
    return world


def backing_off() -> World:
    world = starting()
    world.crash(LAST)
    world.settle()
    return world


def held() -> World:
    world = World(two_nodes_wide(max_restarts=0))
    world.settle()
    world.crash(LAST)
    world.settle()
    return world


def waiting() -> World:
    world = World(two_nodes_wide(), a_fleet(h100s(2)))
    world.run()
    world.lose_node("h100-01")
    world.settle()
    return world


def half_made() -> World:
    """Give a group of which a pod is refused."""
    world = World(two_nodes_wide(max_restarts=2))
    world.denies = lambda pod: "exceeded quota" if pod["metadata"]["name"].endswith("-1") else ""
    world.step()
    return world


def refused() -> World:
    world = half_made()
    world.now += 60
    world.settle()
    return world


def admitted(world: World) -> None:
    """Let the API server take all pods, and a queue admit them."""
    world.denies, world.refused = None, ""
    world.admit()


def to(pod: str, harm: str) -> Act:
    return lambda world: getattr(world, harm)(pod)


def edited(world: World) -> None:
    world.launch(args=("--seed=7",))


def edited_and_admitted(world: World) -> None:
    edited(world)
    admitted(world)


def after(seconds: float, act: Act = lambda _: None) -> Act:
    def do(world: World) -> None:
        act(world)
        world.now += seconds

    return do


def away(world: World) -> None:
    nodes = (node._replace(exclusion=Exclusion.NOT_READY) if node.name == "h100-01" else node for node in h100s(3))
    world.fleet = a_fleet(nodes)


@dataclass(frozen=True)
class Row:
    """A row of the table: where it begins, what happens, and the state and attempt after one decision."""

    state: State
    trigger: Trigger
    begin: Callable[[], World]
    act: Act
    then: str
    nodes: tuple[str, ...] = ("h100-00", "h100-01")


P, S, R, U, B, H = State.PENDING, State.STARTING, State.READY, State.UNREADY, State.BACKOFF, State.HELD
X, Q = State.REFUSED, State.QUEUED
OTHER = ("h100-00", "h100-02")

ROWS = (
    Row(
        State.WAITING,
        Trigger.PLACED,
        waiting,
        lambda world: setattr(world, "fleet", a_fleet(h100s(3)[:1], h100s(3)[2:])),
        "Pending 1",
        OTHER,
    ),
    Row(P, Trigger.DISRUPTED, made, to(LAST, "deleting"), "Backoff 0"),
    Row(P, Trigger.FAILED, made, to(LAST, "evict"), "Backoff 0"),
    Row(P, Trigger.READY, made, lambda world: world.start(), "Ready 0"),
    Row(P, Trigger.COMPLETE, made, lambda _: None, "Starting 0"),
    Row(P, Trigger.RENEWED, written, edited, "Pending 1"),
    Row(P, Trigger.DISPLACED, written, lambda world: world.lose_node("h100-01"), "Pending 0", OTHER),
    Row(Q, Trigger.EVICTED, enters_queue, after(10, take_away), "Queued 1"),
    Row(Q, Trigger.DISRUPTED, enters_queue, to(LAST, "deleting"), "Backoff 0"),
    Row(Q, Trigger.FAILED, enters_queue, to(LAST, "evict"), "Backoff 0"),
    Row(Q, Trigger.READY, enters_queue, admit_and_start, "Ready 0"),
    Row(Q, Trigger.ADMITTED, enters_queue, lambda world: world.admit(), "Starting 0"),
    Row(Q, Trigger.REFUSED, refused_in_queue, after(60), "Refused 1", ()),
    Row(Q, Trigger.RENEWED, entering_queue, edited, "Queued 1"),
    Row(Q, Trigger.DISPLACED, entering_queue, lambda world: world.lose_node("h100-01"), "Queued 0", OTHER),
    Row(S, Trigger.EVICTED, admitted_by_queue(), after(10, take_away), "Queued 1"),
    Row(R, Trigger.EVICTED, admitted_by_queue(lambda world: world.start()), take_away, "Queued 1"),
    Row(
        U,
        Trigger.EVICTED,
        admitted_by_queue(start_and_unready),
        take_away,
        "Queued 1",
    ),
    Row(S, Trigger.DISRUPTED, starting, to(LAST, "lose"), "Backoff 0"),
    Row(S, Trigger.FAILED, starting, to(LAST, "crash"), "Backoff 0"),
    Row(S, Trigger.UNSCHEDULABLE, starting, after(60, to(LAST, "unscheduled")), "Pending 1", OTHER),
    Row(S, Trigger.READY, starting, lambda world: world.start(), "Ready 0"),
    Row(S, Trigger.RENEWED, starting, edited, "Pending 1"),
    Row(R, Trigger.DISRUPTED, serving, lambda world: world.lose_node("h100-01"), "Pending 1", OTHER),
    Row(R, Trigger.FAILED, serving, to(LAST, "crash"), "Pending 1"),
    Row(R, Trigger.UNREADY, serving, to(LAST, "unready"), "Unready 0"),
    Row(R, Trigger.RENEWED, serving, edited, "Pending 1"),
    Row(U, Trigger.DISRUPTED, unready, to(LAST, "deleting"), "Pending 1"),
    Row(U, Trigger.FAILED, unready, to(LAST, "evict"), "Pending 1"),
    Row(U, Trigger.NODE_AWAY, unready, after(60, away), "Pending 1", OTHER),
    Row(U, Trigger.READY, unready, lambda world: world.start(), "Ready 0"),
    Row(U, Trigger.RENEWED, unready, edited, "Pending 1"),
    Row(B, Trigger.WAITED, backing_off, after(10), "Pending 1"),
    Row(B, Trigger.RENEWED, backing_off, edited, "Pending 1"),
    Row(P, Trigger.REFUSED, half_made, after(60), "Refused 1", ()),
    Row(X, Trigger.RETRIED, refused, after(10, admitted), "Pending 1"),
    Row(X, Trigger.EXCUSED, refused, after(10, edited_and_admitted), "Pending 1"),
    Row(
        H,
        Trigger.ALLOWED,
        held,
        lambda world: world.edit(restart=replace(world.wanted.restart, max_restarts=1)),
        "Pending 1",
    ),
    Row(H, Trigger.RENEWED, held, edited, "Pending 1"),
)
NAMES = [f"{row.state}: {row.trigger}" for row in ROWS]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[State, Trigger]]:
    """Note which rows are taken, as they are."""
    noted: list[tuple[State, Trigger]] = []

    def spied(state: State, trigger: Trigger, step: Step) -> Step:
        def take(view: GroupView, terms: Terms) -> Record:
            noted.append((state, trigger))
            return step(view, terms)

        return take

    table = {
        state: {trigger: spied(state, trigger, step) for trigger, step in rows.items()} for state, rows in LIFE.items()
    }
    monkeypatch.setattr(life, "LIFE", table)
    return noted


def test_every_row_is_here() -> None:
    assert {(row.state, row.trigger) for row in ROWS} == {(state, trigger) for state in LIFE for trigger in LIFE[state]}


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_row_of_the_table_on_a_cluster(row: Row, taken: list[tuple[State, Trigger]]) -> None:
    """It is that very row that is taken, and the group is where it should be after one decision."""
    world = row.begin()
    taken.clear()
    row.act(world)
    world.step()
    assert (row.state, row.trigger) in taken
    assert (world.states(), world.nodes()) == ([row.then], [list(row.nodes)])


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_after_any_row_clients_reach_the_leader_if_and_only_if_its_group_serves(row: Row) -> None:
    """Also if its probe always succeeds, as vLLM's does without the other ranks."""
    world = row.begin()
    row.act(world)
    world.step()
    for pod in world.pods.values():
        pod["status"] |= {"conditions": [{"type": "Ready", "status": "True"}]}
    serves = row.then in ("Ready 0", "Unready 0")
    assert world.reached() == (["llama-0-0-0"] if serves and row.trigger is not Trigger.UNREADY else [])


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_after_any_row_a_group_comes_to_serve_with_the_pods_of_one_attempt(row: Row) -> None:
    """On the nodes that are written down; nothing of the attempts before is left."""
    world = row.begin()
    row.act(world)
    for _ in range(3):
        world.step()
        world.gone()
        world.now += 300
    admitted(world)
    world.run()
    (group,) = world.status["groups"]
    assert world.standing() == "Ready/AllReplicasReady"
    assert sorted(world.pods) == [f"llama-0-{group['attempt']}-{index}" for index in range(2)]
    assert {world.pods[name]["spec"]["nodeName"] for name in world.pods} == set(group["nodes"])
    assert sorted(world.services) == ["llama", f"llama-0-{group['attempt']}"]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.state not in (State.WAITING, P, X)], ids=lambda row: row.trigger
)
def test_the_attempt_counts_as_a_restart_just_if_it_is_another_and_the_last_has_run(row: Row) -> None:
    """An attempt that is taken away, or has not left its gates, only waits."""
    world = row.begin()
    before = world.status["restarts"]
    row.act(world)
    world.step()
    another = row.then.endswith("1") and row.trigger is not Trigger.EVICTED and row.state is not Q
    assert world.status["restarts"] - before == int(another)
