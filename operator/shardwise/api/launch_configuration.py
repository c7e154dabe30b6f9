"""The launch part of the operator configuration: how the pods of every object are started on this cluster."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shardwise.api.base import (
    ABSOLUTE_PATTERN,
    COUNT_PATTERN,
    ENV_PATTERN,
    INTERFACE_PATTERN,
    SHAPES,
    ByteQuantity,
    CpuQuantity,
    DnsName,
    Image,
    LabelKey,
    Path,
    ShortText,
    Wire,
)
from shardwise.api.convert import to_cache
from shardwise.api.model_spec import CacheVolumeSpec
from shardwise.api.problems import Problem
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import (
    REQUESTS,
    SHARED_MEMORY,
    ClusterQueue,
    GangScheduler,
    GangSystem,
    LaunchSite,
    NodeNvlink,
    QueueSystem,
    WeightCache,
)
from shardwise.domain.units import read_amount


class RdmaConfiguration(Wire):
    """RDMA between the pods of a replica."""

    resources: dict[LabelKey, Annotated[str, Field(pattern=COUNT_PATTERN)]] = Field(
        min_length=1,
        max_length=16,
        description="Resources of the RDMA device plugin, with their counts. A pod gets them if its replica has "
        "several pods.",
    )
    ipc_lock: bool = Field(
        default=True, description="Whether pods with RDMA resources may pin memory (capability IPC_LOCK)."
    )


class GpuClaims(Wire):
    """GPUs by dynamic resource allocation instead of the device plugin (Kubernetes 1.34 or later)."""

    device_class: DnsName = Field(default="gpu.nvidia.com", description="Name of the DeviceClass of the GPUs.")


class GpuRequests(Wire):
    """CPU and memory that a pod requests for each of its GPUs."""

    cpu: CpuQuantity = Field(
        default=dict(REQUESTS)["cpu"], description="Cores for each GPU of a pod, such as 2 or 500m. 0 requests none."
    )
    memory: ByteQuantity = Field(
        default=dict(REQUESTS)["memory"],
        description="Bytes of the node's memory for each GPU of a pod. 0 requests none.",
    )


class KueueConfiguration(Wire):
    """Kueue, whose queues objects may name."""

    local_queue: DnsName | None = Field(
        default=None,
        description="LocalQueue of every object that names no queue, in the object's own namespace. Default: such "
        "objects go through no queue.",
    )


class QueuesConfiguration(Wire):
    """The systems of the cluster whose queues may admit replicas."""

    kueue: KueueConfiguration | None = Field(
        default=None, description="Kueue. Default: objects may name no queue of Kueue, and nothing of Kueue is read."
    )


class NativeGangs(Wire):
    """Kubernetes' own gangs: PodGroups of scheduling.k8s.io, which are off unless feature gates turn them on."""

    scheduler_name: DnsName | None = Field(
        default=None, description="Name of the scheduler of the pods. Default: the cluster's default scheduler."
    )
    topology: bool = Field(
        default=False,
        description="Whether the feature gate TopologyAwareWorkloadScheduling is on. The PodGroup of a replica whose "
        "nodes the scheduler picks (spec.placement.owner) then names the label of its NVLink domain. Groups with such "
        "a constraint preempt no others.",
    )


class QueuedGangs(Wire):
    """A gang scheduler with queues of its own."""

    queue: DnsName | None = Field(
        default=None, description="Queue of every object that names none. Default: that of the system."
    )
    scheduler_name: DnsName | None = Field(
        default=None, description="Name of the scheduler of the pods. Default: the name that the system installs."
    )


class CoschedulingGangs(Wire):
    """The plugin coscheduling of scheduler-plugins."""

    scheduler_name: DnsName | None = Field(
        default=None,
        description="Name of the scheduler of the pods. Default: scheduler-plugins-scheduler, as its Helm chart names "
        "it.",
    )


class GangsConfiguration(Wire):
    """The gang schedulers of the cluster. Nothing of a gang scheduler is read or written unless it is named here."""

    native: NativeGangs | None = Field(
        default=None, description="Kubernetes' own gangs. Default: objects may not name them."
    )
    volcano: QueuedGangs | None = Field(default=None, description="Volcano. Default: objects may not name it.")
    kai: QueuedGangs | None = Field(default=None, description="KAI, from v0.15.0 on. Default: objects may not name it.")
    coscheduling: CoschedulingGangs | None = Field(
        default=None, description="Coscheduling of scheduler-plugins. Default: objects may not name it."
    )
    default: Literal["none", "native", "volcano", "kai", "coscheduling"] = Field(
        default="none", description="Gang scheduler of every object that names none and goes through no queue of Kueue."
    )


class EngineImages(Wire):
    """Container images of the engines."""

    vllm: Image | None = Field(default=None, description="Container image of vLLM.")
    sglang: Image | None = Field(default=None, description="Container image of SGLang.")
    tensorrt_llm: Image | None = Field(
        default=None, alias="tensorrt-llm", description="Container image of TensorRT-LLM."
    )


