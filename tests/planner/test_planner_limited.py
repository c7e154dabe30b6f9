"""The slots of each share where other resources limit pods: every pod that is placed counts for all shares."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.fleets import GB200, H100, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand

from shardwise.domain.fleet import Node
from shardwise.domain.layout import Layout
from shardwise.domain.needs import A_CHANNEL, PodNeeds
from shardwise.domain.refusal import PodsShort
from shardwise.planner.limited import (
    ShareSlots,
    lacking_for_a_pod,
    limited_slots,
    may_hold,
    overfull,
    place_limited_group,
    pod_needs,
)
from shardwise.planner.placement import lacking_for_pods, place
from shardwise.planner.pools import Pool, eligible

DEVICES = PodNeeds(in_group=(("rdma/ib", 4_000),))
CORES = PodNeeds(each_pod=(("cpu", 1_000),), each_gpu=(("cpu", 2_000),))


def with_devices(node: Node, count: int = 8, cores: int = 32) -> Node:
    return node._replace(allocatable=(("cpu", cores * 1_000), ("rdma/ib", count * 1_000)))


def a_pool(*nodes: Node, needs: PodNeeds = DEVICES) -> Pool:
    (pool,) = eligible(a_demand(needs=needs), a_fleet(nodes)).pools
    return pool


def counted(slots: tuple[ShareSlots, ...]) -> dict[int, list[tuple[int, ...]]]:
    return {of_share.share: free_counts(of_share) for of_share in slots}


def free_counts(slots: ShareSlots) -> list[tuple[int, ...]]:
    """Give the free counts of all domains, in their order, as they are kept."""
    held = [(domain, counts) for root in slots.places.roots for counts in root.held for domain in root.held[counts]]
    return [counts for _, counts in sorted(held)]


def test_each_share_counts_the_pods_that_a_node_has_devices_for() -> None:
    """A group of a single pod needs none, and 8 devices are enough for two pods with 4 each, of whatever share."""
    pool = a_pool(*map(with_devices, h100s(1)))
    slots = limited_slots(a_demand(needs=DEVICES), pool, Layout(2, 4))
    assert counted(slots) == {8: [(8,)], 4: [(8,)], 2: [(4,)]}


def test_cores_by_the_gpu_and_by_the_pod_are_counted_together() -> None:
    """Of 17 cores, a pod of 8 GPUs takes all, two pods of 4 GPUs would take 18, and pods of 1 GPU take 3 each."""
    pool = a_pool(*(with_devices(node, cores=17) for node in h100s(1)), needs=CORES)
    slots = limited_slots(a_demand(needs=CORES), pool, Layout(1, 8))
    assert counted(slots) == {8: [(8,)], 4: [(4,)], 2: [(6,)], 1: [(5,)]}


def test_a_pod_of_one_share_takes_of_all_shares() -> None:
    pool = a_pool(*map(with_devices, h100s(1)))
    slots = limited_slots(a_demand(needs=DEVICES), pool, Layout(2, 4))
    slots[2].take(("", "h100-00"), "h100-00", 2)
    assert counted(slots) == {8: [(0,)], 4: [(4,)], 2: [(2,)]}
    slots[1].take(("", "h100-00"), "h100-00", 4)
    assert counted(slots) == {8: [(0,)], 4: [(0,)], 2: [(0,)]}


def test_a_group_takes_the_place_with_the_fewest_domains_then_the_fewest_pods() -> None:
    """A node with devices for two pods is better than two nodes with devices for a single pod each."""
    nodes = [with_devices(a_node("a", free=4), 4), with_devices(a_node("b", free=4), 4), with_devices(a_node("c"), 8)]
    slots = limited_slots(a_demand(needs=DEVICES), a_pool(*nodes), Layout(4, 2))
    found = place_limited_group(slots, Layout(4, 2), 1)
    assert found is not None
    chosen, shares, share = found
    assert (chosen.share, share, dict(shares)) == (8, 8, {("", "c"): 1})


def test_a_group_that_no_share_can_place_has_no_place() -> None:
    slots = limited_slots(a_demand(needs=DEVICES), a_pool(*(with_devices(node, 3) for node in h100s(4))), Layout(8, 2))
    assert place_limited_group(slots, Layout(8, 2), 1) is None


@pytest.mark.parametrize(
    ("layout", "share", "needs"),
    [
        (Layout(8, 1), 8, ()),
        (Layout(8, 2), 8, DEVICES.in_group),
        (Layout(8, 1), 4, (*A_CHANNEL, *DEVICES.in_group)),
    ],
)
def test_the_needs_of_a_pod_follow_from_its_share(layout: Layout, share: int, needs: object) -> None:
    wanted = a_demand(needs=replace(DEVICES, in_stage=A_CHANNEL))
    assert pod_needs(wanted, a_pool(*gb200_rack(2)), layout, share) == needs


def test_a_stage_that_crosses_nodes_without_nvlink_needs_no_channel() -> None:
    wanted = a_demand(needs=replace(DEVICES, in_stage=A_CHANNEL))
    joined = replace(a_pool(*h100s(2)), joined=True)
    assert pod_needs(wanted, joined, Layout(16, 1), 8) == DEVICES.in_group


def test_the_first_overfull_node_is_named_with_all_its_pods() -> None:
    """Also where the pods are of several groups."""
    pool = a_pool(*(with_devices(node, 8) for node in h100s(2)))
    rich = a_demand(LLAMA_8B, replicas=4)
    groups = place(rich, pool, Layout(1, 4))
    assert groups is not None
    assert overfull(rich, pool, Layout(1, 4), groups) is None
    wanted = a_demand(LLAMA_8B, replicas=4, needs=PodNeeds(each_pod=(("rdma/ib", 5_000),)))
    assert overfull(wanted, pool, Layout(1, 4), groups) == PodsShort(H100, "h100-00", 2, "rdma/ib", 10_000, 8_000)


def test_a_layout_without_enough_gpus_lacks_nothing_else() -> None:
    pool = a_pool(*map(with_devices, h100s(1)))
    wanted = a_demand(LLAMA_70B, needs=DEVICES)
    assert lacking_for_pods(wanted, pool, Layout(8, 2)) is None
    assert lacking_for_pods(wanted, pool, Layout(4, 2)) is None


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 8)), min_size=1, max_size=5),
    st.sampled_from([Layout(4, 1), Layout(8, 1), Layout(2, 2)]),
    st.integers(1, 4),
)
@examples(200)
def test_counts_after_placing_are_those_of_counting_anew(
    rows: list[tuple[int, int, int]], layout: Layout, groups: int
) -> None:
    trays = [
        with_devices(a_node(f"t{index}", product=GB200, gpus=4, free=free, domain=f"r{rack}"), devices)
        for index, (free, rack, devices) in enumerate(rows)
    ]
    wanted = a_demand(needs=replace(DEVICES, in_stage=A_CHANNEL))
    pool = a_pool(*trays, needs=wanted.needs)
    slots = limited_slots(wanted, pool, layout)
    for left in range(groups, 0, -1):
        found = place_limited_group(slots, layout, left)
        if found is None:
            break
        chosen, shares, share = found
        for domain, pods in shares.items():
            free = (node for node in chosen.nodes(domain) for _ in range(chosen.free(node) // share))
            for node in [node for node, _ in zip(free, range(pods), strict=False)]:
                chosen.take(domain, node.name, share)
    for of_share in slots:
        anew = [tuple(sorted(map(of_share.free, nodes))) for nodes in pool.all_domains().values()]
        assert free_counts(of_share) == anew
        assert sum(scope.slots(layout.tensor) for scope in of_share.places.roots) == sum(
            sum(counts) // layout.tensor for counts in anew
        )


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 24)), min_size=1, max_size=5),
    st.sampled_from([Layout(4, 1), Layout(8, 1), Layout(2, 4), Layout(4, 4)]),
    st.integers(1, 3),
)
@examples(200)
def test_the_count_of_pods_denies_no_place_that_there_is(
    rows: list[tuple[int, int, int]], layout: Layout, replicas: int
) -> None:
    """It is an upper bound: it may allow layouts that then find no place."""
    nodes = [
        with_devices(a_node(f"n{index}", free=free), devices, cores)
        for index, (free, devices, cores) in enumerate(rows)
    ]
    wanted = a_demand(replicas=replicas, needs=replace(CORES, in_group=DEVICES.in_group))
    pools = eligible(wanted, a_fleet(nodes)).pools
    if pools and place(wanted, pools[0], layout) is not None:
        assert may_hold(wanted, pools[0], layout)


def test_pods_of_a_share_are_counted_once() -> None:
    """A fleet has thousands of nodes, and a demand a hundred layouts."""
    pool = a_pool(*map(with_devices, h100s(2)))
    assert pool.pod_counts == {}
    assert [pool.pods_for(4, DEVICES.in_group) for _ in range(2)] == [4, 4]
    assert pool.pod_counts == {(4, DEVICES.in_group): 4}


def test_a_layout_is_counted_before_it_is_placed_once_a_resource_was_short() -> None:
    """The first layout that finds no place pays for the counts, and the others use them."""
    pool = a_pool(*h100s(4))
    wanted = a_demand(needs=DEVICES)
    assert place(wanted, pool, Layout(8, 2)) is None
    assert set(pool.pod_counts.values()) == {0}
    assert lacking_for_pods(wanted, pool, Layout(4, 4)) == PodsShort(H100, "h100-00", 1, "rdma/ib", 4_000, 0)
    assert place(wanted, pool, Layout(8, 1)) is not None


def test_a_pod_that_every_node_has_room_for_lacks_nothing() -> None:
    assert lacking_for_a_pod(a_demand(needs=DEVICES), a_pool(*map(with_devices, h100s(2))), Layout(8, 2)) is None
    full = a_pool(*(with_devices(node) for node in h100s(2, free=(0, 0))))
    assert lacking_for_a_pod(a_demand(needs=DEVICES), full, Layout(8, 2)) is None
