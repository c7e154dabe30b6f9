"""An object whose groups a queue of the cluster admits: where they begin, what they hold, and what is said of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, two_nodes_wide
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import ClusterQueue, LaunchSite, QueueSystem
from shardwise.queues import Offer, Phase, Position, QueuedGroup
from shardwise.reconcile.observed import QueueSeen
from shardwise.render.manifest import REVISION

SITE = LaunchSite(queue_systems=(QueueSystem.KUEUE,))
TEAM = ClusterQueue(QueueSystem.KUEUE, "team")
SERVED = QueueSeen("Workload", "kueue.x-k8s.io/v1beta2")


def labelled(*values: str) -> Fleet:
    """Give nodes with a label ``gpu``."""
    nodes = zip(h100s(len(values)), values, strict=True)
    return a_fleet([node._replace(labels=(("gpu", value),)) for node, value in nodes])


def in_queue(fleet: Fleet | None = None, queue: QueueSeen = SERVED, **changes: Any) -> World:
    wanted = two_nodes_wide(queue=TEAM, site=SITE, **changes)
    return World(wanted, fleet or a_fleet(h100s(4)), queue=queue)


def taken(fleet: Fleet) -> Fleet:
    return replace(fleet, nodes=tuple(node._replace(free=0) for node in fleet.nodes))


def test_a_group_that_waits_in_a_queue_holds_no_gpus() -> None:
    """Others may use them: the queue says when the group may."""
    world = in_queue()
    world.settle()
    assert (world.states(), world.nodes()) == (["Queued 0"], [["h100-00", "h100-01"]])
    assert dict(world.observe().status.holdings) == {}
    world.admit()
    world.settle()
    assert dict(world.observe().status.holdings) == {"h100-00": 8, "h100-01": 8}


def test_a_group_enters_the_queue_for_gpus_that_others_in_queues_hold() -> None:
    """Else Kueue would never see the group that may evict them."""
    full = taken(a_fleet(h100s(2)))
    world = in_queue(full)
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"
    world.queue = replace(SERVED, lent=a_fleet(h100s(2)))
    world.settle()
    assert (world.states(), world.standing()) == (["Queued 0"], "Reconciling/Queued")


def test_free_gpus_come_before_gpus_that_others_hold() -> None:
    """Also replica by replica: what is free needs nobody to go."""
    nodes = h100s(4)
    half = a_fleet([node._replace(free=0) for node in nodes[:2]], nodes[2:])
    demand = a_demand(LLAMA_405B, budget=32, replicas=2)
    world = World(replace(in_queue().wanted, demand=demand), half, queue=replace(SERVED, lent=a_fleet(nodes)))
    world.settle()
    assert world.nodes() == [["h100-02", "h100-03"], ["h100-00", "h100-01"]]


def test_only_nodes_that_the_queue_offers_are_planned() -> None:
    offer = Offer(((("gpu", "h100"),),), frozenset({"gpu"}))
    world = in_queue(labelled("spare", "h100", "spare", "h100"), replace(SERVED, offer=offer))
    world.settle()
    assert world.nodes() == [["h100-01", "h100-03"]]
    assert {pod["spec"]["nodeSelector"]["gpu"] for pod in world.pods.values()} == {"h100"}


def test_a_queue_whose_flavours_no_node_has_is_named_with_their_labels() -> None:
    """The user has asked for no label: the labels are those of the administrator's flavours."""
    offer = Offer(((("gpu", "h200"),), (("gpu", "b200"),)), frozenset({"gpu"}))
    world = in_queue(labelled("h100", "h100"), replace(SERVED, offer=offer))
    world.settle()
    said = (
        "0 of 2 nodes may be used; of 2 nodes left out: "
        "2 are in no flavour of the queue `team` (`gpu=b200` or `gpu=h200`)"
    )
    assert (world.standing(), world.status["message"]) == ("Reconciling/NoMatchingNodes", said)


def test_other_flavours_of_a_queue_restart_no_pod() -> None:
    """The labels of flavours are no part of the content of pods."""
    world = in_queue(labelled("h100", "h100"), replace(SERVED, offer=Offer((), frozenset({"gpu"}))))
    world.settle()
    world.admit()
    world.start()
    world.settle()
    before = {name: pod["metadata"]["labels"][REVISION] for name, pod in world.pods.items()}
    world.queue = SERVED
    world.launch(args=())
    world.settle()
    assert (world.states(), {pod["metadata"]["labels"][REVISION] for pod in world.pods.values()}) == (
        ["Ready 0"],
        set(before.values()),
    )


def test_no_replica_starts_beside_another() -> None:
    """The queue may never have quota for both: the old attempt ends first."""
    world = in_queue(max_surge=1)
    world.settle()
    world.admit()
    world.start()
    world.settle()
    world.launch(args=("--seed=7",))
    world.step()
    assert world.states() == ["Queued 1"]


