"""The limit on the GPUs of an object that its namespace sets: by ResourceQuotas, or by the operator configuration."""

from collections.abc import Iterable

from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.reconcile.observed import Observed

_QUOTA_OF_CLAIMS = "{}.deviceclass.resource.k8s.io/devices"
"""The resource that a ResourceQuota limits for GPUs by claims of a DeviceClass (Kubernetes 1.34)."""


def limit_of(wanted: Wanted, observed: Observed) -> GpuLimit | None:
    """Give the limit that leaves least; ``None`` without a limit.

    A quota limits the GPUs of a single vendor. If the fleet has GPUs of several vendors, the vendor counts that leaves
    most: no object is refused that could run, and the API server refuses pods that exceed a quota.
    """
    bounds = (*observed.quotas, *_configured(wanted, observed))
    if not bounds:
        return None
    least = [_least(bounds, resource) for resource in sorted(_resources(wanted.site, observed.fleet))]
    limits = [limit for limit in least if limit is not None]
    return max(limits, key=lambda limit: limit.left) if limits and len(limits) == len(least) else None


def _configured(wanted: Wanted, observed: Observed) -> Iterable[GpuLimit]:
    most = wanted.site.allowed_in(wanted.launch.owner.namespace).gpus
    if most is not None:
        yield GpuLimit("`allow.gpus` of the operator's configuration", "", most, observed.gpus_of_others)


def _resources(site: LaunchSite, fleet: Fleet) -> set[str]:
    if site.gpu_device_class is not None:
        return {_QUOTA_OF_CLAIMS.format(site.gpu_device_class)}
    return {f"requests.{node.resource}" for node in fleet.nodes}


def _least(bounds: Iterable[GpuLimit], resource: str) -> GpuLimit | None:
    counting = (bound for bound in bounds if bound.resource in ("", resource))
    return min(counting, key=lambda bound: bound.left, default=None)
