"""The GPUs of a node as ResourceSlices list them: how many may be claimed, and why others may not. Pure.

A GPU counts once, however many devices stand for it: partitions of a GPU, or the same GPU for a virtual machine, share
its address on the PCI bus, or take counters that only one of them can have.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from shardwise.domain.fleet import Exclusion, Withheld
from shardwise.inventory.device_classes import DeviceClass
from shardwise.inventory.slices import Device, DeviceId, DevicePool

H = TypeVar("H")
CounterName = tuple[str, str, str, str]
"""Driver, pool, counter set and counter."""


@dataclass(frozen=True)
class NodeDevices:
    """The GPUs that the slices of a node list.

    ``usable`` may be claimed. ``withheld`` are others of the class, and why. ``all`` are all GPUs of the node
    whatever their class. ``claims``: the configuration says that pods claim GPUs; else ``resource`` is the extended
    resource whose requests the class serves, empty for none. ``wrong`` says why nothing is known of the class.
    ``crossed`` says what strangers hold in the way that our pods do not use, if the node offers its GPUs in both ways.
    """

    usable: tuple[Device, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    all: tuple[Device, ...] = ()
    claims: bool = False
    resource: str = ""
    wrong: str = ""
    crossed: str = ""

    def serve(self, resource: str, offered: int) -> bool:
        """Tell whether pods get the node's GPUs from the slices.

        Where no claims are configured, pods request ``resource``. The scheduler serves such requests from slices only
        on nodes whose device plugin offers none.
        """
        return self.claims or (not offered and self.resource == resource and bool(self.usable or self.withheld))


@dataclass(frozen=True)
class Listed:
    """What is listed of a node: its devices, whether their pools are complete, and the counters of the pools."""

    devices: tuple[Device, ...]
    incomplete: frozenset[DeviceId]
    counters: Mapping[CounterName, int]

    @classmethod
    def of(cls, node: str, pools: Iterable[DevicePool]) -> "Listed":
        """Take what pools say of a node."""
        devices: list[Device] = []
        incomplete: set[DeviceId] = set()
        counters: dict[CounterName, int] = {}
        for pool in pools:
            own = [device for device in pool.devices if device.node == node]
            devices += own
            incomplete.update(() if pool.complete else (device.id for device in own))
            for device in own[:1]:
                counters |= {(*device.id[:2], *name): amount for name, amount in pool.counters.items()}
        return cls(tuple(devices), frozenset(incomplete), counters)

    def of_class(self, found: DeviceClass, *, claims: bool) -> NodeDevices:
        """Give the GPUs that a class selects."""
        everything = self._apart(device for device in self.devices if device.is_gpu)
        resource = "" if claims else found.resource
        if found.unread:
            wrong = f"DeviceClass `{found.name}` selects by {found.unread}, which is not read"
            return NodeDevices(all=everything, claims=claims, resource=resource, wrong=wrong)
        gpus = (device for device in self.devices if device.is_gpu and found.selects(device))
        partitions = (device for device in self.devices if device.is_partition)
        judged = [(device, self._withheld(device)) for device in (*gpus, *partitions)]
        usable = self._apart(device for device, why in judged if why is None)
        known = {device.identity for device in usable}
        rest = ((device, why) for device, why in judged if why is not None and device.identity not in known)
        return NodeDevices(usable, tuple(_counted(rest)), everything, claims, resource)

    def _withheld(self, device: Device) -> tuple[Exclusion, str] | None:
        """Say why a device of the class may not be claimed."""
        name = device.id[2]
        if device.is_partition:
            return Exclusion.PARTITIONED, f"device {name}"
        if device.id in self.incomplete:
            return Exclusion.INCOMPLETE, f"pool {device.id[1]}"
        if device.shared:
            return Exclusion.SHARED, f"device {name} allows several claims"
        taint = device.hard_taint
        if taint is None:
            return None
        return Exclusion.TAINTED, f"{taint.key}={taint.value}:{taint.effect}"

    def taken(self, gpus: Iterable[Device], held: Mapping[DeviceId, H]) -> Counter[H]:
        """Count the GPUs of which somebody holds anything, by holder. ``held`` are devices with their holders."""
        used = [device for device in self.devices if device.id in held]
        if not used:
            return Counter()
        left = Counter(dict(self.counters))
        for device in used:
            left.subtract(_keyed(device))
        buses = {device.bus: held[device.id] for device in used if device.bus}
        found: Counter[H] = Counter()
        for gpu in gpus:
            by = held.get(gpu.id) or buses.get(gpu.bus) or self._crowding(gpu, used, left, held)
            if by is not None:
                found[by] += 1
            else:
                left.subtract(_keyed(gpu))
        return found

    def _crowding(
        self, gpu: Device, used: Iterable[Device], left: Mapping[CounterName, int], held: Mapping[DeviceId, H]
    ) -> H | None:
        """Give the holder of a device that leaves too few counters for a GPU."""
        short = {name for name, amount in _keyed(gpu).items() if left[name] < amount}
        return next((held[device.id] for device in used if short & _keyed(device).keys()), None)

    def _apart(self, devices: Iterable[Device]) -> tuple[Device, ...]:
        """Give devices that exclude none of each other."""
        left, buses, found = Counter(dict(self.counters)), set[str](), []
        for device in devices:
            wanted = _keyed(device)
            if device.bus not in buses and all(left[name] >= amount for name, amount in wanted.items()):
                left.subtract(wanted)
                found.append(device)
                buses.update({device.bus} - {""})
        return tuple(found)


def _keyed(device: Device) -> dict[CounterName, int]:
    return {(*device.id[:2], *name): amount for name, amount in device.consumed.items()} if device.consumed else {}


def _counted(judged: Iterable[tuple[Device, tuple[Exclusion, str]]]) -> Iterator[Withheld]:
    """Count GPUs by reason, with the detail of the first: partitions of the same GPU count once."""
    found: dict[Exclusion, tuple[str, set[object]]] = {}
    for device, (reason, detail) in judged:
        found.setdefault(reason, (detail, set()))[1].add(device.identity)
    for reason in sorted(found):
        yield Withheld(reason, len(found[reason][1]), found[reason][0])
