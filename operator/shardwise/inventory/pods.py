"""Counting the GPUs that a pod holds."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from shardwise.inventory.vendors import RESOURCES, read_count

Pod = Mapping[str, Any]

CLAIMED_GPUS: Final = "shardwise.dev/gpus"
"""Label with the number of GPUs of a pod that holds them by resource claims, which name no resource."""


def is_finished(pod: Pod) -> bool:
    """Tell whether a pod has ended for good and holds no GPUs."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def holding(pod: Pod) -> tuple[str, int] | None:
    """Give the node that a pod is bound to and the GPUs it holds there; ``None`` for a pod without GPUs.

    A pod of any owner holds its GPUs while it is bound and has not ended, even on an unreachable node.
    """
    node = (pod.get("spec") or {}).get("nodeName")
    gpus = 0 if not node or is_finished(pod) else gpu_request(pod)
    return (str(node), gpus) if gpus else None


def gpu_request(pod: Pod) -> int:
    """Count the GPUs that a pod requests, as the scheduler does.

    Containers and sidecars (init containers that restart always) add up. Other init containers run in turn, so that
    only the largest counts, if it exceeds that sum. Pods that hold GPUs by claims carry a label.
    """
    claimed = read_count(((pod.get("metadata") or {}).get("labels") or {}).get(CLAIMED_GPUS)) or 0
    spec = pod.get("spec") or {}
    initial = spec.get("initContainers") or ()
    sidecars = sum(_requested(container) for container in initial if container.get("restartPolicy") == "Always")
    running = sum(_requested(container) for container in spec.get("containers") or ()) + sidecars
    initially = _largest((container for container in initial if container.get("restartPolicy") != "Always"), sidecars)
    return max(running, initially, claimed)


def _largest(containers: Iterable[Mapping[str, Any]], beside: int) -> int:
    return max((_requested(container) + beside for container in containers), default=0)


def _requested(container: Mapping[str, Any]) -> int:
    """Add up all vendors: a node offers GPUs of a single vendor. Requests win over limits; both must be equal."""
    resources = container.get("resources") or {}
    stated = {key: value for key, value in (resources.get("requests") or {}).items() if value is not None}
    asked = {**(resources.get("limits") or {}), **stated}
    return sum(read_count(asked[resource]) or 0 for resource in RESOURCES & asked.keys())
