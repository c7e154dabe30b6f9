"""What decides between places that hold a group equally well: least left over, then names, whatever the input order."""

from collections.abc import Iterable
from typing import Any

import pytest
from tests.support.fleets import GB200, H100, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import LLAMA_70B, a_demand, pinned
from tests.support.plans import refused

from shardwise.domain.demand import Demand
from shardwise.domain.exclusions import LeftOut, Mismatch
from shardwise.domain.fleet import Exclusion, Node, Taint
from shardwise.domain.layout import Layout
from shardwise.domain.plan import GroupPlacement
from shardwise.domain.refusal import DomainTooSmall
from shardwise.planner.deal import Bin, deal
from shardwise.planner.placement import place
from shardwise.planner.pools import Pool, eligible
from shardwise.planner.together import fewest_parts

DEALT: dict[str, tuple[int, list[tuple[Any, ...]], bool, dict[str, int]]] = {
    "the largest is filled, the last gets what is left": (4, [("a", 3), ("b", 2)], False, {"a": 3, "b": 1}),
    "an exchange that is just enough": (5, [("a", 3), ("b", 3), ("c", 2)], False, {"a": 3, "c": 2}),
    "an exchange by name where all is equal": (5, [("a", 3), ("b", 3), ("d", 2), ("c", 2)], False, {"a": 3, "c": 2}),
    "an exchange for the one with less to spare": (
        5,
        [("a", 3), ("b", 3), ("c", 2, 1), ("d", 2, 0)],
        False,
        {"a": 3, "d": 2},
    ),
    "evenly, one that is just right is enough": (12, [("a", 18), ("b", 12)], True, {"b": 12}),
    "evenly, the part is rounded up": (25, [("a", 18), ("b", 14), ("c", 12)], True, {"a": 13, "b": 12}),
    "evenly, a bin that the part fills is the last resort": (
        25,
        [("a", 18), ("b", 14), ("c", 13)],
        True,
        {"a": 13, "b": 12},
    ),
    "evenly, two that hold the part and one more before one that holds a part less": (
        25,
        [("a", 18), ("b", 15), ("c", 14), ("d", 12)],
        True,
        {"b": 13, "c": 12},
    ),
    "evenly, the least to spare": (24, [("a", 14, 1), ("b", 14, 0), ("c", 14, 0)], True, {"b": 12, "c": 12}),
    "an empty bin is never given": (3, [("a", 0), ("b", 2), ("c", 1), ("d", 0)], True, {"b": 2, "c": 1}),
}


@pytest.mark.parametrize(("units", "bins", "evenly", "expected"), DEALT.values(), ids=DEALT)
def test_units_go_to_the_bins_that_lose_least(
    units: int, bins: list[tuple[Any, ...]], evenly: bool, expected: dict[str, int]
) -> None:
    for ordered in (bins, bins[::-1]):
        assert deal(units, [Bin(*row) for row in ordered], evenly=evenly) == expected


def pool_of(nodes: Iterable[Node], levels: tuple[str, ...] = (), **changes: Any) -> Pool:
    (pool,) = eligible(a_demand(**changes), a_fleet(nodes, levels=levels)).pools
    return pool


def placed(
    nodes: Iterable[Node], layout: Layout, levels: tuple[str, ...] = (), **changes: Any
) -> tuple[GroupPlacement, ...]:
    groups = place(a_demand(**changes), pool_of(nodes, levels, **changes), layout)
    assert groups is not None
    return groups


def hosts(nodes: Iterable[Node], layout: Layout, levels: tuple[str, ...] = ()) -> list[str]:
    return [pod.node for pod in placed(nodes, layout, levels)[0].pods]


def racks(**free: tuple[int, ...]) -> list[Node]:
    return [tray for name, gpus in free.items() for tray in gb200_rack(len(gpus), clique=name, free=gpus)]


def tray(name: str, domain: str, **changes: Any) -> Node:
    return a_node(name, product=GB200, gpus=4, domain=domain, **changes)


