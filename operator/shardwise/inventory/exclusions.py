"""Why a node's GPUs may not be used, read from the node's labels and conditions.

The labels are written by NVIDIA's GPU feature discovery (k8s-device-plugin v0.20). Conditions that are True when a GPU
is faulty are written by NVSentinel; the platform and the configuration name further conditions.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from shardwise.domain.fleet import Exclusion
from shardwise.domain.platforms import FaultCondition
from shardwise.domain.site import FleetSite
from shardwise.domain.units import plural
from shardwise.inventory.devices import NodeDevices
from shardwise.inventory.vendors import LABELS, VENDORS, Labels, Vendor, is_mixed, read_count

_REPLICAS: Final = "nvidia.com/gpu.replicas"
_SHARING: Final = "nvidia.com/gpu.sharing-strategy"
_MIG: Final = "nvidia.com/mig-"
_MIG_CONFIG: Final = "nvidia.com/mig.config"
_DISPLAY: Final = "-DGX-Display"
"""The graphics card of a DGX station. Its labels and the labels of the GPUs overwrite each other in turn."""

SHARERS: Final = ("hami.io/node-nvidia-register", "4pd.io/node-nvidia-register")
"""Annotations by which HAMi, formerly 4paradigm's k8s-vgpu-scheduler, notes the GPUs of a node.

HAMi offers each GPU several times, by default 10 times, and hands out parts of its memory.
"""

_FAULTS: Final = re.compile(r"Gpu\w+Watch|SysLogs\w+")
"""Conditions of NVSentinel's GPU and system log monitors."""

