"""What pods need besides GPUs: quantities as Kubernetes reads them, and how many pods and GPUs a node has room for."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import a_plan, wants
from tests.support.models import LLAMA_8B, facts

from shardwise.domain.launch import CacheKind, LaunchSite, NodeNvlink, Source, SourceKind, WeightCache
from shardwise.domain.layout import Layout
from shardwise.domain.needs import (
    A_CHANNEL,
    CHANNEL,
    Amounts,
    PodNeeds,
    Shortage,
    most_gpus,
    most_pods,
    needs_by_node,
    shortage,
)
from shardwise.domain.plan import Plan
from shardwise.domain.requests import needs_of, requests_of
from shardwise.domain.units import GIB, MIB, amount_text, read_amount, times
from shardwise.inventory import other_requests
from shardwise.render.bundle import group

QUANTITIES: dict[str, int | None] = {
    "8": 8000,
    "3920m": 3920,
    "0.5": 500,
    "1.5Ti": 1536 * GIB * 1000,
    "104845292Ki": 104845292 * 1024 * 1000,
    "6G": 6 * 10**12,
    "1e3": 1_000_000,
    "12E2": 1_200_000,
    "2E": 2 * 10**21,
    "100u": 1,
    "1n": 1,
    "0": 0,
    "": None,
    "-1": None,
    "many": None,
    "1Zi": None,
    "٣": None,
    "1" * 40: None,
}


@pytest.mark.parametrize(("text", "amount"), QUANTITIES.items())
def test_a_quantity_is_read_as_kubernetes_reads_it(text: str, amount: int | None) -> None:
    """In thousandths, rounded up."""
    assert read_amount(text) == amount


@pytest.mark.parametrize(
    ("text", "count", "product"),
    [("500m", 4, "2000m"), ("2", 8, "16"), ("6G", 3, "18G"), ("1.5", 2, "3"), ("0.25", 3, "0.75")],
)
def test_a_quantity_is_multiplied_in_its_own_unit(text: str, count: int, product: str) -> None:
    assert times(text, count) == product


def test_only_quantities_are_multiplied() -> None:
    with pytest.raises(ValueError, match="`lots` is not a quantity"):
        times("lots", 2)


@pytest.mark.parametrize(
    ("resource", "amount", "words"),
    [("cpu", 3920, "3.92"), ("cpu", 16000, "16"), ("memory", GIB * 1000, "1.0 GiB"), ("rdma/ib", 8000, "8")],
)
def test_a_count_is_said_in_the_unit_of_its_resource(resource: str, amount: int, words: str) -> None:
    assert amount_text(resource, amount) == words


NODE: Amounts = (("cpu", 16_000), ("memory", 64_000), ("rdma/ib", 8_000))
ROOM: dict[str, tuple[Amounts, Amounts, int]] = {
    "nothing is needed": ((), (), 8),
    "the scarcest resource decides": ((("cpu", 3_000), ("memory", 9_000)), (), 5),
    "others hold a part": ((("cpu", 4_000),), (("cpu", 5_000),), 2),
    "others hold more than there is": ((("cpu", 1_000),), (("cpu", 99_000),), 0),
    "every device is for a single pod": ((("rdma/ib", 8_000),), (), 1),
    "a kubelet states every native resource": ((("ephemeral-storage", 10**18),), (), 8),
    "a node without a device has none": ((("vpc.amazonaws.com/efa", 1_000),), (), 0),
    "a single channel": (A_CHANNEL, (), 1),
    "the channel is held": (A_CHANNEL, A_CHANNEL, 0),
}


@pytest.mark.parametrize(("needs", "taken", "pods"), ROOM.values(), ids=ROOM)
def test_a_node_holds_as_many_pods_as_its_scarcest_resource_allows(needs: Amounts, taken: Amounts, pods: int) -> None:
    assert most_pods(needs, NODE, taken, 8) == pods
    assert (shortage(needs, NODE, taken) is None) is (pods > 0)


def test_a_shortage_names_the_resource_and_both_counts() -> None:
    assert shortage((("cpu", 2_000), ("rdma/ib", 9_000)), NODE, ()) == Shortage("rdma/ib", 9_000, 8_000)


amounts = st.integers(0, 9)


@given(amounts, amounts, st.integers(0, 40), st.integers(0, 40), st.integers(0, 8))
def test_no_more_gpus_are_usable_than_a_single_pod_could_use(
    each_pod: int, each_gpu: int, offered: int, taken: int, free: int
) -> None:
    """A single pod needs the least for many GPUs: counted pod by pod, no other number of pods uses more."""
    needs = PodNeeds(each_pod=(("cpu", each_pod),), each_gpu=(("cpu", each_gpu),))
    usable = most_gpus(needs, (("cpu", offered),), (("cpu", taken),), free)
    left = max(0, offered - taken)
    fits = [gpus for gpus in range(1, free + 1) if each_pod + gpus * each_gpu <= left]
    assert usable == max(fits, default=0)


def test_needs_depend_on_the_place_of_a_pod_in_its_group() -> None:
    needs = PodNeeds((("pods", 1000),), (("cpu", 2000),), (("rdma/ib", 8000),), A_CHANNEL)
    alone, whole, part = needs.of_pod(8, 8, 8), needs.of_pod(8, 8, 16), needs.of_pod(4, 8, 8)
    assert alone == (("cpu", 16_000), ("pods", 1000))
    assert whole == (("cpu", 16_000), ("pods", 1000), ("rdma/ib", 8000))
    assert part == ((CHANNEL, 1000), ("cpu", 8000), ("pods", 1000), ("rdma/ib", 8000))
    assert needs_by_node(needs, 8, [(("a", "b"), 4), (("b",), 8)]) == {
        "a": part,
        "b": ((CHANNEL, 1000), ("cpu", 24_000), ("pods", 2000), ("rdma/ib", 8000)),
    }


DISK = f"{-(-facts(LLAMA_8B).fetched_bytes // MIB)}Mi"
CACHES: dict[str, tuple[Source, LaunchSite, bool]] = {
    "fetched into the default emptyDir": (Source(), LaunchSite(), True),
    "into a bounded emptyDir": (Source(cache=WeightCache(size="1Ti")), LaunchSite(), True),
    "into the object's claim": (Source(cache=WeightCache(CacheKind.PERSISTENT_VOLUME_CLAIM, "c")), LaunchSite(), False),
    "into the site's folder": (Source(), LaunchSite(cache=WeightCache(CacheKind.HOST_PATH, "/c")), False),
    "not fetched": (Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="c"), LaunchSite(), False),
}


@pytest.mark.parametrize(("source", "site", "asks"), CACHES.values(), ids=CACHES)
def test_weights_fetched_into_an_empty_dir_ask_for_their_size_of_disk(
    source: Source, site: LaunchSite, asks: bool
) -> None:
    launch, model = wants(source=source).launch, facts(LLAMA_8B)
    assert requests_of(launch, site, model, 1).get("ephemeral-storage") == (DISK if asks else None)
    assert ("ephemeral-storage" in dict(needs_of(launch, site, model).each_pod)) is asks


def test_the_published_size_of_a_checkpoint_wins_over_the_counted_size() -> None:
    model = facts(LLAMA_8B)
    assert model.fetched_bytes == pytest.approx(8.03e9 * 2, rel=0.001)
    assert replace(model, checkpoint_bytes=7).fetched_bytes == 7


OWN: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "the configuration's": ({}, {"cpu": "4", "memory": "12G"}),
    "an own request wins": ({"requests": (("cpu", "1"),)}, {"cpu": "1", "memory": "12G"}),
    "an own limit is the request, too": ({"limits": (("memory", "9Gi"),)}, {"cpu": "4"}),
    "of the disk, too": ({"requests": (("ephemeral-storage", "1Gi"),)}, {"cpu": "4", "memory": "12G"}),
}


@pytest.mark.parametrize(("changes", "asked"), OWN.values(), ids=OWN)
def test_requests_of_the_object_win(changes: dict[str, Any], asked: dict[str, str]) -> None:
    found = requests_of(wants(**changes).launch, LaunchSite(), facts(LLAMA_8B), 2)
    disk = {"ephemeral-storage": "1Gi" if "ephemeral-storage" in str(changes) else DISK}
    assert found == disk | asked | dict(changes.get("requests", ()))


SHAPES = {
    "a pod alone": a_plan(Layout(2, 1)),
    "whole stages on two nodes": a_plan(Layout(8, 2), 8, 8),
    "a stage on two trays": a_plan(Layout(8, 1), 4, 4),
}
SITES = {
    "plain": LaunchSite(),
    "with RDMA": LaunchSite(rdma=(("rdma/ib", "8"),)),
    "with channels for every pod": LaunchSite(node_nvlink=NodeNvlink.PROVIDED),
    "without requests": LaunchSite(requests=()),
}


@pytest.mark.parametrize("plan", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
@pytest.mark.parametrize(("changes", "_"), OWN.values(), ids=OWN)
def test_the_planner_counts_what_the_pods_request(
    plan: Plan, site: LaunchSite, changes: dict[str, Any], _: object
) -> None:
    """The needs that a plan is made with are the requests of the rendered pods, read as any other pods are read."""
    wanted = replace(wants(**changes), site=site)
    needs = needs_of(wanted.launch, site, wanted.demand.model)
    layout = plan.layout
    for pod in group(wanted, plan, 0, 0).pods:
        gpus = int(pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
        assert other_requests(pod) == needs.of_pod(gpus, layout.tensor, layout.world_size)
