"""The resources besides GPUs that the engine's container of a pod requests, for its manifest and for the planner."""

from collections.abc import Iterable, Mapping

from shardwise.domain.launch import CacheKind, Launch, LaunchSite, NodeNvlink, SourceKind, WeightCache
from shardwise.domain.model import ModelFacts
from shardwise.domain.needs import A_CHANNEL, DISK, PODS, Amounts, PodNeeds, amounts_of
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
    return PodNeeds(
        each_pod=_sorted((each_pod | {PODS: 1000}).items()),
        each_gpu=_sorted(each_gpu.items()),
        in_group=_sorted(amounts_of(shared).items()),
        in_stage=A_CHANNEL if site.node_nvlink is NodeNvlink.COMPUTE_DOMAIN else (),
        claims=site.gpu_device_class is not None,
    )


def _disk(launch: Launch, site: LaunchSite, facts: ModelFacts) -> dict[str, str]:
    """Ask for the disk that weights fill which a pod fetches into an emptyDir, in whole MiB."""
    fetched = launch.model.source.kind is SourceKind.HUGGING_FACE
    if not fetched or cache_of(launch, site).kind is not CacheKind.EMPTY_DIR:
        return {}
    return {DISK: f"{-(-facts.fetched_bytes // MIB)}Mi"}


def _sorted(amounts: Iterable[tuple[str, int]]) -> Amounts:
    return tuple(sorted((name, amount) for name, amount in amounts if amount))
