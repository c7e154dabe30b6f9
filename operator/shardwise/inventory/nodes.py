"""Reading a Node: its product, memory, GPUs, compute capability, NVLink domain and places, and why it is left out."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from shardwise.domain.fleet import Node, Taint
from shardwise.domain.hardware import ComputeCapability, bare_product, gpu_kind, parse_capability
from shardwise.domain.needs import Amounts, amounts_of
from shardwise.domain.platforms import CLIQUE, Level
from shardwise.domain.site import FleetSite
from shardwise.inventory.exclusions import NodeFacts, conditions_of, exclusion
from shardwise.inventory.vendors import RESOURCES, Labels, Vendor, read_count, vendor_of

KubernetesNode = Mapping[str, Any]
_PLAIN: Final = FleetSite()


def read_node(node: KubernetesNode, held: int, site: FleetSite = _PLAIN) -> Node:
    """Read a Node. ``held`` counts the GPUs that pods and plans already hold on it.

    A node that cannot be used has the reason and no free GPUs.
    """
    metadata, status = node.get("metadata") or {}, node.get("status") or {}
    labels: Labels = metadata.get("labels") or {}
    facts = _facts_of(node, labels, status, site)
    reason, detail = exclusion(facts, site) or (None, "")
    name = str(metadata.get("name", ""))
    gpus = _counted(facts)
    return Node(
        name=name,
        product=facts.product,
        gpus=gpus,
        free=0 if reason is not None else max(0, gpus - held),
        memory=facts.memory,
        domain=nvlink_domain(labels, site.domain_keys) or name,
        labels=tuple(sorted(labels.items())),
        taints=tuple(_taint(taint) for taint in (node.get("spec") or {}).get("taints") or ()),
        exclusion=reason,
        places=tuple(_place(labels, level) for level in site.levels),
        resource=facts.vendor.resource,
        detail=detail,
        compute_capability=_compute_capability(facts, site),
        ipv6=":" in _address(node),
        allocatable=_allocatable(status),
    )


def _allocatable(status: Mapping[str, Any]) -> Amounts:
    """Give the counts of the resources besides GPUs that a node offers to pods."""
    offered: Mapping[str, object] = status.get("allocatable") or {}
    return tuple(sorted(amounts_of({name: offered[name] for name in offered.keys() - RESOURCES}).items()))


def nvlink_domain(labels: Labels, keys: Iterable[str] = _PLAIN.domain_keys) -> str | None:
    """Give the NVLink domain of a node by the first of the keys that the node has; ``None`` without any.

    A clique, ``<cluster UUID>.<clique id>``, is compared as a whole, because a rack may hold several cliques. An
    all-zero UUID means NVLink inside the node only: taking it as a clique would merge unrelated nodes.
    """
    for key in keys:
        value = labels.get(key, "")
        if value and (key != CLIQUE or value.rpartition(".")[0].strip("0-")):
            return value
    return None


def _facts_of(node: KubernetesNode, labels: Labels, status: Mapping[str, Any], site: FleetSite) -> NodeFacts:
    allocatable: Mapping[str, object] = status.get("allocatable") or {}
    vendor = vendor_of(labels, allocatable)
    product = labels.get(vendor.product) or _stated_product(labels, site)
    return NodeFacts(
        vendor=vendor,
        product=product,
        offered=read_count(allocatable.get(vendor.resource)) or 0,
        memory=_memory(vendor, labels, product, site),
        labels=labels,
        conditions=conditions_of(status),
        cordoned=bool((node.get("spec") or {}).get("unschedulable")),
        annotations=(node.get("metadata") or {}).get("annotations") or {},
    )


def _address(node: KubernetesNode) -> str:
    """Give an address of the family that comes first for the node's pods: of its pods' range, else the node's own."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    ranges = spec.get("podCIDRs") or [spec.get("podCIDR") or ""]
    internal = (found.get("address") for found in status.get("addresses") or () if found.get("type") == "InternalIP")
    return str(ranges[0] or next(internal, ""))


def _stated_product(labels: Labels, site: FleetSite) -> str:
    """Find the product of a node without a product label by other labels, as the configuration states."""
    for stated in site.products:
        if stated.node_labels and all(labels.get(key) == value for key, value in stated.node_labels):
            return stated.label
    return ""


def _memory(vendor: Vendor, labels: Labels, product: str, site: FleetSite) -> int:
    labelled = vendor.memory_bytes(labels.get(vendor.memory, ""))
    if labelled or not site.products:
        return labelled
    bare = bare_product(product)
    return next((stated.memory for stated in site.products if stated.kind.product == bare), 0)


def _compute_capability(facts: NodeFacts, site: FleetSite) -> ComputeCapability | None:
    """Give the labelled compute capability; without labels, that of the product, as configured or built in."""
    vendor = facts.vendor
    if vendor.capability is None:
        return None
    labelled = parse_capability(".".join(facts.labels.get(key, "") for key in vendor.capability))
    bare = bare_product(facts.product)
    stated = (kind.kind.compute_capability for kind in site.products if kind.kind.product == bare)
    return labelled or next(stated, None) or gpu_kind(facts.product).compute_capability


def _counted(facts: NodeFacts) -> int:
    """Count the usable GPUs: the offered GPUs, at most the count of the labelled product."""
    counted = read_count(facts.labels.get(facts.vendor.count)) if facts.vendor.count is not None else None
    return facts.offered if counted is None else min(facts.offered, counted)


def _place(labels: Labels, level: Level) -> str:
    return next((labels[key] for key in level.keys if labels.get(key)), "")


def _taint(taint: Mapping[str, Any]) -> Taint:
    return Taint(str(taint.get("key", "")), str(taint.get("value") or ""), str(taint.get("effect", "")))
