"""The status by the kstatus contract, through the life of an object: one row a moment, what a waiter then sees."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.fleets import a_fleet, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.api.crd import definition
from shardwise.domain.demand import Pins
from shardwise.reconcile.decide import Invalid, decide_invalid
from shardwise_sandbox.schema import prune
from shardwise_sandbox.validation import violations

Json = dict[str, Any]


def new() -> World:
    return World(two_nodes_wide())


def started(world: World) -> World:
    world.settle()
    return world


def running(world: World) -> World:
    world.run()
    return world


def held() -> World:
    world = started(World(wants(max_restarts=0)))
    world.crash("llama-0-0-0")
    world.settle()
    return world


def waits() -> World:
    return started(World(two_nodes_wide(), a_fleet(h100s(2, free=[8, 0]))))


def wrong() -> World:
    world = running(new())
    world.status = decide_invalid(Invalid(2, "spec.model: wrong"), world.observe(), world.now).written
    return world


def paused() -> World:
    return started(World(wants(paused=True)))


def backing_off() -> World:
    world = started(World(wants()))
    world.crash("llama-0-0-0")
    world.settle()
    return world


def half() -> World:
    world = started(World(wants(a_demand(LLAMA_8B, budget=2, replicas=2))))
    world.start(["llama-0-0-0"])
    world.settle()
    return world


def refused(world: World) -> World:
    world.refused = "cannot apply Pod default/llama-0-0-0: exceeded quota"
    world.settle()
    return world


def given_back() -> World:
    world = World(wants(), denies=lambda _: "cannot apply Pod default/llama-0-0-0: exceeded quota")
    world.step()
    world.now += 60
    world.settle()
    return world


def never() -> World:
    return started(World(wants(a_demand(LLAMA_8B, pins=Pins(6, None, None)))))


MOMENTS: dict[str, tuple[Callable[[], World], str, tuple[str, str], tuple[int, int]]] = {
    "its pods are being made": (lambda: started(new()), "Reconciling/GroupsStarting", ("True", "True"), (1, 0)),
    "it serves": (lambda: running(new()), "Ready/AllReplicasReady", ("True", "True"), (1, 1)),
    "one of two serves": (half, "Reconciling/GroupsStarting", ("True", "True"), (2, 1)),
    "it waits for GPUs": (waits, "Reconciling/CapacityShort", ("False", "False"), (0, 0)),
    "it can never be placed": (never, "Stalled/IllegalLayout", ("False", "False"), (0, 0)),
    "it waits to start again": (backing_off, "Reconciling/GroupBackoff", ("True", "True"), (1, 0)),
    "it is held": (held, "Stalled/RestartsExhausted", ("True", "True"), (1, 0)),
    "its pods are refused": (lambda: refused(new()), "Reconciling/WriteRefused", ("True", "True"), (1, 0)),
    "its pods are refused for long": (given_back, "Reconciling/PodsRefused", ("False", "False"), (0, 0)),
    "it serves, and a Service is refused": (
        lambda: refused(running(new())),
        "Reconciling/WriteRefused",
        ("True", "True"),
        (1, 1),
    ),
    "its last edit is wrong": (wrong, "Stalled/InvalidSpec", ("False", "True"), (1, 1)),
}


@pytest.mark.parametrize(("moment", "standing", "others", "counts"), MOMENTS.values(), ids=MOMENTS)
def test_what_a_waiter_sees(
    moment: Callable[[], World], standing: str, others: tuple[str, str], counts: tuple[int, int]
) -> None:
    """The one true condition; whether it is planned and launched; replicas, and those that serve."""
    world = moment()
    assert world.standing() == standing
    assert (world.condition("Planned")["status"], world.condition("Launched")["status"]) == others
    assert (world.status["replicas"], world.status["readyReplicas"]) == counts


@pytest.mark.parametrize("moment", [row[0] for row in MOMENTS.values()] + [paused], ids=[*MOMENTS, "paused"])
def test_a_status_is_what_the_object_declares(moment: Callable[[], World]) -> None:
    """Every field is in the schema, of its type: the API server would prune or refuse it else."""
    status = json.loads(json.dumps(moment().status))
    (version,) = definition()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert list(violations(schema, status)) == []
    assert prune(schema, status) == []


@pytest.mark.parametrize("moment", [row[0] for row in MOMENTS.values()], ids=MOMENTS)
def test_a_status_says_where_it_stands_in_one_line(moment: Callable[[], World]) -> None:
    """Short enough for a column, and the same as the conditions say."""
    world = moment()
    message = world.status["message"]
    assert message
    assert "\n" not in message
    assert len(message) <= 1024
    true = world.standing().split("/")[0]
    assert world.condition("Ready")["message"] == world.condition(true)["message"] == message


def racks(count: int, name: str = "gb200-r{}-t{:02}") -> World:
    """Give twenty replicas of 72 ranks, each in a rack of its own."""
    trays = [
        tray._replace(name=name.format(rack, index))
        for rack in range(count)
        for index, tray in enumerate(gb200_rack(18, clique=f"7b968a6d-c8aa-45e1-9e07-e1e51be99c31.{rack}"))
    ]
    demand = a_demand(LLAMA_405B, budget=72 * count, replicas=count, pins=Pins(8, 9, None))
    return World(wants(demand), a_fleet(trays))


def size(status: Json) -> int:
    """Count the bytes of a status as the API server sends it."""
    return len(json.dumps(status, separators=(",", ":")))


def test_a_status_stays_small_for_72_ranks_and_20_replicas() -> None:
    """Starting, serving, and with every group failed: below 16 KiB, as every watcher gets it with every change."""
    world = racks(20)
    world.settle()
    sizes = [size(world.status)]
    world.run()
    sizes.append(size(world.status))
    for replica in range(20):
        world.crash(f"llama-{replica}-0-17", "NCCL error: unhandled system error " * 20)
    world.step()
    sizes.append(size(world.status))
    assert all(len(group["nodes"]) == 18 for group in world.status["groups"])
    assert max(sizes) < 16_384, sizes


def test_a_group_says_what_it_waits_for() -> None:
    """The replica table: pods ready, nodes, attempt, since when, and why not."""
    world = started(new())
    (group,) = world.status["groups"]
    assert {name: group[name] for name in ("replica", "attempt", "state", "since", "readyPods", "pods", "message")} == {
        "replica": 0,
        "attempt": 0,
        "state": "Starting",
        "since": "2027-01-15T08:00:00Z",
        "readyPods": 0,
        "pods": 2,
        "message": "0 of 2 pods ready; pod 0: not started",
    }


DEGRADED = {
    "its pods are being made": ("False", "NothingServes"),
    "it serves": ("False", "AsPlanned"),
    "one of two serves": ("True", "ReplicasMissing"),
    "it waits for GPUs": ("False", "NothingServes"),
}


@pytest.mark.parametrize("name", DEGRADED)
def test_degraded_is_what_serves_and_not_as_it_should(name: str) -> None:
    condition = MOMENTS[name][0]().condition("Degraded")
    assert (condition["status"], condition["reason"]) == DEGRADED[name]
