"""Placement where nodes lack other resources for pods: exact for a group, valid for several, unchanged where none lack.

The oracle counts pods onto nodes by exhaustion, with the number of pods that a node's resources allow.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support import oracle
from tests.support.examples import examples
from tests.support.fleets import GB200, H100, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import KIMI_K2, LLAMA_8B, LLAMA_70B, LLAMA_405B, R1, a_demand, pinned
from tests.support.plans import fate, planned, pods, refused
from tests.support.strategies import layouts_of

from shardwise.domain.demand import Demand
from shardwise.domain.exclusions import ClaimsUnread, TooSmall
from shardwise.domain.fleet import Exclusion, Node
from shardwise.domain.layout import Layout
from shardwise.domain.needs import A_CHANNEL, Amounts, IdleGpus, PodNeeds, most_pods
from shardwise.domain.notes import WithDriver
from shardwise.domain.plan import GroupPlacement
from shardwise.domain.refusal import DomainTooSmall, PodsShort, RefusalReason
from shardwise.planner.placement import place
from shardwise.planner.pools import eligible

RDMA = PodNeeds(in_group=(("rdma/ib", 8_000),))
CHANNELS = PodNeeds(in_stage=A_CHANNEL)


def offering(node: Node, *amounts: tuple[str, int], taken: Amounts = ()) -> Node:
    return node._replace(allocatable=tuple(sorted(amounts)), taken=taken)


def with_rdma(*nodes: Node) -> list[Node]:
    return [offering(node, ("rdma/ib", 8_000)) for node in nodes]


def per_node(groups: Sequence[GroupPlacement]) -> Counter[str]:
    return Counter(pod.node for group in groups for pod in group.pods)


needs = st.builds(
    PodNeeds,
    each_pod=st.sampled_from([(), (("cpu", 1),), (("cpu", 3),)]),
    each_gpu=st.sampled_from([(), (("cpu", 1),), (("memory", 2),)]),
    in_group=st.sampled_from([(), (("rdma/ib", 4),), (("rdma/ib", 8),)]),
    in_stage=st.sampled_from([(), A_CHANNEL]),
)
resources = st.tuples(st.integers(0, 16), st.integers(0, 20), st.sampled_from([8, 8, 4, 0]), st.integers(0, 6))


def _resourced(node: Node, given: tuple[int, int, int, int]) -> Node:
    cpu, memory, devices, taken = given
    offered = ("cpu", cpu), ("memory", memory), ("rdma/ib", devices)
    return offering(node, *offered, taken=(("cpu", taken),) if taken else ())


plain_nodes = st.lists(st.tuples(st.integers(0, 8), resources), min_size=1, max_size=5).map(
    lambda rows: [_resourced(a_node(f"node-{index}", free=free), given) for index, (free, given) in enumerate(rows)]
)
trays = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), resources), min_size=1, max_size=5).map(
    lambda rows: [
        _resourced(a_node(f"tray-{index}", product=GB200, gpus=4, free=free, domain=f"rack-{rack}"), given)
        for index, (free, rack, given) in enumerate(rows)
    ]
)
asked = layouts_of(st.sampled_from([1, 2, 3, 4, 8]), st.integers(1, 4)).filter(lambda layout: layout.world_size <= 12)


def placed(nodes: Sequence[Node], layout: Layout, demand: Demand) -> tuple[GroupPlacement, ...] | None:
    pools = eligible(demand, a_fleet(nodes)).pools
    return place(demand, pools[0], layout) if pools else None


def allowed(wanted: PodNeeds, layout: Layout) -> oracle.Limit:
    """Give the pods that a node holds with a share, resource by resource."""

    def limit(node: Node, share: int) -> int:
        each = wanted.of_pod(share, layout.tensor, layout.world_size)
        return most_pods(each, node.allocatable, node.taken, node.free)

    return limit


def check(groups: Sequence[GroupPlacement], nodes: Sequence[Node], layout: Layout, wanted: PodNeeds) -> None:
    """Hold a placement to the GPUs and to every other resource of each node."""
    by_name = {node.name: node for node in nodes}
    asked: dict[str, Counter[str]] = {}
    gpus: Counter[str] = Counter()
    for group in groups:
        assert [rank for pod in group.pods for rank in pod.ranks] == list(range(layout.world_size))
        for pod in group.pods:
            gpus[pod.node] += pod.gpus
            asked.setdefault(pod.node, Counter()).update(
                dict(wanted.of_pod(pod.gpus, layout.tensor, layout.world_size))
            )
    for name, count in gpus.items():
        node = by_name[name]
        assert count <= node.free
        left = Counter(dict(node.allocatable) | {A_CHANNEL[0][0]: 1000}) - Counter(dict(node.taken))
        assert all(left[resource] >= amount for resource, amount in asked[name].items()), (name, asked[name])


def held_to_the_oracle(nodes: list[Node], layout: Layout, wanted: PodNeeds, *, rack: bool) -> None:
    found = placed(nodes, layout, a_demand(needs=wanted))
    exact = oracle.fewest_domains(nodes, layout, rack=rack, limit=allowed(wanted, layout))
    assert (found is None) is (exact is None), f"{layout} on {[(n.domain, n.free, n.allocatable) for n in nodes]}"
    if found is not None:
        check(found, nodes, layout, wanted)
        domain_of = {node.name: node.domain if rack else node.name for node in nodes}
        assert len({domain_of[pod.node] for pod in found[0].pods}) == exact


@given(plain_nodes, asked, needs)
@examples(500)
def test_a_group_on_nodes_is_placed_as_the_oracle_would(nodes: list[Node], layout: Layout, wanted: PodNeeds) -> None:
    held_to_the_oracle(nodes, layout, wanted, rack=False)


@given(trays, asked, needs)
@examples(500)
@example(list(gb200_rack(3, free=(3, 3, 3))), Layout(8, 1), CHANNELS)
@example(list(gb200_rack(3, free=(4, 3, 4))), Layout(8, 1), CHANNELS)
def test_a_group_in_racks_is_placed_as_the_oracle_would(nodes: list[Node], layout: Layout, wanted: PodNeeds) -> None:
    held_to_the_oracle(nodes, layout, wanted, rack=True)


@given(plain_nodes | trays, asked, needs, st.integers(2, 3))
@examples(300)
def test_several_groups_never_ask_more_of_a_node_than_it_has(
    nodes: list[Node], layout: Layout, wanted: PodNeeds, replicas: int
) -> None:
    groups = placed(nodes, layout, a_demand(needs=wanted, replicas=replicas))
    if groups is not None:
        check(groups, nodes, layout, wanted)


@given(plain_nodes | trays, asked, st.integers(1, 3))
@examples(300)
def test_needs_that_every_node_meets_change_no_place(nodes: list[Node], layout: Layout, replicas: int) -> None:
    """Nor do the resources of nodes whose pods need nothing."""
    rich = [offering(node, ("cpu", 10**6), ("rdma/ib", 10**6)) for node in nodes]
    wanted = PodNeeds((("cpu", 1),), (("cpu", 1),), (("rdma/ib", 8),))
    bare = placed(nodes, layout, a_demand(replicas=replicas))
    assert placed(rich, layout, a_demand(replicas=replicas, needs=wanted)) == bare


def test_the_random_needs_are_met_often_and_not_often() -> None:
    """Agreement would be worth little were nearly all of one kind; and limits must decide often."""
    outcomes: list[bool] = []

    @given(plain_nodes | trays, asked, needs)
    @examples(300)
    def collect(nodes: list[Node], layout: Layout, wanted: PodNeeds) -> None:
        if placed(nodes, layout, a_demand()) is not None:
            outcomes.append(placed(nodes, layout, a_demand(needs=wanted)) is not None)

    collect()
    assert 0.1 < sum(outcomes) / len(outcomes) < 0.95


def test_devices_that_each_pod_takes_whole_put_one_pod_of_a_group_on_a_node() -> None:
    """Two pods of 4 GPUs on a node would ask for all devices twice."""
    fleet = a_fleet(with_rdma(*h100s(2)))
    made = planned(a_demand(LLAMA_405B, budget=16, needs=RDMA), fleet)
    assert pods(made) == [("h100-00", 8), ("h100-01", 8)]
    smaller = planned(a_demand(LLAMA_405B, budget=12, needs=RDMA), fleet)
    assert max(per_node(smaller.groups).values()) == 1
    assert fate(smaller, Layout(4, 3)) == PodsShort(H100, "h100-00", 2, "rdma/ib", 16_000, 8_000)


def test_a_group_of_one_pod_asks_for_no_device() -> None:
    held = [node._replace(taken=(("rdma/ib", 8_000),)) for node in with_rdma(*h100s(1))]
    assert pods(planned(a_demand(LLAMA_70B, needs=RDMA), a_fleet(held))) == [("h100-00", 4)]


def test_devices_that_others_hold_are_not_planned_on_and_waited_for() -> None:
    first, second = with_rdma(*h100s(2))
    held = second._replace(taken=(("rdma/ib", 1_000),))
    refusal = refused(a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2), needs=RDMA), a_fleet(first, held))
    assert refusal.nearest is not None
    assert refusal.nearest.cause == PodsShort(H100, "h100-01", 1, "rdma/ib", 8_000, 7_000)
    assert (refusal.reason, refusal.waits) == (RefusalReason.CAPACITY_SHORT, True)


def test_devices_that_no_node_has_are_not_waited_for() -> None:
    refusal = refused(a_demand(LLAMA_405B, budget=16, pins=pinned(8, 2), needs=RDMA), a_fleet(h100s(2)))
    assert refusal.nearest is not None
    assert refusal.nearest.cause == PodsShort(H100, "h100-00", 1, "rdma/ib", 8_000, 0)
    assert (refusal.reason, refusal.waits) == (RefusalReason.CAPACITY_SHORT, False)


@pytest.mark.parametrize(
    ("layout", "places"),
    [
        (Layout(8, 1), [("rack-0-tray-00", 4), ("rack-0-tray-03", 4)]),
        (Layout(6, 1), [("rack-0-tray-01", 3), ("rack-0-tray-02", 3)]),
        (Layout(4, 2), [("rack-0-tray-00", 4), ("rack-0-tray-03", 4)]),
    ],
)
def test_a_stage_over_trays_has_one_pod_on_each(layout: Layout, places: list[tuple[str, int]]) -> None:
    """The driver gives a single pod of a node a channel."""
    trays = list(gb200_rack(4, free=(4, 3, 3, 4)))
    groups = placed(trays, layout, a_demand(needs=CHANNELS))
    assert groups is not None
    assert [(pod.node, pod.gpus) for pod in groups[0].pods] == places


def test_replicas_with_domains_of_their_own_share_no_tray() -> None:
    trays = list(gb200_rack(4))
    groups = placed(trays, Layout(4, 1), a_demand(replicas=4, needs=CHANNELS))
    assert groups is not None
    halves = placed([tray._replace(free=2) for tray in trays], Layout(4, 1), a_demand(replicas=2, needs=CHANNELS))
    assert halves is not None
    assert set(per_node(halves).values()) == {1}
    assert placed([*gb200_rack(2, free=(2, 2))], Layout(4, 1), a_demand(replicas=2, needs=CHANNELS)) is None


def test_a_tray_whose_channel_is_held_takes_pods_of_whole_stages_alone() -> None:
    first, *rest = gb200_rack(3)
    trays = [first._replace(free=2, taken=A_CHANNEL), *rest]
    across = placed(trays, Layout(8, 1), a_demand(needs=CHANNELS))
    assert across is not None
    assert first.name not in per_node(across)
    whole = placed([trays[0]], Layout(2, 1), a_demand(needs=CHANNELS))
    assert whole is not None
    assert per_node(whole) == {first.name: 1}


def test_channels_that_every_pod_has_bound_nothing() -> None:
    groups = placed(list(gb200_rack(3, free=(3, 3, 2))), Layout(8, 1), a_demand())
    assert groups is not None
    assert per_node(groups) == {"rack-0-tray-00": 3, "rack-0-tray-01": 3, "rack-0-tray-02": 2}


def test_a_node_too_small_for_any_pod_is_left_out_with_the_most_that_is_offered() -> None:
    disk = PodNeeds(each_pod=(("ephemeral-storage", 640_000),))
    small = [
        offering(node, ("ephemeral-storage", size))
        for node, size in zip(h100s(3), (89_000, 90_000, 700_000), strict=True)
    ]
    made = planned(a_demand(LLAMA_8B, needs=disk), a_fleet(small))
    assert per_node(made.groups) == {"h100-02": 1}
    refusal = refused(a_demand(LLAMA_8B, needs=disk), a_fleet(small[:2]))
    assert refusal.excluded == ((TooSmall("ephemeral-storage", 640_000, 90_000), 2),)
    assert refusal.reason is RefusalReason.NO_MATCHING_NODES


def test_gpus_whose_node_has_no_memory_left_are_idle() -> None:
    wanted = PodNeeds(each_gpu=(("memory", 6_000),))
    nodes = [offering(node, ("memory", 60_000), taken=(("memory", 40_000),)) for node in h100s(2)]
    assert pods(planned(a_demand(LLAMA_70B, pins=pinned(2, 1), needs=wanted), a_fleet(nodes))) == [("h100-00", 2)]
    refusal = refused(a_demand(LLAMA_70B, pins=pinned(4, 1), needs=wanted), a_fleet(nodes))
    assert refusal.idle == (IdleGpus("memory", 10, 2, "h100-00", 48_000, 20_000),)
    assert (refusal.free_gpus, refusal.waits) == (6, True)


@pytest.mark.parametrize("exclusion", [Exclusion.OFFERS_NONE, Exclusion.NO_GPUS])
def test_claims_of_gpus_that_no_device_plugin_counts_are_told_apart(exclusion: Exclusion) -> None:
    node = a_node(exclusion=exclusion, free=0)
    claiming = refused(a_demand(LLAMA_8B, needs=PodNeeds(claims=True)), a_fleet(node))
    assert claiming.excluded == ((ClaimsUnread("nvidia.com/gpu"), 1),)
    assert refused(a_demand(LLAMA_8B), a_fleet(node)).excluded == ((exclusion, 1),)


WITHOUT_DRIVER = replace(a_fleet(gb200_rack(2)), compute_domains=False)


def test_without_the_driver_a_model_is_planned_inside_single_trays() -> None:
    made = planned(a_demand(R1, needs=CHANNELS), WITHOUT_DRIVER)
    assert (made.layout, pods(made)) == (Layout(4, 2), [("rack-0-tray-00", 4), ("rack-0-tray-01", 4)])
    assert WithDriver(Layout(8, 1), 2, GB200) in made.notes
    served = planned(a_demand(R1, needs=CHANNELS), replace(WITHOUT_DRIVER, compute_domains=True))
    assert served.layout == Layout(8, 1)
    assert not any(isinstance(note, WithDriver) for note in served.notes)


def test_channels_that_every_pod_has_need_no_driver() -> None:
    assert planned(a_demand(R1), WITHOUT_DRIVER).layout == Layout(8, 1)


@pytest.mark.parametrize("demand", [a_demand(R1, pins=pinned(8), needs=CHANNELS)], ids=["pinned wider than a tray"])
def test_without_the_driver_a_wider_pin_is_planned_as_with_it(demand: Demand) -> None:
    """The plan waits for the driver, as its user chose."""
    assert planned(demand, WITHOUT_DRIVER).layout == Layout(8, 1)


def test_a_pin_that_fits_a_tray_stays_on_trays_without_the_driver() -> None:
    fleet = replace(a_fleet(gb200_rack(2, free=(2, 2))), compute_domains=False)
    assert refused(a_demand(LLAMA_70B, pins=pinned(4, 1), needs=CHANNELS), fleet).waits


def test_a_model_that_no_tray_can_hold_is_planned_for_the_driver() -> None:
    """Then the object says that the driver is missing, rather than that no GPUs are free."""
    narrow = replace(a_fleet(gb200_rack(2)), compute_domains=False)
    made = planned(a_demand(KIMI_K2, pins=pinned(None, 1), needs=CHANNELS), narrow)
    assert (made.layout, len(made.groups[0].pods)) == (Layout(8, 1), 2)


def test_without_the_driver_a_tray_is_a_domain_of_its_own() -> None:
    """The nodes that are left out of its rack are no part of it."""
    first, second = gb200_rack(2)
    broken = second._replace(exclusion=Exclusion.CORDONED, free=0)
    demand = a_demand(KIMI_K2, pins=pinned(None, 1), products=(GB200,), needs=CHANNELS)
    refusal = refused(demand, replace(a_fleet(first, broken, gb200_rack(1, clique="b")), compute_domains=False))
    (cause,) = {rejected.cause for rejected in refusal.rejected if rejected.layout == Layout(8, 1)}
    assert cause == DomainTooSmall(GB200, 8, 4, 1, 1)
