"""Where ranks go: tables of small fleets, properties of all, and an exact oracle."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support import oracle
from tests.support.fleets import a_fleet, a_node, gb200_rack, h100s, l40s
from tests.support.models import a_demand
from tests.support.strategies import layouts, nvswitch_nodes, rack_nodes

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.layout import Layout
from shardwise.planner.placement import Bin, deal, domains, largest_domain, natural, place, shapes, stage_slots
from shardwise.planner.pools import Pool, eligible


def pool_of(nodes: Iterable[Node], levels: tuple[str, ...] = (), **changes: Any) -> Pool:
    """Give the one pool of nodes of one product, for a demand that may use all of them."""
    (pool,) = eligible(a_demand(**changes), a_fleet(nodes, levels=levels)).pools
    return pool


def placed(
    nodes: Iterable[Node], layout: Layout, levels: tuple[str, ...] = (), **changes: Any
) -> list[list[tuple[str, int]]] | None:
    groups = place(a_demand(**changes), pool_of(nodes, levels, **changes), layout)
    return None if groups is None else [[(pod.node, pod.gpus) for pod in group.pods] for group in groups]


TABLE: dict[str, tuple[tuple[Node, ...], Layout, list[tuple[str, int]] | None]] = {
    "a node's worth in one pod": (h100s(2), Layout(8, 1), [("h100-00", 8)]),
    "two stages on one node are one pod": (h100s(2), Layout(4, 2), [("h100-00", 8)]),
    "the fuller node is filled": (h100s(2, free=(8, 4)), Layout(4, 1), [("h100-01", 4)]),
    "the best fit": (h100s(3, free=(8, 5, 4)), Layout(4, 1), [("h100-02", 4)]),
    "the largest first, then the best fit": (
        h100s(4, free=(4, 8, 5, 4)),
        Layout(4, 3),
        [("h100-00", 4), ("h100-01", 4), ("h100-01", 4)],
    ),
    "8 + 4 + 4": (
        h100s(3, free=(4, 8, 4)),
        Layout(4, 4),
        [("h100-00", 4), ("h100-01", 4), ("h100-01", 4), ("h100-02", 4)],
    ),
    "a tensor group does not cross nodes": (h100s(2, free=(4, 4)), Layout(8, 1), None),
    "odd GPUs are no use to a tensor group": (h100s(3, free=(3, 3, 3)), Layout(4, 2), None),
    "PCIe nodes are domains of their own": (l40s(2, free=(2, 2)), Layout(4, 1), None),
    "two trays of a rack": (gb200_rack(3), Layout(8, 1), [("rack-0-tray-00", 4), ("rack-0-tray-01", 4)]),
    "equal parts of unequal trays": (
        gb200_rack(4, free=(3, 2, 4, 2)),
        Layout(8, 1),
        [("rack-0-tray-01", 2), ("rack-0-tray-02", 2), ("rack-0-tray-02", 2), ("rack-0-tray-03", 2)],
    ),
    "one tray is enough": (gb200_rack(3, free=(4, 2, 4)), Layout(2, 1), [("rack-0-tray-01", 2)]),
    "no GPUs at all": (h100s(2, free=(0, 0)), Layout(1, 1), None),
}


@pytest.mark.parametrize(("nodes", "layout", "expected"), TABLE.values(), ids=TABLE)
def test_a_group_is_placed(nodes: tuple[Node, ...], layout: Layout, expected: list[tuple[str, int]] | None) -> None:
    found = placed(nodes, layout)
    assert (found[0] if found else None) == expected


def test_racks_are_not_mixed_inside_a_tensor_group() -> None:
    trays = (*gb200_rack(1, clique="a"), *gb200_rack(1, clique="b"))
    assert placed(trays, Layout(8, 1)) is None
    assert placed(trays, Layout(4, 2)) == [[("a-tray-00", 4), ("b-tray-00", 4)]]


def test_a_group_prefers_one_rack_over_two() -> None:
    trays = (*gb200_rack(3, clique="a", free=(4, 0, 0)), *gb200_rack(3, clique="b", free=(4, 4, 0)))
    assert placed(trays, Layout(4, 2)) == [[("b-tray-00", 4), ("b-tray-01", 4)]]


def test_the_smallest_rack_that_holds_all_is_taken() -> None:
    trays = (*gb200_rack(4, clique="a"), *gb200_rack(2, clique="b"), *gb200_rack(3, clique="c"))
    assert placed(trays, Layout(8, 1)) == [[("b-tray-00", 4), ("b-tray-01", 4)]]


def test_replicas_never_share_a_gpu() -> None:
    assert placed(h100s(2), Layout(4, 1), replicas=4) == [
        [("h100-00", 4)],
        [("h100-00", 4)],
        [("h100-01", 4)],
        [("h100-01", 4)],
    ]
    assert placed(h100s(2), Layout(4, 1), replicas=5) is None


def test_stages_follow_names_as_people_count() -> None:
    nodes = tuple(a_node(f"gpu-{index}") for index in (10, 2, 1))
    assert placed(nodes, Layout(8, 3)) == [[("gpu-1", 8), ("gpu-2", 8), ("gpu-10", 8)]]


def test_a_bounding_label_keeps_a_group_together() -> None:
    nodes = tuple(a_node(f"n{index}", labels={"zone": "ab"[index % 2]}) for index in range(4))
    assert placed(nodes, Layout(8, 2), within="zone") == [[("n0", 8), ("n2", 8)]]
    assert placed(nodes, Layout(8, 3), within="zone") is None
    assert placed(nodes, Layout(8, 2), within="zone", replicas=2) == [
        [("n0", 8), ("n2", 8)],
        [("n1", 8), ("n3", 8)],
    ]


def test_a_group_stays_inside_one_place_of_a_configured_level() -> None:
    """Or on one node, or inside one NVLink domain, whatever is configured."""
    rack = [a_node(f"n{index}", places=("ab"[index % 2],)) for index in range(4)]
    assert placed(rack, Layout(8, 2), ("rack",), within="rack") == [[("n0", 8), ("n2", 8)]]
    assert placed(rack, Layout(8, 3), ("rack",), within="rack") is None
    assert placed(rack, Layout(4, 2), ("rack",), within="node") == [[("n0", 8)]]
    assert placed(rack, Layout(8, 2), ("rack",), within="node") is None
    trays = (*gb200_rack(2, clique="a"), *gb200_rack(2, clique="b"))
    assert placed(trays, Layout(4, 2), within="domain") == [[("a-tray-00", 4), ("a-tray-01", 4)]]
    assert placed(trays, Layout(4, 3), within="domain") is None


DEALS = {
    "one that is just right": (3, [("a", 5), ("b", 3), ("c", 4)], (("b", 3),)),
    "ties by what is spare": (2, [("a", 2, 3), ("b", 2, 1), ("c", 2, 2)], (("b", 2),)),
    "the largest with the least spare first": (3, [("a", 2, 1), ("b", 2, 0), ("c", 1, 0)], (("b", 2), ("c", 1))),
    "ties by name": (2, [("b", 2), ("a", 2)], (("a", 2),)),
    "the largest first": (7, [("a", 2), ("b", 5), ("c", 3)], (("a", 2), ("b", 5))),
    "all of it": (6, [("a", 1), ("b", 2), ("c", 3)], (("a", 1), ("b", 2), ("c", 3))),
    "too many": (7, [("a", 1), ("b", 2), ("c", 3)], None),
    "empty bins": (1, [("a", 0)], None),
    "no bins": (1, [], None),
}


@pytest.mark.parametrize(("units", "bins", "expected"), DEALS.values(), ids=DEALS)
def test_units_are_dealt_to_as_few_bins_as_will_do(
    units: int, bins: list[tuple[str, int, int]], expected: tuple[tuple[str, int], ...] | None
) -> None:
    assert deal(units, [Bin(*one) for one in bins]) == expected


@given(st.integers(1, 30), st.lists(st.integers(0, 9), max_size=8))
def test_dealing_is_exact_and_in_as_few_bins_as_possible(units: int, rooms: list[int]) -> None:
    bins = [Bin(f"bin-{index:02d}", room) for index, room in enumerate(rooms)]
    dealt = deal(units, bins)
    if dealt is None:
        assert sum(rooms) < units
        return
    assert sum(count for _, count in dealt) == units
    room_of = {one.name: one.units for one in bins}
    assert all(0 < count <= room_of[name] for name, count in dealt)
    largest = sorted(rooms, reverse=True)
    assert sum(largest[: len(dealt) - 1]) < units


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["gpu-10", "gpu-2"], ["gpu-2", "gpu-10"]),
        (["a10b1", "a2b9", "a2b10"], ["a2b9", "a2b10", "a10b1"]),
        (["b", "a"], ["a", "b"]),
        (["node", "node-1", ""], ["", "node", "node-1"]),
        (["1", "a"], ["1", "a"]),
    ],
)
def test_names_are_ordered_as_people_count(names: list[str], ordered: list[str]) -> None:
    assert sorted(names, key=natural) == ordered


@given(st.text(max_size=8), st.text(max_size=8))
def test_any_two_names_can_be_ordered(one: str, other: str) -> None:
    assert (natural(one) < natural(other)) + (natural(one) == natural(other)) + (natural(one) > natural(other)) == 1


def check(nodes: list[Node], layout: Layout, *, rack: bool) -> None:
    found = placed(nodes, layout)
    exact = oracle.fewest_domains(nodes, layout, rack=rack)
    if exact is None:
        assert found is None
        return
    assert found is not None, f"{layout} fits {[(node.domain, node.free) for node in nodes]}"
    domain_of = {node.name: node.domain if rack else node.name for node in nodes}
    assert len({domain_of[node] for node, _ in found[0]}) == exact


@given(nvswitch_nodes, layouts)
@settings(max_examples=300)
def test_on_nodes_placement_succeeds_when_the_oracle_does_in_as_few_domains(nodes: list[Node], layout: Layout) -> None:
    check(nodes, layout, rack=False)


@given(rack_nodes, layouts)
@settings(max_examples=300)
@example(list(gb200_rack(4, free=(3, 3, 1, 1))), Layout(8, 1))
@example(list(gb200_rack(4, free=(3, 3, 3, 3))), Layout(6, 2))
@example([*gb200_rack(2, clique="a", free=(3, 3)), *gb200_rack(2, clique="b", free=(4, 2))], Layout(6, 2))
def test_in_racks_placement_succeeds_when_the_oracle_does_in_as_few_domains(nodes: list[Node], layout: Layout) -> None:
    check(nodes, layout, rack=True)


small_layouts = st.builds(Layout, st.sampled_from([1, 2, 3, 4, 6]), st.sampled_from([1, 2])).filter(
    lambda layout: layout.world_size <= 8
)


@given(nvswitch_nodes.map(lambda nodes: nodes[:3]), small_layouts, st.integers(2, 3))
def test_several_replicas_fit_nodes_when_the_oracle_says_so(nodes: list[Node], layout: Layout, replicas: int) -> None:
    assert (placed(nodes, layout, replicas=replicas) is not None) is oracle.fits(nodes, layout, replicas, rack=False)


@given(rack_nodes.map(lambda nodes: nodes[:4]), small_layouts, st.integers(2, 3))
def test_several_replicas_fit_racks_when_the_oracle_says_so(nodes: list[Node], layout: Layout, replicas: int) -> None:
    assert (placed(nodes, layout, replicas=replicas) is not None) is oracle.fits(nodes, layout, replicas, rack=True)


@given(rack_nodes | nvswitch_nodes, layouts)
def test_counting_slots_tells_whether_placing_succeeds(nodes: list[Node], layout: Layout) -> None:
    """Counting is what rules layouts out before placing: it must neither rule out too much nor promise too much."""
    pool = pool_of(nodes)
    assert (placed(nodes, layout) is not None) is (stage_slots(shapes(pool), layout.tensor) >= layout.pipeline)


def test_domains_are_cliques_in_a_rack_and_nodes_elsewhere() -> None:
    rack = (*gb200_rack(2, clique="a"), *gb200_rack(3, clique="b"))
    assert {name: len(nodes) for name, nodes in domains(pool_of(rack)).items()} == {"a": 2, "b": 3}
    assert set(domains(pool_of(h100s(2)))) == {"h100-00", "h100-01"}
    assert largest_domain(pool_of(rack)) == 12
    assert largest_domain(pool_of(h100s(2, free=(1, 1)))) == 8


def test_a_clique_label_on_a_product_without_rack_nvlink_joins_nothing() -> None:
    nodes = tuple(replace(node, domain="claimed") for node in h100s(2, free=(4, 4)))
    assert placed(nodes, Layout(8, 1)) is None


@pytest.mark.parametrize(
    ("fleet", "tensor", "slots"),
    [
        (a_fleet(h100s(3, free=(8, 4, 3))), 4, 3),
        (a_fleet(h100s(3, free=(8, 4, 3))), 8, 1),
        (a_fleet(gb200_rack(4, free=(3, 3, 1, 1))), 8, 1),
        (a_fleet(gb200_rack(18)), 8, 9),
        (a_fleet(gb200_rack(18)), 72, 1),
    ],
)
def test_slots_are_counted(fleet: Fleet, tensor: int, slots: int) -> None:
    assert stage_slots(shapes(pool_of(fleet.nodes)), tensor) == slots
