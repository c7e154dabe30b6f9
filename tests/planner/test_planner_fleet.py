"""Whole plans on whole fleets: racks with broken trays, levels, objects one after the other; what a refusal counts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.fleets import GB200, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, R1, Dense, a_demand, a_model, attention, pinned
from tests.support.plans import check_capacity, check_invariants, planned, pods, refused
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Exclusion, Fleet, Node
from shardwise.domain.plan import Plan, Rule
from shardwise.domain.refusal import DomainTooSmall, NoRoom, RefusalReason
from shardwise.explain.causes import cause
from shardwise.planner import plan, take

BROKEN = (3, 11)


def broken_rack() -> Fleet:
    """Give a GB200 rack of 18 trays, two of which are out."""
    return a_fleet(
        tray._replace(exclusion=Exclusion.FAULTY, free=0) if index in BROKEN else tray
        for index, tray in enumerate(gb200_rack(18))
    )


@pytest.mark.parametrize("tensor", [8, 16])
def test_tensor_groups_wider_than_a_tray_fit_inside_the_clique(tensor: int) -> None:
    made = planned(a_demand(R1, budget=72, pins=pinned(tensor, 1)), broken_rack())
    assert made.layout.tensor == tensor
    assert len(made.groups[0].pods) == tensor // 4
    assert {pod.domain for pod in made.groups[0].pods} == {"rack-0"}
    used = {int(node[-2:]) for node, _ in pods(made)}
    assert not used & set(BROKEN)


def test_without_pins_a_group_over_trays_is_multi_node_nvlink() -> None:
    made = planned(a_demand(LLAMA_405B, budget=72), broken_rack())
    assert made.rule is Rule.MULTI_NODE_NVLINK


WIDE = a_model(
    attends=attention(heads=72, kv_heads=72, head_dim=64),
    ffn=Dense(72 * 192),
    hidden=72 * 64,
    vocabulary=72 * 64 * 32,
)
"""A model that 72 GPUs may share, which no known one is."""


def test_all_72_gpus_are_refused_with_the_count_of_healthy_trays() -> None:
    """16 of 18 trays are healthy: 64 GPUs, not 72."""
    demand = a_demand(WIDE, budget=72, pins=pinned(72, 1))
    assert planned(demand, a_fleet(gb200_rack(18))).gpus == 72
    refusal = refused(demand, broken_rack())
    assert refusal.excluded == ((Exclusion.FAULTY, 2),)
    assert refusal.nearest is not None
    assert refusal.nearest.cause == DomainTooSmall(GB200, 72, 64, 16, 18)


def test_a_rack_with_fewer_gpus_free_than_it_has_is_no_smaller_domain() -> None:
    """Trays that others hold come back; broken ones are another matter."""
    demand = a_demand(WIDE, budget=72, pins=pinned(72, 1))
    refusal = refused(demand, a_fleet(gb200_rack(18, free=(0, *[4] * 17))))
    assert refusal.nearest is not None
    assert refusal.nearest.cause == NoRoom(GB200, 1, 0, 72, 68, None)
    assert refusal.waits


def test_a_domain_too_small_says_how_many_of_its_nodes_are_usable() -> None:
    said = cause(DomainTooSmall(GB200, 72, 64, 16, 18))
    assert said == "a tensor group of 72 exceeds the largest NVLink domain of NVIDIA-GB200, 64 GPUs on 16 of 18 nodes"
    assert cause(DomainTooSmall("x", 16, 8)) == "a tensor group of 16 exceeds the largest NVLink domain of x, 8 GPUs"


def test_eighteen_stages_of_a_tray_are_refused_with_the_sixteen_there_are() -> None:
    refusal = refused(a_demand(R1, budget=72, pins=pinned(4, 18)), broken_rack())
    assert refusal.nearest is not None
    assert refusal.nearest.cause == NoRoom(GB200, 18, 16, 4, 64, None)
    assert refusal.reason is RefusalReason.CAPACITY_SHORT


def test_a_group_of_24_trays_over_two_racks_is_balanced() -> None:
    fleet = a_fleet(gb200_rack(18, clique="a"), gb200_rack(18, clique="b"))
    made = planned(a_demand(R1, budget=96, pins=pinned(4, 24)), fleet)
    used = [pod.domain for pod in made.groups[0].pods]
    assert used == ["a"] * 12 + ["b"] * 12


def zoned(count: int, zones: str = "ab") -> list[Node]:
    return [a_node(f"n{index:02d}", places=(zones[index % len(zones)],)) for index in range(count)]


def test_a_group_stays_in_one_zone_though_nobody_asked() -> None:
    """The nodes of two zones alternate by name."""
    fleet = a_fleet(zoned(4), levels=("zone",))
    assert [node for node, _ in pods(planned(a_demand(LLAMA_405B, budget=16), fleet))] == ["n00", "n02"]


def test_a_group_bound_to_a_level_is_refused_where_no_place_holds_it() -> None:
    """With the room of the largest place, not of all together."""
    fleet = a_fleet(zoned(4), levels=("zone",))
    refusal = refused(a_demand(LLAMA_405B, budget=24, within="zone", pins=pinned(8, 3)), fleet)
    assert refusal.nearest is not None
    assert refusal.nearest.cause == NoRoom("NVIDIA-H100-80GB-HBM3", 3, 2, 8, 32, "zone")


def test_groups_bound_to_a_level_are_refused_where_the_places_hold_too_few() -> None:
    """Of five and four slots six make whole groups; three groups want nine."""
    fleet = a_fleet(zoned(9), levels=("zone",))
    demand = a_demand(LLAMA_405B, budget=72, replicas=3, within="zone", pins=pinned(8, 3))
    refusal = refused(demand, fleet)
    assert refusal.nearest is not None
    assert refusal.nearest.cause == NoRoom("NVIDIA-H100-80GB-HBM3", 9, 6, 8, 72, "zone")


def test_within_one_nvlink_domain_a_group_does_not_leave_its_rack() -> None:
    fleet = a_fleet(gb200_rack(2, clique="a"), gb200_rack(2, clique="b"))
    assert isinstance(plan(a_demand(R1, budget=16, pins=pinned(4, 2), within="domain"), fleet), Plan)
    assert not isinstance(plan(a_demand(R1, budget=16, pins=pinned(4, 4), within="domain"), fleet), Plan)


def test_objects_one_after_the_other_fill_a_fleet_to_the_last_gpu() -> None:
    """64 GPUs of eight nodes, in four kinds of parts; best fit leaves no crumbs."""
    fleet = a_fleet(h100s(8))
    asked = [(LLAMA_405B, 8, 2), (LLAMA_70B, 4, 1), (LLAMA_8B, 2, 1), (LLAMA_8B, 1, 1), (LLAMA_8B, 1, 1)] * 2
    asked += [(LLAMA_70B, 8, 1)] * 2
    for name, tensor, pipeline in asked:
        made = planned(a_demand(name, budget=16, pins=pinned(tensor, pipeline)), fleet)
        check_capacity(made, fleet)
        fleet = take(fleet, made)
    assert sum(node.free for node in fleet.nodes) == 0


@given(st.lists(demands, min_size=2, max_size=5), fleets(), st.randoms(use_true_random=False))
@examples(60)
def test_concurrent_objects_have_disjoint_plans_in_any_order(
    wanted: list[Demand], fleet: Fleet, random: object
) -> None:
    """What one takes is gone for the next, whoever comes first."""
    random.shuffle(wanted)  # type: ignore[attr-defined]
    taken = dict.fromkeys((node.name for node in fleet.nodes), 0)
    left = fleet
    for demand in wanted:
        made = plan(demand, left)
        if isinstance(made, Plan):
            check_invariants(made)
            for node, gpus in made.gpus_by_node().items():
                taken[node] += gpus
            left = take(left, made)
    assert all(taken[node.name] <= node.free for node in fleet.nodes)


@given(demands, fleets())
@examples(100)
def test_a_plan_counts_its_gpus_by_node(demand: Demand, fleet: Fleet) -> None:
    made = plan(demand, fleet)
    if isinstance(made, Plan):
        assert sum(made.gpus_by_node().values()) == made.gpus
        left = take(fleet, made)
        used = made.gpus_by_node()
        assert [node is other for node, other in zip(fleet.nodes, left.nodes, strict=True)] == [
            node.name not in used for node in fleet.nodes
        ]


PLACED = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from("ab"), st.sampled_from("xy")), min_size=1, max_size=6
).map(
    lambda rows: [
        a_node(f"n{index}", free=free, places=(rack, block)) for index, (free, rack, block) in enumerate(rows)
    ]
)


@given(PLACED, demands, st.integers(0, 5))
@examples(100)
def test_freeing_a_gpu_never_turns_a_fit_into_a_refusal_on_levels(
    nodes: list[Node], demand: Demand, which: int
) -> None:
    """Bound to a rack, with several groups."""
    asked = replace(demand, within="rack", products=())
    levels = ("rack", "block")
    if not isinstance(plan(asked, a_fleet(nodes, levels=levels)), Plan):
        return
    more = [
        node._replace(free=min(8, node.free + 1)) if index == which % len(nodes) else node
        for index, node in enumerate(nodes)
    ]
    assert isinstance(plan(asked, a_fleet(more, levels=levels)), Plan)
