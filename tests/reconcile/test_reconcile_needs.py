"""Groups on nodes that lack other resources than GPUs: where they begin, and how they share nodes."""

from dataclasses import replace

import pytest
from tests.reconcile.support import World, wants
from tests.support.fleets import a_fleet, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand, pinned

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.launch import Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.needs import A_CHANNEL, PodNeeds
from shardwise.domain.plan import Plan
from shardwise.planner import plan
from shardwise.reconcile.free_capacity import FreeCapacity
from shardwise.reconcile.records import Record
from shardwise.reconcile.usable_fleet import UsableFleet

CHANNELS = PodNeeds(in_stage=A_CHANNEL)
MEMORY = PodNeeds(each_gpu=(("memory", 6_000),))


def with_memory(node: Node, memory: int, taken: int = 0) -> Node:
    return node._replace(allocatable=(("memory", memory),), taken=(("memory", taken),) if taken else ())


def capacity(wanted: Wanted, fleet: Fleet) -> tuple[FreeCapacity, Plan]:
    made = plan(wanted.demand, fleet)
    assert isinstance(made, Plan)
    return FreeCapacity(wanted, made, UsableFleet(fleet)), made


def test_groups_with_channels_share_no_tray() -> None:
    """Four trays with two free GPUs each have room for two groups over two trays each."""
    wanted = wants(a_demand(LLAMA_70B, budget=12, pins=pinned(4, 1), replicas=2, needs=CHANNELS))
    free, made = capacity(wanted, a_fleet(gb200_rack(4, free=(2, 2, 2, 2))))
    taken: list[str] = []
    for _ in range(2):
        place = free.find(made)
        assert isinstance(place, tuple)
        free.take(*place)
        taken += place[0]
    assert len(set(taken)) == len(taken) == 4
    assert not isinstance(free.find(made), tuple)


def test_a_group_that_goes_gives_its_resources_back() -> None:
    wanted = wants(a_demand(LLAMA_8B, budget=8, pins=pinned(4, 1), needs=MEMORY))
    free, made = capacity(wanted, a_fleet(with_memory(node, 30_000) for node in h100s(1)))
    place = free.find(made)
    assert isinstance(place, tuple)
    free.take(*place)
    assert not isinstance(free.find(made), tuple), "4 GPUs are free, and memory for a single one"
    free.give_back(Record(0, nodes=place[0], gpus=place[1]))
    assert free.find(made) == place


@pytest.mark.parametrize(("taken", "holds"), [(0, True), (6_000, True), (7_000, False)])
def test_a_group_begins_only_where_its_pods_still_have_room(taken: int, holds: bool) -> None:
    """A stranger may have taken the memory since the group was placed."""
    wanted = wants(a_demand(LLAMA_8B, budget=4, pins=pinned(4, 1), needs=MEMORY))
    fleet = a_fleet(with_memory(node, 30_000) for node in h100s(1))
    _, made = capacity(wanted, fleet)
    now = a_fleet(with_memory(node, 30_000, taken) for node in h100s(1))
    assert FreeCapacity(wanted, made, UsableFleet(now)).holds(Record(0, nodes=("h100-00",), gpus=4)) is holds


def test_a_group_that_runs_stays_on_a_node_that_is_too_small_for_new_pods() -> None:
    """An upgrade may make pods request more: it restarts nothing."""
    usable = UsableFleet(a_fleet(with_memory(node, 1_000) for node in h100s(1)))
    demand = a_demand(LLAMA_8B, needs=MEMORY)
    assert usable.closed(demand, ["h100-00"]) == frozenset()
    assert usable.suits(demand, ["h100-00"])


def test_the_needs_of_planned_groups_are_held_by_node() -> None:
    """Until their pods are bound, only the plan says that they will ask for them."""
    demand = a_demand(LLAMA_70B, budget=8, pins=pinned(4, 1), needs=replace(MEMORY, in_stage=A_CHANNEL))
    world = World(wants(demand), fleet=a_fleet(gb200_rack(2, free=(2, 2))))
    status = world.decide().status
    needed = status.other_holdings(demand.needs)
    assert dict(needed["rack-0-tray-00"]) == {"memory": 12_000, A_CHANNEL[0][0]: 1000}
    assert needed.keys() == status.holdings.keys()
    assert status.plan is not None
    assert status.plan.plan.layout == Layout(4, 1)
