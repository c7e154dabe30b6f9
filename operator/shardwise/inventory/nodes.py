"""What one Node says of its GPUs: product, memory, count, NVLink domain, and why they may not be used.

Labels are those of NVIDIA's GPU feature discovery (k8s-device-plugin v0.20); conditions those of NVSentinel.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from shardwise.domain.fleet import Exclusion, Node, Taint
from shardwise.domain.platforms import CLIQUE, Level
from shardwise.domain.site import FleetSite
from shardwise.domain.units import MIB

GPU_RESOURCE: Final = "nvidia.com/gpu"
"""The extended resource NVIDIA's device plugin offers, one a GPU."""

_PRODUCT: Final = "nvidia.com/gpu.product"
_MEMORY: Final = "nvidia.com/gpu.memory"
_COUNT: Final = "nvidia.com/gpu.count"
_REPLICAS: Final = "nvidia.com/gpu.replicas"
_SHARING: Final = "nvidia.com/gpu.sharing-strategy"
_FAULTS: Final = frozenset({"GpuMemWatch", "GpuNvlinkWatch", "GpuPcieWatch", "GpuPowerWatch", "SysLogsXIDError"})
"""Conditions that are True when something is wrong."""

KubernetesNode = Mapping[str, Any]
_PLAIN: Final = FleetSite()


def read_node(node: KubernetesNode, held: int, site: FleetSite = _PLAIN) -> Node:
    """Read one Node. ``held`` counts the GPUs that pods and plans already hold on it.

    A node that cannot be used is given with its reason, and no free GPUs.
    """
    metadata = node.get("metadata") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    gpus = _usable_gpus(node, labels)
    exclusion = _exclusion(node, labels, gpus)
    name = str(metadata.get("name", ""))
    return Node(
        name=name,
        product=labels.get(_PRODUCT, ""),
        gpus=gpus,
        free=0 if exclusion is not None else max(0, gpus - held),
        memory=(read_count(labels.get(_MEMORY)) or 0) * MIB,
        domain=nvlink_domain(labels, site.domain_keys) or name,
        labels=tuple(sorted(labels.items())),
        taints=tuple(_taint(taint) for taint in (node.get("spec") or {}).get("taints") or ()),
        exclusion=exclusion,
        places=tuple(_place(labels, level) for level in site.levels),
    )


def nvlink_domain(labels: Mapping[str, str], keys: Iterable[str] = _PLAIN.domain_keys) -> str | None:
    """Name the NVLink domain of a node by the first of the keys it has; ``None`` where it has none.

    A clique, ``<cluster UUID>.<clique id>``, is compared as a whole: one rack may hold several. An all-zero UUID says
    that the node has NVLink inside and none to others; taking it as a clique would merge unrelated nodes.
    """
    for key in keys:
        value = labels.get(key, "")
        if value and (key != CLIQUE or value.rpartition(".")[0].strip("0-")):
            return value
    return None


def _place(labels: Mapping[str, str], level: Level) -> str:
    return next((labels[key] for key in level.keys if labels.get(key)), "")


def _usable_gpus(node: KubernetesNode, labels: Mapping[str, str]) -> int:
    allocatable = read_count(((node.get("status") or {}).get("allocatable") or {}).get(GPU_RESOURCE)) or 0
    counted = read_count(labels.get(_COUNT))
    return allocatable if counted is None else min(allocatable, counted)


def _exclusion(node: KubernetesNode, labels: Mapping[str, str], gpus: int) -> Exclusion | None:
    """Give the first reason that holds, the one the owner of the node would name first."""
    conditions = {one.get("type"): one.get("status") for one in (node.get("status") or {}).get("conditions") or ()}
    product = labels.get(_PRODUCT, "")
    reasons = (
        (_is_partitioned(product, labels), Exclusion.PARTITIONED),
        (_is_shared(product, labels), Exclusion.SHARED),
        (gpus == 0, Exclusion.NO_GPUS),
        (not product, Exclusion.NO_PRODUCT),
        (not read_count(labels.get(_MEMORY)), Exclusion.NO_MEMORY),
        (conditions.get("Ready", "True") != "True", Exclusion.NOT_READY),
        (bool((node.get("spec") or {}).get("unschedulable")), Exclusion.CORDONED),
        (any(conditions.get(fault) == "True" for fault in _FAULTS), Exclusion.FAULTY),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _is_partitioned(product: str, labels: Mapping[str, str]) -> bool:
    """``gpu.replicas`` is 0 on a GPU in MIG mode; the ``single`` strategy shows in the product's name."""
    sliced = labels.get("nvidia.com/mig.config", "all-disabled") not in ("all-disabled", "")
    return "-MIG-" in product or labels.get(_REPLICAS) == "0" or sliced


def _is_shared(product: str, labels: Mapping[str, str]) -> bool:
    strategy = labels.get(_SHARING, "none")
    return product.endswith("-SHARED") or (read_count(labels.get(_REPLICAS)) or 1) > 1 or strategy not in ("none", "")


def _taint(taint: Mapping[str, Any]) -> Taint:
    return Taint(str(taint.get("key", "")), str(taint.get("value") or ""), str(taint.get("effect", "")))


def read_count(value: object) -> int | None:
    """Read a whole number such as ``"8"``; ``None`` where it is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else None