ReasonAndDetail = tuple[Exclusion, str]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The facts read of a node: ``offered`` counts the GPUs of its device plugin, ``memory`` is bytes per GPU.

    ``devices`` are its GPUs by ResourceSlices, if pods get them from there; else ``listed`` counts those GPUs.
    ``crossed`` says what strangers hold in the way that our pods do not use.
    """

    vendor: Vendor
    product: str
    offered: int
    memory: int
    labels: Labels
    conditions: Mapping[str, str]
    cordoned: bool
    annotations: Mapping[str, str] = field(default_factory=dict)
    devices: NodeDevices | None = None
    listed: int = 0
    crossed: str = ""


def exclusion(facts: NodeFacts, site: FleetSite) -> ReasonAndDetail | None:
    """Give the first reason that holds, and the label or condition that shows it."""
    listed = (_of_sharing(facts), _of_labels(facts)) if facts.devices is None else (_of_devices(facts, facts.devices),)
    return next(chain(*listed, _of_allocators(facts), _of_health(facts, site)), None)


def _of_allocators(facts: NodeFacts) -> Iterator[ReasonAndDetail]:
    """Tell of two allocators. A device plugin does not say which GPUs its pods have, so that none is surely free."""
    if facts.crossed and facts.offered:
        yield Exclusion.TWO_ALLOCATORS, facts.crossed


def _of_devices(facts: NodeFacts, devices: NodeDevices) -> Iterator[ReasonAndDetail]:
    """Labels of shared and partitioned GPUs describe the device plugin: devices say it themselves."""
    yield from _of_sharers(facts)
    if not devices.usable:
        yield _of_no_device(facts, devices)
    products = sorted({device.product for device in devices.usable})
    if len(products) > 1:
        yield Exclusion.MIXED, " and ".join(products)
    if not facts.product:
        yield Exclusion.NO_PRODUCT, "attribute productName"
    if not facts.memory:
        yield Exclusion.NO_MEMORY, "capacity memory"


def _of_no_device(facts: NodeFacts, devices: NodeDevices) -> ReasonAndDetail:
    if not (devices.all or devices.withheld or facts.offered or facts.vendor.product in facts.labels):
        return Exclusion.NO_GPUS, ""
    if devices.wrong:
        return Exclusion.CLASS_UNREAD, devices.wrong
    if devices.withheld:
        return devices.withheld[0].reason, devices.withheld[0].detail
    if devices.all:
        return Exclusion.NO_DEVICES, f"its ResourceSlices list {plural(len(devices.all), 'GPU')} of other classes"
    return Exclusion.NO_DEVICES, "no ResourceSlice lists a GPU of it"


def _of_sharing(facts: NodeFacts) -> Iterator[ReasonAndDetail]:
    """``gpu.replicas`` is 0 in MIG mode. The MIG strategy ``single`` changes the product, ``mixed`` adds label keys."""
    labels = facts.labels
    sliced = labels.get(_MIG_CONFIG, "all-disabled") not in ("all-disabled", "")
    profile = next((key for key in labels if key.startswith(_MIG) and key.endswith(".count")), "")
    if "-MIG-" in facts.product or labels.get(_REPLICAS) == "0" or sliced or profile:
        yield Exclusion.PARTITIONED, _told(labels, _MIG_CONFIG, profile, facts.vendor.product)
    strategy = labels.get(_SHARING, "none")
    copies = read_count(labels.get(_REPLICAS)) or 1
    if facts.product.endswith("-SHARED") or copies > 1 or strategy not in ("none", ""):
        yield Exclusion.SHARED, _told(labels, *((_REPLICAS, _SHARING) if copies > 1 else (_SHARING,)))
    yield from _of_sharers(facts)


def _of_sharers(facts: NodeFacts) -> Iterator[ReasonAndDetail]:
    return ((Exclusion.SHARED, f"annotation {sharer}") for sharer in SHARERS if sharer in facts.annotations)


def _of_labels(facts: NodeFacts) -> Iterator[ReasonAndDetail]:
    mixed = is_mixed(facts.vendor, facts.labels, facts.offered) or facts.product.endswith(_DISPLAY)
    if facts.offered == 0:
        has_some = bool(facts.product or facts.listed) or facts.vendor.product in facts.labels
        yield (Exclusion.OFFERS_NONE, _none_allocatable(facts)) if has_some else (Exclusion.NO_GPUS, "")
    if mixed:
        count = facts.labels.get(facts.vendor.count or "", "")
        yield Exclusion.MIXED, f"{facts.offered} are offered, labels describe {count}" if count else facts.product
    if not facts.product:
        yield Exclusion.NO_PRODUCT, facts.vendor.product
    if not facts.memory:
        yield Exclusion.NO_MEMORY, facts.vendor.memory


def _none_allocatable(facts: NodeFacts) -> str:
    none = f"no {facts.vendor.resource} is allocatable"
    if not facts.listed:
        return none
    return f"{none}; ResourceSlices list {plural(facts.listed, 'GPU')}, which pods get by `launch.gpuClaims`"


def _of_health(facts: NodeFacts, site: FleetSite) -> Iterator[ReasonAndDetail]:
    ready = facts.conditions.get("Ready", "True")
    if ready != "True":
        yield Exclusion.NOT_READY, f"Ready is {ready}"
    if facts.cordoned:
        yield Exclusion.CORDONED, ""
    for name, status in sorted(facts.conditions.items()):
        if FaultCondition(name, status) in site.faults or (status == "True" and _FAULTS.fullmatch(name)):
            yield Exclusion.FAULTY, name if status == "True" else f"{name} is {status}"


def _told(labels: Labels, *keys: str) -> str:
    """Give the first label that the node has."""
    return next((f"{key}={labels[key]}" for key in keys if labels.get(key)), "")


_SHARING_LABELS: Final = frozenset({_REPLICAS, _SHARING, _MIG_CONFIG})
_PREFIXES: Final = (_MIG, *(f"{vendor.product}." for vendor in VENDORS))


def tells_of_gpus(key: str) -> bool:
    """Tell whether a label says anything of the GPUs of a node: only such labels are read for its exclusion."""
    return key in LABELS or key in _SHARING_LABELS or key.startswith(_PREFIXES)


def conditions_of(status: Mapping[str, Any]) -> Mapping[str, str]:
    """Give the status of each condition by its type."""
    return {str(found.get("type")): str(found.get("status")) for found in status.get("conditions") or ()}
