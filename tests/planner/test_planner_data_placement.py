"""Where the tensor groups of data ranks go: each in its domain, all in as few domains as there can be."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import oracle
from tests.support.cases import RDMA, with_rdma
from tests.support.examples import examples
from tests.support.fleets import a_fleet, gb200_rack, h100s, h200s
from tests.support.models import R1, a_demand, facts, first_layers
from tests.support.plans import check_capacity, check_invariants, planned, pods, refused

from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.layout import Layout
from shardwise.domain.plan import GroupPlacement
from shardwise.domain.refusal import NoRoom
from shardwise.planner.group_places import shares_up_to
from shardwise.planner.placement import has_room, place, stays_in_domain
from shardwise.planner.pools import Pool, eligible


def pinned_to(layout: Layout, *, replicas: int = 1, rdma: bool = True) -> Demand:
    """Give a demand for a layout. Placement reads no memory, so that any model will do."""
    pins = Pins(layout.tensor, layout.pipeline, layout.expert, layout.data)
    needs = RDMA if rdma else a_demand(R1).needs
    budget = layout.world_size * replicas
    return a_demand(R1, pins=pins, replicas=replicas, budget=budget, needs=needs)


def pool_of(demand: Demand, fleet: Fleet) -> Pool:
    return eligible(demand, fleet).pools[0]


def domains(group: GroupPlacement) -> int:
    return len({pod.domain for pod in group.pods})


PLACED: dict[str, tuple[Layout, Sequence[Node], list[tuple[str, int]]]] = {
    "in a node": (Layout(1, 1, True, 8), h200s(1), [("h200-00", 8)]),
    "in the smallest rest of a node": (Layout(1, 1, True, 4), h200s(2, free=(8, 4)), [("h200-01", 4)]),
    "over two nodes": (Layout(1, 1, True, 16), h200s(2), [("h200-00", 8), ("h200-01", 8)]),
    "tensor groups stay whole": (Layout(4, 1, True, 3), h200s(2, free=(8, 6)), [("h200-00", 4)] * 2 + [("h200-01", 4)]),
    "tensor groups of eight": (Layout(8, 1, True, 2), h200s(3, free=(8, 7, 8)), [("h200-00", 8), ("h200-02", 8)]),
    "data ranks in two stages": (
        Layout(4, 2, True, 2),
        h200s(2),
        [("h200-00", 8), ("h200-01", 8)],
    ),
    "a few GPUs of many nodes": (
        Layout(2, 1, True, 6),
        h200s(3, free=(4, 4, 5)),
        [("h200-00", 4), ("h200-01", 4), ("h200-02", 4)],
    ),
    "trays of a rack": (
        Layout(1, 1, True, 8),
        gb200_rack(3, free=(4, 2, 4)),
        [("rack-0-tray-00", 4), ("rack-0-tray-02", 4)],
    ),
    "tensor groups over trays": (
        Layout(8, 1, True, 2),
        gb200_rack(4),
        [(f"rack-0-tray-0{tray}", 4) for tray in range(4)],
    ),
}


@pytest.mark.parametrize(("layout", "nodes", "expected"), PLACED.values(), ids=PLACED)
def test_tensor_groups_of_data_ranks_are_dealt_out(
    layout: Layout, nodes: Sequence[Node], expected: list[tuple[str, int]]
) -> None:
    demand = replace(pinned_to(layout), model=first_layers(facts(R1), 8))
    made = planned(demand, a_fleet(with_rdma(nodes)))
    assert made.layout == layout
    assert pods(made) == expected
    check_invariants(made)
    check_capacity(made, a_fleet(with_rdma(nodes)))


SHARES: dict[str, tuple[Layout, bool, list[int]]] = {
    "a GPU each": (Layout(1, 1, True, 8), False, [8, 4, 2, 1]),
    "tensor groups": (Layout(4, 1, True, 4), False, [8, 4]),
    "tensor groups of a rack": (Layout(4, 1, True, 4), True, [8, 4, 2, 1]),
    "two stages": (Layout(2, 2, True, 2), False, [8, 4, 2]),
    "three stages of two data ranks: no pod holds one and a half": (Layout(2, 3, True, 2), False, [2]),
    "two stages of three data ranks": (Layout(2, 2, True, 3), False, [2]),
    "three stages of one data rank hold what they like": (Layout(2, 3), False, [6, 2]),
}


@pytest.mark.parametrize(("layout", "rack", "shares"), SHARES.values(), ids=SHARES)
def test_a_pod_holds_whole_data_ranks_and_stages_or_equal_parts_of_one(
    layout: Layout, rack: bool, shares: list[int]
) -> None:
    """Eight GPUs at most."""
    assert list(shares_up_to(8, layout, rack=rack)) == shares
    for share in shares:
        for block in (layout.tensor * layout.pipeline, layout.stage_gpus):
            assert share % block == 0 or block % share == 0


SHAPES = [(1, 2, 1), (1, 3, 1), (1, 4, 1), (2, 2, 1), (2, 3, 1), (1, 2, 2), (2, 2, 2), (4, 2, 1), (1, 6, 1)]
"""Tensor, data and pipeline degrees."""

degrees = st.sampled_from(SHAPES)


@given(degrees, st.lists(st.integers(0, 5), min_size=1, max_size=4))
@examples(60)
def test_a_group_crosses_as_few_nodes_as_there_can_be(shape: tuple[int, int, int], free: list[int]) -> None:
    """By exhaustion."""
    tensor, data, pipeline = shape
    layout = Layout(tensor, pipeline, True, data)
    nodes = tuple(node._replace(gpus=8) for node in with_rdma(h100s(len(free), free=free)))
    demand = pinned_to(layout)
    groups = place(demand, pool_of(demand, a_fleet(nodes)), layout)
    fewest = oracle.fewest_domains(nodes, layout, rack=False)
    assert (None if groups is None else domains(groups[0])) == fewest


@given(degrees, st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=3))
@examples(60)
def test_a_group_crosses_as_few_racks_as_there_can_be(shape: tuple[int, int, int], racks: list[list[int]]) -> None:
    tensor, data, pipeline = shape
    layout = Layout(tensor, pipeline, True, data)
    nodes = with_rdma(
        tray for index, free in enumerate(racks) for tray in gb200_rack(len(free), clique=f"rack-{index}", free=free)
    )
    demand = pinned_to(layout)
    groups = place(demand, pool_of(demand, a_fleet(nodes)), layout)
    fewest = oracle.fewest_domains(nodes, layout, rack=True)
    assert (None if groups is None else domains(groups[0])) == fewest


@given(degrees, st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(1, 3))
@examples(60)
def test_groups_fit_wherever_they_can(shape: tuple[int, int, int], free: list[int], replicas: int) -> None:
    tensor, data, pipeline = shape
    layout = Layout(tensor, pipeline, True, data)
    nodes = with_rdma(h100s(len(free), free=free))
    demand = pinned_to(layout, replicas=replicas)
    pool = pool_of(demand, a_fleet(nodes))
    possible = oracle.fits(nodes, layout, replicas, rack=False)
    assert has_room(demand, pool, layout) == (place(demand, pool, layout) is not None) == possible


@given(st.sampled_from([2, 3, 4]), st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(1, 3))
@examples(60)
def test_without_rdma_every_group_lies_in_a_single_node(data: int, free: list[int], replicas: int) -> None:
    """And is refused a place only where no node has room for it."""
    layout = Layout(1, 1, True, data)
    nodes = h100s(len(free), free=free)
    demand = replace(pinned_to(layout, replicas=replicas, rdma=False), pins=Pins())
    pool = pool_of(demand, a_fleet(nodes))
    groups = place(demand, pool, layout)
    assert (groups is not None) == (sum(gpus // data for gpus in free) >= replicas) == has_room(demand, pool, layout)
    assert all(domains(group) == 1 for group in groups or ())


STAYS: dict[str, tuple[Demand, Layout, bool]] = {
    "no RDMA": (a_demand(R1), Layout(1, 1, True, 8), True),
    "no RDMA, a single data rank": (a_demand(R1), Layout(8, 2), False),
    "RDMA": (a_demand(R1, needs=RDMA), Layout(1, 1, True, 8), False),
    "a pinned data degree": (a_demand(R1, pins=Pins(data=8)), Layout(1, 1, True, 8), False),
    "other pins": (a_demand(R1, pins=Pins(tensor=1)), Layout(1, 1, True, 8), True),
    "a pin that repeats a plan": (a_demand(R1, pins=Pins(data=8), together=True), Layout(1, 1, True, 8), True),
}


@pytest.mark.parametrize(("demand", "layout", "stays"), STAYS.values(), ids=STAYS)
def test_data_ranks_stay_in_a_domain_without_rdma_and_without_a_pin(
    demand: Demand, layout: Layout, stays: bool
) -> None:
    assert stays_in_domain(demand, layout) == stays


def test_free_gpus_in_two_nodes_are_no_room_for_data_ranks_without_rdma() -> None:
    """Two GPUs are free, one on each of two nodes."""
    model = first_layers(facts(R1), 16)
    demand = a_demand(model, pins=Pins(None, 1, True), objective=Objective.THROUGHPUT)
    refusal = refused(demand, a_fleet(h200s(2, free=(1, 1))))
    causes = {lost.layout: lost.cause for lost in refusal.rejected}
    found = causes[Layout(1, 1, True, 2)]
    assert isinstance(found, NoRoom)
    assert (found.wanted, found.slots, found.slot_gpus, found.by_domain) == (1, 0, 2, (1, 1))


def test_replicas_of_data_ranks_lie_apart() -> None:
    made = planned(pinned_to(Layout(1, 1, True, 8), replicas=3), a_fleet(with_rdma(h200s(3))))
    assert [pods(made, replica) for replica in range(3)] == [[(f"h200-0{node}", 8)] for node in range(3)]
    check_invariants(made)
