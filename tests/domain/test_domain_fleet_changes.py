"""Fleets that differ in a few nodes: made from each other, and compared."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import a_fleet, a_node, h100s

from shardwise.domain.fleet import Fleet, Node, changed_nodes

SIZES = (1, 63, 64, 65, 200)


@pytest.mark.parametrize("size", SIZES)
def test_a_fleet_with_other_values_of_nodes_shares_all_others(size: int) -> None:
    fleet = a_fleet(h100s(size), levels=("rack",))
    first, last = (node._replace(free=1) for node in (fleet.nodes[0], fleet.nodes[-1]))
    found = fleet.with_nodes([last, first])
    assert [node.free for node in found.nodes] == [1, *[8] * (size - 2), *[1] * (size > 1)]
    assert all(mine is other for mine, other in zip(found.nodes[1:-1], fleet.nodes[1:-1], strict=True))
    assert found.levels == fleet.levels
    assert {node.free for node in fleet.nodes} == {8}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("at", [0, 1, -1])
def test_a_single_change_is_found_wherever_it_is(size: int, at: int) -> None:
    fleet = a_fleet(h100s(size))
    node = fleet.nodes[min(at, size - 1)]
    left = Fleet(tuple(other for other in fleet.nodes if other is not node))
    changed = node._replace(free=3)
    assert changed_nodes(fleet, fleet.with_nodes([changed])) == [(node, changed)]
    assert changed_nodes(fleet, left) == [(node, None)]
    assert changed_nodes(left, fleet) == [(None, node)]
    assert changed_nodes(fleet, a_fleet(h100s(size))) == []


NODES = st.dictionaries(st.integers(0, 150), st.integers(0, 8), max_size=100)


def fleet_of(free: dict[int, int]) -> Fleet:
    nodes = {number: a_node(f"n{number:03}", free=count) for number, count in free.items()}
    return Fleet(tuple(nodes[number] for number in sorted(nodes)))


@given(NODES, NODES)
def test_the_changes_turn_a_fleet_into_the_other(before: dict[int, int], after: dict[int, int]) -> None:
    """Each node once, and only nodes that are not equal."""
    old, new = fleet_of(before), fleet_of(after)
    nodes: dict[str, Node] = {node.name: node for node in old.nodes}
    seen: set[str] = set()
    for gone, come in changed_nodes(old, new):
        name = (gone or come or old.nodes[0]).name
        assert gone != come
        assert nodes.pop(name, None) == gone
        assert name not in seen
        seen.add(name)
        if come is not None:
            assert come.name == name
            nodes[name] = come
    assert tuple(nodes[name] for name in sorted(nodes)) == new.nodes


def test_a_node_with_other_counts_is_otherwise_the_same() -> None:
    """Every field has a value of its own, so that none is in the place of another."""
    fields = {name: cast("Any", f"value of {name}") for name in Node._fields}
    node = Node(**fields)
    assert node.with_left(3, (("cpu", 1),)) == node._replace(free=3, taken=(("cpu", 1),))