ORDERED: dict[str, tuple[list[Node], Layout, tuple[str, ...], list[str]]] = {
    "a pod goes to the rack with less free, of equal trays": (
        racks(a=(2, 4, 4), b=(2, 4)),
        Layout(2, 1),
        (),
        ["b-tray-00"],
    ),
    "a spare is what could take the pods of a whole node": (
        racks(a=(4, 2), b=(4, 4, 1)),
        Layout(5, 1),
        (),
        ["b-tray-00"] * 4 + ["b-tray-02"],
    ),
    "fewer whole pods left over before fewer GPUs left over": (
        racks(a=(4, 4, 4, 3, 3), b=(4, 4, 4, 4)),
        Layout(8, 1),
        (),
        ["a-tray-00", "a-tray-01"],
    ),
    "of two racks of one row, that with less free, whatever its name": (
        [a_node(f"n{index}", places=(rack,)) for index, rack in enumerate(("r1", "r1", "r1", "r2", "r2"))],
        Layout(8, 2),
        ("rack",),
        ["n3", "n4"],
    ),
    "nodes with no GPUs to spare beside a stage": (
        list(h100s(4, free=(6, 4, 6, 4))),
        Layout(4, 2),
        (),
        ["h100-01", "h100-03"],
    ),
    "a rack by its own name, not by that of its nodes": (
        [tray("a-0", "rack-b"), tray("z-0", "rack-a")],
        Layout(4, 1),
        (),
        ["z-0"],
    ),
    "stages by the domain before the node": (
        [tray("c-0", "rack-b"), tray("z-0", "rack-a")],
        Layout(4, 2),
        (),
        ["z-0", "c-0"],
    ),
    "stages by the node, where domains are named alike": (
        [a_node("gpu-10", domain="claimed"), a_node("gpu-2", domain="claimed")],
        Layout(8, 2),
        (),
        ["gpu-2", "gpu-10"],
    ),
    "stages by the widest place first": (
        [a_node("a", places=("r1", "b2")), a_node("b", places=("r2", "b1"))],
        Layout(8, 2),
        ("rack", "block"),
        ["b", "a"],
    ),
    "racks as people count": (
        [a_node("a", places=("r10",)), a_node("b", places=("r2",))],
        Layout(8, 2),
        ("rack",),
        ["b", "a"],
    ),
    "trays of a rack as people count": (
        [tray("t-10", "rack"), tray("t-2", "rack")],
        Layout(8, 1),
        (),
        ["t-2", "t-10"],
    ),
}


@pytest.mark.parametrize(("nodes", "layout", "levels", "expected"), ORDERED.values(), ids=ORDERED)
def test_of_equal_places_the_one_that_loses_least_is_taken_and_names_decide_last(
    nodes: list[Node], layout: Layout, levels: tuple[str, ...], expected: list[str]
) -> None:
    assert hosts(nodes, layout, levels) == expected
    assert hosts(nodes[::-1], layout, levels) == expected


def parts(free: tuple[int, ...], layout: Layout, replicas: int) -> int:
    groups = placed(h100s(len(free), free=free), layout, replicas=replicas)
    return sum(len({pod.node for pod in group.pods}) for group in groups)


CROSSED: dict[str, tuple[tuple[int, ...], Layout, int, int]] = {
    "five nodes": ((3, 5, 3, 1, 1), Layout(1, 4), 3, 5),
    "four more without a free GPU change nothing": ((3, 5, 3, 1, 1, 0, 0, 0, 0), Layout(1, 4), 3, 5),
    "eight nodes are still searched": ((2, 2, 3, 4, 1, 1, 4, 3), Layout(1, 9), 2, 6),
}


@pytest.mark.parametrize(("free", "layout", "replicas", "expected"), CROSSED.values(), ids=CROSSED)
def test_several_groups_cross_as_few_nodes_as_possible(
    free: tuple[int, ...], layout: Layout, replicas: int, expected: int
) -> None:
    """Found by exhaustion: one group after the other would cross one more."""
    assert parts(free, layout, replicas) == expected


