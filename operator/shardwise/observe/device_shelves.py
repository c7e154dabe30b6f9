"""ResourceSlices, DeviceClasses and ResourceClaims, and the GPUs that claims add to the ledger.

A GPU that a pod holds by a claim counts with the claim, not with the request or the label of the pod. Before its claim
is seen, the pod counts.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from shardwise.domain.fleet import GpuSource
from shardwise.domain.needs import A_CHANNEL, negative
from shardwise.domain.site import FleetSite
from shardwise.inventory import CLAIMED_GPUS, Ledger
from shardwise.inventory.claims import read_claim
from shardwise.inventory.device_classes import read_device_class
from shardwise.inventory.device_index import ClaimKey, DeviceIndex
from shardwise.inventory.devices import NodeDevices
from shardwise.inventory.slices import pool_of
from shardwise.observe.objects import STRANGERS, Json, Key, key_of, owner_of
from shardwise.observe.shelf import Shelf
from shardwise.render.names import is_pod_of

Rebind = Callable[[Json, int], None]
"""Adds the resources of a bound pod to the ledger (1), or takes them away (-1)."""


class DeviceShelves:
    """The objects of dynamic resource allocation. ``index`` is what they say together.

    ``reread`` is called for a node whose devices have changed.
    """

    def __init__(
        self,
        site: FleetSite | None,
        ledger: Ledger[Key],
        pods: Shelf,
        models: Shelf,
        rebind: Rebind,
        reread: Callable[[str], None],
    ) -> None:
        self.index: Final = DeviceIndex(site)
        self.slices: Final = Shelf(self._slice_changed)
        self.classes: Final = Shelf(self._class_changed)
        self.claims: Final = Shelf(self._claim_changed)
        self._by_claim: Final = site is not None and site.device_class is not None
        self._ledger: Final = ledger
        self._pods: Final = pods
        self._models: Final = models
        self._rebind: Final = rebind
        self._reread: Final = reread
        self._bound: Final[dict[str, Counter[Key]]] = {}
        self._channels: Final[set[str]] = set()
        self._requested: Final[Counter[str]] = Counter()
        self._crossed: Final[dict[str, str]] = {}

    def forget(self) -> None:
        """Forget everything: nothing of it may be read any more."""
        for shelf in (self.claims, self.slices, self.classes):
            shelf.forget()

    def of(self, node: str) -> NodeDevices | None:
        """Give the GPUs of a node as slices list them; ``None`` if they say nothing of it."""
        found, crossed = self.index.devices(node), self._crossed.get(node, "")
        return replace(found, crossed=crossed) if found is not None and crossed else found

    def requested(self, node: str, gpus: int) -> None:
        """Add GPUs that strangers hold by a request which no claim covers; a negative count takes them away."""
        before = self._requested.get(node, 0)
        self._requested[node] = before + gpus
        if not self._requested[node]:
            del self._requested[node]
        if bool(before) != bool(before + gpus):
            self.settle(node)

    def uncovered(self, pod: Json, gpus: int) -> int:
        """Count the GPUs of a bound pod that it does not hold by a claim that is seen."""
        if not gpus:
            return 0
        metadata = pod["metadata"]
        by_resource = CLAIMED_GPUS not in (metadata.get("labels") or {})
        namespace, name = key_of(pod)
        covered = self.index.covered(namespace, name, str(metadata.get("uid") or ""), by_resource=by_resource)
        return max(0, gpus - covered)

    def pod_changed(self, before: Json | None, after: Json | None) -> None:
        """Give the GPUs of a pod's claims to the owner that the pod now has."""
        if self.index.has_claims:
            for node in self.index.nodes_of(*key_of(after or before or {})):
                self.settle(node)

    def settle(self, node: str) -> None:
        """Note in the ledger who holds GPUs of a node by claims."""
        noted = node in self._bound or node in self._channels or node in self._crossed
        if not noted and not self.index.concerns(node):
            return
        read = self._ledger.node(node)
        source = GpuSource.DEVICE_PLUGIN if read is None else read.source
        serve = source is GpuSource.DRA or (source is GpuSource.BOTH and self._by_claim)
        now = Counter[Key]()
        for claim, gpus in self.index.taken(node, serve=serve).items():
            now[self._holder(claim)] += gpus
        before = self._bound.pop(node, Counter[Key]())
        if now:
            self._bound[node] = now
        for holder in sorted(before.keys() | now.keys()):
            if now[holder] != before[holder]:
                self._ledger.bind(holder, node, now[holder] - before[holder])
        self._settle_channel(node)
        crossed = self._crossing(node, source, now[STRANGERS])
        if crossed != self._crossed.get(node, ""):
            self._crossed.pop(node, None)
            if crossed:
                self._crossed[node] = crossed
            self._reread(node)

    def _crossing(self, node: str, source: GpuSource, claimed: int) -> str:
        """Say what strangers hold of a node in the way that our pods do not use, if it offers its GPUs in both ways."""
        if source is not GpuSource.BOTH:
            return ""
        if self._by_claim:
            return "pods hold some by the device plugin" if self._requested[node] else ""
        return "claims hold some" if claimed else ""

    def _settle_channel(self, node: str) -> None:
        """Note whether a stranger holds the channel of a node. Those of our pods count with the pods."""
        held = any(self._holder(claim) == STRANGERS for claim in self.index.channels(node))
        if held != (node in self._channels):
            self._ledger.bind(STRANGERS, node, 0, A_CHANNEL if held else negative(A_CHANNEL))
            self._channels.symmetric_difference_update({node})

    def _holder(self, claim: ClaimKey) -> Key:
        """Give the holder of a claim: our object, if a pod of it uses the claim.

        A claim is there a moment longer than its pods. Until then, their names tell whose it is.
        """
        there = False
        for pod in self._pods_of(claim):
            owner = owner_of(pod)
            if owner is not None:
                return owner
            there = True
        return STRANGERS if there else self._named_after(claim)

    def _named_after(self, claim: ClaimKey) -> Key:
        names = [name for name, _ in self.index.claim(claim).pods]
        models = (key for key in self._models.objects if key[0] == claim[0]) if names else ()
        return next((key for key in models if any(is_pod_of(key[1], name) for name in names)), STRANGERS)

    def _pods_of(self, claim: ClaimKey) -> Iterator[Json]:
        for name, uid in self.index.claim(claim).pods:
            pod = self._pods.objects.get((claim[0], name))
            own = "" if pod is None else str(pod["metadata"].get("uid") or "")
            if pod is not None and (not uid or not own or uid == own):
                yield pod

    def _slice_changed(self, before: Json | None, after: Json | None) -> None:
        changed: set[str] = set()
        for found in (before, after):
            pool = None if found is None else pool_of(found)
            if found is not None and pool is not None:
                changed |= self.index.put_slice(found["metadata"]["name"], pool, after if found is after else None)
        self._read_again(changed)

    def _class_changed(self, before: Json | None, after: Json | None) -> None:
        name = (after or before or {})["metadata"]["name"]
        self._read_again(self.index.put_class(name, None if after is None else read_device_class(after)))

    def _claim_changed(self, before: Json | None, after: Json | None) -> None:
        key = key_of(after or before or {})
        found = None if after is None else read_claim(after)
        names = {name for claim in (self.index.claim(key), found) if claim is not None for name, _ in claim.pods}
        pods = [self._pods.objects[key[0], name] for name in sorted(names) if (key[0], name) in self._pods.objects]
        for pod in pods:
            self._rebind(pod, -1)
        changed = self.index.put_claim(key, found)
        for pod in pods:
            self._rebind(pod, 1)
        for node in sorted(changed):
            self.settle(node)

    def _read_again(self, nodes: set[str]) -> None:
        for node in sorted(nodes):
            self._reread(node)
