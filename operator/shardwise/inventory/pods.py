"""How many GPUs a pod holds."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from shardwise.inventory.vendors import RESOURCES, read_count

Pod = Mapping[str, Any]

CLAIMED_GPUS: Final = "shardwise.dev/gpus"
"""Label of pods that hold GPUs by resource claims, which name no resource: how many."""


def is_finished(pod: Pod) -> bool:
    """Tell whether a pod has ended for good and holds nothing any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def holding(pod: Pod) -> tuple[str, int] | None:
    """Give the node a pod is bound to and the GPUs it holds there; ``None`` where it holds none.

    Whoever owns it: it holds them while it is bound and has not ended, also on a node that cannot be reached.
    """
    node = (pod.get("spec") or {}).get("nodeName")
    gpus = 0 if not node or is_finished(pod) else gpu_request(pod)
    return (str(node), gpus) if gpus else None


def gpu_request(pod: Pod) -> int:
    """Count the GPUs a pod asks for, as the scheduler does.

    Containers add up, and so do sidecars (init containers that restart always); other init containers run one by one,
    so the largest of them counts where it exceeds that sum. Pods that hold GPUs by claims say so in a label.
    """
    claimed = read_count(((pod.get("metadata") or {}).get("labels") or {}).get(CLAIMED_GPUS)) or 0
    spec = pod.get("spec") or {}
    initial = spec.get("initContainers") or ()
    sidecars = sum(_requested(one) for one in initial if one.get("restartPolicy") == "Always")
    running = sum(_requested(one) for one in spec.get("containers") or ()) + sidecars
    initially = _largest((one for one in initial if one.get("restartPolicy") != "Always"), sidecars)
    return max(running, initially, claimed)


def _largest(containers: Iterable[Mapping[str, Any]], beside: int) -> int:
    return max((_requested(one) + beside for one in containers), default=0)


def _requested(container: Mapping[str, Any]) -> int:
    """Count over all vendors: a node offers GPUs of one. Requests win over limits, as they may only be equal."""
    resources = container.get("resources") or {}
    stated = {key: value for key, value in (resources.get("requests") or {}).items() if value is not None}
    asked = {**(resources.get("limits") or {}), **stated}
    return sum(read_count(asked[resource]) or 0 for resource in RESOURCES & asked.keys())
