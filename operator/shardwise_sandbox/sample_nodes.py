"""Sample nodes, with the labels that real nodes carry.

The label values of H100 come from captures of real nodes. Those of GB200 and L40S come from captures of ``nvidia-smi``
and the rules of GPU feature discovery. A real HGX H100 node has no label ``nvidia.com/gpu.clique`` either.
"""

from typing import Final

from shardwise_sandbox.kubelet import ready_condition
from shardwise_sandbox.objects import JsonObject

_BOOTED: Final = "2025-01-01T00:00:00Z"
GB200_CLIQUE: Final = "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1"
"""The NVLink partition of the sample rack: the cluster UUID, a dot and the clique id."""

_DEPLOYED: Final = (
    "container-toolkit",
    "dcgm",
    "dcgm-exporter",
    "device-plugin",
    "gpu-feature-discovery",
    "node-status-exporter",
    "operator-validator",
)
_COMMON: Final[dict[str, str]] = {
    "nvidia.com/gpu.mode": "compute",
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.replicas": "1",
    "nvidia.com/gpu.sharing-strategy": "none",
    "nvidia.com/mig.strategy": "single",
    "nvidia.com/mps.capable": "false",
    "nvidia.com/vgpu.present": "false",
    "nvidia.com/gpu-driver-upgrade-state": "upgrade-done",
    **{f"nvidia.com/gpu.deploy.{part}": "true" for part in _DEPLOYED},
    "nvidia.com/gpu.deploy.driver": "pre-installed",
}
_H100: Final[dict[str, str]] = {
    "nvidia.com/cuda.driver-version.full": "550.90.07",
    "nvidia.com/cuda.runtime-version.full": "12.4",
    "nvidia.com/gpu.compute.major": "9",
    "nvidia.com/gpu.compute.minor": "0",
    "nvidia.com/gpu.family": "hopper",
    "nvidia.com/gpu.machine": "PowerEdge-XE9680",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "nvidia.com/mig.capable": "true",
    "nvidia.com/mig.config": "all-disabled",
    "nvidia.com/mig.config.state": "success",
}
_GB200: Final[dict[str, str]] = {
    "nvidia.com/gpu.compute.major": "10",
    "nvidia.com/gpu.compute.minor": "0",
    "nvidia.com/gpu.family": "blackwell",
    "nvidia.com/gpu.memory": "189471",
    "nvidia.com/gpu.product": "NVIDIA-GB200",
    "nvidia.com/mig.capable": "true",
    "nvidia.com/mig.config": "all-disabled",
    "nvidia.com/mig.config.state": "success",
}
_L40S: Final[dict[str, str]] = {
    "nvidia.com/gpu.compute.major": "8",
    "nvidia.com/gpu.compute.minor": "9",
    "nvidia.com/gpu.family": "ada-lovelace",
    "nvidia.com/gpu.memory": "46068",
    "nvidia.com/gpu.product": "NVIDIA-L40S",
    "nvidia.com/mig.capable": "false",
}


def node(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    gpus: int = 0,
    cpus: int = 96,
    memory: str = "1Ti",
    arch: str = "amd64",
    taints: list[JsonObject] | None = None,
) -> JsonObject:
    """Build a Ready node. It offers ``nvidia.com/gpu`` only if it has GPUs."""
    resources = {"cpu": str(cpus), "memory": memory, "ephemeral-storage": "3Ti", "pods": "110"}
    if gpus:
        resources["nvidia.com/gpu"] = str(gpus)
    own = {"kubernetes.io/arch": arch, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**own, **(labels or {})}},
        "spec": {"taints": taints} if taints else {},
        "status": {
            "capacity": dict(resources),
            "allocatable": dict(resources),
            "conditions": [ready_condition(ready=True, now=_BOOTED)],
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": _address(name)}],
            "nodeInfo": {
                "architecture": arch,
                "kubeletVersion": "v1.34.0",
                "operatingSystem": "linux",
                "containerRuntimeVersion": "containerd://2.1.4",
                "osImage": "Ubuntu 24.04.2 LTS",
            },
        },
    }


def _address(name: str) -> str:
    # Derived from the name, so that a node has the same address in every fleet.
    number = sum(ord(letter) * (place + 1) for place, letter in enumerate(name))
    return f"10.0.{number // 254 % 254}.{number % 254 + 1}"


def _gpu_labels(product: dict[str, str], gpus: int, extra: dict[str, str] | None) -> dict[str, str]:
    return {**_COMMON, **product, "nvidia.com/gpu.count": str(gpus), **(extra or {})}


def h100_node(name: str, gpus: int = 8, labels: dict[str, str] | None = None) -> JsonObject:
    """Build an HGX H100 node: NVLink inside the node, no clique label."""
    return node(name, labels=_gpu_labels(_H100, gpus, labels), gpus=gpus, cpus=192, memory="2Ti")


def gb200_tray(
    name: str, clique: str = GB200_CLIQUE, gpus: int = 4, labels: dict[str, str] | None = None
) -> JsonObject:
    """Build a compute tray of a GB200 NVL72 rack: arm64, NVLink to the trays of the same clique."""
    extra = {"nvidia.com/gpu.clique": clique, **(labels or {})}
    return node(name, labels=_gpu_labels(_GB200, gpus, extra), gpus=gpus, cpus=144, memory="960Gi", arch="arm64")


def l40s_node(name: str, gpus: int = 4, labels: dict[str, str] | None = None) -> JsonObject:
    """Build a node with L40S cards: PCIe only."""
    return node(name, labels=_gpu_labels(_L40S, gpus, labels), gpus=gpus, cpus=64, memory="512Gi")


def sample_fleet() -> list[JsonObject]:
    """Build the fleet of the demo: two HGX H100 nodes, four trays of the same GB200 clique, and an L40S node."""
    return [
        h100_node("h100-1"),
        h100_node("h100-2"),
        *(gb200_tray(f"gb200-r1-t{tray}") for tray in range(1, 5)),
        l40s_node("l40s-1"),
    ]
