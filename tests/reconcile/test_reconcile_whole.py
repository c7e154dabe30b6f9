"""Clients reach the leaders of whole groups that serve, and no others, although every probe succeeds."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.reconcile.support import START, World, name_of, seen, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.reconcile.actions import Action, Apply, Delete, Reach
from shardwise.reconcile.exits import Exit
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.whole import admissions, broken, is_whole, withdrawals
from shardwise.render.bundle import bundle
from shardwise.render.manifest import leader_selector

LEADER, FOLLOWER = "llama-0-0-0", "llama-0-0-1"


def pod(index: int = 0, **changes: Any) -> PodSeen:
    return seen(index, size=2, **changes)


FAILED = Exit(1, "Error", whole=True, phase="Failed")
WHOLE: dict[str, tuple[tuple[PodSeen, ...], bool]] = {
    "both pods are there": ((pod(), pod(1)), True),
    "a group of a single pod": ((seen(size=1),), True),
    "the leader is not ready: Kubernetes leaves it out": ((pod(ready=False), pod(1)), True),
    "the leader ends its requests": ((pod(deleting=True), pod(1)), True),
    "a follower is missing": ((pod(),), False),
    "a follower failed": ((pod(), pod(1, exit=FAILED)), False),
    "the leader failed": ((pod(exit=FAILED), pod(1)), False),
    "a follower is on a lost node": ((pod(), pod(1, ready=False)), False),
    "a follower is going": ((pod(), pod(1, deleting=True)), False),
}


@pytest.mark.parametrize(("pods", "whole"), WHOLE.values(), ids=WHOLE)
def test_when_a_group_is_whole(pods: tuple[PodSeen, ...], whole: bool) -> None:
    assert is_whole(pods) is whole


@pytest.mark.parametrize(("pods", "whole"), WHOLE.values(), ids=WHOLE)
def test_the_leader_of_a_group_that_is_not_whole_leaves_by_the_pods_alone(
    pods: tuple[PodSeen, ...], whole: bool
) -> None:
    """No status and no decision is needed. A leader that was never reached costs no call."""
    first, *rest = pods
    reached = (seen(0, size=first.size, reached=True, exit=first.exit), *rest)
    assert list(broken(reached)) == ([] if whole else [Reach(LEADER, "uid-0", reached=False)])
    assert list(broken(pods)) == []


@pytest.mark.parametrize("state", State)
def test_only_a_group_that_serves_is_reached(state: State) -> None:
    """A group that is Unready keeps its label, so that it comes back without the operator; it gets no new label."""
    records = (Record(0, 0, state, START),)
    there = (pod(reached=True), pod(1))
    stays = state in (State.READY, State.UNREADY)
    assert list(withdrawals(there, records)) == ([] if stays else [Reach(LEADER, "uid-0", reached=False)])
    new = list(admissions((pod(), pod(1)), records))
    assert new == ([Reach(LEADER, "uid-0", reached=True)] if state is State.READY else [])
    assert list(admissions(there, records)) == []


def always_ready(world: World) -> None:
    """Let every probe of a pod that exists succeed, whatever happened to the other pods."""
    for made in world.pods.values():
        made["status"] |= {"conditions": [{"type": "Ready", "status": "True"}]}


def serving(**changes: Any) -> World:
    world = World(two_nodes_wide(**changes))
    world.run()
    assert world.reached() == [LEADER]
    return world


def of_clients(actions: tuple[Action, ...]) -> list[str]:
    """Say what actions do, in order, to pods and to the Service for clients."""
    said = []
    for action in actions:
        match action:
            case Reach(name, _, reached):
                said.append(f"{'serve' if reached else 'leave'} {name}")
            case Delete("Pod", name):
                said.append(f"-{name}")
            case Apply(manifest) if name_of(manifest) == "llama":
                said.append("+Service")
    return said


@pytest.mark.parametrize("harm", ["crash", "restart_in_place", "evict", "deleting", "lose"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("most", [0, 5])
def test_a_leader_whose_follower_is_lost_is_not_reached_until_the_group_serves_again(
    harm: str, keep: bool, most: int
) -> None:
    """In a back-off, held, with its pods kept or not; and after a restart of the operator, which is every step here."""
    world = serving(keep_failed=keep, max_restarts=most)
    getattr(world, harm)(FOLLOWER)
    always_ready(world)
    for _ in range(6):
        world.step()
        always_ready(world)
        assert LEADER not in world.reached()
        world.now += 1
    world.launch(args=("--seed=7",))
    for _ in range(3):
        world.settle()
        world.gone()
        world.now += 300
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert len(world.reached()) == 1


def test_the_leader_leaves_before_the_status_is_written_and_before_anything_is_deleted() -> None:
    world = serving()
    world.crash(FOLLOWER)
    always_ready(world)
    assert list(broken(world.observe().pods)) == [Reach(LEADER, world.observe().pods[0].uid, reached=False)]
    assert of_clients(world.decide().actions)[0] == f"leave {LEADER}"


def test_the_other_replica_is_reached_all_the_while() -> None:
    demand = a_demand(LLAMA_405B, budget=32, replicas=2, pins=Pins(8, 2))
    world = World(wants(demand, max_restarts=0), a_fleet(h100s(4)))
    world.run()
    assert world.reached() == [LEADER, "llama-1-0-0"]
    world.crash(FOLLOWER)
    always_ready(world)
    world.settle()
    assert world.reached() == ["llama-1-0-0"]


@pytest.mark.parametrize("edit", ["paused", "wrong"])
def test_a_group_that_breaks_while_its_object_is_left_alone_is_not_reached(edit: str) -> None:
    world = serving()
    world.edit(paused=True) if edit == "paused" else world.launch(args=("--tensor-parallel-size=1",))
    world.settle()
    world.crash(FOLLOWER)
    always_ready(world)
    world.step()
    assert world.reached() == []
    assert sorted(world.pods) == [LEADER, FOLLOWER]


def test_a_group_that_is_drained_is_reached_until_its_leader_goes() -> None:
    """A proxy may send to a pod that is ending if there is no other; it still has all its ranks."""
    world = serving()
    world.demand(replicas=0)
    assert of_clients(world.step().actions) == [f"-{LEADER}"]
    world = serving()
    world.demand(replicas=0)
    world.deleting(LEADER)
    always_ready(world)
    world.step()
    assert world.labelled() == [LEADER]
    world.crash(FOLLOWER)
    world.step()
    assert world.labelled() == []


def test_an_update_in_place_takes_the_leader_out_before_its_followers_go() -> None:
    world = World(two_nodes_wide(), a_fleet(h100s(2)))
    world.run()
    world.launch(args=("--seed=7",))
    assert of_clients(world.step().actions) == [f"leave {LEADER}", f"-{LEADER}", f"-{FOLLOWER}"]


def test_an_update_beside_serves_by_the_new_group_before_the_old_group_goes() -> None:
    world = World(wants(a_demand(LLAMA_405B, budget=32, pins=Pins(8, 2))), a_fleet(h100s(4)))
    world.run()
    world.launch(args=("--seed=7",))
    world.settle()
    always_ready(world)
    assert world.reached() == [LEADER]
    world.start()
    decision = world.step()
    assert of_clients(decision.actions) in ([f"-{LEADER}", "serve llama-1-0-0"], ["serve llama-1-0-0"])
    world.settle()
    assert world.reached() == ["llama-1-0-0"]


def test_a_group_whose_follower_was_away_for_a_moment_comes_back() -> None:
    world = serving()
    world.unready(FOLLOWER)
    world.settle()
    assert world.reached() == []
    world.start()
    world.settle()
    assert (world.reached(), world.states()) == ([LEADER], ["Ready 0"])


def before_the_label(world: World) -> None:
    """Let the version before this have made everything: a Service that selects leaders, and leaders without a label."""
    for made in world.pods.values():
        made["metadata"]["labels"].pop("shardwise.dev/serves", None)
    service = world.services["llama"]
    service["spec"] |= {"selector": leader_selector(world.wanted.launch)}
    service["metadata"]["labels"] |= {"shardwise.dev/revision": "another"}


UPGRADES: dict[str, tuple[Callable[[World], None], list[str]]] = {
    "all serve": (lambda _: None, [f"serve {LEADER}", "+Service"]),
    "a group is broken": (lambda world: world.crash(FOLLOWER), [f"-{LEADER}", f"-{FOLLOWER}", "+Service"]),
}


@pytest.mark.parametrize(("harm", "done"), UPGRADES.values(), ids=UPGRADES)
def test_an_upgrade_labels_the_leaders_that_serve_before_the_service_selects_the_label(
    harm: Callable[[World], None], done: list[str]
) -> None:
    world = serving()
    before_the_label(world)
    harm(world)
    assert of_clients(world.step().actions) == done
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert len(world.reached()) == 1


def test_manifests_for_a_cluster_without_an_operator_have_the_label() -> None:
    """Nobody else would set it, and the Service would reach nobody."""
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)))
    world.settle()
    plan = world.observe().status.plan
    assert plan is not None
    made = [
        name_of(pod) for pod in bundle(world.wanted, plan.plan) if "shardwise.dev/serves" in pod["metadata"]["labels"]
    ]
    assert made == [name_of(pod) for pod in bundle(world.wanted, plan.plan) if pod["kind"] == "Pod"]
