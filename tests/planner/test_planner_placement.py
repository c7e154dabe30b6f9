"""Where ranks go: tables of small fleets, and what must hold of racks, levels and spares."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from tests.support.fleets import a_fleet, a_node, gb200_rack, h100s, l40s
from tests.support.models import a_demand
from tests.support.strategies import layouts, nvswitch_nodes, rack_nodes

from shardwise.domain.fleet import Exclusion, Fleet, Node
from shardwise.domain.layout import Layout
from shardwise.planner.placement import place
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


def test_the_smallest_rack_that_holds_all_and_keeps_a_spare_tray_is_taken() -> None:
    """A tray that breaks is replaced inside the rack, or the whole group moves."""
    trays = (*gb200_rack(4, clique="a"), *gb200_rack(2, clique="b"), *gb200_rack(3, clique="c"))
    assert placed(trays, Layout(8, 1)) == [[("c-tray-00", 4), ("c-tray-01", 4)]]
    assert placed(trays, Layout(4, 4)) == [[(f"a-tray-0{index}", 4) for index in range(4)]]


def test_a_pod_that_fits_one_tray_takes_the_fullest_of_any_rack() -> None:
    """A whole tray is worth more than two halves."""
    trays = (*gb200_rack(2, clique="a"), *gb200_rack(3, clique="b", free=(4, 2, 4)))
    assert placed(trays, Layout(2, 1)) == [[("b-tray-01", 2)]]


def test_a_group_over_two_racks_is_balanced() -> None:
    """24 trays of two racks of 18: 12 and 12, not 18 and 6, so that each keeps spares."""
    trays = (*gb200_rack(18, clique="a"), *gb200_rack(18, clique="b"))
    for layout in (Layout(4, 24), Layout(8, 12), Layout(24, 4)):
        found = placed(trays, layout)
        assert found is not None
        racks = [name.partition("-tray")[0] for name, _ in found[0]]
        assert racks == ["a"] * 12 + ["b"] * 12


def test_a_group_of_nodes_over_two_racks_is_balanced() -> None:
    """Racks of HGX nodes, which are a configured level, not an NVLink domain."""
    nodes = [a_node(f"r{rack}-n{index:02d}", places=(f"r{rack}",)) for rack in range(3) for index in range(18)]
    found = placed(nodes, Layout(8, 24), ("rack",))
    assert found is not None
    assert [name[:2] for name, _ in found[0]] == ["r0"] * 12 + ["r1"] * 12


def test_a_group_climbs_level_by_level() -> None:
    """One rack where it fits, else one block, else anywhere; the best fit of those."""
    rows = [("r1", "b1", 2), ("r2", "b1", 3), ("r3", "b2", 1), ("r4", "b2", 2)]
    nodes = [a_node(f"{rack}-{index}", places=(rack, block)) for rack, block, count in rows for index in range(count)]
    levels = ("rack", "block")

    def racks(pipeline: int) -> list[str]:
        found = placed(nodes, Layout(8, pipeline), levels)
        assert found is not None
        return [name[:2] for name, _ in found[0]]

    assert racks(1) == ["r1"]
    assert racks(2) == ["r1", "r1"]
    assert racks(3) == ["r2", "r2", "r2"]
    assert racks(4) == ["r1", "r1", "r2", "r2"]
    assert racks(6) == ["r2", "r2", "r2", "r3", "r4", "r4"]
    assert racks(8) == ["r1", "r1", "r2", "r2", "r2", "r3", "r4", "r4"]


def test_stages_follow_the_topology() -> None:
    """Neighbouring stages lie in neighbouring places, whatever the nodes are called."""
    nodes = [a_node(name, places=(rack,)) for name, rack in [("a", "r2"), ("b", "r1"), ("c", "r2"), ("d", "r1")]]
    assert placed(nodes, Layout(8, 4), ("rack",)) == [[("b", 8), ("d", 8), ("a", 8), ("c", 8)]]


def test_racks_of_one_name_in_two_blocks_are_two_racks() -> None:
    nodes = [a_node(f"{block}-{index}", places=("r1", block)) for block in ("b1", "b2") for index in range(2)]
    levels = ("rack", "block")
    assert placed(nodes, Layout(8, 3), levels, within="rack") is None
    assert placed(nodes, Layout(8, 2), levels, within="rack", replicas=2) == [
        [("b1-0", 8), ("b1-1", 8)],
        [("b2-0", 8), ("b2-1", 8)],
    ]


def test_a_rack_with_broken_trays_says_how_many_are_left() -> None:
    """18 trays, two of them broken: TP8 and TP16 fit inside the clique, all 72 GPUs do not."""
    rack = [
        tray._replace(exclusion=Exclusion.NOT_READY, free=0) if index in (3, 11) else tray
        for index, tray in enumerate(gb200_rack(18))
    ]
    for tensor in (8, 16):
        found = placed(rack, Layout(tensor, 1))
        assert found is not None
        assert len(found[0]) == tensor // 4
    pool = pool_of(rack)
    assert len(pool.nodes) == 16
    assert placed(rack, Layout(72, 1)) is None
    assert placed(rack, Layout(4, 18)) is None
    assert placed(rack, Layout(64, 1)) is not None


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


@given(rack_nodes | nvswitch_nodes, layouts)
def test_counting_slots_tells_whether_placing_succeeds(nodes: list[Node], layout: Layout) -> None:
    """Counting is what rules layouts out before placing: it must neither rule out too much nor promise too much."""
    pool = pool_of(nodes)
    assert (placed(nodes, layout) is not None) is (sum(pool.place_slots(layout.tensor)) >= layout.pipeline)


def test_domains_are_cliques_in_a_rack_and_nodes_elsewhere() -> None:
    rack = (*gb200_rack(2, clique="a"), *gb200_rack(3, clique="b"))
    assert [[node.name for node in nodes] for nodes in pool_of(rack).all_domains().values()] == [
        ["a-tray-00", "a-tray-01"],
        ["b-tray-00", "b-tray-01", "b-tray-02"],
    ]
    assert [nodes[0].name for nodes in pool_of(h100s(2)).all_domains().values()] == ["h100-00", "h100-01"]
    assert pool_of(rack).largest_domain == 12
    assert pool_of(h100s(2, free=(1, 1))).largest_domain == 8


def test_a_clique_label_on_a_product_without_rack_nvlink_joins_nothing() -> None:
    nodes = tuple(node._replace(domain="claimed") for node in h100s(2, free=(4, 4)))
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
    assert sum(pool_of(fleet.nodes).place_slots(tensor)) == slots


def racks(**free: tuple[int, ...]) -> list[Node]:
    """Give racks of trays by name, with the free GPUs of each tray."""
    return [tray for name, gpus in free.items() for tray in gb200_rack(len(gpus), clique=name, free=gpus)]


CHOSEN: dict[str, tuple[list[Node], Layout, dict[str, int]]] = {
    "the rack with the least left over, of those that keep a spare": (
        racks(a=(4, 4, 4, 4), b=(4, 4, 4), c=(4, 4, 4, 4, 4)),
        Layout(8, 1),
        {"b-tray-00": 4, "b-tray-01": 4},
    ),
    "no rack keeps a spare: the least left over": (
        racks(a=(4, 4, 2), b=(4, 4)),
        Layout(8, 1),
        {"b-tray-00": 4, "b-tray-01": 4},
    ),
    "a tray that is half taken is no spare for a whole one": (
        racks(a=(4, 4, 2), b=(4, 4, 4)),
        Layout(8, 1),
        {"b-tray-00": 4, "b-tray-01": 4},
    ),
    "whole trays in a fuller rack before parts in an emptier one": (
        racks(a=(2, 2, 2, 2, 2, 2), b=(4, 4)),
        Layout(8, 1),
        {"b-tray-00": 4, "b-tray-01": 4},
    ),
    "one rack in parts before two whole trays of two racks": (
        racks(a=(2, 2, 2, 2), b=(4, 0), c=(4, 0)),
        Layout(4, 2),
        {"a-tray-00": 2, "a-tray-01": 2, "a-tray-02": 2, "a-tray-03": 2},
    ),
    "equal parts of two racks, though a third would be just full": (
        racks(a=(4, 4, 4), b=(4, 4), c=(4, 4, 4), d=(4,)),
        Layout(4, 4),
        {"a-tray-00": 4, "a-tray-01": 4, "c-tray-00": 4, "c-tray-01": 4},
    ),
    "equal parts of racks that are then full, where no others are": (
        racks(a=(4, 4), b=(4, 4), c=(4,)),
        Layout(4, 4),
        {"a-tray-00": 4, "a-tray-01": 4, "b-tray-00": 4, "b-tray-01": 4},
    ),
    "even parts over the racks that are needed": (
        racks(a=(4, 4, 4), b=(4, 4, 4), c=(4,)),
        Layout(4, 4),
        {"a-tray-00": 4, "a-tray-01": 4, "b-tray-00": 4, "b-tray-01": 4},
    ),
    "the fullest node that holds a pod": (
        list(h100s(4, free=(8, 3, 2, 4))),
        Layout(2, 1),
        {"h100-02": 2},
    ),
    "two stages on one node before two nodes": (
        list(h100s(3, free=(2, 4, 2))),
        Layout(2, 2),
        {"h100-01": 4},
    ),
    "nodes that are just full": (
        list(h100s(4, free=(8, 4, 4, 2))),
        Layout(4, 3),
        {"h100-00": 8, "h100-01": 4},
    ),
}


@pytest.mark.parametrize(("nodes", "layout", "gpus"), CHOSEN.values(), ids=CHOSEN)
def test_of_places_that_hold_a_group_the_one_that_wastes_least_is_chosen(
    nodes: list[Node], layout: Layout, gpus: dict[str, int]
) -> None:
    """GPUs taken of each node, over all pods."""
    found = placed(nodes, layout)
    assert found is not None
    taken: dict[str, int] = {}
    for name, count in found[0]:
        taken[name] = taken.get(name, 0) + count
    assert taken == gpus
