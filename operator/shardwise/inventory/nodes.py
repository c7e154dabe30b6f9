"""Reading a Node: its product, memory, GPUs, compute capability, NVLink domain and places, and why it is left out."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from shardwise.domain.fleet import GpuSource, Node, Taint
from shardwise.domain.hardware import ComputeCapability, bare_product, gpu_kind, parse_capability
from shardwise.domain.needs import Amounts, amounts_of
from shardwise.domain.platforms import CLIQUE, Level
from shardwise.domain.site import FleetSite
from shardwise.inventory.devices import NodeDevices
from shardwise.inventory.exclusions import SHARERS, NodeFacts, conditions_of, exclusion, tells_of_gpus
from shardwise.inventory.read_once import MOST, ReadOnce, content
from shardwise.inventory.vendors import RESOURCES, Labels, Vendor, read_count, vendor_of

KubernetesNode = Mapping[str, Any]
_PLAIN: Final = FleetSite()


def read_node(node: KubernetesNode, held: int, site: FleetSite = _PLAIN, devices: NodeDevices | None = None) -> Node:
    """Read a single Node, as :class:`NodeReader` does. ``held`` counts the GPUs that pods and plans hold on it."""
    read = NodeReader(site).read(node, devices)
    return read.with_left(max(0, read.free - held), ())


class NodeReader:
    """Reads the Nodes of a site. What nodes have in common is read once."""

    def __init__(self, site: FleetSite = _PLAIN) -> None:
        self._site = site
        self._told_by = frozenset(key for stated in site.products for key, _ in stated.node_labels)
        self._keys: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._alike = ReadOnce[Node]()
        self._offers = ReadOnce[Amounts]()

    def read(self, node: KubernetesNode, devices: NodeDevices | None = None) -> Node:
        """Read a Node as if nobody held its GPUs.

        ``devices`` are the GPUs that ResourceSlices list of it; ``None`` if nothing is known of them. Where pods get
        their GPUs from the slices, the devices say what the labels and the device plugin say elsewhere. A node that
        cannot be used has the reason and no free GPUs.
        """
        metadata, status = node.get("metadata") or {}, node.get("status") or {}
        labels: Labels = metadata.get("labels") or {}
        offered: Mapping[str, object] = status.get("allocatable") or {}
        like, name, site = self._like(node, labels, offered, devices), str(metadata.get("name", "")), self._site
        return Node(
            name,
            like.product,
            like.gpus,
            like.free,
            like.memory,
            nvlink_domain(labels, site.domain_keys) or name,
            tuple(map(_label_once, sorted(labels.items()))),
            like.taints,
            like.exclusion,
            tuple([_place(labels, level) for level in site.levels]),
            like.resource,
            like.detail,
            like.compute_capability,
            ":" in _address(node),
            self._offer(offered),
            (),
            like.source,
            like.withheld,
        )

    def _like(
        self, node: KubernetesNode, labels: Labels, offered: Mapping[str, object], devices: NodeDevices | None
    ) -> Node:
        """Give a node without a name that is like a Node in all that its GPUs, its health and its taints say."""
        metadata, spec, status = node.get("metadata") or {}, node.get("spec") or {}, node.get("status") or {}
        annotations = metadata.get("annotations") or {}
        telling = self._telling(tuple(labels))
        told = [labels[key] for key in telling]
        gpus = {name: offered[name] for name in RESOURCES if name in offered}
        health = [(found.get("type"), found.get("status")) for found in status.get("conditions") or ()]
        sharers = [key for key in SHARERS if key in annotations] if annotations else ()
        cordoned, taints = bool(spec.get("unschedulable")), spec.get("taints") or ()

        read_from = content((telling, told, gpus, health, sharers, cordoned, taints))
        like = self._alike.get(read_from) if devices is None else None
        if like is None:
            says, notes = dict(zip(telling, told, strict=True)), dict.fromkeys(sharers, "")
            facts = _facts_of(says, gpus, conditions_of(status), notes, self._site, cordoned=cordoned)
            like = _node_of(_with_devices(facts, devices), taints, self._site, devices)
            if devices is None:
                self._alike.keep(read_from, like)
        return like

    def _offer(self, offered: Mapping[str, object]) -> Amounts:
        """Give the counts of the resources besides GPUs that a node offers to pods."""
        read_from = content(offered)
        known = self._offers.get(read_from)
        if known is not None:
            return known
        others = {name: offered[name] for name in offered if name not in RESOURCES}
        return self._offers.keep(read_from, tuple(sorted(amounts_of(others).items())))

    def _telling(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """Give those of a node's label keys that say anything of its GPUs. Nodes mostly have the same keys."""
        telling = self._keys.get(keys)
        if telling is None:
            if len(self._keys) >= MOST:
                self._keys.clear()
            found = (key for key in keys if key in self._told_by or tells_of_gpus(key))
            telling = self._keys[keys] = tuple(found)
        return telling


