"""The resources besides GPUs that the engine's container of a pod requests, for its manifest and for the planner."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from shardwise.domain.launch import CacheKind, Launch, LaunchSite, NodeNvlink, PodExtras, SourceKind, WeightCache
from shardwise.domain.model import ModelFacts
from shardwise.domain.needs import A_CHANNEL, A_HOST_NETWORK, DISK, PODS, Amounts, PodNeeds, added, amounts_of
from shardwise.domain.units import MIB, times


def cache_of(launch: Launch, site: LaunchSite) -> WeightCache:
    """Give the cache of the object, or else the cache of the operator's configuration."""
    return launch.model.source.cache or site.cache


def requests_of(launch: Launch, site: LaunchSite, facts: ModelFacts, gpus: int) -> Mapping[str, str]:
    """Give the requests of a pod with so many GPUs, without its GPUs and RDMA devices.

    The requests of the object win over those of the operator's configuration and over the disk for the weights. So do
    its limits: Kubernetes takes a limit without a request for both.
    """
    own = dict(launch.extras.requests)
    stated = own.keys() | dict(launch.extras.limits).keys()
    defaults = {name: times(each, gpus) for name, each in site.requests} | _disk(launch, site, facts)
    return {name: value for name, value in defaults.items() if name not in stated} | own


def needs_of(launch: Launch, site: LaunchSite, facts: ModelFacts) -> PodNeeds:
    """Give what each pod of an object needs of its node besides GPUs, in thousandths."""
    stated = dict(launch.extras.limits) | dict(launch.extras.requests)
    shared = dict(site.rdma)
    each_pod = amounts_of({name: value for name, value in stated.items() if name not in shared})
    each_pod |= {name: amount for name, amount in amounts_of(_disk(launch, site, facts)).items() if name not in stated}
    each_gpu = amounts_of({name: each for name, each in site.requests if name not in stated})
    each_pod = _with_containers(launch.extras, each_pod, each_gpu) | {PODS: 1000}
    if launch.extras.host_network:
        each_pod |= dict(A_HOST_NETWORK)
    return PodNeeds(
        each_pod=_sorted(each_pod.items()),
        each_gpu=_sorted(each_gpu.items()),
        in_group=_sorted(amounts_of(shared).items()),
        in_stage=A_CHANNEL if site.node_nvlink is NodeNvlink.COMPUTE_DOMAIN else (),
        claims=site.gpu_device_class is not None,
        moves_caches=launch.role is not None,
    )


def _with_containers(extras: PodExtras, each_pod: dict[str, int], each_gpu: dict[str, int]) -> dict[str, int]:
    """Add the containers of the user to the needs of a pod, as the scheduler does.

    Sidecars run beside the engine. Of the others only the largest counts, and only if it asks for more than the engine
    of a pod with a single GPU: the planner may then find up to that much too little room for a larger pod.
    """
    sidecars = added(*(asked_of(container).items() for container in extras.sidecars))
    total = added(each_pod.items(), sidecars.items())
    for container in extras.init_containers:
        alone = added(asked_of(container).items(), sidecars.items())
        total |= {name: max(total.get(name, 0), amount - each_gpu.get(name, 0)) for name, amount in alone.items()}
    return total


def asked_of(container: Mapping[str, Any]) -> dict[str, int]:
    """Give the requests of a container in thousandths. A limit without a request counts for both, as in Kubernetes."""
    resources = container.get("resources") or {}
    return amounts_of({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _disk(launch: Launch, site: LaunchSite, facts: ModelFacts) -> dict[str, str]:
    """Ask for the disk that weights fill which a pod fetches into an emptyDir, in whole MiB."""
    fetched = launch.model.source.kind is SourceKind.HUGGING_FACE
    if not fetched or cache_of(launch, site).kind is not CacheKind.EMPTY_DIR:
        return {}
    return {DISK: f"{-(-_fetched(facts) // MIB)}Mi"}


@lru_cache(maxsize=256)
def _fetched(facts: ModelFacts) -> int:
    """Count the bytes once for a model: thousands of weights are added up for it."""
    return facts.fetched_bytes


def _sorted(amounts: Iterable[tuple[str, int]]) -> Amounts:
    return tuple(sorted((name, amount) for name, amount in amounts if amount))
