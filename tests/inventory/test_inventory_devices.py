"""Nodes whose GPUs ResourceSlices list: read like labels, judged, and no GPU counted twice."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.devices import H100, a_claim, a_class, a_device, a_part, a_slice, names

from shardwise.domain.fleet import Exclusion, GpuSource, Node, Withheld
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.site import FleetSite, StatedProduct
from shardwise.domain.units import MIB
from shardwise.observe import Store, key_of, store_of
from shardwise.observe.kinds import DEVICE_CLASS, NODE, POD, RESOURCE_CLAIM, RESOURCE_SLICE
from shardwise_sandbox import h100_node

Json = dict[str, Any]
CLAIMS = FleetSite(device_class="gpu.nvidia.com")
SERVING = a_class(resource="nvidia.com/gpu")


def bare(*, gpus: int = 0, **labels: str) -> Json:
    """Give a node without GPU feature discovery; a device plugin offers so many GPUs."""
    node = h100_node("n")
    kept = {key: value for key, value in node["metadata"]["labels"].items() if "nvidia.com" not in key}
    node["metadata"]["labels"] = kept | {key.replace("__", "/").replace("_", "."): text for key, text in labels.items()}
    node["status"]["allocatable"]["nvidia.com/gpu"] = str(gpus)
    return node


def a_store(*objects: Json, site: FleetSite | None = CLAIMS) -> Store:
    kinds = {kind.name: kind for kind in (NODE, POD, RESOURCE_SLICE, RESOURCE_CLAIM, DEVICE_CLASS)}
    found: dict[Any, list[Json]] = {}
    for obj in objects:
        found.setdefault(kinds[obj["kind"]], []).append(obj)
    return store_of(found, site)


def node_of(store: Store) -> Node:
    (node,) = store.fleet().nodes
    return node


OWNERS = [{"kind": "ShardedModel", "name": "llama"}]


def a_pod(name: str, gpus: int = 0, claimed: int = 0, *, ours: bool = False) -> Json:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    labels = {"shardwise.dev/gpus": str(claimed)} if claimed else {}
    labels |= {"app.kubernetes.io/managed-by": "shardwise", "shardwise.dev/model": "llama"} if ours else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels, "ownerReferences": OWNERS},
        "spec": {"nodeName": "n", "containers": [{"resources": {"limits": limits}}]},
        "status": {"phase": "Running"},
    }


def test_a_node_without_labels_is_read_by_its_devices() -> None:
    node = node_of(a_store(bare(), a_slice("n")))
    assert (node.gpus, node.free, node.exclusion, node.source) == (8, 8, None, GpuSource.DRA)
    assert (node.product, node.memory) == ("NVIDIA-H100-80GB-HBM3", 81559 * MIB)
    assert (node.compute_capability, node.domain, node.resource) == ((9, 0), "n", "nvidia.com/gpu")


def test_what_devices_do_not_say_the_labels_and_the_configuration_say() -> None:
    silent = [{"name": "gpu-0", "attributes": {"type": {"string": "gpu"}}}]
    labelled = node_of(a_store(h100_node("n", 0), a_slice("n", silent)))
    assert (labelled.product, labelled.memory // MIB, labelled.free) == ("NVIDIA-H100-80GB-HBM3", 81559, 1)
    stated = StatedProduct(gpu_kind("H100"), "H100", memory=80 * MIB, node_labels=(("pool", "h100"),))
    site = FleetSite(products=(stated,), device_class="gpu.nvidia.com")
    node = node_of(a_store(bare(pool="h100"), a_slice("n", silent), site=site))
    assert (node.product, node.memory, node.free) == ("H100", 80 * MIB, 1)


def test_the_clique_is_the_label_of_the_node() -> None:
    """NVIDIA's driver lists no clique (v0.4.1)."""
    node = bare(nvidia_com__gpu_clique="7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1")
    assert node_of(a_store(node, a_slice("n", 4))).domain == "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1"


def test_gpus_of_amd() -> None:
    device = {
        "name": "gpu-0-128",
        "attributes": {"type": {"string": "amdgpu"}, "productName": {"string": "AMD Instinct MI300X OAM"}},
        "capacity": {"memory": {"value": "192Gi"}},
    }
    site = FleetSite(device_class="gpu.amd.com")
    node = node_of(a_store(bare(), a_slice("n", [device], driver="gpu.amd.com"), site=site))
    assert (node.product, node.resource, node.free) == ("AMD_Instinct_MI300X_OAM", "amd.com/gpu", 1)


@dataclass(frozen=True)
class Judged:
    """The devices of a node, and how it must be read."""

    slices: tuple[Json, ...]
    free: int = 0
    exclusion: Exclusion | None = None
    detail: str = ""
    withheld: tuple[Withheld, ...] = ()
    classes: tuple[Json, ...] = ()
    node: Json = field(default_factory=bare)


