"""Placement against an exact oracle, on random small fleets: it succeeds when the oracle does, and crosses no more.

2,900 fleets on every run, in six kinds; `make thorough` tries twenty times as many.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.support import oracle
from tests.support.examples import examples
from tests.support.fleets import a_fleet, a_node, gb200_rack
from tests.support.models import a_demand
from tests.support.strategies import layouts_of, nvswitch_nodes, rack_nodes

from shardwise.domain.fleet import Node
from shardwise.domain.layout import Layout
from shardwise.domain.plan import GroupPlacement
from shardwise.planner.placement import place
from shardwise.planner.pools import eligible


def placed(
    nodes: Sequence[Node], layout: Layout, replicas: int = 1, levels: tuple[str, ...] = (), **changes: Any
) -> tuple[GroupPlacement, ...] | None:
    demand = a_demand(replicas=replicas, **changes)
    pools = eligible(demand, a_fleet(nodes, levels=levels)).pools
    return place(demand, pools[0], layout) if pools else None


def check(groups: Sequence[GroupPlacement], nodes: Sequence[Node], layout: Layout, *, rack: bool) -> None:
    """Hold a placement to the GPUs there are, to whole groups of equal pods, and each stage to one domain."""
    free = {node.name: node.free for node in nodes}
    for group in groups:
        assert sum(pod.gpus for pod in group.pods) == layout.world_size
        assert len({pod.gpus for pod in group.pods}) == 1
        domain_of = {rank: pod.domain if rack else pod.node for pod in group.pods for rank in pod.ranks}
        for start in range(0, layout.world_size, layout.tensor):
            assert len({domain_of[rank] for rank in range(start, start + layout.tensor)}) == 1
        for pod in group.pods:
            free[pod.node] -= pod.gpus
    assert min(free.values()) >= 0


def parts(groups: Sequence[GroupPlacement], *, rack: bool) -> int:
    return sum(len({pod.domain if rack else pod.node for pod in group.pods}) for group in groups)


def held_to_the_oracle(nodes: list[Node], layout: Layout, replicas: int, *, rack: bool) -> None:
    found = placed(nodes, layout, replicas)
    exact = oracle.fewest_parts(nodes, layout, replicas, rack=rack)
    assert (found is None) is (exact is None), f"{layout} x {replicas} on {[(n.domain, n.free) for n in nodes]}"
    if found is not None:
        check(found, nodes, layout, rack=rack)
        assert parts(found, rack=rack) == exact


asked = layouts_of(st.sampled_from([1, 2, 3, 4, 6, 8]), st.integers(1, 6)).filter(
    lambda layout: layout.world_size <= 20
)
small = asked.filter(lambda layout: layout.world_size <= 10)


@given(nvswitch_nodes, asked)
@examples(600)
def test_a_group_on_nodes_is_placed_as_the_oracle_would(nodes: list[Node], layout: Layout) -> None:
    held_to_the_oracle(nodes, layout, 1, rack=False)


@given(rack_nodes, asked)
@examples(600)
@example(list(gb200_rack(4, free=(3, 3, 1, 1))), Layout(8, 1))
@example(list(gb200_rack(4, free=(3, 3, 3, 3))), Layout(6, 2))
@example([*gb200_rack(2, clique="a", free=(3, 3)), *gb200_rack(2, clique="b", free=(4, 2))], Layout(6, 2))
def test_a_group_in_racks_is_placed_as_the_oracle_would(nodes: list[Node], layout: Layout) -> None:
    held_to_the_oracle(nodes, layout, 1, rack=True)


@given(nvswitch_nodes, small, st.integers(2, 3))
@examples(500)
@example([a_node(f"n{index}", free=free) for index, free in enumerate((8, 1, 8, 8))], Layout(1, 12), 2)
@example([a_node(f"n{index}", free=free) for index, free in enumerate((3, 5, 3, 1, 1))], Layout(1, 4), 3)
@example([a_node(f"n{index}", free=free) for index, free in enumerate((3, 3, 5, 1, 7, 1))], Layout(1, 8), 2)
def test_several_groups_on_nodes_are_placed_as_the_oracle_would(nodes: list[Node], layout: Layout, groups: int) -> None:
    """Where one group after the other would leave crumbs to the last, they are dealt out together."""
    held_to_the_oracle(nodes, layout, groups, rack=False)


@given(rack_nodes, small, st.integers(2, 3))
@examples(500)
def test_several_groups_in_racks_are_placed_as_the_oracle_would(nodes: list[Node], layout: Layout, groups: int) -> None:
    held_to_the_oracle(nodes, layout, groups, rack=True)


LEVELS = ("rack", "block")
placed_nodes = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["r1", "r2", "r3", ""]), st.sampled_from(["b1", "b2", ""])),
    min_size=1,
    max_size=6,
).map(
    lambda rows: [
        a_node(f"node-{index}", free=free, places=(rack, block)) for index, (free, rack, block) in enumerate(rows)
    ]
)


def level_of(group: GroupPlacement, nodes: Sequence[Node]) -> int:
    """Give the narrowest level at which all nodes of a group are in one place."""
    used = [node for node in nodes if node.name in {pod.node for pod in group.pods}]
    if len(used) == 1:
        return 0
    for level in range(len(LEVELS)):
        if len({node.places[level:] for node in used}) == 1 and used[0].places[level]:
            return level + 1
    return len(LEVELS) + 1


@given(placed_nodes, asked)
@examples(400)
def test_a_group_goes_to_the_narrowest_place_the_oracle_finds(nodes: list[Node], layout: Layout) -> None:
    """And there into as few domains. Racks of one name in two blocks are two racks."""
    found = placed(nodes, layout, levels=LEVELS)
    exact = oracle.narrowest(nodes, layout, rack=False)
    if found is None:
        assert exact is None
        return
    check(found, nodes, layout, rack=False)
    assert (level_of(found[0], nodes), parts(found, rack=False)) == exact


@given(placed_nodes, small, st.integers(1, 3), st.sampled_from([0, 1]))
@examples(300)
def test_groups_bound_to_a_level_fit_when_the_oracle_says_so(
    nodes: list[Node], layout: Layout, groups: int, level: int
) -> None:
    found = placed(nodes, layout, groups, LEVELS, within=LEVELS[level])
    assert (found is not None) is oracle.bounded(nodes, layout, groups, level, rack=False)
    for group in found or ():
        assert level_of(group, nodes) <= level + 1


def test_the_random_asks_fit_often_and_are_refused_often() -> None:
    """Agreement would be worth little were nearly all of one kind."""
    outcomes: list[bool] = []

    @given(nvswitch_nodes | rack_nodes, asked)
    @examples(200)
    def collect(nodes: list[Node], layout: Layout) -> None:
        outcomes.append(placed(nodes, layout) is not None)

    collect()
    assert 0.2 < sum(outcomes) / len(outcomes) < 0.8