@pytest.mark.parametrize(
    ("slots", "stages", "groups", "expected"),
    [
        ((4, 3, 2, 3, 5, 2), 6, 3, [2, 2, 2]),
        ((2, 2, 2), 3, 1, [2]),
        ((1, 1, 1, 1), 2, 1, [2]),
        ((5, 5, 5), 6, 2, [2, 2]),
    ],
)
def test_more_clusters_are_worth_more_than_fewer_domains(
    slots: tuple[int, ...], stages: int, groups: int, expected: list[int]
) -> None:
    """Three pairs of domains hold three groups in six parts; two clusters of five domains take seven."""
    assert [len(part) for part in fewest_parts(slots, stages, groups)] == expected


def test_the_largest_domain_is_that_with_the_most_gpus_not_the_most_free() -> None:
    pool = pool_of(racks(a=(4, 4), b=(0, 0, 1)))
    assert pool.largest_domain == 12
    assert pool.nodes_of_largest_domain == (3, 3)


def test_nodes_left_out_of_a_claimed_domain_are_no_part_of_a_node() -> None:
    """Without NVLink between nodes a domain is a node, whatever a label claims."""
    nodes = [a_node("a", domain="claimed"), a_node("b", domain="claimed", exclusion=Exclusion.FAULTY, free=0)]
    assert pool_of(nodes).nodes_of_largest_domain == (1, 1)
    cause = refused(a_demand(LLAMA_70B, budget=16, pins=pinned(16)), a_fleet(nodes)).rejected[0].cause
    assert cause == DomainTooSmall(H100, 16, 8, 1, 1)


def test_one_product_under_two_resources_is_two_pools() -> None:
    """A pod asks for one resource."""
    nodes = (a_node("a"), a_node("b")._replace(resource="example.com/gpu"))
    found = eligible(a_demand(products=(H100,), own_image=True), a_fleet(nodes)).pools
    assert [(pool.resource, len(pool.nodes)) for pool in found] == [("nvidia.com/gpu", 1), ("example.com/gpu", 1)]


TEAM = Taint("team", "ml", "NoSchedule")
REASONS: dict[str, tuple[dict[str, Any], Node, LeftOut]] = {
    "out of use before anything asked": (
        {"products": ("NVIDIA-H200",), "node_selector": (("zone", "a"),)},
        a_node(exclusion=Exclusion.CORDONED, taints=[TEAM]),
        Exclusion.CORDONED,
    ),
    "its product before its labels": (
        {"products": ("NVIDIA-H200",), "node_selector": (("zone", "a"),)},
        a_node(taints=[TEAM]),
        Mismatch.UNLISTED_PRODUCT,
    ),
    "its labels before its taints": (
        {"node_selector": (("zone", "a"),)},
        a_node(taints=[TEAM]),
        Mismatch.NODE_SELECTOR,
    ),
}


@pytest.mark.parametrize(("asked", "node", "reason"), REASONS.values(), ids=REASONS)
def test_a_node_has_one_reason_the_first(asked: dict[str, Any], node: Node, reason: LeftOut) -> None:
    assert eligible(a_demand(**asked), a_fleet(node)).excluded == ((reason, 1),)


def test_reasons_are_in_one_order_whatever_the_nodes_are_called() -> None:
    """The commonest first; those as common by themselves, not by the node that was seen first."""
    kinds = (Exclusion.CORDONED, Exclusion.NOT_READY, Exclusion.FAULTY)
    demand: Demand = a_demand(node_selector=(("zone", "a"),))
    orders = [
        a_fleet(*(a_node(f"n{index}", exclusion=kind) for index, kind in enumerate(order)), a_node("z"))
        for order in (kinds, kinds[::-1])
    ]
    first, second = (eligible(demand, fleet).excluded for fleet in orders)
    assert first == second
