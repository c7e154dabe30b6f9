"""The devices of all nodes and the claims that hold them, kept up to date by events. Pure.

An event reads its own pool, claim or class again, and names the nodes that it concerns.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from shardwise.domain.site import FleetSite
from shardwise.inventory.claims import Allocation
from shardwise.inventory.device_classes import DeviceClass, class_for, stated_class
from shardwise.inventory.devices import Listed, NodeDevices
from shardwise.inventory.slices import DeviceId, DevicePool, PoolId, ResourceSlice, pool_of, read_pool

K = TypeVar("K")
V = TypeVar("V")
ClaimKey = tuple[str, str]
"""Namespace and name of a claim."""


class DeviceIndex:
    """The pools, classes and claims of a cluster.

    ``known`` tells whether ResourceSlices are read: else a node without any says nothing. ``classes_known``: the same
    of DeviceClasses.
    """

    def __init__(self, site: FleetSite | None = None) -> None:
        self.known = False
        self.classes_known = False
        self._class_name = (site or FleetSite()).device_class
        self._slices: dict[PoolId, dict[str, ResourceSlice]] = {}
        self._pools: dict[PoolId, DevicePool] = {}
        self._pools_of: dict[str, set[PoolId]] = {}
        self._read: dict[str, tuple[Listed, NodeDevices]] = {}
        self._classes: dict[str, DeviceClass] = {}
        self._claims: dict[ClaimKey, Allocation] = {}
        self._holding: dict[DeviceId, set[ClaimKey]] = {}
        self._claims_on: dict[str, set[ClaimKey]] = {}
        self._claims_of: dict[tuple[str, str], set[ClaimKey]] = {}

    @property
    def nodes(self) -> set[str]:
        """Name the nodes of which slices list devices."""
        return set(self._pools_of)

    def put_slice(self, name: str, pool: PoolId, found: ResourceSlice | None) -> set[str]:
        """Take in a slice of a pool; ``None`` for a slice that is gone. Name the nodes of the pool before and after."""
        slices = self._slices.setdefault(pool, {})
        if found is None:
            slices.pop(name, None)
        else:
            slices[name] = found
        before = self._pools[pool].nodes if pool in self._pools else set()
        for node in before:
            _discard(self._pools_of, node, pool)
            self._read.pop(node, None)
        if not slices:
            del self._slices[pool]
            self._pools.pop(pool, None)
            return before
        self._pools[pool] = read_pool(pool, slices.values())
        after = self._pools[pool].nodes
        for node in after:
            self._pools_of.setdefault(node, set()).add(pool)
            self._read.pop(node, None)
        return before | after

    @property
    def has_claims(self) -> bool:
        """Whether any claim holds devices."""
        return bool(self._claims)

    def concerns(self, node: str) -> bool:
        """Tell whether slices list devices of a node, or claims hold any there."""
        return node in self._pools_of or node in self._claims_on

    def nodes_of_slice(self, found: ResourceSlice) -> set[str]:
        """Name the nodes whose devices the pool of a slice lists."""
        pool = pool_of(found)
        return self._pools[pool].nodes if pool is not None and pool in self._pools else set()

    def forget_readings(self) -> None:
        """Judge all devices anew when they are next asked for."""
        self._read.clear()

    def put_class(self, name: str, found: DeviceClass | None) -> set[str]:
        """Take in a DeviceClass; ``None`` for a class that is gone. Name the nodes that it may concern."""
        if found is None:
            self._classes.pop(name, None)
        else:
            self._classes[name] = found
        self._read.clear()
        return self.nodes

    def put_claim(self, key: ClaimKey, found: Allocation | None) -> set[str]:
        """Take in what a claim holds; ``None`` for nothing. Name the nodes of its devices before and after."""
        before = self._claims.pop(key, Allocation())
        for device in before.devices:
            _discard(self._holding, device, key)
        for pod, _ in before.pods:
            _discard(self._claims_of, (key[0], pod), key)
        _discard(self._claims_on, before.node, key)
        if found is not None:
            self._claims[key] = found
            for device in found.devices:
                self._holding.setdefault(device, set()).add(key)
            for pod, _ in found.pods:
                self._claims_of.setdefault((key[0], pod), set()).add(key)
            self._claims_on.setdefault(found.node, set()).add(key)
        return self._nodes_of(before) | self._nodes_of(found or Allocation())

    def claim(self, key: ClaimKey) -> Allocation:
        """Give what a claim holds."""
        return self._claims.get(key, Allocation())

    def claims_of(self, namespace: str, pod: str, uid: str) -> list[Allocation]:
        """Give what the claims of a pod hold. An empty uid matches any."""
        named = self._claims_of.get((namespace, pod))
        if named is None:
            return []
        found = (self._claims[key] for key in named)
        return [claim for claim in found if any(name == pod and _same(uid, own) for name, own in claim.pods)]

    def nodes_of(self, namespace: str, pod: str) -> set[str]:
        """Name the nodes of the devices that the claims of a pod hold."""
        return {node for key in self._claims_of.get((namespace, pod), ()) for node in self._nodes_of(self._claims[key])}

    def covered(self, namespace: str, pod: str, uid: str, *, by_resource: bool) -> int:
        """Count the GPUs that a pod holds by claims; ``by_resource``: by claims for its request of a resource alone."""
        found = self.claims_of(namespace, pod, uid)
        return len({device for claim in found if claim.by_resource or not by_resource for device in claim.devices})

    def devices(self, node: str) -> NodeDevices | None:
        """Give the GPUs of a node as slices list them; ``None`` if they say nothing of it."""
        if node not in self._pools_of and not (self.known and self._class_name is not None):
            return None
        return self._of(node)[1]

    def _of(self, node: str) -> tuple[Listed, NodeDevices]:
        """Read a node's devices. They are kept until something of them changes."""
        known = self._read.get(node)
        if known is None:
            listed = Listed.of(node, (self._pools[pool] for pool in sorted(self._pools_of.get(node, ()))))
            known = listed, self._judged(listed)
            if node in self._pools_of:
                self._read[node] = known
        return known

    def _judged(self, listed: Listed) -> NodeDevices:
        name = self._class_name
        if name is not None:
            found = self._classes.get(name)
            if found is None and self.classes_known:
                nothing = listed.of_class(DeviceClass(name, unread="nothing"), claims=True)
                return replace(nothing, wrong=f"there is no DeviceClass `{name}`")
            return listed.of_class(found or stated_class(name), claims=True)
        resources = {device.driver.vendor.resource for device in listed.devices}
        serving = (class_for(resource, self._classes.values()) for resource in sorted(resources))
        found = next((each for each in serving if each is not None), None)
        return listed.of_class(found or DeviceClass("", tests=(lambda _: False,)), claims=False)

    def taken(self, node: str, *, serve: bool) -> Counter[ClaimKey]:
        """Count the GPUs of a node that claims take, by claim: a shared GPU or claim counts once.

        ``serve``: pods get the GPUs of the node from slices. Else all GPUs count, of whatever class, and also devices
        that no slice lists any more.
        """
        if not self.concerns(node):
            return Counter()
        listed, devices = self._of(node)
        held = {device: min(keys) for device, keys in self._held_on(node, listed)}
        found = listed.taken(devices.usable if serve else devices.all, held)
        if not serve:
            found.update(held[device] for device in held.keys() - {device.id for device in listed.devices})
        return found

    def channels(self, node: str) -> set[ClaimKey]:
        """Name the claims that hold the channel of a node."""
        return {key for key in self._claims_on.get(node, ()) if self._claims[key].channel}

    def _held_on(self, node: str, listed: Listed) -> Iterator[tuple[DeviceId, Iterable[ClaimKey]]]:
        for device in listed.devices:
            if device.id in self._holding:
                yield device.id, self._holding[device.id]
        for key in self._claims_on.get(node, ()):
            for gone in self._claims[key].devices:
                if not self._node_of(gone):
                    yield gone, self._holding[gone]

    def _node_of(self, device: DeviceId) -> str:
        """Give the node of a device; empty if no slice lists it."""
        pool = self._pools.get(device[:2])
        return next((found.node for found in (pool.devices if pool else ()) if found.id == device), "")

    def _nodes_of(self, claim: Allocation) -> set[str]:
        return {claim.node, *map(self._node_of, claim.devices)} - {""}


def _same(uid: str, other: str) -> bool:
    return not uid or not other or uid == other


def _discard(groups: dict[K, set[V]], name: K, value: V) -> None:
    """Take a value out of a group; a group without values goes."""
    if name in groups:
        groups[name].discard(value)
        if not groups[name]:
            del groups[name]