def tainted(effect: str) -> Json:
    return {"taints": [{"key": "gpu.nvidia.com/xid", "value": "79", "effect": effect}]}


def counters(amount: str) -> Json:
    return {"consumesCounters": [{"counterSet": "gpu-0", "counters": {"memory": {"value": amount}}}]}


SETS = a_slice(
    "n", [], name="sets", count=2, sharedCounters=[{"name": "gpu-0", "counters": {"memory": {"value": "8"}}}]
)
PARTS = [a_device(0, **counters("8")), *(a_part(0, part, **counters("1")) for part in range(7))]
XID = "gpu.nvidia.com/xid=79:NoSchedule"
PART = "device gpu-0-mig-1g10gb-0"
CONSUMABLE = {"value": "80Gi", "requestPolicy": {"default": "1Gi"}}

JUDGED: dict[str, Judged] = {
    "a taint keeps claims away": Judged(
        (a_slice("n", [a_device(0, **tainted("NoSchedule")), a_device(1)]),),
        1,
        withheld=(Withheld(Exclusion.TAINTED, 1, XID),),
    ),
    "so does NoExecute; None does not": Judged(
        (a_slice("n", [a_device(0, **tainted("NoExecute")), a_device(1, **tainted("None"))]),),
        1,
        withheld=(Withheld(Exclusion.TAINTED, 1, "gpu.nvidia.com/xid=79:NoExecute"),),
    ),
    "all tainted": Judged((a_slice("n", [a_device(0, **tainted("NoSchedule"))]),), 0, Exclusion.TAINTED, XID),
    "a device for several claims": Judged(
        (a_slice("n", [a_device(0, allowMultipleAllocations=True, capacity={"memory": CONSUMABLE}), a_device(1)]),),
        1,
        withheld=(Withheld(Exclusion.SHARED, 1, "device gpu-0 allows several claims"),),
    ),
    "a device for several claims, of which ours would take all": Judged(
        (a_slice("n", [a_device(0, allowMultipleAllocations=True)]),), 1
    ),
    "all in partitions": Judged((a_slice("n", [a_part(0, 0), a_part(0, 1)]),), 0, Exclusion.PARTITIONED, PART),
    "some in partitions": Judged(
        (a_slice("n", [a_part(0, 0), a_part(0, 1), a_device(1)]),),
        1,
        withheld=(Withheld(Exclusion.PARTITIONED, 1, PART),),
    ),
    "a GPU and its partitions on offer": Judged((SETS, a_slice("n", PARTS, count=2)), 1),
    "the same without addresses on the bus": Judged(
        (
            SETS,
            a_slice(
                "n", [{**device, "attributes": {"type": device["attributes"]["type"]}} for device in PARTS], count=2
            ),
        ),
        1,
        node=h100_node("n", 0),
    ),
    "a GPU and its stand-in for virtual machines": Judged(
        (a_slice("n", [a_device(0), {**a_device(0), "name": "gpu-vfio-0"}]),), 1
    ),
    "a slice is missing": Judged((a_slice("n", 2, count=2),), 0, Exclusion.INCOMPLETE, "pool n"),
    "slices of an older generation": Judged(
        (a_slice("n", 8, name="old"), a_slice("n", 2, name="new", generation=2)), 2
    ),
    "several products": Judged(
        (a_slice("n", [a_device(0), a_device(1, product="NVIDIA L40S")]),),
        0,
        Exclusion.MIXED,
        "NVIDIA-H100-80GB-HBM3 and NVIDIA-L40S",
    ),
    "a class of one of them": Judged(
        (a_slice("n", [a_device(0), a_device(1, product="NVIDIA L40S")]),),
        1,
        classes=(a_class("gpu.nvidia.com", "device.attributes['gpu.nvidia.com'].productName.contains('H100')"),),
    ),
    "a class of neither": Judged(
        (a_slice("n", 2),),
        0,
        Exclusion.NO_DEVICES,
        "its ResourceSlices list 2 GPUs of other classes",
        classes=(a_class("gpu.nvidia.com", "device.driver == 'other'"),),
    ),
    "a class that is not read": Judged(
        (a_slice("n", 2),),
        0,
        Exclusion.CLASS_UNREAD,
        "DeviceClass `gpu.nvidia.com` selects by the function `size`, which is not read",
        classes=(a_class("gpu.nvidia.com", "size(device.attributes) > 1"),),
    ),
    "no such class": Judged(
        (a_slice("n", 2),),
        0,
        Exclusion.CLASS_UNREAD,
        "there is no DeviceClass `gpu.nvidia.com`",
        classes=(a_class("other"),),
    ),
    "a device plugin and no slices": Judged(
        (a_slice("another"),),
        0,
        Exclusion.NO_DEVICES,
        "no ResourceSlice lists a GPU of it",
        node=bare(gpus=8),
    ),
    "no GPUs at all": Judged((a_slice("another"),), 0, Exclusion.NO_GPUS),
    "labels of partitions of the device plugin": Judged(
        (a_slice("n", 1),), 1, node=h100_node("n", 0, {"nvidia.com/mig.config": "all-1g.10gb"})
    ),
    "HAMi shares what the slices list": Judged(
        (a_slice("n", 1),),
        0,
        Exclusion.SHARED,
        "annotation hami.io/node-nvidia-register",
        node={**bare(), "metadata": {"name": "n", "annotations": {"hami.io/node-nvidia-register": ""}}},
    ),
    "a cordoned node": Judged(
        (a_slice("n", 1),), 0, Exclusion.CORDONED, node={**bare(), "spec": {"unschedulable": True}}
    ),
    "devices of a network": Judged(
        (a_slice("n", 1), a_slice("n", 4, name="net", nodeName="", allNodes=True)),
        1,
    ),
    "devices that name their node themselves": Judged(
        (a_slice("n", [a_device(0) | {"nodeName": "n"}], nodeName=None, perDeviceNodeSelection=True),), 1
    ),
    "another driver": Judged((a_slice("n", 1), a_slice("n", 9, driver="compute-domain.nvidia.com")), 1),
}


