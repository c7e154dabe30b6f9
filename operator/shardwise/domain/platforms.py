"""Which node labels tell of NVLink domains and of the network above them, by the platform that writes them.

Each preset lists the label keys whose value names an NVLink domain of several nodes, and the levels above, nearest
first. A key counts only on nodes that have it, so that a preset names all generations of a label at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CLIQUE: Final = "nvidia.com/gpu.clique"
"""``<cluster UUID>.<clique id>``, written by NVIDIA's GPU feature discovery: the NVLink partition itself."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the network above the NVLink domain, such as a rack.

    ``keys`` are node label keys; a node's place is the value of the first of them it has.
    """

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Platform:
    """The labels of one platform. ``domains`` and ``levels`` are in the order of preference, levels nearest first."""

    domains: tuple[str, ...]
    levels: tuple[Level, ...]


_ZONE: Final = Level("zone", ("topology.kubernetes.io/zone",))


def _platform(domains: tuple[str, ...], **levels: str | tuple[str, ...]) -> Platform:
    """Make a platform: the clique before its own domain labels, the zone after its own levels."""
    own = (Level(name, (keys,) if isinstance(keys, str) else keys) for name, keys in levels.items())
    return Platform((CLIQUE, *domains), (*own, _ZONE))


PLATFORMS: Final[Mapping[str, Platform]] = {
    "generic": _platform(()),
    # Topograph >= v1.0.0, then v0.5: it renamed its labels. tier-0 is the nearest.
    "topograph": _platform(
        (
            "accelerator.topograph.run/sub-domain",
            "accelerator.topograph.run/domain",
            "network.topology.nvidia.com/accelerator",
        ),
        leaf=("fabric.topograph.run/tier-0", "network.topology.nvidia.com/leaf"),
        spine=("fabric.topograph.run/tier-1", "network.topology.nvidia.com/spine"),
        core=("fabric.topograph.run/tier-2", "network.topology.nvidia.com/core"),
    ),
    # The layer with the highest number is the nearest; the fourth exists on some instance types only.
    # capacity-block-id is a reservation, no domain: it may span cliques.
    "eks": _platform(
        ("topology.k8s.aws/ultraserver-id",),
        layer4="topology.k8s.aws/network-node-layer-4",
        layer3="topology.k8s.aws/network-node-layer-3",
        layer2="topology.k8s.aws/network-node-layer-2",
        layer1="topology.k8s.aws/network-node-layer-1",
    ),
    # On A4X a subblock is one NVL72 domain; the labels exist only on reserved capacity.
    "gke": _platform(
        ("cloud.google.com/gce-topology-subblock",),
        subblock="cloud.google.com/gce-topology-subblock",
        block="cloud.google.com/gce-topology-block",
    ),
    # Written by oci-hpc-oke-utils; the fabric id exists on GB200 and GB300 only.
    "oci": _platform(
        ("oci.oraclecloud.com/host.gpu_memory_fabric_id",),
        block="oci.oraclecloud.com/rdma.local_block_id",
        network="oci.oraclecloud.com/rdma.network_block_id",
        island="oci.oraclecloud.com/rdma.hpc_island_id",
    ),
    "coreweave": _platform(
        ("ds.coreweave.com/nvlink.domain",),
        rack="node.coreweave.cloud/rack",
        leaf=("backend.coreweave.cloud/leafgroup", "ib.coreweave.cloud/leafgroup"),
        superpod=("backend.coreweave.cloud/superpod", "ib.coreweave.cloud/superpod"),
        fabric=("backend.coreweave.cloud/fabric", "ib.coreweave.cloud/fabric"),
    ),
}
"""Presets by name. Sources: NVIDIA/topograph docs, AWS EKS and GKE documentation, oracle-quickstart/oci-hpc-oke
docs/oci-hpc-oke-utils.md, docs.coreweave.com (labels of InfiniBand and RoCE fabrics)."""
