"""Groups in which every pod serves: which pods clients reach, how they are drained, and what ends with what (0064)."""

import pytest
from tests.reconcile.support import World, seen, wants
from tests.support.cases import RDMA, with_rdma
from tests.support.fleets import a_fleet, h200s
from tests.support.models import R1, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.launch import Servers
from shardwise.reconcile.actions import Delete, Reach
from shardwise.reconcile.exits import Exit
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.whole import broken, is_whole

FIRST, SECOND = "llama-0-0-0", "llama-0-0-1"
ENDED = Exit(0, "Completed", whole=True, phase="Succeeded")


def serving(servers: Servers = Servers.EVERY_POD, data: int = 16) -> World:
    demand = a_demand(R1, budget=16, needs=RDMA, pins=Pins(16 // data, 1, True, data))
    world = World(wants(demand, servers=servers, max_restarts=0), a_fleet(with_rdma(h200s(2))))
    world.run()
    return world


def both(**second: object) -> tuple[PodSeen, PodSeen]:
    return seen(0, size=2, reached=True), seen(1, size=2, reached=True, server=True, **second)


WHOLE: dict[str, tuple[tuple[PodSeen, ...], bool]] = {
    "both serve": (both(), True),
    "one is not ready": (both(ready=False), False),
    "one leaves": (both(deleting=True), False),
    "one ended by itself": (both(exit=ENDED), False),
    "one is gone": (both()[:1], False),
}


@pytest.mark.parametrize(("pods", "whole"), WHOLE.values(), ids=WHOLE)
def test_all_pods_leave_the_service_with_the_first(pods: tuple[PodSeen, ...], whole: bool) -> None:
    """The data ranks of each are needed by the requests of all."""
    assert is_whole(pods) is whole
    left = [] if whole else [Reach(pod.name, pod.uid, reached=False) for pod in pods]
    assert list(broken(pods)) == left


def test_clients_reach_every_pod_of_a_group_that_serves() -> None:
    assert serving().reached() == [FIRST, SECOND]
    assert serving(Servers.LEADER).reached() == [FIRST]


def test_clients_reach_the_leader_where_pods_hold_parts_of_a_data_rank() -> None:
    """Although the Service selects no role."""
    assert serving(data=1).reached() == [FIRST]


@pytest.mark.parametrize("lost", [FIRST, SECOND])
@pytest.mark.parametrize("harm", ["crash", "evict", "lose"])
def test_the_end_of_any_pod_ends_the_group(lost: str, harm: str) -> None:
    world = serving()
    getattr(world, harm)(lost)
    world.step()
    assert world.reached() == []
    assert world.standing().split("/")[0] != "Ready"


def test_a_pod_that_ends_without_an_error_is_not_blamed_alone() -> None:
    """Engines whose other ranks are gone end with exit code 0."""
    world = serving()
    world.crash(SECOND, code=0)
    decided = world.decide()
    assert {action.name for action in decided.actions if isinstance(action, Reach)} == {FIRST, SECOND}


def test_all_pods_that_serve_are_drained_at_once_with_their_own_grace() -> None:
    world = serving()
    world.demand(replicas=0)
    deleted = {
        action.name: action.grace
        for action in world.step().actions
        if isinstance(action, Delete) and action.kind == "Pod"
    }
    assert deleted == {FIRST: None, SECOND: None}
    alone = serving(Servers.LEADER)
    alone.demand(replicas=0)
    assert {action.name for action in alone.step().actions if isinstance(action, Delete)} == {FIRST}
