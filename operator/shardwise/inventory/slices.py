"""Reading ResourceSlices (resource.k8s.io/v1): the GPUs that the drivers of dynamic resource allocation list. Pure.

Sources: kubernetes-sigs/dra-driver-nvidia-gpu cmd/gpu-kubelet-plugin/deviceinfo.go (after v0.4.1);
ROCm/k8s-gpu-dra-driver docs/driver-attributes.md; Kubernetes 1.36, ``k8s.io/api/resource/v1``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from shardwise.domain.fleet import Taint
from shardwise.domain.hardware import ComputeCapability, parse_capability
from shardwise.domain.units import read_amount
from shardwise.inventory.vendors import VENDORS, Vendor

ResourceSlice = Mapping[str, Any]
DeviceId = tuple[str, str, str]
"""Driver, pool and name of a device, by which claims name it."""

PoolId = tuple[str, str]
"""Driver and name of a pool."""

Counters = Mapping[tuple[str, str], int]
"""Amounts in thousandths, by counter set and counter."""

BUS: Final = "resource.kubernetes.io/pciBusID"
"""The attribute that a GPU and its partitions share."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver that lists GPUs. ``gpu`` is the ``type`` of a GPU, ``partition`` that of a partition of a GPU.

    ``space`` stands in a label of the vendor where the name of a product has a space.
    """

    vendor: Vendor
    gpu: str
    partition: str
    space: str


DRIVERS: Final[Mapping[str, Driver]] = {
    "gpu.nvidia.com": Driver(VENDORS[0], "gpu", "mig", "-"),
    "gpu.amd.com": Driver(VENDORS[1], "amdgpu", "amdgpu-partition", "_"),
}


@dataclass(frozen=True)
class Device:
    """A device that a driver lists: a GPU, or a partition of a GPU.

    ``type`` and ``bus``, the address on the PCI bus, are empty if unknown. ``consumed`` are the counters that it takes
    of its pool: devices that take the same counters exclude each other. ``multiple``: several claims may have it at the
    same time.
    """

    id: DeviceId
    node: str
    attributes: Mapping[str, Any] = field(repr=False)
    capacity: Mapping[str, Any] = field(repr=False)
    type: str = ""
    bus: str = ""
    taints: tuple[Taint, ...] = ()
    consumed: Counters = field(default_factory=dict)
    multiple: bool = False

    @property
    def driver(self) -> Driver:
        """The driver that lists it."""
        return DRIVERS[self.id[0]]

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU, and no part of a GPU; a device without a type is."""
        return self.type in ("", self.driver.gpu)

    @property
    def is_partition(self) -> bool:
        """Whether it is a partition of a GPU."""
        return self.type == self.driver.partition

    @property
    def identity(self) -> object:
        """A value that all devices of the same GPU have, as far as the driver says that they are the same."""
        return self.bus or tuple(sorted({(*self.id[:2], counters) for counters, _ in self.consumed})) or self.id

    @cached_property
    def product(self) -> str:
        """The product, spelt as a label of the vendor would spell it; empty if unknown."""
        return _text(_own(self.attributes, self.id[0], "productName")).strip().replace(" ", self.driver.space)

    @cached_property
    def memory(self) -> int:
        """The memory in bytes, as NVML counts it; 0 if unknown."""
        stated = _own(self.capacity, self.id[0], "memory")
        return (read_amount(str(stated.get("value"))) or 0) // 1000

    @cached_property
    def compute_capability(self) -> ComputeCapability | None:
        """The compute capability; ``None`` if unknown."""
        stated = _text(_own(self.attributes, self.id[0], "cudaComputeCapability"))
        return parse_capability(".".join(stated.split(".")[:2]))

    @property
    def shared(self) -> bool:
        """Whether a claim that states no capacity leaves a part of it to others.

        Such a claim takes the default of each capacity: without a policy, the whole capacity.
        """
        return self.multiple and not any(map(_all_taken, self.capacity.values()))

    @property
    def hard_taint(self) -> Taint | None:
        """The first taint that keeps claims away."""
        return next((taint for taint in self.taints if taint.effect in ("NoSchedule", "NoExecute")), None)


