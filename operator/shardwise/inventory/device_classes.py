"""Reading DeviceClasses (resource.k8s.io/v1): the devices that a class selects. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shardwise.inventory.selectors import Absent, Unread, quantity, selector, version
from shardwise.inventory.slices import DRIVERS, Device

_Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class DeviceClass:
    """A class of devices. ``resource`` is the extended resource whose requests it serves; empty for none.

    ``unread`` names the part of its selectors that is not read: nothing is known of the devices that it selects.
    """

    name: str
    resource: str = ""
    made: str = ""
    unread: str = ""
    tests: tuple[_Test, ...] = ()

    def selects(self, device: Device) -> bool:
        """Tell whether all selectors match a device."""
        seen = _seen(device)
        return all(test(seen) for test in self.tests)


def read_device_class(found: Mapping[str, Any]) -> DeviceClass:
    """Read a DeviceClass."""
    metadata, spec = found.get("metadata") or {}, found.get("spec") or {}
    named = str(metadata.get("name")), str(spec.get("extendedResourceName") or "")
    made = str(metadata.get("creationTimestamp") or "")
    stated = ((each.get("cel") or {}).get("expression") or "" for each in spec.get("selectors") or ())
    try:
        return DeviceClass(*named, made, tests=tuple(map(selector, stated)))
    except Unread as error:
        return DeviceClass(*named, made, unread=str(error))


def stated_class(name: str) -> DeviceClass:
    """Give a class that only its name is known of: the GPUs of the driver of that name, or of every driver.

    The charts of the drivers give their classes these names.
    """
    drivers = {name} if name in DRIVERS else set(DRIVERS)
    return DeviceClass(name, tests=(lambda seen: seen["driver"] in drivers,))


def class_for(resource: str, classes: Iterable[DeviceClass]) -> DeviceClass | None:
    """Give the class that serves requests of an extended resource. Of several classes, the newest serves."""
    serving = [found for found in classes if found.resource == resource and not found.unread]
    return max(serving, key=lambda found: (found.made, found.name), default=None)


def _seen(device: Device) -> dict[str, Any]:
    """Give a device as a selector sees it."""
    driver = device.id[0]
    return {
        "driver": driver,
        "attributes": _by_domain(driver, {name: _value(stated) for name, stated in device.attributes.items()}),
        "capacity": _by_domain(driver, {name: _amount(stated) for name, stated in device.capacity.items()}),
        "allowMultipleAllocations": device.multiple,
    }


def _value(stated: object) -> object:
    """Give the value of an attribute, which is a mapping from its type to it."""
    for kind, value in stated.items() if isinstance(stated, Mapping) else ():
        return _read(version, value) if kind == "version" else value
    return None


def _amount(stated: object) -> object:
    return _read(quantity, stated.get("value")) if isinstance(stated, Mapping) else None


def _read(read: Callable[[object], object], value: object) -> object:
    try:
        return read(value)
    except Absent:
        return None


class _Domains(dict[str, dict[str, Any]]):
    """Values by domain and name. A domain without values is empty, as in Kubernetes."""

    def __contains__(self, domain: object) -> bool:
        return isinstance(domain, str)

    def __missing__(self, domain: str) -> dict[str, Any]:
        return {}


def _by_domain(driver: str, values: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
    found: Final = _Domains()
    for name, value in values.items():
        domain, slash, bare = name.rpartition("/")
        found.setdefault(domain if slash else driver, {})[bare] = value
    return found
