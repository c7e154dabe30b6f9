"""Which nodes a demand may use, and the reason counted for each that it may not."""

from dataclasses import replace
from typing import Any

import pytest
from tests.support.fleets import H100, L40S, a_fleet, a_node, cuda_bytes, gb200_rack, h100s, l40s
from tests.support.models import a_demand

from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.exclusions import NoPlace
from shardwise.domain.fleet import Exclusion, Node, Taint
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.plan import Plan
from shardwise.explain.exclusions import exclusion
from shardwise.planner import plan
from shardwise.planner.pools import eligible

SCHED = "NoSchedule"
TAINT = Taint("team", "ml", SCHED)


def reason(demand: Demand, node: Node) -> str | None:
    found = eligible(demand, a_fleet(node))
    return exclusion(found.excluded[0][0]) if found.excluded else None


@pytest.mark.parametrize("why", list(Exclusion))
def test_a_node_out_of_use_is_counted_by_its_reason(why: Exclusion) -> None:
    assert eligible(a_demand(), a_fleet(a_node(exclusion=why))).excluded == ((why, 1),)


EXCLUDED: dict[str, tuple[dict[str, Any], Node, str | None]] = {
    "nothing asked": ({}, a_node(), None),
    "its product": ({"products": (H100,)}, a_node(), None),
    "its product without the vendor": ({"products": ("H100-80GB-HBM3",)}, a_node(), None),
    "another product": (
        {"products": (L40S,)},
        a_node(),
        "has a product that `spec.gpuBudget.products` does not list",
    ),
    "a label": ({"node_selector": (("zone", "a"),)}, a_node(labels={"zone": "a", "x": "y"}), None),
    "another value": (
        {"node_selector": (("zone", "a"),)},
        a_node(labels={"zone": "b"}),
        "does not match `spec.placement.nodeSelector`",
    ),
    "one of two labels": (
        {"node_selector": (("zone", "a"), ("disk", "ssd"))},
        a_node(labels={"zone": "a"}),
        "does not match `spec.placement.nodeSelector`",
    ),
    "a bounding label": ({"within": "rack"}, a_node(labels={"rack": "7"}), None),
    "no bounding label": (
        {"within": "rack"},
        a_node(),
        "lacks the label `rack` of `spec.placement.within`, and no level has this name (known are node, domain)",
    ),
    "no bounding label of one's own": (
        {"within": "example.com/rack"},
        a_node(),
        "lacks the label `example.com/rack` of `spec.placement.within`",
    ),
    "on a node": ({"within": "node"}, a_node(), None),
    "inside an NVLink domain": ({"within": "domain"}, a_node(), None),
    "a taint": ({}, a_node(taints=[TAINT]), "has the taint `team=ml:NoSchedule`"),
    "the GPU operator's taint": ({}, a_node(taints=[Taint("nvidia.com/gpu", "present", SCHED)]), None),
    "a soft taint": ({}, a_node(taints=[Taint("team", "ml", "PreferNoSchedule")]), None),
    "an evicting taint": (
        {},
        a_node(taints=[Taint("team", "ml", "NoExecute")]),
        "has the taint `team=ml:NoExecute`",
    ),
    "the second of two taints": (
        {"tolerations": (Toleration("team", "Exists"),)},
        a_node(taints=[TAINT, Taint("other", "", SCHED)]),
        "has the taint `other=:NoSchedule`",
    ),
}


@pytest.mark.parametrize(("changes", "node", "why"), EXCLUDED.values(), ids=EXCLUDED)
def test_a_node_is_used_or_has_a_reason(changes: dict[str, Any], node: Node, why: str | None) -> None:
    assert reason(a_demand(**changes), node) == why


TOLERATIONS = {
    "equal": (Toleration("team", "Equal", "ml", SCHED), True),
    "equal without an effect": (Toleration("team", "Equal", "ml"), True),
    "another value": (Toleration("team", "Equal", "web"), False),
    "another key": (Toleration("owner", "Equal", "ml"), False),
    "another effect": (Toleration("team", "Equal", "ml", "NoExecute"), False),
    "exists": (Toleration("team", "Exists"), True),
    "exists for every key": (Toleration("", "Exists"), True),
    "exists for every key, another effect": (Toleration("", "Exists", "", "NoExecute"), False),
    "an empty key with Equal matches nothing": (Toleration("", "Equal", "ml"), False),
}


@pytest.mark.parametrize(("toleration", "tolerated"), TOLERATIONS.values(), ids=TOLERATIONS)
def test_tolerations_mean_what_kubernetes_means(toleration: Toleration, tolerated: bool) -> None:
    why = reason(a_demand(tolerations=(toleration,)), a_node(taints=[TAINT]))
    assert (why is None) is tolerated


def test_pools_are_one_for_each_product_in_name_order() -> None:
    found = eligible(a_demand(), a_fleet(l40s(2), h100s(3), gb200_rack(2)))
    assert [(pool.product, len(pool.nodes)) for pool in found.pools] == [
        ("NVIDIA-GB200", 2),
        (H100, 3),
        (L40S, 2),
    ]


def test_exclusions_are_counted_the_commonest_first() -> None:
    fleet = a_fleet(
        a_node("a", exclusion=Exclusion.CORDONED),
        a_node("b", exclusion=Exclusion.NOT_READY),
        a_node("c", exclusion=Exclusion.CORDONED),
    )
    assert eligible(a_demand(), fleet).excluded == ((Exclusion.CORDONED, 2), (Exclusion.NOT_READY, 1))