def test_a_group_that_is_admitted_and_finds_its_nodes_taken_enters_again_and_blames_no_node() -> None:
    """The queue has given another group away than the plan had thought."""
    world = in_queue()
    world.settle()
    world.admit()
    world.settle()
    for name in list(world.pods):
        world.unscheduled(name)
    world.now += 61
    world.fleet = a_fleet([node._replace(free=0) for node in h100s(4)[:2]], h100s(4)[2:])
    world.step()
    assert (world.states(), world.nodes()) == (["Queued 1"], [["h100-02", "h100-03"]])
    assert "shunnedNodes" not in world.status


def partly_gone(world: World) -> None:
    """Let a pod vanish, while the other is still seen on its way."""
    world.lose("llama-0-0-0")
    world.deleting("llama-0-0-1")


def taken_away_partly_seen(world: World) -> None:
    world.take_away("The workload is deleted")
    world.lose("llama-0-0-0")


def lost_while_admitted(world: World) -> None:
    world.admit()
    partly_gone(world)


def taken_away_while_admitted(world: World) -> None:
    world.admit()
    world.settle()
    world.take_away()


LOST = {
    "all pods vanish": (lambda world: world.pods.clear(), "Queued 0", 0),
    "a pod vanishes before the others": (partly_gone, "Queued 1", 0),
    "its Workload is deleted": (lambda world: world.take_away("The workload is deleted"), "Queued 1", 0),
    "its Workload is deleted, and a pod is gone": (taken_away_partly_seen, "Queued 1", 0),
    "it is edited": (lambda world: world.launch(args=("--seed=7",)), "Queued 1", 0),
    "a node is lost": (lambda world: world.lose_node("h100-01"), "Queued 1", 0),
    "a pod vanishes after the gates": (lost_while_admitted, "Queued 1", 1),
    "it is taken away before it serves": (taken_away_while_admitted, "Queued 1", 0),
}


@pytest.mark.parametrize("seconds", [0, 60], ids=["at once", "later"])
@pytest.mark.parametrize(("happens", "then", "restarts"), LOST.values(), ids=LOST)
def test_only_an_attempt_that_has_left_its_gates_can_start_again(
    happens: Callable[[World], object], then: str, restarts: int, seconds: int
) -> None:
    """Nothing ran before, so its pods are replaced, and no restart is counted or told."""
    world = in_queue()
    world.settle()
    world.now += seconds
    happens(world)
    for _ in range(2):
        world.settle()
        world.gone()
        world.now += 10
    world.settle()
    assert (world.states(), sorted(world.pods), world.status["restarts"]) == (
        [then],
        [f"llama-0-{then[-1]}-0", f"llama-0-{then[-1]}-1"],
        restarts,
    )
    assert "noRestart" not in world.status["groups"][0]


def test_an_attempt_that_only_waited_is_told_once_and_not_as_a_restart() -> None:
    world = in_queue()
    world.settle()
    world.take_away("The workload is deleted")
    world.settle()
    assert (world.states(), world.status["groups"][0]["noRestart"]) == (["Backoff 0"], True)
    world.gone()
    world.now += 10
    world.settle()
    assert (world.told(), world.status["restarts"]) == (["Planned", "GroupEvicted", "Planned"], 0)


def test_the_object_says_the_words_of_the_queue() -> None:
    words = "couldn't assign flavors to pod set main: insufficient unused quota, 8 more needed"
    world = in_queue()
    world.settle()
    world.queue = replace(SERVED, groups={"llama-0-0": QueuedGroup(Phase.WAITING, words, "u")})
    world.settle()
    said = f"0 of 1 replicas serve; replica 0, attempt 0, waits in the queue `team` of Kueue: {words}"
    assert (world.standing(), world.condition("Reconciling")["message"]) == ("Reconciling/Queued", said)


def test_pods_that_are_deleted_behind_their_gates_go_with_their_workload() -> None:
    """Kueue keeps them by a finalizer, and their quota with them; the Workload of another is never deleted."""
    world = in_queue()
    world.settle()
    world.queue = replace(SERVED, groups={"llama-0-0": QueuedGroup(Phase.WAITING, "", "u-0")})
    world.launch(args=("--seed=7",))
    kept = dict(world.pods)
    world.step()
    for name, pod in kept.items():
        world.pods[name] = pod
        world.deleting(name)
    deleted = [action for action in world.step().actions if getattr(action, "kind", "") == "Workload"]
    assert [(action.name, action.uid, action.api_version) for action in deleted] == [  # type: ignore[union-attr]
        ("llama-0-0", "u-0", "kueue.x-k8s.io/v1beta2")
    ]


def test_the_missing_api_is_named() -> None:
    world = in_queue(queue=QueueSeen("Workload", ""))
    world.settle()
    assert world.condition("Reconciling")["message"] == (
        "`team` is a queue of Kueue, and the cluster serves no `kueue.x-k8s.io/v1beta2`; "
        "install Kueue, or take the queue away"
    )
    assert world.pods == {}