def _own(values: Mapping[str, Any], driver: str, name: str) -> Mapping[str, Any]:
    """Give an attribute or a capacity of the driver's own, whose domain may be left out."""
    return _mapping(values.get(name) or values.get(f"{driver}/{name}"))


def _text(attribute: Mapping[str, Any]) -> str:
    return str(attribute.get("string") or attribute.get("version") or "")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class DevicePool:
    """The devices of the newest generation of a pool, and its counters. ``complete``: all its slices are there.

    The scheduler uses nothing of an incomplete pool.
    """

    devices: tuple[Device, ...]
    counters: Counters
    complete: bool

    @property
    def nodes(self) -> set[str]:
        """Name the nodes of the devices."""
        return {device.node for device in self.devices}


def objects_in(values: object) -> Iterator[Mapping[str, Any]]:
    """Give the objects of a list. Null stands for a list without items, and as an item it says nothing."""
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else iter(())


def pool_of(resource_slice: ResourceSlice) -> PoolId | None:
    """Give the pool of a slice that may list GPUs; ``None`` for the slices of other drivers."""
    spec = resource_slice.get("spec") or {}
    driver = str(spec.get("driver") or "")
    return (driver, str((spec.get("pool") or {}).get("name") or "")) if driver in DRIVERS else None


def read_pool(pool: PoolId, slices: Iterable[ResourceSlice]) -> DevicePool:
    """Read a pool from all its slices. Slices of an older generation do not count."""
    specs = [found.get("spec") or {} for found in slices]
    newest = max((_generation(spec) for spec in specs), default=0)
    current = [spec for spec in specs if _generation(spec) == newest]
    wanted = max((int((spec.get("pool") or {}).get("resourceSliceCount") or 1) for spec in current), default=1)
    devices = {device.id: device for spec in current for device in _devices(pool, spec)}
    counters = {
        (str(found.get("name")), str(name)): read_amount(str((counter or {}).get("value"))) or 0
        for spec in current
        for found in objects_in(spec.get("sharedCounters"))
        for name, counter in (found.get("counters") or {}).items()
    }
    return DevicePool(tuple(devices[each] for each in sorted(devices)), counters, len(current) >= wanted)


def _generation(spec: Mapping[str, Any]) -> int:
    return int((spec.get("pool") or {}).get("generation") or 0)


def _devices(pool: PoolId, spec: Mapping[str, Any]) -> Iterator[Device]:
    """Read the devices of a slice that belong to a single node; others, on a network, are no GPUs of ours."""
    for stated in objects_in(spec.get("devices")):
        node = str(spec.get("nodeName") or stated.get("nodeName") or "")
        attributes = stated.get("attributes") or {}
        if node:
            yield Device(
                id=(*pool, str(stated.get("name"))),
                node=node,
                attributes=attributes,
                capacity=stated.get("capacity") or {},
                type=_text(_own(attributes, pool[0], "type")),
                bus=_text(_mapping(attributes.get(BUS))),
                taints=tuple(map(_taint, objects_in(stated.get("taints")))),
                consumed=dict(_consumed(stated)),
                multiple=bool(stated.get("allowMultipleAllocations")),
            )


def _taint(taint: Mapping[str, Any]) -> Taint:
    return Taint(str(taint.get("key", "")), str(taint.get("value") or ""), str(taint.get("effect", "")))


def _consumed(stated: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], int]]:
    for taken in objects_in(stated.get("consumesCounters")):
        for name, counter in (taken.get("counters") or {}).items():
            yield (str(taken.get("counterSet")), str(name)), read_amount(str((counter or {}).get("value"))) or 0


def _all_taken(capacity: object) -> bool:
    stated = _mapping(capacity)
    default = _mapping(stated.get("requestPolicy")).get("default")
    return bool(stated) and (default is None or read_amount(str(default)) == read_amount(str(stated.get("value"))))
