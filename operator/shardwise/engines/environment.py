"""The environment variables of a pod, from the launch, the operator's configuration and the object."""

from collections.abc import Iterable, Iterator
from typing import Final

from shardwise.domain.launch import EnvVar
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.engines.context import PodContext
from shardwise.engines.options import OptionTable, PodField, SecretValue, Variable
from shardwise.engines.weights import CACHE_FOLDER, is_offline

_INTERFACE: Final = "`launch.interface` of the operator's configuration"
_HOME: Final = "the volume of the cache: the only folder that a user unknown to the image can write to"
_NVLINK: Final = "the plan, for NVLink between nodes"


def pod_address(_: PodContext) -> PodField:
    """Give the pod's own address."""
    return PodField("status.podIP")


def environment(pod: PodContext, table: OptionTable) -> tuple[EnvVar, ...]:
    """Give a pod's variables, each name once.

    The operator's configuration wins over ``NETWORK_VARIABLES``, the engine's table over the configuration, and the
    object over variables that yield. Every variable but the pod's own address is the same on all pods of a group: NCCL
    hangs if its settings differ (vllm/utils/nccl.py).
    """
    configured = (EnvVar(name, value=value) for name, value in pod.wanted.site.env)
    own = pod.wanted.launch.container.env
    given = (*_set_in(pod, NETWORK_VARIABLES), *configured, *_set_in(pod, table.variables), *own)
    return tuple({variable.name: variable for variable in given}.values())


def spans_nodes(plan: Plan, group: GroupPlacement) -> bool:
    """Tell whether a tensor group, or a group of data ranks, lies on several nodes of the same NVLink domain.

    A tensor group that is pinned wider than any domain talks over the network.
    """
    if plan.linked:
        return len({pod.node for pod in group.pods}) > 1
    if all(pod.gpus % plan.layout.tensor == 0 for pod in group.pods[:1]):
        return False  # all pods hold equal shares: whole tensor groups. Every pod of a large group asks this
    places: dict[int, set[tuple[str, str]]] = {}
    for pod in group.pods:
        for rank in pod.ranks:
            places.setdefault(rank // plan.layout.tensor, set()).add((pod.domain, pod.node))
    return any(len(found) > 1 and len({domain for domain, _ in found}) == 1 for found in places.values())


def _set_in(pod: PodContext, variables: Iterable[Variable]) -> Iterator[EnvVar]:
    for variable in variables:
        yield from variable.set_in(pod)


def _interface(pod: PodContext) -> str | None:
    return pod.wanted.site.interface


def _nvlink(pod: PodContext) -> str | None:
    """Make NCCL fail without NVLink between nodes: by default it falls back to the network and says nothing."""
    return "1" if spans_nodes(pod.plan, pod.group) else None


def _token(pod: PodContext) -> SecretValue | None:
    source = pod.model.source
    return None if source.token_secret is None else SecretValue(source.token_secret, source.token_key)


NETWORK_VARIABLES: Final = (
    Variable("NCCL_CUMEM_ENABLE", _NVLINK, _nvlink, yields=True),
    Variable("NCCL_MNNVL_ENABLE", _NVLINK, _nvlink, yields=True),
    Variable("NCCL_SOCKET_IFNAME", _INTERFACE, _interface, yields=True),
    Variable("GLOO_SOCKET_IFNAME", _INTERFACE, _interface, yields=True),
)
"""Variables of every engine that the operator's configuration and the object may set to other values."""

COMMON_VARIABLES: Final = (
    Variable("HOME", _HOME, lambda _: CACHE_FOLDER, yields=True),
    Variable("TORCHINDUCTOR_CACHE_DIR", _HOME, lambda _: f"{CACHE_FOLDER}/inductor", yields=True),
    Variable("HF_HOME", "the volume of the cache", lambda _: f"{CACHE_FOLDER}/huggingface"),
    Variable("HF_TOKEN", "spec.model.source.huggingFace.tokenSecretRef", _token),
    Variable("HF_HUB_OFFLINE", "spec.model.source", lambda pod: "1" if is_offline(pod.wanted) else None),
    Variable("CUDA_VISIBLE_DEVICES", "the device plugin"),
    Variable("NVIDIA_VISIBLE_DEVICES", "the device plugin"),
)
"""Variables of every engine. An object may set only the variables that yield.

A pod may run as a user that the image does not know (OpenShift's restricted-v2). Its home is then ``/``, where Triton,
FlashInfer and others cannot write, and PyTorch cannot find the user's name to build a folder from.
"""