NO_QUEUE = replace(SERVED, offer=Offer(missing=("LocalQueue", "team")))
POOL = Offer(((("gpu", "h100"),),), frozenset({"gpu"}))
MISSING = (
    "the LocalQueue `team` of Kueue does not exist, so no replica enters the queue `team`; "
    "create the LocalQueue, or name another queue in `spec.placement.queue`"
)


def test_nothing_is_planned_before_the_queue_is_there() -> None:
    """Nobody knows before which nodes it will offer. Then the first attempt is made, on those nodes."""
    world = in_queue(labelled("spare", "h100", "spare", "h100"), NO_QUEUE)
    decision = world.settle()
    assert (world.standing(), world.status["message"]) == ("Reconciling/QueueMissing", MISSING)
    assert (world.pods, world.status["groups"], "plan" in world.status, decision.retry_after) == ({}, [], False, None)
    assert world.told() == ["QueueMissing"]
    world.queue = replace(SERVED, offer=POOL)
    world.settle()
    assert (world.states(), world.nodes()) == (["Queued 0"], [["h100-01", "h100-03"]])


def test_a_group_that_waits_in_a_queue_that_goes_keeps_waiting() -> None:
    """It lies on the nodes that the queue has offered, and would lose its age."""
    world = in_queue(labelled("spare", "h100", "spare", "h100"), replace(SERVED, offer=POOL))
    world.settle()
    before = set(world.pods)
    world.queue = NO_QUEUE
    world.settle()
    assert (world.states(), world.nodes(), set(world.pods)) == (["Queued 0"], [["h100-01", "h100-03"]], before)


def test_a_group_whose_pods_are_not_made_leaves_its_place_when_its_queue_goes() -> None:
    world = in_queue(labelled("spare", "h100", "spare", "h100"), replace(SERVED, offer=POOL))
    world.step(keep=lambda _: False)
    world.queue = NO_QUEUE
    world.settle()
    assert (world.standing(), world.pods, world.nodes()) == ("Reconciling/QueueMissing", {}, [])


def test_without_its_queue_a_group_that_runs_goes_on_until_it_fails_and_begins_again_with_it() -> None:
    world = in_queue(queue=replace(SERVED, offer=Offer()))
    world.settle()
    world.admit()
    world.start()
    world.settle()
    world.queue = NO_QUEUE
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    world.crash("llama-0-0-1")
    world.settle()
    assert (world.standing(), world.states(), world.pods) == ("Reconciling/QueueMissing", ["Waiting 1"], {})
    assert world.status["message"].startswith(MISSING)
    world.queue = SERVED
    world.settle()
    assert (world.states(), world.status["restarts"]) == (["Queued 1"], 1)


def test_without_its_queue_nothing_is_replaced_after_an_edit() -> None:
    """Else a group that serves would end, and none could follow."""
    world = in_queue()
    world.settle()
    world.admit()
    world.start()
    world.settle()
    world.queue = NO_QUEUE
    world.launch(args=("--seed=7",))
    world.settle()
    assert (world.states(), world.status["readyReplicas"]) == (["Ready 0"], 1)
    assert world.status["message"] == f"1 of 1 replicas serve; {MISSING}"


def test_a_group_that_kueue_would_never_admit_is_refused() -> None:
    """Kueue makes no Workload for more than 18 roles, and says nothing."""
    world = in_queue(a_fleet(h100s(20)))
    world.demand(gpu_budget=160, pins=Pins(8, 19, None))
    world.settle()
    assert world.standing() == "Stalled/GroupTooLarge"
    assert "a replica has 19 pods, and Kueue admits groups of at most 18 pods" in world.status["message"]


POSITIONS = {
    "not told": (None, ""),
    "the first": (Position(1, 1), ", at position 1"),
    "the first of a queue that shares its quota": (
        Position(1, 4),
        ", at position 1 (4 among all queues that share its quota)",
    ),
    "the tenth": (Position(10, 10), ", at position 10"),
    "far back": (Position(38, 38), ", with 20 or more groups before it"),
    "far back among all": (Position(2, 38), ", with 20 or more groups before it"),
}


@pytest.mark.parametrize(("position", "said"), POSITIONS.values(), ids=POSITIONS)
def test_the_object_says_its_position_where_the_queue_tells_it(position: Position | None, said: str) -> None:
    """Far back, a round number: else each object would be written anew whenever one leaves the queue."""
    world = in_queue()
    world.settle()
    world.queue = replace(SERVED, groups={"llama-0-0": QueuedGroup(Phase.WAITING, "8 more needed", position=position)})
    world.settle()
    assert world.condition("Reconciling")["message"] == (
        f"0 of 1 replicas serve; replica 0, attempt 0, waits in the queue `team` of Kueue{said}: 8 more needed"
    )
