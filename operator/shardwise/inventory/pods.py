"""Counting the GPUs and the other resources that a pod holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from shardwise.domain.fleet import NVIDIA
from shardwise.domain.needs import A_CHANNEL, A_HOST_NETWORK, PODS, Amounts, added, amounts_of
from shardwise.inventory.read_once import ReadOnce, content
from shardwise.inventory.vendors import RESOURCES, read_count

Pod = Mapping[str, Any]

CLAIMED_GPUS: Final = "shardwise.dev/gpus"
"""Label with the number of GPUs of a pod that holds them by resource claims, which name no resource."""

CHANNEL_CLAIM: Final = "nvlink"
"""Name of the claim by which a pod of ours holds a channel of a ComputeDomain."""


def is_finished(pod: Pod) -> bool:
    """Tell whether a pod has ended for good and holds no GPUs."""
    status = pod.get("status")
    return status is not None and status.get("phase") in _ENDED


_ENDED: Final = ("Succeeded", "Failed")


def holding(pod: Pod) -> tuple[str, int] | None:
    """Give the node that a pod is bound to and the GPUs it holds there; ``None`` for a pod without GPUs.

    A pod of any owner holds its GPUs while it is bound and has not ended, even on an unreachable node.
    """
    node = (pod.get("spec") or {}).get("nodeName")
    gpus = 0 if not node or is_finished(pod) else gpu_request(pod)
    return (str(node), gpus) if gpus else None


def use(pod: Pod) -> tuple[str, int, Amounts] | None:
    """Give the node that a pod is bound to, its GPUs there and its other resources; ``None`` if it holds nothing."""
    spec = pod.get("spec")
    node = spec.get("nodeName") if spec else None
    if not node or is_finished(pod):
        return None
    gpus, others = _requests(pod)
    return str(node), gpus, others


def other_requests(pod: Pod) -> Amounts:
    """Add up the resources besides GPUs that a pod requests, in thousandths, as the scheduler does.

    The pod itself counts as one of ``pods``. Requests of the whole pod win over those of its containers.
    """
    return _requests(pod)[1]


def gpus_asked(pod: Pod) -> dict[str, str]:
    """Give the GPUs that a pod requests as a request of a container, under a name that stands for every vendor."""
    gpus = gpu_request(pod)
    return {NVIDIA: str(gpus)} if gpus else {}


def gpu_request(pod: Pod) -> int:
    """Count the GPUs that a pod requests, as the scheduler does.

    Containers and sidecars (init containers that restart always) add up. Other init containers run in turn, so that
    only the largest counts, if it exceeds that sum. Pods that hold GPUs by claims carry a label.
    """
    return _requests(pod)[0]


_READ: Final = ReadOnce[tuple[int, Amounts]]()


def _requests(pod: Pod) -> tuple[int, Amounts]:
    """Give the GPUs and the other resources that a pod requests."""
    spec: Mapping[str, Any] = pod.get("spec") or {}
    containers: Sequence[Mapping[str, Any]] = spec.get("containers") or ()
    single = len(containers) == 1
    parts: object = containers[0].get("resources") if single else [each.get("resources") for each in containers]
    metadata = pod.get("metadata")
    labels = metadata.get("labels") if metadata else None
    claimed = labels.get(CLAIMED_GPUS) if labels else None
    if claimed is not None or not _RARE.isdisjoint(spec):
        parts = parts, claimed, *_rare_parts(spec)
    read_from = content(parts)
    return _READ.get(read_from) or _READ.keep(read_from, _requests_anew(spec, read_count(claimed) or 0))


_RARE: Final = frozenset({"initContainers", "resources", "resourceClaims", "hostNetwork", "overhead"})
"""The fields besides the containers that say what a pod requests. Most pods have none of them."""


def _rare_parts(spec: Mapping[str, Any]) -> Iterator[object]:
    initial = spec.get("initContainers") or ()
    yield [(container.get("restartPolicy"), container.get("resources")) for container in initial]
    yield [claim.get("name") == CHANNEL_CLAIM for claim in spec.get("resourceClaims") or ()]
    yield from (spec.get("resources"), spec.get("hostNetwork"), spec.get("overhead"))


def _requests_anew(spec: Mapping[str, Any], claimed: int) -> tuple[int, Amounts]:
    gpus = _gpus(spec, claimed)
    return gpus, _others(spec, gpus)


def _others(spec: Mapping[str, Any], gpus: int) -> Amounts:
    initial = spec.get("initContainers") or ()
    sidecars = [_amounts(container) for container in initial if container.get("restartPolicy") == "Always"]
    total = added(*(_amounts(container).items() for container in spec.get("containers") or ()))
    total = added(total.items(), *(amounts.items() for amounts in sidecars))
    for container in initial:
        if container.get("restartPolicy") != "Always":
            alone = added(_amounts(container).items(), *(amounts.items() for amounts in sidecars))
            total |= {name: max(amount, total.get(name, 0)) for name, amount in alone.items()}
    total |= _amounts(spec)
    claims = [claim for claim in spec.get("resourceClaims") or () if claim.get("name") == CHANNEL_CLAIM]
    on_host = spec.get("hostNetwork") and gpus  # other pods there listen on other ports than ranks do
    single = (*(A_CHANNEL if claims else ()), *(A_HOST_NETWORK if on_host else ()))
    parts = (total.items(), amounts_of(spec.get("overhead") or {}).items(), single)
    return tuple(sorted((added(*parts) | {PODS: 1000}).items()))


def _gpus(spec: Mapping[str, Any], claimed: int) -> int:
    initial = spec.get("initContainers") or ()
    sidecars = sum(_requested(container) for container in initial if container.get("restartPolicy") == "Always")
    running = sum(_requested(container) for container in spec.get("containers") or ()) + sidecars
    initially = _largest((container for container in initial if container.get("restartPolicy") != "Always"), sidecars)
    return max(running, initially, claimed)


def _amounts(container: Mapping[str, Any]) -> dict[str, int]:
    return amounts_of({name: value for name, value in _asked(container).items() if name not in RESOURCES})


def _largest(containers: Iterable[Mapping[str, Any]], beside: int) -> int:
    return max((_requested(container) + beside for container in containers), default=0)


def _requested(container: Mapping[str, Any]) -> int:
    """Add up all vendors: a node offers GPUs of a single vendor."""
    asked = _asked(container)
    return sum(read_count(asked[resource]) or 0 for resource in RESOURCES & asked.keys())


def _asked(container: Mapping[str, Any]) -> Mapping[str, object]:
    """Give the requests of a container. The API server takes the limit of a resource without a request for both."""
    resources = container.get("resources") or {}
    stated = {key: value for key, value in (resources.get("requests") or {}).items() if value is not None}
    return {**(resources.get("limits") or {}), **stated}
