"""The variables of a pod: those of the launch, of the site and of the user, each name once."""

from collections.abc import Iterable, Iterator

from shardwise.domain.launch import EnvVar, LaunchSite, Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.engines.weights import CACHE_FOLDER, is_offline

POD_IP = "status.podIP"


def environment(wanted: Wanted, plan: Plan, group: GroupPlacement, engine: Iterable[EnvVar]) -> tuple[EnvVar, ...]:
    """Give a pod's variables. ``engine`` are those of the engine itself.

    The site's win over what we set for NCCL, the user's over the site's. All but the pod's own address are the same on
    every pod of a group: NCCL hangs where its settings differ (vllm/utils/nccl.py).
    """
    fixed = (*engine, *_weights(wanted))
    given = (*_nvlink(plan, group), *_site(wanted.site), *fixed, *wanted.launch.container.env)
    return tuple({variable.name: variable for variable in given}.values())


def spans_nodes(plan: Plan, group: GroupPlacement) -> bool:
    """Tell whether a tensor group lies on several nodes of one NVLink domain.

    One that is pinned wider than any domain talks over the network.
    """
    places: dict[int, set[tuple[str, str]]] = {}
    for pod in group.pods:
        for rank in pod.ranks:
            places.setdefault(rank // plan.layout.tensor, set()).add((pod.domain, pod.node))
    return any(len(found) > 1 and len({domain for domain, _ in found}) == 1 for found in places.values())


def _weights(wanted: Wanted) -> Iterator[EnvVar]:
    source = wanted.launch.model.source
    yield EnvVar("HF_HOME", value=f"{CACHE_FOLDER}/huggingface")
    if source.token_secret is not None:
        yield EnvVar("HF_TOKEN", secret=(source.token_secret, source.token_key))
    if is_offline(wanted):
        yield EnvVar("HF_HUB_OFFLINE", value="1")


def _nvlink(plan: Plan, group: GroupPlacement) -> Iterator[EnvVar]:
    if spans_nodes(plan, group):
        # NCCL would fall back to the network in silence where multi-node NVLink is not up; 1 makes it fail instead.
        yield EnvVar("NCCL_CUMEM_ENABLE", value="1")
        yield EnvVar("NCCL_MNNVL_ENABLE", value="1")


def _site(site: LaunchSite) -> Iterator[EnvVar]:
    if site.interface is not None:
        yield EnvVar("NCCL_SOCKET_IFNAME", value=site.interface)
        yield EnvVar("GLOO_SOCKET_IFNAME", value=site.interface)
    yield from (EnvVar(name, value=value) for name, value in site.env)
