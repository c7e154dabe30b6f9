"""Nodes as clusters really label them, and as nobody should: read without a slip, or left out with a reason."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shardwise.domain.fleet import AMD, NVIDIA, Exclusion, Taint
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.platforms import FaultCondition, fault_condition, platforms
from shardwise.domain.site import FleetSite, StatedProduct
from shardwise.domain.units import GIB, MIB
from shardwise.inventory import read_fleet
from shardwise.inventory.nodes import NodeReader, nvlink_domain, read_node
from shardwise.inventory.vendors import read_count
from shardwise.observe import slim

Json = dict[str, Any]

_KEPT = yaml.safe_load((Path(__file__).parent.parent / "data" / "node-labels.yaml").read_text())["samples"]
SAMPLES = {
    sample["name"]: {key: str(value) for key, value in sample["labels"].items()}
    for sample in _KEPT
    if "labels" in sample
}
(FLAPPING,) = (sample["states"] for sample in _KEPT if "states" in sample)
H100 = SAMPLES["h100-sxm-8gpu-vm-lambda"]
TRAY = SAMPLES["gb200-compute-tray-derived"]


def a_node(labels: Json | None = None, *, gpus: object = "8", **fields: Any) -> Json:
    node: Json = {"metadata": {"name": "n", "labels": H100 if labels is None else labels}}
    status = {"allocatable": {"nvidia.com/gpu": gpus}, "conditions": fields.pop("conditions", [])}
    return node | {"status": status, "spec": fields}


@dataclass(frozen=True)
class Read:
    """What a sample must be read as, and why. ``gpus`` are offered under ``resource``; ``memory`` is MiB a GPU."""

    why: str
    gpus: int
    product: str = ""
    memory: int = 0
    domain: str = "n"
    exclusion: Exclusion | None = None
    resource: str = NVIDIA
    platform: str = "generic"
    places: tuple[str, ...] = ("",)


SXM = "NVIDIA-H100-80GB-HBM3"
READ: dict[str, Read] = {
    "h100-sxm-8gpu-vm-lambda": Read(
        "a whole HGX board in a virtual machine: its machine type tells nothing", 8, SXM, 81559
    ),
    "h100-sxm-2gpu-vm-lambda": Read(
        "two GPUs of a board: the label's count, not the product, says how many", 2, SXM, 81559
    ),
    "h100-sxm-8gpu-dell-xe9680": Read("labels of the GPU operator beside those of GFD change nothing", 8, SXM, 81559),
    "a100-sxm-40gb-mig-mixed-gce": Read(
        "MIG, strategy mixed: product and count look whole, replicas 0 and mig.strategy tell",
        1,
        "NVIDIA-A100-SXM4-40GB",
        40960,
        exclusion=Exclusion.PARTITIONED,
    ),
    "a100-sxm-40gb-gce-old-driver": Read("an old driver: no vendor before the product", 1, "A100-SXM4-40GB", 40536),
    "a100-pcie-40gb-supermicro-mig-mixed": Read(
        "MIG, strategy mixed, of a listing that begins in the middle: its profiles' own labels tell",
        4,
        "A100-PCIE-40GB",
        40536,
        exclusion=Exclusion.PARTITIONED,
    ),
    "a100-mig-single-dell-r7525": Read(
        "MIG, strategy single: memory is that of a slice, and mig.config tells",
        16,
        "",
        4864,
        exclusion=Exclusion.PARTITIONED,
    ),
    "t4-2gpu-dell-r7525": Read("strategy single without MIG, on a GPU that knows none", 2, "Tesla-T4", 15360),
    "v100-sxm2-1gpu-aws-openshift": Read("a single SXM2 GPU", 1, "Tesla-V100-SXM2-16GB", 16384),
    "k80-16gpu-aws": Read("sixteen GPUs on one node", 16, "Tesla-K80", 11441),
    "p100-pcie-2gpu-dell-r730-openshift": Read("GPUs older than any model of today", 2, "Tesla-P100-PCIE-12GB", 12198),
    "t4-1gpu-aks-hci": Read("GFD without the GPU operator: no gpu.present, no gpu.deploy", 1, "Tesla-T4", 16384),
    "oci-oke-rdma-topology": Read(
        "levels of the network, and nothing of GPUs: the excerpt has none of their labels",
        8,
        exclusion=Exclusion.NO_PRODUCT,
        platform="oci",
        places=("4tjxbt4s6ua", "7xmzl4p4wba", "af7ubvouuyq", ""),
    ),
    "oci-oke-gb200-host": Read(
        "the memory fabric is the NVLink domain",
        4,
        exclusion=Exclusion.NO_PRODUCT,
        domain="pvtkj3zctga",
        platform="oci",
        places=("xvl2gga", "sn4ibrza", "aqmd2gqsaja", ""),
    ),
    "amd-instinct-mi210": Read(
        "AMD's labels, memory in GiB, no count: what is offered counts", 4, "Instinct_MI210", 65536, resource=AMD
    ),
    "gb200-compute-tray-derived": Read(
        "a tray of an NVL72 rack: its clique is its NVLink domain",
        4,
        "NVIDIA-GB200",
        189471,
        "00000001-0000-0000-0000-000000000001.2",
    ),
    "hgx-h100-derived": Read("an HGX board has no clique: the node is its domain", 8, SXM, 81559),
    "l40s-derived": Read("no NVLink, one GPU", 1, "NVIDIA-L40S", 46068),
}


@pytest.mark.parametrize("name", READ)
def test_a_real_node_is_read(name: str) -> None:
    """Each sample for a reason of its own."""
    wanted = READ[name]
    node = {
        "metadata": {"name": "n", "labels": SAMPLES[name]},
        "status": {"allocatable": {wanted.resource: wanted.gpus}},
    }
    platform = platforms()[wanted.platform]
    read = read_node(node, 0, FleetSite(platform.domains, platform.levels))
    assert (read.product, read.gpus, read.memory) == (wanted.product, wanted.gpus, wanted.memory * MIB), wanted.why
    assert (read.domain, read.places) == (wanted.domain, wanted.places), wanted.why
    assert (read.exclusion, read.resource) == (wanted.exclusion, wanted.resource), wanted.why
    assert read.free == (0 if wanted.exclusion else wanted.gpus), wanted.why


def test_every_sample_is_in_the_table_or_alternates() -> None:
    assert SAMPLES.keys() == READ.keys()


def test_a_dgx_whose_display_card_takes_over_the_labels_is_left_out_in_either_state() -> None:
    """Its labels alternate between the card's and the GPUs'."""
    display, shared = (read_node(a_node(H100 | state), 0) for state in FLAPPING)
    assert (display.exclusion, shared.exclusion) == (Exclusion.MIXED, Exclusion.SHARED)


EXCLUDED: dict[str, tuple[Json, Exclusion | None]] = {
    "all is well": (a_node(), None),
    "no GPUs offered": (a_node(gpus="0"), Exclusion.OFFERS_NONE),
    "no GPUs at all": (a_node({}, gpus="0"), Exclusion.NO_GPUS),
    "more offered than the labels describe": (a_node(gpus="9"), Exclusion.MIXED),
    "a display card's labels": (a_node(H100 | {"nvidia.com/gpu.product": "NVIDIA-DGX-Display"}), Exclusion.MIXED),
    "a fault in the system log": (a_node(conditions=[{"type": "SysLogsXIDError", "status": "True"}]), Exclusion.FAULTY),
    "the fabric's health unknown": (a_node(conditions=[{"type": "GpuNvlinkWatch", "status": "Unknown"}]), None),
    "no labels": (a_node({}), Exclusion.NO_PRODUCT),
    "no product": (a_node({"nvidia.com/gpu.memory": "1"}), Exclusion.NO_PRODUCT),
    "no memory": (a_node({"nvidia.com/gpu.product": "p"}), Exclusion.NO_MEMORY),
    "memory with a unit": (a_node(H100 | {"nvidia.com/gpu.memory": "81559MiB"}), Exclusion.NO_MEMORY),
    "memory of nothing": (a_node(H100 | {"nvidia.com/gpu.memory": "0"}), Exclusion.NO_MEMORY),
    "time-slicing": (a_node(H100 | {"nvidia.com/gpu.replicas": "4"}), Exclusion.SHARED),
    "MPS": (a_node(H100 | {"nvidia.com/gpu.sharing-strategy": "mps"}), Exclusion.SHARED),
    "shared by its name": (a_node(H100 | {"nvidia.com/gpu.product": "NVIDIA-H100-SHARED"}), Exclusion.SHARED),
    "MIG by its name": (a_node(H100 | {"nvidia.com/gpu.product": "NVIDIA-H100-MIG-1g.10gb"}), Exclusion.PARTITIONED),
    "MIG mixed": (a_node(H100 | {"nvidia.com/mig.config": "all-1g.10gb"}), Exclusion.PARTITIONED),
    "MIG and all slices gone": (a_node(H100 | {"nvidia.com/gpu.replicas": "0"}), Exclusion.PARTITIONED),
    "not Ready": (a_node(conditions=[{"type": "Ready", "status": "False"}]), Exclusion.NOT_READY),
    "not heard of": (a_node(conditions=[{"type": "Ready", "status": "Unknown"}]), Exclusion.NOT_READY),
    "cordoned": (a_node(unschedulable=True), Exclusion.CORDONED),
    "a fault": (a_node(conditions=[{"type": "GpuNvlinkWatch", "status": "True"}]), Exclusion.FAULTY),
    "a fault that was mended": (a_node(conditions=[{"type": "GpuNvlinkWatch", "status": "False"}]), None),
    "another condition": (a_node(conditions=[{"type": "DiskPressure", "status": "True"}]), None),
}


@pytest.mark.parametrize(("node", "exclusion"), EXCLUDED.values(), ids=EXCLUDED)
def test_a_node_that_cannot_be_used_has_a_reason_and_nothing_free(node: Json, exclusion: Exclusion | None) -> None:
    read = read_node(node, 0)
    assert read.exclusion is exclusion
    assert read.free == (8 if exclusion is None else 0)


TOLD: dict[str, tuple[Json, str]] = {
    "all is well": (a_node(), ""),
    "sharing": (a_node(H100 | {"nvidia.com/gpu.replicas": "4"}), "nvidia.com/gpu.replicas=4"),
    "MIG": (a_node(H100 | {"nvidia.com/mig.config": "all-1g.10gb"}), "nvidia.com/mig.config=all-1g.10gb"),
    "mixed": (a_node(gpus="9"), "9 are offered, labels describe 8"),
    "no labels": (a_node({}), "nvidia.com/gpu.product"),
    "not Ready": (a_node(conditions=[{"type": "Ready", "status": "Unknown"}]), "Ready is Unknown"),
    "a fault": (a_node(conditions=[{"type": "GpuNvlinkWatch", "status": "True"}]), "GpuNvlinkWatch"),
    "none offered": (a_node(gpus="0"), "no nvidia.com/gpu is allocatable"),
}


@pytest.mark.parametrize(("node", "detail"), TOLD.values(), ids=TOLD)
def test_what_tells_of_an_exclusion_is_named(node: Json, detail: str) -> None:
    assert read_node(node, 0).detail == detail


BROKEN = fault_condition("FabricBroken")
EKS = platforms()["eks"].faults
FAULTS: dict[str, tuple[str, str, tuple[FaultCondition, ...], str | None]] = {
    "a condition that nobody named": ("FabricBroken", "True", (), None),
    "a named condition": ("FabricBroken", "True", (BROKEN,), "FabricBroken"),
    "a named condition that does not hold": ("FabricBroken", "False", (BROKEN,), None),
    "EKS: the accelerators are not well": (
        "AcceleratedHardwareReady",
        "False",
        EKS,
        "AcceleratedHardwareReady is False",
    ),
    "EKS: the accelerators are well": ("AcceleratedHardwareReady", "True", EKS, None),
    "EKS: nobody knows": ("AcceleratedHardwareReady", "Unknown", EKS, None),
    "a type that says that all is well, named alone": (
        "GpuReady",
        "False",
        (fault_condition("GpuReady"),),
        "GpuReady is False",
    ),
    "the same, and all is well": ("GpuReady", "True", (fault_condition("GpuReady"),), None),
    "a status of its own": ("Gpus", "Unknown", (fault_condition("Gpus=Unknown"),), "Gpus is Unknown"),
}


@pytest.mark.parametrize(("kind", "status", "faults", "detail"), FAULTS.values(), ids=FAULTS)
def test_conditions_of_the_platform_and_of_the_configuration_tell_of_faults(
    kind: str, status: str, faults: tuple[FaultCondition, ...], detail: str | None
) -> None:
    read = read_node(a_node(conditions=[{"type": kind, "status": status}]), 0, FleetSite(faults=faults))
    assert (read.exclusion, read.detail) == ((None, "") if detail is None else (Exclusion.FAULTY, detail))


@pytest.mark.parametrize("annotation", ["hami.io/node-nvidia-register", "4pd.io/node-nvidia-register"])
def test_a_node_whose_gpus_hami_divides_is_shared_also_in_the_operators_memory(annotation: str) -> None:
    """HAMi offers each GPU ten times, under the same resource. The operator drops other annotations of a node."""
    node = a_node(gpus="80")
    node["metadata"] = node["metadata"] | {"annotations": {annotation: "GPU-0,10,81920", "other": "x"}}
    for seen in (node, slim(node)):
        read = read_node(seen, 0)
        assert (read.exclusion, read.free, read.detail) == (Exclusion.SHARED, 0, f"annotation {annotation}")
    assert slim(node)["metadata"]["annotations"] == {annotation: ""}


MAJOR, MINOR = "nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"
CAPABILITIES: dict[str, tuple[dict[str, str], tuple[int, int] | None]] = {
    "labels": ({"nvidia.com/gpu.product": "x", MAJOR: "12", MINOR: "1"}, (12, 1)),
    "labels win over the product": ({"nvidia.com/gpu.product": SXM, MAJOR: "8", MINOR: "9"}, (8, 9)),
    "half of the labels: the product": ({"nvidia.com/gpu.product": SXM, MAJOR: "8"}, (9, 0)),
    "no number: the product": ({"nvidia.com/gpu.product": SXM, MAJOR: "x", MINOR: "0"}, (9, 0)),
    "a product alone": ({"nvidia.com/gpu.product": "NVIDIA-B300-SXM6-AC"}, (10, 3)),
    "a product that nobody knows": ({"nvidia.com/gpu.product": "x"}, None),
}


@pytest.mark.parametrize(("labels", "capability"), CAPABILITIES.values(), ids=CAPABILITIES)
def test_the_compute_capability_is_labelled_or_that_of_the_product(
    labels: dict[str, str], capability: tuple[int, int] | None
) -> None:
    assert read_node(a_node(labels), 0).compute_capability == capability


def test_a_configured_product_says_its_compute_capability() -> None:
    site = FleetSite(products=(StatedProduct(replace(gpu_kind("x"), compute_capability=(9, 9)), "x"),))
    assert read_node(a_node({"nvidia.com/gpu.product": "x"}), 0, site).compute_capability == (9, 9)
    assert read_node(amd(MI300), 0).compute_capability is None


def amd(labels: Json, gpus: int = 8) -> Json:
    return {"metadata": {"name": "n", "labels": labels}, "status": {"allocatable": {AMD: str(gpus)}}}


MI300 = {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.vram": "192G"}
AMD_NODES: dict[str, tuple[Json, tuple[str, int, Exclusion | None]]] = {
    "eight of one kind": (amd(MI300), ("AMD_Instinct_MI300X_OAM", 192, None)),
    "two kinds: labels with the value in the key": (
        amd({"amd.com/gpu.product-name.AMD_Instinct_MI300X_OAM": "4", "amd.com/gpu.product-name.Instinct_MI210": "4"}),
        ("", 0, Exclusion.MIXED),
    ),
    "no labeller": (amd({}), ("", 0, Exclusion.NO_PRODUCT)),
    "no memory": (amd({"amd.com/gpu.product-name": "x"}), ("x", 0, Exclusion.NO_MEMORY)),
    "none offered": (amd(MI300, 0), ("AMD_Instinct_MI300X_OAM", 192, Exclusion.OFFERS_NONE)),
}


@pytest.mark.parametrize(("node", "wanted"), AMD_NODES.values(), ids=AMD_NODES)
def test_amd_nodes_are_read_by_their_own_labels(node: Json, wanted: tuple[str, int, Exclusion | None]) -> None:
    read = read_node(node, 0)
    assert (read.product, read.memory // GIB, read.exclusion) == wanted
    assert read.resource == AMD


P5 = {"node.kubernetes.io/instance-type": "p5.48xlarge"}


def stated(**facts: Any) -> FleetSite:
    return FleetSite(products=(StatedProduct(gpu_kind(SXM), SXM, **facts),))


def test_nodes_without_gpu_feature_discovery_are_told_by_the_labels_they_have() -> None:
    """Where the configuration says how; the device plugin alone labels nothing."""
    assert read_node(a_node(P5), 0).exclusion is Exclusion.NO_PRODUCT
    site = stated(memory=81559 * MIB, node_labels=tuple(P5.items()))
    read = read_node(a_node(P5), 0, site)
    assert (read.product, read.memory, read.free, read.exclusion) == (SXM, 81559 * MIB, 8, None)
    assert read_node(a_node({}), 0, site).exclusion is Exclusion.NO_PRODUCT
    assert read_node(a_node(P5 | {"nvidia.com/gpu.product": "other"}), 0, site).product == "other"


def test_a_stated_memory_stands_in_for_a_missing_label_and_never_for_one_that_is_there() -> None:
    site = stated(memory=GIB)
    assert read_node(a_node({"nvidia.com/gpu.product": SXM}), 0, site).memory == GIB
    assert read_node(a_node(), 0, site).memory == 81559 * MIB


@pytest.mark.parametrize(
    ("clique", "domain"),
    [
        ("", None),
        ("7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1", "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1"),
        ("7b968a6d-c8aa-45e1-9e07-e1e51be99c31.0", "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.0"),
        ("00000000-0000-0000-0000-000000000000.0", None),
        ("00000000-0000-0000-0000-000000000000.7", None),
        ("nonsense", None),
    ],
)
def test_a_clique_is_compared_whole_and_zeros_are_none(clique: str, domain: str | None) -> None:
    """An all-zero UUID would merge nodes that share nothing."""
    assert nvlink_domain({"nvidia.com/gpu.clique": clique}) == domain


def test_two_cliques_of_one_cluster_are_two_domains() -> None:
    one, other = (read_node(a_node(TRAY | {"nvidia.com/gpu.clique": f"a-b-c.{clique}"}), 0) for clique in (1, 2))
    assert one.domain != other.domain


@pytest.mark.parametrize(("held", "free"), [(0, 8), (3, 5), (8, 0), (9, 0)])
def test_what_is_held_is_not_free(held: int, free: int) -> None:
    """More may be held than there is, after a GPU broke: none is free then."""
    assert read_node(a_node(), held).free == free


def test_fewer_gpus_are_offered_than_are_built_in() -> None:
    """One is broken: the device plugin offers seven."""
    assert read_node(a_node(gpus="7"), 0).gpus == 7


def test_taints_are_read() -> None:
    node = a_node(taints=[{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "c", "effect": "NoExecute"}])
    assert read_node(node, 0).taints == (Taint("a", "b", "NoSchedule"), Taint("c", "", "NoExecute"))


@pytest.mark.parametrize(
    ("value", "count"),
    [("8", 8), (8, 8), ("08", 8), ("", None), ("-1", None), ("8.0", None), (None, None), ("٣", None), ("1k", None)],
)
def test_a_count_is_a_whole_number_or_none(value: object, count: int | None) -> None:
    assert read_count(value) == count


labels = st.dictionaries(st.sampled_from(sorted(H100 | TRAY)), st.text(max_size=20))
json_values = st.none() | st.integers() | st.text(max_size=5)


@given(labels, json_values)
def test_whatever_labels_say_a_node_is_read(drawn: dict[str, str], gpus: object) -> None:
    """Never an exception, never negative, never free and left out at once."""
    node = read_node(a_node(drawn, gpus=gpus), 0)
    assert 0 <= node.free <= node.gpus
    assert node.exclusion is None or node.free == 0


@pytest.mark.parametrize("node", [{}, {"metadata": {}}, {"metadata": None, "spec": None, "status": None}])
def test_a_node_that_says_nothing_is_left_out(node: Json) -> None:
    (read,) = read_fleet([node], []).nodes
    assert read.exclusion is Exclusion.NO_GPUS


def test_nodes_come_in_name_order_with_what_pods_and_plans_hold() -> None:
    nodes = [a_node() | {"metadata": {"name": name, "labels": H100}} for name in ("b", "a")]
    container = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    pods = [{"spec": {"nodeName": "b", "containers": [container]}}]
    assert [(node.name, node.free) for node in read_fleet(nodes, pods, held=[("a", 3)]).nodes] == [("a", 5), ("b", 6)]


ADDRESSES: dict[str, tuple[Json, Json, bool]] = {
    "nothing known": ({}, {}, False),
    "IPv4 pods": ({"podCIDRs": ["10.244.1.0/24"]}, {}, False),
    "IPv6 pods": ({"podCIDRs": ["fd00:10:244:1::/64"]}, {}, True),
    "an old field alone": ({"podCIDR": "fd00:10:244:1::/64"}, {}, True),
    "both families, IPv4 first": ({"podCIDRs": ["10.244.1.0/24", "fd00::/64"]}, {}, False),
    "both families, IPv6 first": ({"podCIDRs": ["fd00::/64", "10.244.1.0/24"]}, {}, True),
    "a network plugin with ranges of its own, IPv6 node": (
        {},
        {"addresses": [{"type": "InternalIP", "address": "fd00::1"}]},
        True,
    ),
    "pods' range before the node's own address": (
        {"podCIDRs": ["10.244.1.0/24"]},
        {"addresses": [{"type": "InternalIP", "address": "fd00::1"}]},
        False,
    ),
    "no internal address": ({}, {"addresses": [{"type": "Hostname", "address": "a:b"}]}, False),
}


@pytest.mark.parametrize(("spec", "status", "ipv6"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_family_of_the_pods_addresses_is_read(spec: Json, status: Json, ipv6: bool) -> None:
    node = a_node()
    assert read_node({**node, "spec": spec, "status": node["status"] | status}, 0).ipv6 is ipv6


_CHANGED: list[Json] = [
    {},
    {"metadata": {"name": "m", "labels": H100}},
    {"spec": {"unschedulable": True}},
    {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    {"spec": {"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}},
    {"spec": {"podCIDRs": ["fd00::/64"]}},
    {"status": {"allocatable": {"nvidia.com/gpu": 8, "cpu": "8"}}},
    {"status": {"allocatable": {"nvidia.com/gpu": 8.0, "cpu": "8"}}},
    {"status": {"allocatable": {"amd.com/gpu": "8", "memory": "1Gi"}}},
    {"status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "False"}]}},
    {"status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}},
    {"status": {"allocatable": {"nvidia.com/gpu": date(2026, 1, 1)}}},
    {"metadata": {"name": "n", "labels": H100, "annotations": {"hami.io/node-nvidia-register": "x"}}},
    *({"metadata": {"name": "n", "labels": labels}} for labels in SAMPLES.values()),
    *({"metadata": {"name": "n", "labels": {"example.com/h": name}}} for name in ("one", "two")),
]


@given(st.lists(st.sampled_from(_CHANGED), max_size=12))
def test_a_node_is_read_as_it_is_whatever_was_read_before(parts: list[Json]) -> None:
    """What nodes have in common is read once."""
    products = ("one", "two")
    stated = tuple(StatedProduct(gpu_kind(name), name, GIB, (("example.com/h", name),)) for name in products)
    site = FleetSite(products=stated)
    reader = NodeReader(site)
    for part in parts:
        node = a_node() | part
        assert reader.read(node) == read_node(node, 0, site)
