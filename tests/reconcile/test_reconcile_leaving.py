"""How long pods that leave may take: a drained group its own grace, an attempt that is over hardly any."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.reconcile.support import World, seen, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.reconcile.actions import Delete
from shardwise.reconcile.leaving import left_behind
from shardwise.reconcile.observed import PodSeen

Act = Callable[[World], None]
LEADER, FOLLOWER = "llama-0-0-0", "llama-0-0-1"
OWN, SHORT = None, 1


def graces(world: World) -> dict[str, int | None]:
    """Decide, and give the grace of each pod that is deleted."""
    deleted = (action for action in world.decide().actions if isinstance(action, Delete) and action.kind == "Pod")
    return {action.name: action.grace for action in deleted}


def serving(wide: int = 2) -> World:
    world = World(two_nodes_wide() if wide == 2 else wants(), a_fleet(h100s(wide)))
    world.run()
    return world


def harmed(harm: str, name: str) -> Act:
    return lambda world: getattr(world, harm)(name)


def both(*acts: Act) -> Act:
    def act(world: World) -> None:
        for each in acts:
            each(world)

    return act


def scaled(world: World) -> None:
    world.demand(replicas=0)
    world.status = world.decide().written


def edited(world: World) -> None:
    world.launch(args=("--seed=7",))


def going(name: str, grace: int) -> Act:
    """Let somebody delete a pod that may take so long."""

    def act(world: World) -> None:
        world.deleting(name)
        world.pods[name]["metadata"]["deletionGracePeriodSeconds"] = grace

    return act


ENDS: dict[str, tuple[Act, dict[str, int | None]]] = {
    "a follower failed": (harmed("crash", FOLLOWER), {LEADER: SHORT, FOLLOWER: SHORT}),
    "the leader failed": (harmed("crash", LEADER), {LEADER: SHORT, FOLLOWER: SHORT}),
    "a follower is gone": (harmed("lose", FOLLOWER), {LEADER: SHORT}),
    "a follower is evicted": (going(FOLLOWER, 1), {LEADER: SHORT}),
    "the leader is evicted, and its followers go with it": (going(LEADER, 60), {LEADER: SHORT, FOLLOWER: SHORT}),
    "the leader is evicted, and was told to be quick": (going(LEADER, 1), {FOLLOWER: SHORT}),
    "scaled down: the leader finishes its requests": (scaled, {LEADER: OWN}),
    "scaled down, and the leader goes": (both(scaled, going(LEADER, 60)), {}),
    "scaled down, and the leader is gone": (both(scaled, harmed("lose", LEADER)), {FOLLOWER: SHORT}),
    "scaled down, and a follower fails while the leader finishes": (
        both(scaled, going(LEADER, 60), harmed("crash", FOLLOWER)),
        {LEADER: SHORT, FOLLOWER: SHORT},
    ),
    "scaled down, and the leader does not serve": (
        both(scaled, harmed("unready", LEADER)),
        {LEADER: SHORT, FOLLOWER: SHORT},
    ),
    "edited, and no room beside": (edited, {LEADER: OWN, FOLLOWER: OWN}),
}


@pytest.mark.parametrize(("act", "expected"), ENDS.values(), ids=ENDS)
def test_how_long_the_pods_of_a_group_that_serves_may_take(act: Act, expected: dict[str, int | None]) -> None:
    world = serving()
    act(world)
    assert graces(world) == expected


@pytest.mark.parametrize("act", [edited, scaled], ids=["edited", "scaled down"])
def test_an_attempt_that_never_served_ends_at_once(act: Act) -> None:
    """Its engine may still import its modules, and then ignores SIGTERM for the whole grace."""
    world = World(two_nodes_wide())
    world.settle()
    act(world)
    assert graces(world) == {LEADER: SHORT, FOLLOWER: SHORT}


@pytest.mark.parametrize("keep", [True, False])
def test_a_failed_attempt_that_was_kept_for_a_look_ends_at_once_when_its_wait_is_over(keep: bool) -> None:
    world = World(two_nodes_wide(keep_failed=keep))
    world.settle()
    world.crash(FOLLOWER)
    at_once = graces(world)
    world.step()
    world.now += 10
    assert (at_once or graces(world)) == {LEADER: SHORT, FOLLOWER: SHORT}
    assert bool(at_once) is not keep


def test_a_replica_of_a_single_pod_that_is_evicted_finishes_its_requests() -> None:
    """It needs no other rank, and the next attempt begins elsewhere meanwhile."""
    world = serving(wide=1)
    going(LEADER, 60)(world)
    assert graces(world) == {}
    world.unready(LEADER)
    assert graces(world) == {LEADER: SHORT}


def test_the_old_group_of_an_update_beside_keeps_its_grace() -> None:
    world = World(wants(a_demand(LLAMA_405B, budget=32, pins=Pins(8, 2))), a_fleet(h100s(4)))
    world.run()
    edited(world)
    world.settle()
    world.start()
    assert graces(world) == {LEADER: OWN}


def collected(index: int = 0, **changes: Any) -> PodSeen:
    """Give a pod that the garbage collector deletes, with its own grace."""
    return seen(index, **({"size": 2, "deleting": True, "grace": 2 if index else 60} | changes))


GONE: dict[str, tuple[tuple[PodSeen, ...], list[str]]] = {
    "a leader that never served": ((collected(size=1, ready=False),), [LEADER]),
    "a leader and its followers": ((collected(), collected(1)), [LEADER, FOLLOWER]),
    "a leader that is the last": ((collected(),), [LEADER]),
    "a replica of a single pod that serves": ((collected(size=1),), []),
    "pods that end in a second": ((collected(ready=False, grace=1), collected(1, grace=0)), []),
    "pods that nobody deletes yet": ((collected(deleting=False, grace=0), collected(1, deleting=False, grace=0)), []),
}


@pytest.mark.parametrize(("pods", "hastened"), GONE.values(), ids=GONE)
def test_pods_of_an_object_that_is_gone_end_at_once_if_they_can_finish_nothing(
    pods: tuple[PodSeen, ...], hastened: list[str]
) -> None:
    """Its GPUs are for those that wait, and a leader that still starts would take its whole minute."""
    assert [(pod.name, pod.uid, pod.grace) for pod in left_behind(pods)] == [
        (name, f"uid-{name[-1]}", SHORT) for name in hastened
    ]
