"""What the operator configuration changes in how a node is read: its NVLink domain and its places."""

from typing import Any

import pytest

from shardwise.domain.platforms import Level, platforms
from shardwise.domain.site import FleetSite
from shardwise.inventory import read_fleet

Json = dict[str, Any]

CLIQUE = "nvidia.com/gpu.clique"
REAL = "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1"
ZERO = "00000000-0000-0000-0000-000000000000.0"


def site(platform: str) -> FleetSite:
    return FleetSite(platforms()[platform].domains, platforms()[platform].levels)


DOMAINS: dict[str, tuple[str, Json, str]] = {
    "nothing": ("generic", {}, "n"),
    "a clique": ("generic", {CLIQUE: REAL}, REAL),
    "a clique of zeros": ("generic", {CLIQUE: ZERO}, "n"),
    "a clique before the vendor's label": ("coreweave", {CLIQUE: REAL, "ds.coreweave.com/nvlink.domain": "d"}, REAL),
    "the vendor's label after zeros": ("coreweave", {CLIQUE: ZERO, "ds.coreweave.com/nvlink.domain": "d"}, "d"),
    "another vendor's label": ("eks", {"ds.coreweave.com/nvlink.domain": "d"}, "n"),
    "an UltraServer": ("eks", {"topology.k8s.aws/ultraserver-id": "us-1"}, "us-1"),
    "a reservation is no domain": ("eks", {"topology.k8s.aws/capacity-block-id": "cb-1"}, "n"),
    "a GKE subblock": ("gke", {"cloud.google.com/gce-topology-subblock": "s"}, "s"),
    "an OCI fabric": ("oci", {"oci.oraclecloud.com/host.gpu_memory_fabric_id": "f"}, "f"),
    "Topograph of old": ("topograph", {"network.topology.nvidia.com/accelerator": "a"}, "a"),
    "Topograph anew": ("topograph", {"accelerator.topograph.run/domain": "b"}, "b"),
    "a partition before its rack": (
        "topograph",
        {"accelerator.topograph.run/domain": "b", "accelerator.topograph.run/sub-domain": "b-1"},
        "b-1",
    ),
    "an empty value": ("gke", {"cloud.google.com/gce-topology-subblock": ""}, "n"),
}


@pytest.mark.parametrize(("platform", "labels", "domain"), DOMAINS.values(), ids=DOMAINS)
def test_the_first_domain_label_a_node_has_names_its_domain(platform: str, labels: Json, domain: str) -> None:
    (node,) = read_fleet([{"metadata": {"name": "n", "labels": labels}}], [], site=site(platform)).nodes
    assert node.domain == domain


PLACES: dict[str, tuple[str, Json, dict[str, str]]] = {
    "EKS with three layers": (
        "eks",
        {f"topology.k8s.aws/network-node-layer-{layer}": f"nn-{layer}" for layer in (1, 2, 3)},
        {"layer4": "", "layer3": "nn-3", "layer2": "nn-2", "layer1": "nn-1", "zone": ""},
    ),
    "EKS with four": (
        "eks",
        {f"topology.k8s.aws/network-node-layer-{layer}": f"nn-{layer}" for layer in (1, 2, 3, 4)},
        {"layer4": "nn-4", "layer3": "nn-3", "layer2": "nn-2", "layer1": "nn-1", "zone": ""},
    ),
    "OCI": (
        "oci",
        {
            "oci.oraclecloud.com/rdma.hpc_island_id": "af7ubvouuyq",
            "oci.oraclecloud.com/rdma.network_block_id": "7xmzl4p4wba",
            "oci.oraclecloud.com/rdma.local_block_id": "4tjxbt4s6ua",
        },
        {"block": "4tjxbt4s6ua", "network": "7xmzl4p4wba", "island": "af7ubvouuyq", "zone": ""},
    ),
    "Topograph, both generations": (
        "topograph",
        {"fabric.topograph.run/tier-0": "t0", "network.topology.nvidia.com/spine": "s"},
        {"leaf": "t0", "spine": "s", "core": "", "zone": ""},
    ),
    "a zone alone": ("generic", {"topology.kubernetes.io/zone": "a"}, {"zone": "a"}),
}


@pytest.mark.parametrize(("platform", "labels", "places"), PLACES.values(), ids=PLACES)
def test_a_node_has_its_places_nearest_first(platform: str, labels: Json, places: dict[str, str]) -> None:
    fleet = read_fleet([{"metadata": {"name": "n", "labels": labels}}], [], site=site(platform))
    assert dict(zip(fleet.levels, fleet.nodes[0].places, strict=True)) == places
    assert [bool(fleet.place(fleet.nodes[0], level)) for level in fleet.levels] == [
        bool(place) for place in places.values()
    ]


def test_a_place_is_named_with_those_above_it() -> None:
    """Rack 1 of one row is not rack 1 of another."""
    levels = (Level("rack", ("rack",)), Level("row", ("row",)))
    nodes = [{"metadata": {"name": row, "labels": {"rack": "1", "row": row}}} for row in ("a", "b")]
    fleet = read_fleet(nodes, [], site=FleetSite(levels=levels))
    assert [fleet.place(node, "rack") for node in fleet.nodes] == ["1/a", "1/b"]
    assert [fleet.place(node, "row") for node in fleet.nodes] == ["a", "b"]
    assert [fleet.place(node, "node") for node in fleet.nodes] == ["a", "b"]
