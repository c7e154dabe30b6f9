"""Reading DeviceClasses (resource.k8s.io/v1): the devices that a class selects. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shardwise.inventory.selectors import Absent, Unread, quantity, selector, version
from shardwise.inventory.slices import DRIVERS, Device, objects_in

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
    stated = ((each.get("cel") or {}).get("expression") or "" for each in objects_in(spec.get("selectors")))
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


class _Values(Mapping[str, object]):
    """The attributes or capacities of a domain, read when a selector asks for them."""

    def __init__(self, stated: Mapping[str, Any], prefixes: tuple[str, ...], read: Callable[[Any], object]) -> None:
        self._stated = stated
        self._prefixes = prefixes
        self._read = read

    def __getitem__(self, name: str) -> object:
        for prefix in self._prefixes:
            if prefix + name in self._stated:
                return self._read(self._stated[prefix + name])
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        for name in self._stated:
            domain, slash, bare = name.rpartition("/")
            if domain + slash in self._prefixes:
                yield bare

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Domains(Mapping[str, Mapping[str, object]]):
    """Attributes or capacities by domain. As in Kubernetes, each domain is there, perhaps without values."""

    def __init__(self, driver: str, stated: Mapping[str, Any], read: Callable[[Any], object]) -> None:
        self._driver = driver
        self._stated = stated
        self._read = read

    def __getitem__(self, domain: str) -> Mapping[str, object]:
        prefixes = (f"{domain}/", "") if domain == self._driver else (f"{domain}/",)
        return _Values(self._stated, prefixes, self._read)

    def __iter__(self) -> Iterator[str]:
        return iter({name.rpartition("/")[0] or self._driver for name in self._stated})

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _seen(device: Device) -> dict[str, Any]:
    """Give a device as a selector sees it."""
    driver = device.id[0]
    return {
        "driver": driver,
        "attributes": _Domains(driver, device.attributes, _value),
        "capacity": _Domains(driver, device.capacity, _amount),
        "allowMultipleAllocations": device.multiple,
    }


def _value(stated: Any) -> object:  # noqa: ANN401 - any JSON value
    """Give the value of an attribute, which is a mapping from its type to it."""
    for kind, value in stated.items() if isinstance(stated, dict) else ():
        return version(value) if kind == "version" else value
    raise Absent


def _amount(stated: Any) -> object:  # noqa: ANN401 - any JSON value
    if not isinstance(stated, dict):
        raise Absent
    return quantity(stated.get("value"))
