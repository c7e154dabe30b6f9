"""A fleet sorted by its changes is sorted as if anew: pools, domains, places, reasons and idle GPUs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pytest_mock import MockerFixture
from tests.support.examples import FACTOR
from tests.support.fleets import GB200, H100, H200, L40S, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand, pinned

from shardwise.domain.demand import Demand, Operator, Requirement, Toleration
from shardwise.domain.exclusions import Mismatch, TooSmall
from shardwise.domain.fleet import Exclusion, Fleet, Node, Taint
from shardwise.domain.needs import A_CHANNEL, IdleGpus, PodNeeds
from shardwise.planner import plan, same_fleet
from shardwise.planner.alike import Classes
from shardwise.planner.places import PoolPlaces
from shardwise.planner.pools import Eligible, Pool, eligible
from shardwise.planner.same_fleet import MOST_WISHES, sorted_for
from shardwise.planner.solve import survey
from shardwise.planner.sorting import MOST_CHANGES, Sorting

LEVELS = ("rack", "block")
CORES = PodNeeds(each_pod=(("cpu", 2000),), each_gpu=(("cpu", 4000),))
WISHES: dict[str, Demand] = {
    "any node": a_demand(LLAMA_8B),
    "a product": a_demand(LLAMA_8B, products=(H100,)),
    "a label": a_demand(LLAMA_8B, node_selector=(("team", "blue"),)),
    "a term": a_demand(LLAMA_8B, node_affinity=((Requirement("team", Operator.EXISTS),),)),
    "a toleration": a_demand(LLAMA_8B, tolerations=(Toleration("kept", "Exists"),)),
    "inside a rack": a_demand(LLAMA_8B, within="rack"),
    "inside a domain": a_demand(LLAMA_8B, within="domain"),
    "inside a label's value": a_demand(LLAMA_8B, within="team"),
    "cores": a_demand(LLAMA_8B, needs=CORES),
    "channels": a_demand(LLAMA_8B, needs=PodNeeds(in_stage=A_CHANNEL)),
}


def places_of(pool: Pool) -> object:
    """Say everything about the domains and places of a pool."""
    domains = pool.domains
    return (
        pool.all_domains(),
        domains.sizes,
        [
            {path: (scope.held, scope.inner, scope.loose, scope.slots(4)) for path, scope in level.items()}
            for level in domains.places.levels
        ],
    )


def all_of(pool: Pool) -> object:
    """Say everything about a pool, also as it would be with and without NVLink between its nodes."""
    counted = pool.members.names, pool.members.counts, pool.size, pool.gpus, pool.free, pool.most_free
    largest = pool.largest_domain, pool.nodes_of_largest_domain, pool.unlabelled, pool.left_out
    shapes = [replace(pool, apart=True), replace(pool, joined=True), pool]
    return pool, pool.nodes, counted, largest, [places_of(shape) for shape in shapes]


def everything(found: Eligible) -> object:
    return [all_of(pool) for pool in found.pools], found.excluded, found.idle


def anew(demand: Demand, fleet: Fleet, *, emptied: bool = False) -> Eligible:
    """Sort a fleet without a look at any other."""
    same_fleet._sorted.clear()
    return eligible(demand, fleet, emptied=emptied)


NODES = st.builds(
    lambda number, product, free, domain, place, rest: a_node(
        f"n{number}",
        product=product,
        gpus=4 if product == GB200 else 8,
        free=min(free, 4 if product == GB200 else 8),
        domain=domain if product == GB200 else f"n{number}",
        places=place,
        **rest,
    ),
    st.integers(0, 11),
    st.sampled_from([H100, GB200, GB200, L40S]),
    st.integers(0, 8),
    st.sampled_from(["p", "q", "n3"]),
    st.sampled_from([("r1", "b1"), ("r2", "b1"), ("r1", "b2"), ("", "b2"), ("", "")]),
    st.sampled_from(
        [
            {},
            {},
            {"labels": {"team": "blue"}},
            {"taints": (Taint("kept", "", "NoSchedule"),)},
            {"exclusion": Exclusion.NOT_READY},
        ]
    ),
)
RESOURCES = st.sampled_from([(), (("cpu", 32_000),), (("cpu", 5_000),), (("cpu", 192_000),)])


class Changing(RuleBasedStateMachine):
    """Nodes come, go, and change in any way; what is sorted step by step is as if sorted anew."""

    @initialize(nodes=st.lists(NODES, max_size=8), wish=st.sampled_from(list(WISHES)), emptied=st.booleans())
    def begin(self, nodes: list[Node], wish: str, emptied: bool) -> None:
        self.demand, self.emptied = WISHES[wish], emptied
        self.nodes = {node.name: node for node in nodes}
        self.sorting = Sorting(self.demand, self.fleet(), emptied=emptied)

    def fleet(self) -> Fleet:
        found = [self.nodes[name] for name in sorted(self.nodes)]
        return a_fleet(found, levels=LEVELS) if found else Fleet((), LEVELS)

    @rule(node=NODES)
    def a_node_comes_or_changes(self, node: Node) -> None:
        self.nodes[node.name] = node

    @rule(which=st.integers(0, 11))
    def a_node_goes(self, which: int) -> None:
        self.nodes.pop(f"n{which}", None)

    @rule(which=st.integers(0, 11), free=st.integers(0, 8))
    def pods_come_and_go(self, which: int, free: int) -> None:
        node = self.nodes.get(f"n{which}")
        if node is not None and node.exclusion is None:
            self.nodes[node.name] = node._replace(free=min(free, node.gpus))

    @rule(which=st.integers(0, 11), offered=RESOURCES, taken=RESOURCES)
    def cores_come_and_go(self, which: int, offered: Any, taken: Any) -> None:
        node = self.nodes.get(f"n{which}")
        if node is not None:
            self.nodes[node.name] = node._replace(allocatable=offered, taken=taken)

    @rule()
    def somebody_looks(self) -> None:
        """Domains and places are made when somebody asks for them, and then follow."""
        fleet = self.fleet()
        self.sorting = self.sorting.changed(fleet)
        same_fleet._sorted.clear()
        key = next(iter(_keys(self.demand, fleet, emptied=self.emptied)))
        same_fleet._sorted[key] = self.sorting
        step_by_step = everything(eligible(self.demand, fleet, emptied=self.emptied))
        assert step_by_step == everything(anew(self.demand, fleet, emptied=self.emptied))

    @invariant()
    def nothing_is_forgotten(self) -> None:
        if hasattr(self, "sorting"):
            found = self.sorting.changed(self.fleet())
            fresh = Sorting(self.demand, self.fleet(), emptied=self.emptied)
            assert (found.excluded, found.idle, found.left_out) == (fresh.excluded, fresh.idle, fresh.left_out)


def _keys(demand: Demand, fleet: Fleet, *, emptied: bool) -> list[Any]:
    sorted_for(demand, fleet, emptied=emptied)
    return list(same_fleet._sorted)


TestChanging = Changing.TestCase
TestChanging.settings = settings(max_examples=40 * FACTOR, stateful_step_count=12)


@given(st.lists(NODES, min_size=1, max_size=8), st.lists(NODES, max_size=4), st.sampled_from(list(WISHES)))
@settings(max_examples=60)
def test_an_earlier_sorting_is_not_changed_by_a_later(before: list[Node], after: list[Node], wish: str) -> None:
    """Two decisions in two threads look at two fleets."""
    demand = WISHES[wish]
    first = {node.name: node for node in before}
    fleet = a_fleet(first.values(), levels=LEVELS)
    found = anew(demand, fleet)
    seen = everything(found)
    later = first | {node.name: node for node in after}
    everything(eligible(demand, a_fleet(later.values(), levels=LEVELS)))
    assert everything(found) == seen
    assert everything(anew(demand, fleet)) == seen


def counted(mocker: MockerFixture, nodes: int) -> int:
    """Count the nodes that a plan looks at after a pod has come to one of so many nodes."""
    fleet = a_fleet(h100s(nodes), gb200_rack(18))
    demand = a_demand(LLAMA_405B, budget=64)
    same_fleet._sorted.clear()
    plan(demand, fleet)
    looked_at = mocker.spy(Classes, "of")
    node = fleet.nodes[nodes // 2]
    plan(demand, fleet.with_nodes([node._replace(free=3)]))
    mocker.stop(looked_at)
    return int(looked_at.call_count)


def test_a_plan_after_an_event_looks_at_the_node_of_the_event_however_many_there_are(mocker: MockerFixture) -> None:
    """Its class before and after, in the fleet as it is."""
    assert counted(mocker, 40) == counted(mocker, 1000) == 2


def test_a_fleet_is_sorted_anew_class_by_class_and_place_by_place_however_many_nodes_there_are(
    mocker: MockerFixture,
) -> None:
    decided, moved = mocker.spy(Classes, "of"), mocker.spy(PoolPlaces, "move")
    for nodes in (40, 1000):
        decided.reset_mock()
        (h100, gb200) = anew(a_demand(LLAMA_405B, budget=64), a_fleet(h100s(nodes), gb200_rack(18))).pools
        assert [len(pool.domains.places.roots) for pool in (h100, gb200)] == [1, 1]
        assert (decided.call_count, moved.call_count) == (2, 0)


def test_a_fleet_that_did_not_change_is_not_looked_at(mocker: MockerFixture) -> None:
    fleet, demand = a_fleet(h100s(9)), a_demand(LLAMA_8B)
    plan(demand, fleet)
    looked_at = mocker.spy(Classes, "of")
    plan(replace(demand, key="another/object"), fleet)
    plan(a_demand(LLAMA_405B, budget=64), fleet)
    assert looked_at.call_count == 0


def test_a_fleet_with_very_many_changes_is_sorted_anew() -> None:
    demand, fleet = a_demand(LLAMA_8B), a_fleet(h100s(MOST_CHANGES + 1))
    first = Sorting(demand, fleet)
    few = fleet.with_nodes([node._replace(free=1) for node in fleet.nodes[:MOST_CHANGES]])
    many = fleet.with_nodes([node._replace(free=1) for node in fleet.nodes])
    assert first.changed(few)._classes is first._classes
    assert first.changed(many)._classes is not first._classes
    assert [found.free for found in first.changed(many).members] == [len(fleet.nodes)]


def test_the_latest_wishes_are_kept() -> None:
    same_fleet._sorted.clear()
    fleet = a_fleet(h100s(2))
    demands = [a_demand(LLAMA_8B, node_selector=(("number", str(number)),)) for number in range(MOST_WISHES + 1)]
    found = [sorted_for(demand, fleet, emptied=False) for demand in demands]
    assert len(same_fleet._sorted) == MOST_WISHES
    assert sorted_for(demands[-1], fleet, emptied=False) is found[-1]
    assert sorted_for(demands[0], fleet, emptied=False) is not found[0]


OTHERS: dict[str, tuple[Demand, Fleet]] = {
    "another wish": (WISHES["a product"], a_fleet(h100s(2))),
    "other levels": (WISHES["any node"], a_fleet(h100s(2), levels=("rack",))),
    "no ComputeDomains": (WISHES["any node"], replace(a_fleet(h100s(2)), compute_domains=False)),
}


@pytest.mark.parametrize(("demand", "fleet"), OTHERS.values(), ids=OTHERS)
def test_sortings_of_other_wishes_and_other_clusters_stay_apart(demand: Demand, fleet: Fleet) -> None:
    plain = a_fleet(h100s(2))
    first = sorted_for(WISHES["any node"], plain, emptied=False)
    other = sorted_for(demand, fleet, emptied=False)
    assert other is not first
    assert sorted_for(WISHES["any node"], plain, emptied=False) is first
    assert sorted_for(WISHES["any node"], plain, emptied=True) is not first


def test_an_emptied_fleet_is_as_if_nobody_held_anything() -> None:
    nodes = [node._replace(taken=(("cpu", 5000),), allocatable=(("cpu", 64_000),)) for node in h100s(3, free=(0, 4, 8))]
    demand = a_demand(LLAMA_8B, needs=CORES)
    (pool,) = anew(demand, a_fleet(nodes), emptied=True).pools
    assert [node.free for node in pool.nodes] == [8, 8, 8]
    assert {node.taken for node in pool.nodes} == {()}
    (held,) = eligible(demand, a_fleet(nodes)).pools
    assert [node.free for node in held.nodes] == [0, 4, 8]


def idle_on(nodes: Sequence[Node]) -> tuple[IdleGpus, ...]:
    return eligible(WISHES["cores"], a_fleet(nodes)).idle


def test_idle_gpus_name_the_first_node_by_name_after_any_change() -> None:
    short = [node._replace(allocatable=(("cpu", 18_000),)) for node in h100s(3)]
    assert idle_on(short) == (IdleGpus("cpu", 12, 3, "h100-00", 34_000, 18_000),)
    assert idle_on([short[0], short[2]]) == (IdleGpus("cpu", 8, 2, "h100-00", 34_000, 18_000),)
    assert idle_on([short[0]._replace(allocatable=()), *short[1:]]) == (
        IdleGpus("cpu", 8, 2, "h100-01", 34_000, 18_000),
    )
    assert idle_on([node._replace(allocatable=()) for node in short]) == ()


def test_reasons_of_nodes_are_counted_after_any_change() -> None:
    demand = a_demand(LLAMA_8B, products=(H100,), needs=CORES)
    small = a_node("small")._replace(allocatable=(("cpu", 1000),))
    smaller = a_node("smaller")._replace(allocatable=(("cpu", 500),))
    other = a_node("other", product=H200)
    both = eligible(demand, a_fleet([*h100s(1), small, smaller, other])).excluded
    assert both == ((TooSmall("cpu", 6000, 1000), 2), (Mismatch.UNLISTED_PRODUCT, 1))
    one = eligible(demand, a_fleet([*h100s(1), smaller, other])).excluded
    assert sorted(one, key=str) == sorted([(TooSmall("cpu", 6000, 500), 1), (Mismatch.UNLISTED_PRODUCT, 1)], key=str)
    assert eligible(demand, a_fleet(h100s(1))).excluded == ()


def test_a_pin_wider_than_any_domain_joins_the_nodes_of_a_changed_fleet() -> None:
    demand = a_demand(LLAMA_405B, budget=16, pins=pinned(16, 1))
    fleet = a_fleet(h100s(3))
    eligible(demand, fleet)
    changed = fleet.with_nodes([fleet.nodes[0]._replace(free=2)])
    (facts,) = survey(demand, eligible(demand, changed))
    assert facts.pool.joined
    assert facts.pool.domain_counts == {"": {(2, 8, 8): 1}}


UNLABELLED: dict[str, tuple[Fleet, tuple[int, str]]] = {
    "trays with cliques": (a_fleet(gb200_rack(3)), (0, "")),
    "a tray without a clique": (a_fleet([*gb200_rack(2), a_node("z", product=GB200, gpus=4)]), (1, "z")),
    "two trays without a clique": (
        a_fleet([a_node("z", product=GB200, gpus=4), *gb200_rack(2), a_node("a", product=GB200, gpus=4)]),
        (2, "a"),
    ),
}


@pytest.mark.parametrize(("fleet", "expected"), UNLABELLED.values(), ids=UNLABELLED)
def test_nodes_that_no_label_puts_into_a_domain_are_counted_with_the_first(
    fleet: Fleet, expected: tuple[int, str]
) -> None:
    (pool,) = eligible(a_demand(LLAMA_8B), fleet).pools
    assert pool.unlabelled == expected


FREE: dict[str, tuple[Fleet, tuple[tuple[int, ...], int]]] = {
    "nodes, the most free first": (a_fleet(h100s(4, free=(1, 8, 0, 8))), ((8, 8, 1), 3)),
    "more nodes than are shown": (a_fleet(h100s(7, free=(1, 2, 3, 4, 5, 6, 7))), ((7, 6, 5, 4, 3), 7)),
    "racks": (
        a_fleet(gb200_rack(2, clique="a", free=(1, 2)), gb200_rack(2, clique="b", free=(4, 4))),
        ((8, 3), 2),
    ),
    "nothing": (a_fleet(h100s(2, free=(0, 0))), ((), 0)),
}


@pytest.mark.parametrize(("fleet", "expected"), FREE.values(), ids=FREE)
def test_a_survey_names_the_domains_with_the_most_free_gpus(
    fleet: Fleet, expected: tuple[tuple[int, ...], int]
) -> None:
    demand = a_demand(LLAMA_8B)
    (facts,) = survey(demand, eligible(demand, fleet))
    assert facts.free_by_domain == expected