def test_a_pool_knows_the_sizes_its_nodes_come_with() -> None:
    found = eligible(a_demand(), a_fleet(a_node("a", gpus=8), a_node("b", gpus=4), a_node("c", gpus=4)))
    assert found.pools[0].node_sizes == {4, 8}


@pytest.mark.parametrize(
    ("places", "expected"),
    [(("r1", ""), ()), (("", "z"), ((NoPlace("rack"), 1),))],
)
def test_a_node_without_a_place_at_the_bounding_level_is_left_out(
    places: tuple[str, ...], expected: tuple[tuple[NoPlace, int], ...]
) -> None:
    fleet = a_fleet(a_node(places=places), levels=("rack", "zone"))
    assert eligible(a_demand(within="rack"), fleet).excluded == expected


def test_stated_facts_of_a_product_win_over_the_table() -> None:
    stated = replace(gpu_kind(L40S), nvlink=9e11)
    fleet = replace(a_fleet(l40s(1)), kinds=(stated,))
    assert eligible(a_demand(), fleet).pools[0].kind == stated


MI300 = "AMD_Instinct_MI300X_OAM"
NOT_LISTED = "offers amd.com/gpu: `spec.gpuBudget.products` must list it, `spec.engine.image` run on it"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, NOT_LISTED),
        ({"own_image": True}, NOT_LISTED),
        ({"products": (MI300,)}, NOT_LISTED),
        ({"products": (MI300,), "own_image": True}, None),
        ({"products": ("Instinct_MI300X_OAM",), "own_image": True}, None),
        ({"products": (H100,), "own_image": True}, "has a product that `spec.gpuBudget.products` does not list"),
    ],
    ids=["nobody asked", "an image alone", "listed alone", "both", "both, without the vendor", "another product"],
)
def test_amd_gpus_are_for_those_who_list_them_and_bring_an_image(asked: dict[str, Any], expected: str | None) -> None:
    """The engines' own images are built for CUDA."""
    assert reason(a_demand(**asked), an_amd_node()) == expected


def test_a_pool_knows_what_its_pods_ask_for() -> None:
    demand = a_demand(products=(MI300, H100), own_image=True)
    pools = eligible(demand, a_fleet(an_amd_node(), h100s(1))).pools
    assert [(pool.product, pool.resource) for pool in pools] == [(MI300, "amd.com/gpu"), (H100, "nvidia.com/gpu")]
    assert pools[0].kind.nvlink == 448e9


def test_a_plan_on_amd_asks_for_their_resource() -> None:
    made = plan(a_demand(products=(MI300,), own_image=True), a_fleet(an_amd_node()))
    assert isinstance(made, Plan)
    assert made.resource == "amd.com/gpu"


def test_the_taint_of_the_vendors_operator_is_tolerated_and_no_other_vendors() -> None:
    demand = a_demand(products=(MI300,), own_image=True)
    taints = [Taint("amd.com/gpu", "", SCHED)]
    assert reason(demand, an_amd_node()._replace(taints=tuple(taints))) is None
    assert reason(a_demand(), a_node(taints=taints)) == "has the taint `amd.com/gpu=:NoSchedule`"


def an_amd_node() -> Node:
    return a_node("amd", memory_mib=196608)._replace(product=MI300, resource="amd.com/gpu")


def test_one_product_spelt_in_two_ways_is_one_pool() -> None:
    """Old drivers leave the vendor out: a group may lie on both."""
    old = a_node("b", memory_mib=81000)._replace(product="H100-80GB-HBM3")
    (pool,) = eligible(a_demand(), a_fleet(a_node("a"), old)).pools
    assert (pool.product, len(pool.nodes)) == (H100, 2)
    assert pool.memory == cuda_bytes(H100, 81000)


def test_nodes_left_out_are_counted_by_domain() -> None:
    rack = gb200_rack(4)
    broken = rack[1]._replace(exclusion=Exclusion.FAULTY, free=0)
    (pool,) = eligible(a_demand(), a_fleet(rack[0], broken, rack[2:])).pools
    assert dict(pool.left_out) == {"rack-0": 1}


SHAPES: dict[str, tuple[list[Node], dict[str, Any], dict[str, dict[tuple[int, ...], int]]]] = {
    "nodes": ([*h100s(3, free=(8, 4, 8))], {}, {"": {(8,): 2, (4,): 1}}),
    "a rack": ([*gb200_rack(3, free=(4, 0, 2))], {}, {"": {(0, 2, 4): 1}}),
    "two racks": (
        [*gb200_rack(2, clique="a"), *gb200_rack(2, clique="b")],
        {},
        {"": {(4, 4): 2}},
    ),
    "a rack cut by its nodes": (
        [*gb200_rack(2)],
        {"within": "node"},
        {"rack-0-tray-00": {(4,): 1}, "rack-0-tray-01": {(4,): 1}},
    ),
    "nodes in zones": (
        [a_node("a", labels={"zone": "x"}), a_node("b", labels={"zone": "y"}), a_node("c", labels={"zone": "x"})],
        {"within": "zone"},
        {"x": {(8,): 2}, "y": {(8,): 1}},
    ),
}


@pytest.mark.parametrize(("nodes", "asked", "shapes"), SHAPES.values(), ids=SHAPES)
def test_domains_are_counted_by_their_free_gpus(
    nodes: list[Node], asked: dict[str, Any], shapes: dict[str, dict[tuple[int, ...], int]]
) -> None:
    (pool,) = eligible(a_demand(**asked), a_fleet(nodes)).pools
    assert {bound: dict(counted) for bound, counted in pool.domain_counts.items()} == shapes