def _node_of(
    facts: NodeFacts, taints: Iterable[Mapping[str, Any]], site: FleetSite, devices: NodeDevices | None
) -> Node:
    reason, detail = exclusion(facts, site) or (None, "")
    gpus = _counted(facts)
    return Node(
        name="",
        product=facts.product,
        gpus=gpus,
        free=0 if reason is not None else gpus,
        memory=facts.memory,
        domain="",
        source=_source(facts, devices),
        withheld=facts.devices.withheld if facts.devices is not None and facts.devices.usable else (),
        taints=tuple(_taint(taint) for taint in taints),
        exclusion=reason,
        resource=facts.vendor.resource,
        detail=detail,
        compute_capability=_compute_capability(facts, site),
    )


def _with_devices(facts: NodeFacts, devices: NodeDevices | None) -> NodeFacts:
    """Put the facts of devices in place of those of labels, where pods get their GPUs from ResourceSlices."""
    if devices is None:
        return facts
    vendor = next((device.driver.vendor for device in devices.all), facts.vendor)
    if not devices.serve(vendor.resource, facts.offered):
        return replace(facts, listed=len(devices.all), crossed=devices.crossed)
    listed = devices.usable or devices.all
    product = next((device.product for device in listed if device.product), facts.product)
    memory = min((device.memory for device in listed), default=0) or facts.memory
    return replace(facts, vendor=vendor, product=product, memory=memory, devices=devices, crossed=devices.crossed)


def _source(facts: NodeFacts, devices: NodeDevices | None) -> GpuSource:
    if devices is None or not devices.all:
        return GpuSource.DEVICE_PLUGIN
    if facts.offered:
        return GpuSource.BOTH
    return GpuSource.DRA if facts.devices is not None else GpuSource.DEVICE_PLUGIN


@lru_cache(maxsize=4096)
def _label_once(label: tuple[str, str]) -> tuple[str, str]:
    """Give the first label of its kind: thousands of nodes have the same labels."""
    return label


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


def _facts_of(
    labels: Labels,
    offered: Mapping[str, object],
    conditions: Mapping[str, str],
    annotations: Mapping[str, str],
    site: FleetSite,
    *,
    cordoned: bool,
) -> NodeFacts:
    vendor = vendor_of(labels, offered)
    product = labels.get(vendor.product) or _stated_product(labels, site)
    return NodeFacts(
        vendor=vendor,
        product=product,
        offered=read_count(offered.get(vendor.resource)) or 0,
        memory=_memory(vendor, labels, product, site),
        labels=labels,
        conditions=conditions,
        cordoned=cordoned,
        annotations=annotations,
    )


def _address(node: KubernetesNode) -> str:
    """Give an address of the family that comes first for the node's pods: of its pods' range, else the node's own."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    ranges = spec.get("podCIDRs") or [spec.get("podCIDR") or ""]
    if ranges[0]:
        return str(ranges[0])
    internal = (found.get("address") for found in status.get("addresses") or () if found.get("type") == "InternalIP")
    return str(next(internal, ""))


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
    stated_by_devices = (device.compute_capability for device in (facts.devices.usable if facts.devices else ()))
    least = min((found for found in stated_by_devices if found is not None), default=None)
    labelled = least or parse_capability(".".join(facts.labels.get(key, "") for key in vendor.capability))
    bare = bare_product(facts.product)
    stated = (kind.kind.compute_capability for kind in site.products if kind.kind.product == bare)
    return labelled or next(stated, None) or gpu_kind(facts.product).compute_capability


def _counted(facts: NodeFacts) -> int:
    """Count the usable GPUs: the offered GPUs, at most the count of the labelled product."""
    if facts.devices is not None:
        return len(facts.devices.usable)
    counted = read_count(facts.labels.get(facts.vendor.count)) if facts.vendor.count is not None else None
    return facts.offered if counted is None else min(facts.offered, counted)


def _place(labels: Labels, level: Level) -> str:
    return next((labels[key] for key in level.keys if labels.get(key)), "")


def _taint(taint: Mapping[str, Any]) -> Taint:
    return Taint(str(taint.get("key", "")), str(taint.get("value") or ""), str(taint.get("effect", "")))