class LaunchConfiguration(Wire):
    """How pods are started."""

    images: EngineImages = Field(
        default=EngineImages(),
        description="Default container image of each engine, in place of the image that Shardwise was written for.",
    )
    env: dict[LabelKey, Annotated[str, Field(max_length=4096)]] = Field(
        default={},
        max_length=128,
        description="Environment variables of every pod, such as NCCL_IB_HCA. NCCL needs the same values in all pods.",
    )
    interface: Annotated[ShortText, Field(pattern=INTERFACE_PATTERN)] | None = Field(
        default=None,
        description="Network interface that ranks talk over (NCCL, Gloo, Open MPI). Needed if pods have several "
        "interfaces.",
    )
    rdma: RdmaConfiguration | None = Field(default=None, description="RDMA between the pods of a replica.")
    requests: GpuRequests = Field(
        default=GpuRequests(),
        description="CPU and memory that a pod requests for each of its GPUs. spec.podTemplate of an object wins.",
    )
    host_paths: list[Annotated[Path, Field(pattern=ABSOLUTE_PATTERN)]] = Field(
        default=[],
        max_length=64,
        description="Folders of the nodes that objects may mount, with every folder below them. Default: none.",
    )
    cache: CacheVolumeSpec | None = Field(
        default=None, description="Volume for fetched weights and compiled code. Default: an emptyDir."
    )
    pre_pull: bool = Field(default=False, description="Whether each pod fetches all weights before any rank starts.")
    shared_memory: ByteQuantity = Field(
        default=SHARED_MEMORY,
        description="Size limit of /dev/shm, in bytes. The files in it count as memory of the pod.",
    )
    gpu_claims: GpuClaims | None = Field(
        default=None,
        description="How pods claim GPUs by dynamic resource allocation. Default: pods request nvidia.com/gpu.",
    )
    node_nvlink: Literal["computeDomain", "provided"] = Field(
        default="computeDomain",
        description="How pods get access to NVLink between nodes. computeDomain: a ComputeDomain for each replica. "
        "provided: the cluster gives IMEX channels to every pod.",
    )
    queues: QueuesConfiguration = Field(
        default=QueuesConfiguration(), description="The systems of the cluster whose queues may admit replicas."
    )
    gangs: GangsConfiguration = Field(
        default=GangsConfiguration(),
        description="The gang schedulers of the cluster, which bind all pods of a replica or none.",
    )


def launch_problems(given: LaunchConfiguration) -> Iterator[Problem]:
    """Give the problems that span fields."""
    volumes = given.cache.given() if given.cache is not None else [""]
    if len(volumes) != 1:
        named = " and ".join(f"`{volume}`" for volume in volumes) or "none"
        yield Problem("launch.cache", f"exactly one volume is needed, {named} given")
    default = given.gangs.default
    if default != "none" and getattr(given.gangs, default) is None:
        yield Problem("launch.gangs.default", f"`{default}` is not set up: `launch.gangs.{default}` is missing")
    for name in given.env:
        if re.fullmatch(ENV_PATTERN, name) is None:
            yield Problem(f"launch.env.{name}", f"`{name}` {SHAPES[ENV_PATTERN]}")
    for position, path in enumerate(given.host_paths):
        if ".." in path.split("/"):
            yield Problem(f"launch.hostPaths.{position}", f"`{path}` may point to any folder: `..` is not allowed")


def launch_site(given: LaunchConfiguration) -> LaunchSite:
    """Convert a configuration in which :func:`launch_problems` finds no problem."""
    return LaunchSite(
        env=tuple(sorted(given.env.items())),
        interface=given.interface,
        rdma=tuple(sorted(given.rdma.resources.items())) if given.rdma is not None else (),
        ipc_lock=given.rdma is not None and given.rdma.ipc_lock,
        requests=tuple(_requests(given.requests)),
        host_paths=tuple(given.host_paths),
        gpu_device_class=given.gpu_claims.device_class if given.gpu_claims is not None else None,
        images=tuple(_images(given.images)),
        cache=to_cache(given.cache) if given.cache is not None else WeightCache(),
        pre_pull=given.pre_pull,
        shared_memory=given.shared_memory,
        node_nvlink=NodeNvlink(given.node_nvlink),
        queue_systems=() if given.queues.kueue is None else (QueueSystem.KUEUE,),
        queue=_default_queue(given.queues),
        gangs=tuple(_gangs(given.gangs)),
        gang=GangSystem(given.gangs.default),
    )


def _gangs(given: GangsConfiguration) -> Iterator[GangScheduler]:
    named = ((system, getattr(given, system.value)) for system in GangSystem if system is not GangSystem.NONE)
    for system, gangs in named:
        if gangs is not None:
            topology = getattr(gangs, "topology", False)
            yield GangScheduler(system, getattr(gangs, "queue", None), gangs.scheduler_name, topology)


def _default_queue(given: QueuesConfiguration) -> ClusterQueue | None:
    name = None if given.kueue is None else given.kueue.local_queue
    return None if name is None else ClusterQueue(QueueSystem.KUEUE, name)


def _requests(given: GpuRequests) -> Iterator[tuple[str, str]]:
    for name, quantity in (("cpu", given.cpu), ("memory", given.memory)):
        if read_amount(quantity):
            yield name, quantity


def _images(given: EngineImages) -> Iterator[tuple[EngineName, str]]:
    for name, image in given.model_dump(by_alias=True, exclude_none=True).items():
        yield EngineName(name), image
