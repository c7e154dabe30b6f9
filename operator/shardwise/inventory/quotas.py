"""Reading ResourceQuotas: which pods a quota counts, and the GPUs that it limits."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shardwise.domain.gpu_limit import GpuLimit
from shardwise.inventory.vendors import RESOURCES, read_count

ResourceQuota = Mapping[str, Any]

_OF_CLAIMS: Final = ".deviceclass.resource.k8s.io/devices"
_PODS: Final = ("pods", "count/pods")
_ALWAYS: Final = frozenset({"NotTerminating", "NotBestEffort"})
"""Scopes of every pod of ours: our pods have no deadline, and they request resources."""


def gpu_limits(quota: ResourceQuota, priority_class: str) -> Iterator[GpuLimit]:
    """Give the limits on GPUs that a quota sets for pods of a PriorityClass (empty: no class), with all uses.

    A quota that allows no pods allows no GPUs.
    """
    if not _counts(quota.get("spec") or {}, priority_class):
        return
    status, name = quota.get("status") or {}, quota["metadata"]["name"]
    hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
    used = status.get("used") or {}
    for resource, value in sorted(hard.items()):
        most = read_count(value)
        if most is None:
            continue
        words = f"ResourceQuota `{name}` (`{resource}`)"
        if _limits_gpus(resource):
            yield GpuLimit(words, resource, most, read_count(used.get(resource)) or 0)
        elif resource in _PODS and most == 0:
            yield GpuLimit(words, "", 0, 0)


def _limits_gpus(resource: str) -> bool:
    return resource.endswith(_OF_CLAIMS) or resource.removeprefix("requests.") in RESOURCES


def _counts(spec: Mapping[str, Any], priority_class: str) -> bool:
    """Tell whether a quota counts pods of ours with a PriorityClass. All its scopes must match."""
    plain = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    chosen = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_matches(scope, priority_class) for scope in (*plain, *chosen))


def _matches(scope: Mapping[str, Any], priority_class: str) -> bool:
    if scope.get("scopeName") != "PriorityClass":
        return scope.get("scopeName") in _ALWAYS
    values = scope.get("values") or ()
    match scope.get("operator"):
        case "In":
            return priority_class in values
        case "NotIn":
            return priority_class not in values
        case "Exists":
            return bool(priority_class)
        case "DoesNotExist":
            return not priority_class
        case _:
            return False