@pytest.mark.parametrize("name", JUDGED)
def test_a_node_is_judged_by_its_devices(name: str) -> None:
    row = JUDGED[name]
    node = node_of(a_store(row.node, *row.slices, *row.classes))
    assert (node.free, node.exclusion, node.detail) == (row.free, row.exclusion, row.detail)
    assert node.withheld == row.withheld


SERVED: dict[str, tuple[tuple[Json, ...], int, Exclusion | None, GpuSource]] = {
    "a class serves nvidia.com/gpu from slices": ((bare(), a_slice("n"), SERVING), 8, None, GpuSource.DRA),
    "no class serves it": ((bare(), a_slice("n"), a_class()), 0, Exclusion.OFFERS_NONE, GpuSource.DEVICE_PLUGIN),
    "the device plugin wins": ((h100_node("n", 4), a_slice("n"), SERVING), 4, None, GpuSource.BOTH),
    "only a device plugin": ((h100_node("n"), SERVING), 8, None, GpuSource.DEVICE_PLUGIN),
}


@pytest.mark.parametrize("name", SERVED)
def test_pods_that_request_a_resource_get_it_as_the_scheduler_serves_it(name: str) -> None:
    """Seen of the scheduler of Kubernetes 1.36.2: allocatable wins on each node."""
    objects, free, exclusion, source = SERVED[name]
    node = node_of(a_store(*objects, site=None))
    assert (node.free, node.exclusion, node.source) == (free, exclusion, source)


def test_a_node_that_offers_none_names_the_setting_that_claims_its_gpus() -> None:
    node = node_of(a_store(bare(), a_slice("n"), site=None))
    assert node.detail == (
        "no nvidia.com/gpu is allocatable; ResourceSlices list 8 GPUs, which pods get by `launch.gpuClaims`"
    )


@dataclass(frozen=True)
class Held:
    """Pods and claims on a node with 8 GPUs, and the GPUs that are free beside them."""

    objects: tuple[Json, ...]
    free: int
    node: Json = field(default_factory=bare)
    site: FleetSite | None = CLAIMS
    devices: int | tuple[Json, ...] = 8


def claim(name: str, *numbers: int, pods: tuple[str, ...] = (), **more: Any) -> Json:
    return a_claim(name, "n", names(*numbers), *pods, **more)


SHARED = a_device(1, allowMultipleAllocations=True, capacity={"memory": CONSUMABLE})
VFIO = {**a_device(0), "name": "gpu-vfio-0"}
WITH_PARTS = (*PARTS, a_device(1))
PARTS_WITHOUT_BUS = tuple({**part, "attributes": {"type": part["attributes"]["type"]}} for part in WITH_PARTS)

