"""Dynamic resource allocation: the claims of pods, allocated when their pods are bound, and given back after them.

A DeviceClass selects the devices of the driver that has the name of the class. On a real cluster, claims are made with
their pods; here they are made when they are allocated. A claim whose template does not exist is not waited for.
"""

from collections.abc import Iterator
from typing import Final

from shardwise_sandbox.api import Api
from shardwise_sandbox.deletion import DeleteOptions
from shardwise_sandbox.objects import JsonObject, dig, is_deleting, name_of, namespace_of, uid_of
from shardwise_sandbox.patching import MERGE
from shardwise_sandbox.pod_index import PODS
from shardwise_sandbox.resources import StorageKey
from shardwise_sandbox.store import Ref, ref_of
from shardwise_sandbox.watch import DELETED, ObjectChange
from shardwise_sandbox.writes import Target

CLAIMS: Final[StorageKey] = ("resource.k8s.io", "resourceclaims")
SLICES: Final[StorageKey] = ("resource.k8s.io", "resourceslices")
_TEMPLATES: Final[StorageKey] = ("resource.k8s.io", "resourceclaimtemplates")
_OVER: Final = frozenset({"Succeeded", "Failed"})

Device = tuple[str, str, str]
"""Driver, pool and name."""


class Claims:
    """Allocates the claims of pods. ``step`` deletes the claims of pods that have ended."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._ended: set[Ref] = set()
        api.store.listeners.append(self.notice)

    @property
    def pending(self) -> bool:
        """Whether a pod has ended whose claims are still there."""
        return bool(self._ended)

    def notice(self, change: ObjectChange) -> None:
        """Note the pods that have ended and have claims. The collector deletes the claims of pods that are gone."""
        over = change.key == PODS and change.kind != DELETED and dig(change.obj, "status", "phase") in _OVER
        if over and dig(change.obj, "status", "resourceClaimStatuses"):
            self._ended.add(ref_of(change.obj))

    def step(self) -> bool:
        """Delete the claims of the pods that have ended. Return whether there were any."""
        ended, self._ended = sorted(self._ended), set()
        resource = self._api.store.registry.named("resourceclaims")
        for namespace, pod in ended:
            for claim in self._api.store.all(CLAIMS):
                owners = (dig(claim, "metadata", "ownerReferences") or ()) if namespace_of(claim) == namespace else ()
                if any(owner["name"] == pod for owner in owners) and not is_deleting(claim):
                    self._api.deleter.delete(resource, ref_of(claim), DeleteOptions())
        return bool(ended)

    def refusal(self, pod: JsonObject, node: str) -> str | None:
        """Return the message if a node has too few devices for the claims of a pod; ``None`` if it has enough."""
        free = list(self._free(node))
        for _, driver, count in self._asked(pod):
            own = [device for device in free if device[0] == driver][:count]
            if len(own) < count:
                return "cannot allocate all claims"
            free = [device for device in free if device not in own]
        return None

    def allocate(self, pod: JsonObject, node: str) -> None:
        """Make the claims of a pod, with devices of a node."""
        statuses = []
        for name, driver, count in self._asked(pod):
            devices = [device for device in self._free(node) if device[0] == driver][:count]
            claim = self._claim(pod, name, node, devices)
            statuses.append({"name": name, "resourceClaimName": self._made(claim)})
        if statuses:
            target = Target(self._api.store.registry.named("pods"), ref_of(pod), "status")
            self._api.writer.patch(target, MERGE, {"status": {"resourceClaimStatuses": statuses}})

    def _made(self, claim: JsonObject) -> str:
        resource = self._api.store.registry.named("resourceclaims")
        made = self._api.writer.create(resource, namespace_of(claim), claim)
        target = Target(resource, ref_of(made), "status")
        self._api.writer.patch(target, MERGE, {"status": claim["status"]})
        return name_of(made)

    def _claim(self, pod: JsonObject, name: str, node: str, devices: list[Device]) -> JsonObject:
        results = [
            {"request": "gpus", "driver": driver, "pool": pool, "device": device} for driver, pool, device in devices
        ]
        terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]
        owner = {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod), "controller": True}
        return {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": {
                "name": f"{name_of(pod)}-{name}",
                "namespace": namespace_of(pod),
                "annotations": {"resource.kubernetes.io/pod-claim-name": name},
                "ownerReferences": [owner],
            },
            "spec": {"devices": {}},
            "status": {
                "allocation": {"devices": {"results": results}, "nodeSelector": {"nodeSelectorTerms": terms}},
                "reservedFor": [{"resource": "pods", "name": name_of(pod), "uid": uid_of(pod)}],
            },
        }

    def _asked(self, pod: JsonObject) -> Iterator[tuple[str, str, int]]:
        """Give the name, the driver and the count of each claim of a pod."""
        for claim in pod["spec"].get("resourceClaims") or ():
            ref = namespace_of(pod), str(claim.get("resourceClaimTemplateName"))
            template = self._api.store.at((_TEMPLATES, ref))
            for request in dig(template, "spec", "spec", "devices", "requests") or ():
                exactly = request.get("exactly") or {}
                yield claim["name"], str(exactly.get("deviceClassName")), int(exactly.get("count") or 1)

    def _free(self, node: str) -> Iterator[Device]:
        held = {device for claim in self._api.store.all(CLAIMS) for device in _devices(claim)}
        for found in self._api.store.all(SLICES):
            spec = found["spec"]
            for device in (spec.get("devices") or ()) if spec.get("nodeName") == node else ():
                known = spec["driver"], spec["pool"]["name"], device["name"]
                if known not in held and not device.get("taints"):
                    yield known


def _devices(claim: JsonObject) -> Iterator[Device]:
    for result in dig(claim, "status", "allocation", "devices", "results") or ():
        yield result["driver"], result["pool"], result["device"]
