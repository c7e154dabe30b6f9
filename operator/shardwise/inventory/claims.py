"""Reading ResourceClaims (resource.k8s.io/v1): the devices that a claim holds, and for which pods. Pure.

Source: Kubernetes 1.36, ``k8s.io/api/resource/v1`` and the dynamicresources plugin of the scheduler.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shardwise.inventory.slices import DRIVERS, DeviceId, objects_in

ResourceClaim = Mapping[str, Any]

_CHANNELS: Final = "compute-domain.nvidia.com"
"""NVIDIA's driver of ComputeDomains. Its devices are channels and daemons."""

_EXTENDED: Final = "resource.kubernetes.io/extended-resource-claim"
"""Annotation of a claim that the scheduler makes for a pod that requests an extended resource: ``nvidia.com/gpu``."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """The GPUs and partitions of GPUs that a claim holds. ``channel``: it holds the channel of its node.

    ``pods`` are the names and uids of the pods that use it; its owner counts as well, because a claim is there a moment
    longer than its pod. ``node`` is the node that the allocation names; empty if it names none. ``by_resource``: the
    scheduler made the claim for the request of an extended resource: the request and the claim are the same GPUs.
    """

    devices: frozenset[DeviceId] = frozenset()
    pods: tuple[tuple[str, str], ...] = ()
    node: str = ""
    by_resource: bool = False
    channel: bool = False


def read_claim(claim: ResourceClaim) -> Allocation | None:
    """Read the GPUs and the channel that a claim holds; ``None`` for a claim without any.

    A claim holds devices once it is allocated, whether or not its pods run. Admin access to a device holds nothing.
    """
    status, metadata = claim.get("status") or {}, claim.get("metadata") or {}
    allocation = status.get("allocation") or {}
    held = list(_devices(allocation))
    devices = frozenset(device for device in held if device[0] in DRIVERS)
    channels = [pool for driver, pool, name in held if driver == _CHANNELS and name.startswith("channel-")]
    if not devices and not channels:
        return None
    return Allocation(
        devices=devices,
        pods=tuple(sorted(set(_pods(status, metadata)))),
        node=_node(allocation) or next(iter(channels), ""),  # the driver names the pool of a node like the node
        channel=bool(channels),
        by_resource=(metadata.get("annotations") or {}).get(_EXTENDED) == "true",
    )


def slim_claim(claim: ResourceClaim) -> dict[str, Any]:
    """Keep of a claim the fields that are read. A claim that holds nothing keeps its name and version alone."""
    metadata = claim["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion") if name in metadata}
    if read_claim(claim) is None:
        return {"metadata": kept}
    kept |= {name: metadata[name] for name in ("annotations", "ownerReferences") if name in metadata}
    status = {name: claim["status"][name] for name in ("allocation", "reservedFor") if name in claim["status"]}
    return {"metadata": kept, "status": status}


def _devices(allocation: Mapping[str, Any]) -> Iterator[DeviceId]:
    for result in objects_in((allocation.get("devices") or {}).get("results")):
        if not result.get("adminAccess"):
            yield str(result.get("driver")), str(result.get("pool")), str(result.get("device"))


def _pods(status: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for user in objects_in(status.get("reservedFor")):
        if user.get("resource") == "pods":
            yield str(user.get("name")), str(user.get("uid") or "")
    for owner in objects_in(metadata.get("ownerReferences")):
        if owner.get("kind") == "Pod":
            yield str(owner.get("name")), str(owner.get("uid") or "")


def _node(allocation: Mapping[str, Any]) -> str:
    for term in objects_in((allocation.get("nodeSelector") or {}).get("nodeSelectorTerms")):
        for field in objects_in(term.get("matchFields")):
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""