HELD: dict[str, Held] = {
    "a stranger's claim": Held((claim("a", 0, 1, pods=("p",)), a_pod("p")), 6),
    "a claim without a pod, and no pod of it is seen": Held((claim("a", 0, 1),), 6),
    "a claim that two pods share": Held((claim("a", 0, 1, pods=("p", "q")), a_pod("p"), a_pod("q")), 6),
    "two claims": Held((claim("a", 0, 1), claim("b", 2)), 5),
    "admin access": Held((claim("a", 0, 1, adminAccess=True),), 8),
    "admin access to a held device": Held((claim("a", 0, adminAccess=True), claim("b", 0)), 7),
    "a claim that is not allocated": Held(({**claim("a", 0), "status": {}},), 8),
    "a request that slices serve": Held((a_pod("p", 2), claim("a", 0, 1, pods=("p",), by_resource=True)), 6, site=None),
    "the same before its claim is seen": Held((a_pod("p", 2),), 6, site=None),
    "a request of the plugin beside a claim of ours": Held(
        (a_pod("p", 2), a_pod("q", ours=True), claim("a", 0, pods=("q",))), 5, h100_node("n"), None
    ),
    "a request of ours by the plugin where pods now claim": Held(
        (a_pod("p", 4, ours=True), claim("a", 0, 1, 2)), 1, h100_node("n")
    ),
    "a claim of a stranger where pods request": Held((claim("a", 0),), 0, h100_node("n"), None),
    "a request of a stranger where pods claim": Held((a_pod("p", 1),), 0, h100_node("n")),
    "more held than there is": Held((a_pod("p", 8), claim("a", 0, 1)), 0, h100_node("n")),
    "our pod and its claim": Held((a_pod("p", claimed=2), claim("a", 0, 1, pods=("p",))), 6),
    "our pod before its claim is seen": Held((a_pod("p", claimed=2),), 6),
    "a tainted GPU that is held": Held(
        (claim("a", 0),),
        7,
        devices=(a_device(0, **tainted("NoSchedule")), *(a_device(number) for number in range(1, 8))),
    ),
    "a part of a GPU": Held((a_claim("a", "n", ["gpu-0-mig-1g10gb-3"]),), 1, devices=WITH_PARTS),
    "two parts of a GPU": Held(
        (a_claim("a", "n", ["gpu-0-mig-1g10gb-3"]), a_claim("b", "n", ["gpu-0-mig-1g10gb-4"])), 1, devices=WITH_PARTS
    ),
    "a part of a GPU, known by its counters alone": Held(
        (a_claim("a", "n", ["gpu-0-mig-1g10gb-3"]),), 1, h100_node("n", 0), devices=PARTS_WITHOUT_BUS
    ),
    "the stand-in of a GPU for virtual machines": Held(
        (a_claim("a", "n", ["gpu-vfio-0"]),),
        1,
        devices=(a_device(0), VFIO, a_device(1)),
    ),
    "shares of a GPU": Held((claim("a", 1, shareID="x"), claim("b", 1, shareID="y")), 1, devices=(a_device(0), SHARED)),
    "a device that is no longer listed": Held(
        (claim("a", 9, pods=("p",)), a_pod("p", ours=True)), 7, h100_node("n"), None
    ),
    "a device of another driver": Held((claim("a", 0, driver="dra.net"),), 8),
}


@pytest.mark.parametrize("name", HELD)
def test_each_gpu_is_held_once(name: str) -> None:
    row = HELD[name]
    classes = (SERVING,) if row.site is None else ()
    slices = (
        (SETS, a_slice("n", row.devices, count=2))
        if row.devices in (WITH_PARTS, PARTS_WITHOUT_BUS)
        else (a_slice("n", row.devices),)
    )
    assert node_of(a_store(row.node, *slices, *classes, *row.objects, site=row.site)).free == row.free


@pytest.mark.parametrize(
    ("site", "held", "detail"),
    [(CLAIMS, a_pod("p", 1), "pods hold some by the device plugin"), (None, claim("a", 0), "claims hold some")],
)
def test_a_node_on_which_strangers_use_the_other_way_is_left_out_until_they_go(
    site: FleetSite | None, held: Json, detail: str
) -> None:
    """Nobody knows which GPUs the pods of a device plugin have."""
    store = a_store(h100_node("n"), a_slice("n"), SERVING, site=site)
    shelf = store.pods if held["kind"] == "Pod" else store.devices.claims
    shelf.show(held)
    node = node_of(store)
    assert (node.exclusion, node.detail, node.free) == (Exclusion.TWO_ALLOCATORS, detail, 0)
    shelf.remove(key_of(held), 1)
    assert (node_of(store).exclusion, node_of(store).free) == (None, 8)


def test_the_fleet_of_nodes_and_pods_alone_is_as_before() -> None:
    """Files without a ResourceSlice say nothing of devices."""
    assert node_of(a_store(h100_node("n"))).free == 8
    assert node_of(a_store(bare())).exclusion is Exclusion.NO_GPUS


def test_a_product_is_spelt_as_its_label() -> None:
    """So that `spec.gpuBudget.products` and the table of products know it."""
    node = node_of(a_store(bare(), a_slice("n", [a_device(0, product=H100)])))
    assert gpu_kind(node.product).proven
