"""The free GPUs by domain and by every place above it, the same after any number of pods as if counted anew."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.examples import FACTOR
from tests.support.fleets import GB200, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import a_demand

from shardwise.domain.fleet import Node
from shardwise.planner.domain_slots import DomainSlots
from shardwise.planner.places import Scope
from shardwise.planner.pools import Pool, eligible

LEVELS = ("rack", "block")


def pool_of(nodes: Sequence[Node], within: str | None = None) -> Pool:
    height = len(nodes[0].places)
    (pool,) = eligible(a_demand(within=within), a_fleet(nodes, levels=LEVELS[:height])).pools
    return pool


def slots(scopes: Iterable[Scope], tensor: int) -> dict[str, int]:
    return {scope.name: scope.slots(tensor) for scope in scopes}


def level(domain_slots: DomainSlots, number: int) -> dict[str, int]:
    return slots(domain_slots.levels[number].values(), domain_slots.tensor)


TREE = [
    a_node("a", places=("r1", "b1")),
    a_node("b", places=("r1", "b1"), free=4),
    a_node("c", places=("r2", "b1")),
    a_node("d", places=("r1", "b2")),
    a_node("e", places=("", "b2")),
    a_node("f", places=("", "")),
]


def test_slots_are_counted_at_every_level() -> None:
    """A rack is named with its block; a node without a place counts in those above."""
    domain_slots = DomainSlots(pool_of(TREE), 4)
    assert level(domain_slots, 0) == {"/r1/b1": 3, "/r2/b1": 2, "/r1/b2": 2}
    assert level(domain_slots, 1) == {"/b1": 5, "/b2": 4}
    assert level(domain_slots, 2) == {"": 11}


def test_places_know_those_inside_them() -> None:
    domain_slots = DomainSlots(pool_of(TREE), 4)
    (everywhere,) = domain_slots.levels[2].values()
    inside = domain_slots.places.inside
    blocks = {scope.name: scope for scope in inside(everywhere)}
    assert set(blocks) == {"/b1", "/b2"}
    assert [scope.name for scope in inside(blocks["/b1"])] == ["/r1/b1", "/r2/b1"]
    assert (everywhere.loose, blocks["/b1"].loose, blocks["/b2"].loose) == (1, 0, 1)


def test_domains_are_held_by_their_shape_in_name_order() -> None:
    domain_slots = DomainSlots(
        pool_of([*gb200_rack(2, clique="b"), *gb200_rack(2, clique="a"), *gb200_rack(2, clique="c", free=(4, 1))]), 4
    )
    (everywhere,) = domain_slots.levels[-1].values()
    assert everywhere.held == {(4, 4): [("", "a"), ("", "b")], (1, 4): [("", "c")]}


@pytest.mark.parametrize(("tensor", "expected"), [(1, 20), (4, 5), (8, 2), (3, 5), (16, 0), (21, 0)])
def test_slots_are_free_gpus_by_the_tensor_degree(tensor: int, expected: int) -> None:
    """Per domain: what is left of one node is no use to another."""
    domain_slots = DomainSlots(pool_of(h100s(3, free=(8, 8, 4))), tensor)
    (everywhere,) = domain_slots.levels[-1].values()
    assert everywhere.slots(tensor) == expected


def test_a_bounding_place_is_a_world_of_its_own() -> None:
    """One root for each, and racks cut where it cuts them."""
    domain_slots = DomainSlots(pool_of(list(gb200_rack(3)), within="node"), 4)
    assert level(domain_slots, -1) == {"rack-0-tray-00": 1, "rack-0-tray-01": 1, "rack-0-tray-02": 1}


def test_taking_the_last_gpu_of_a_shape_leaves_no_empty_shape() -> None:
    domain_slots = DomainSlots(pool_of([a_node("a")]), 8)
    domain_slots.take(("", "a"), "a", 8)
    (everywhere,) = domain_slots.levels[-1].values()
    assert everywhere.held == {(0,): [("", "a")]}
    assert everywhere.slots(8) == 0
    assert domain_slots.slots(("", "a")) == 0


TRAYS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("pq"), st.sampled_from(["r1", "r2", ""]), st.sampled_from(["b1", ""])),
    min_size=1,
    max_size=8,
)


class Taking(RuleBasedStateMachine):
    """Pods take GPUs in any order; every scope stays what counting anew would give."""

    @initialize(rows=TRAYS, tensor=st.sampled_from([1, 2, 4, 8]))
    def begin(self, rows: list[tuple[int, str, str, str]], tensor: int) -> None:
        self.nodes = [
            a_node(f"t{index}", product=GB200, gpus=4, free=free, domain=domain, places=(rack, block))
            for index, (free, domain, rack, block) in enumerate(rows)
        ]
        self.tensor = tensor
        self.domain_slots = DomainSlots(pool_of(self.nodes), tensor)

    @rule(which=st.integers(0, 7), gpus=st.integers(1, 4))
    def a_pod_takes_gpus(self, which: int, gpus: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        gpus = min(gpus, self.domain_slots.free(node))
        if gpus:
            self.domain_slots.take(("", node.domain), node.name, gpus)

    @invariant()
    def every_scope_is_as_if_counted_anew(self) -> None:
        if not hasattr(self, "domain_slots"):
            return
        left = [a_left(node, self.domain_slots.free(node)) for node in self.nodes]
        fresh = DomainSlots(pool_of(left), self.tensor)
        for mine, other in zip(self.domain_slots.levels, fresh.levels, strict=True):
            assert slots(mine.values(), self.tensor) == slots(other.values(), self.tensor)
            for name, scope in mine.items():
                assert scope.held == other[name].held


def a_left(node: Node, free: int) -> Node:
    return a_node(node.name, product=GB200, gpus=4, free=free, domain=node.domain, places=node.places)


TestTaking = Taking.TestCase
TestTaking.settings = settings(max_examples=60 * FACTOR, stateful_step_count=12)
