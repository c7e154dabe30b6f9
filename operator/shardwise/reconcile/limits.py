"""The limit on the GPUs of an object that its namespace sets: by ResourceQuotas, or by the operator configuration."""

from collections.abc import Iterable

from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import LaunchSite, Wanted

_QUOTA_OF_CLAIMS = "{}.deviceclass.resource.k8s.io/devices"
"""The resource that a ResourceQuota limits for GPUs by claims of a DeviceClass (Kubernetes 1.34)."""


def limit_of(wanted: Wanted, fleet: Fleet, quotas: Iterable[GpuLimit], gpus_of_others: int) -> GpuLimit | None:
    """Give the limit that leaves least; ``None`` without a limit.

    ``quotas`` are the limits of the ResourceQuotas of the object's namespace. ``gpus_of_others`` counts the GPUs that
    other objects of the namespace have planned.

    A quota limits the GPUs of a single vendor. If the fleet has GPUs of several vendors, the vendor counts that leaves
    most: no object is refused that could run, and the API server refuses pods that exceed a quota.
    """
    bounds = (*quotas, *_configured(wanted, gpus_of_others))
    if not bounds:
        return None
    least = [_least(bounds, resource) for resource in sorted(_resources(wanted.site, fleet))]
    limits = [limit for limit in least if limit is not None]
    return max(limits, key=lambda limit: limit.left) if limits and len(limits) == len(least) else None


def _configured(wanted: Wanted, gpus_of_others: int) -> Iterable[GpuLimit]:
    most = wanted.site.allowed_in(wanted.launch.owner.namespace).gpus
    if most is not None:
        yield GpuLimit("`allow.gpus` of the operator's configuration", "", most, gpus_of_others)


def _resources(site: LaunchSite, fleet: Fleet) -> set[str]:
    if site.gpu_device_class is not None:
        return {_QUOTA_OF_CLAIMS.format(site.gpu_device_class)}
    return {f"requests.{node.resource}" for node in fleet.nodes}


def _least(bounds: Iterable[GpuLimit], resource: str) -> GpuLimit | None:
    counting = (bound for bound in bounds if bound.resource in ("", resource))
    return min(counting, key=lambda bound: bound.left, default=None)
