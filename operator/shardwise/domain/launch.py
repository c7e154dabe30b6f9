"""How the pods of an object are started: the part of an object that only rendering needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from shardwise.domain.allowed import Allowed
from shardwise.domain.attachments import AttachmentSite, Endpoint, Scaling
from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.engine import EngineName
from shardwise.domain.platforms import GENERIC, Level
from shardwise.domain.roles import Role


class SourceKind(StrEnum):
    """The kind of place that the weights come from."""

    HUGGING_FACE = "huggingFace"
    PERSISTENT_VOLUME_CLAIM = "persistentVolumeClaim"
    HOST_PATH = "hostPath"
    IMAGE = "image"


class CacheKind(StrEnum):
    """The kind of volume that keeps files fetched from the Hub."""

    EMPTY_DIR = "emptyDir"
    PERSISTENT_VOLUME_CLAIM = "persistentVolumeClaim"
    HOST_PATH = "hostPath"


@dataclass(frozen=True, slots=True)
class WeightCache:
    """The volume for fetched weights and compiled code. ``location`` is the claim's name or the path on the nodes.

    ``size`` bounds an emptyDir; ``None`` lets it fill the node's disk.
    """

    kind: CacheKind = CacheKind.EMPTY_DIR
    location: str = ""
    size: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of the weights. Only the fields of its kind are set.

    ``location`` is the claim's name, the host path or the image reference; ``path`` is a folder inside it. ``cache``
    and ``pre_pull`` are for the Hub; ``None`` leaves them to the operator's configuration.
    """

    kind: SourceKind = SourceKind.HUGGING_FACE
    revision: str | None = None
    token_secret: str | None = None
    token_key: str = "token"  # noqa: S105 - the key's name inside the Secret, not a secret itself
    location: str = ""
    path: str = ""
    cache: WeightCache | None = None
    pre_pull: bool | None = None


@dataclass(frozen=True, slots=True)
class EnvVar:
    """An environment variable: a plain value, a Secret's or ConfigMap's key, or a ``field`` of the pod itself."""

    name: str
    value: str | None = None
    secret: tuple[str, str] | None = None
    config_map: tuple[str, str] | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that owns the rendered manifests."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model as the engine is told about it. ``name`` is the Hub id, ``served_name`` the name clients ask for.

    ``kv_cache_dtype`` and ``quantization`` are the precisions to tell the engine; ``None`` tells it nothing.
    """

    name: str
    served_name: str
    source: Source = field(default_factory=Source)
    trust_remote_code: bool = False
    kv_cache_dtype: str | None = None
    quantization: str | None = None


class Servers(StrEnum):
    """The pods of a group that clients reach."""

    LEADER = "leader"
    EVERY_POD = "everyPod"


@dataclass(frozen=True, slots=True)
class EngineContainer:
    """The container of the engine. ``image`` ``None`` is the default image; ``args`` are appended, item by item.

    ``version`` is the engine's release, for images whose tag does not name the release. ``options`` are entries for
    the options file, for engines that read such a file. ``servers`` are the pods that serve clients, if the pods of a
    group hold whole data ranks; the leader serves otherwise.
    """

    image: str | None = None
    image_pull_policy: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    version: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    servers: Servers = Servers.LEADER


class QueueSystem(StrEnum):
    """The systems of a cluster that admit groups of pods in turn. Each has a module in ``shardwise.queues``."""

    KUEUE = "kueue"


@dataclass(frozen=True, slots=True)
class ClusterQueue:
    """A queue of the cluster that admits the groups of an object: the system that keeps it, and its name there.

    The operator's own order of waiting objects is another queue: it has no part in this.
    """

    system: QueueSystem
    name: str


class PlacedBy(StrEnum):
    """Who picks the nodes of the pods: the plan, or the scheduler inside the bounds of the plan."""

    SHARDWISE = "shardwise"
    SCHEDULER = "scheduler"


class GangSystem(StrEnum):
    """The schedulers that bind all pods of a group or none. Each but ``NONE`` has a module in ``shardwise.queues``."""

    NONE = "none"
    NATIVE = "native"
    VOLCANO = "volcano"
    KAI = "kai"
    COSCHEDULING = "coscheduling"


@dataclass(frozen=True, slots=True)
class GangScheduler:
    """A gang scheduler of this cluster.

    ``queue`` is its queue of the objects that name none, ``scheduler`` the name by which pods ask for it; ``None``
    leaves both to the system. ``topology`` tells that it can keep a gang inside an NVLink domain of several nodes.
    """

    system: GangSystem
    queue: str | None = None
    scheduler: str | None = None
    topology: bool = False


@dataclass(frozen=True, slots=True)
class Scheduling:
    """The fields of a pod that its scheduling and its rights depend on, besides its node. ``None`` sets no field.

    ``queue`` is the queue of the cluster that the object names, ``gang`` the gang scheduler; ``None`` leaves them to
    the operator's configuration. ``gang_queue`` is a queue of the gang scheduler. ``placed_by`` says
    who picks the nodes.
    """

    tolerations: tuple[Toleration, ...] = ()
    priority_class_name: str | None = None
    scheduler_name: str | None = None
    service_account_name: str | None = None
    runtime_class_name: str | None = None
    queue: ClusterQueue | None = None
    gang: GangSystem | None = None
    gang_queue: str | None = None
    placed_by: PlacedBy = PlacedBy.SHARDWISE


@dataclass(frozen=True, slots=True)
class ClientService:
    """The Service by which clients reach the leaders: its port and its type."""

    port: int = 8000
    type: str = "ClusterIP"


@dataclass(frozen=True, slots=True)
class PodExtras:
    """Additions of the user to every pod.

    ``labels`` and ``annotations`` stand besides those of Shardwise. ``requests`` and ``limits`` are further resources
    of the engine's container, such as CPU, memory or RDMA devices. ``shared_memory`` is the size limit of /dev/shm;
    ``None`` leaves it to the operator's configuration. Volumes, mounts, sources of variables, containers and the
    security context are as in a pod. ``sidecars`` run beside the engine, ``init_containers`` before it.
    """

    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()
    shared_memory: str | None = None
    volumes: tuple[Mapping[str, Any], ...] = ()
    volume_mounts: tuple[Mapping[str, Any], ...] = ()
    env_from: tuple[Mapping[str, Any], ...] = ()
    sidecars: tuple[Mapping[str, Any], ...] = ()
    init_containers: tuple[Mapping[str, Any], ...] = ()
    security_context: Mapping[str, Any] = field(default_factory=dict)
    host_network: bool = False
    dns_policy: str | None = None
    scheduling_gates: tuple[str, ...] = ()

    @property
    def drops_capabilities(self) -> bool:
        """Whether all containers drop all capabilities: a process that is not root has no use for them."""
        return self.security_context.get("runAsNonRoot") is True


@dataclass(frozen=True, slots=True)
class Launch:
    """How the pods of an object, or of a role of an object, are started, reached and scaled.

    ``scaling`` ``None`` leaves the replicas to users.
    """

    owner: Owner
    model: ServedModel
    container: EngineContainer = field(default_factory=EngineContainer)
    scheduling: Scheduling = field(default_factory=Scheduling)
    service: ClientService = field(default_factory=ClientService)
    extras: PodExtras = field(default_factory=PodExtras)
    endpoint: Endpoint = field(default_factory=Endpoint)
    scaling: Scaling | None = None
    role: Role | None = None


SHARED_MEMORY: Final = "16Gi"
"""Size of /dev/shm that the engines' own docker instructions ask for. It is a limit, not a reservation."""


REQUESTS: Final = (("cpu", "2"), ("memory", "6G"))
"""Requests of a pod for each of its GPUs, as in vLLM's own example for Kubernetes (docs.vllm.ai, deployment/k8s).

A node such as g6.xlarge, with 4 vCPUs and 16 GiB for its GPU, has room for them beside the pods of the cluster.
"""


NATIVE_POD_GROUPS: Final = "scheduling.k8s.io/v1alpha2"
"""Kubernetes' own PodGroups as 1.36 serves them: manifests of a file are written so."""


class NodeNvlink(StrEnum):
    """How pods get access to NVLink between nodes (IMEX channels)."""

    COMPUTE_DOMAIN = "computeDomain"
    PROVIDED = "provided"


@dataclass(frozen=True, slots=True)
class LaunchSite:
    """How pods are started on this cluster: the same for every object.

    ``env`` is set in every pod; ``interface`` is the network interface that ranks talk over. ``rdma`` are the device
    plugin's resources that each pod gets if its group has several pods; ``ipc_lock`` adds the right to pin memory.
    ``requests`` are the CPU and the memory that a pod requests for each of its GPUs.
    ``host_paths`` are the folders of the nodes that an object may mount, with every folder below them. A
    ``gpu_device_class`` makes pods claim GPUs of that DeviceClass instead of requesting ``nvidia.com/gpu``. ``allowed``
    are the values that objects may use; ``allowed_by_namespace`` replaces them in single namespaces. ``queue_systems``
    are the systems whose queues objects may name; ``queue`` is the queue of the objects that name none. ``gangs`` are
    the gang schedulers that objects may name, ``gang`` that of the objects that name none and go through no queue.
    ``native_pod_groups`` is the version of Kubernetes' own PodGroups that the cluster serves. ``attachments`` are the
    add-ons that reach and scale models. ``domain_keys`` and ``levels`` are the labels of NVLink domains and of the
    levels above, as nodes are read by them.
    """

    env: tuple[tuple[str, str], ...] = ()
    interface: str | None = None
    rdma: tuple[tuple[str, str], ...] = ()
    ipc_lock: bool = False
    requests: tuple[tuple[str, str], ...] = REQUESTS
    host_paths: tuple[str, ...] = ()
    gpu_device_class: str | None = None
    images: tuple[tuple[EngineName, str], ...] = ()
    cache: WeightCache = field(default_factory=WeightCache)
    pre_pull: bool = False
    shared_memory: str = SHARED_MEMORY
    node_nvlink: NodeNvlink = NodeNvlink.COMPUTE_DOMAIN
    allowed: Allowed = field(default_factory=Allowed)
    allowed_by_namespace: tuple[tuple[str, Allowed], ...] = ()
    queue_systems: tuple[QueueSystem, ...] = ()
    queue: ClusterQueue | None = None
    gangs: tuple[GangScheduler, ...] = ()
    gang: GangSystem = GangSystem.NONE
    native_pod_groups: str = NATIVE_POD_GROUPS
    attachments: AttachmentSite = field(default_factory=AttachmentSite)
    domain_keys: tuple[str, ...] = GENERIC.domains
    levels: tuple[Level, ...] = GENERIC.levels

    @property
    def systems(self) -> "tuple[QueueSystem | GangSystem, ...]":
        """The systems that may admit groups or bind them as gangs."""
        return (*self.queue_systems, *(gang.system for gang in self.gangs))

    def allowed_in(self, namespace: str) -> Allowed:
        """Give the values that the objects of a namespace may use."""
        return dict(self.allowed_by_namespace).get(namespace, self.allowed)

    def image(self, engine: EngineName) -> str | None:
        """Give the image configured for an engine."""
        return dict(self.images).get(engine)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How the operator reacts to a group that fails.

    After each of the first ``max_restarts`` failures in a row a new attempt begins; the next failure holds the group.
    A group that serves for ``window`` seconds starts counting from zero again. ``keep_failed`` keeps the pods of a
    failed attempt until the next attempt begins, and the pods of a held group for as long as it is held.
    ``smaller_layout`` lets an object that lost its nodes come back on fewer GPUs than its plan had.
    """

    max_restarts: int = 10
    window: float = 3600.0
    keep_failed: bool = True
    smaller_layout: bool = False


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How the operator finds replicas that hang. Idle replicas are asked for a token every ``idle_request_interval``.

    In seconds; ``None`` asks nobody.
    """

    idle_request_interval: float | None = None


@dataclass(frozen=True, slots=True)
class UpdateStrategy:
    """How groups are replaced when the content of their pods changes.

    ``recreate`` replaces all groups at once. Without it an update rolls: at most ``max_surge`` new groups start beside
    the old groups if GPUs and budget allow; otherwise at most ``max_unavailable`` groups are down at a time.
    """

    recreate: bool = False
    max_surge: int = 1
    max_unavailable: int = 1


PAUSED: Final = "shardwise.dev/paused"
"""Annotation that stops all action on an object while it is ``true``."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object after parsing and conversion: its demand, its launch, and the policies it is operated by.

    ``asks`` is a fingerprint of every field that the plan depends on, ``content`` of every field that the pods may
    depend on. Both are taken from the text of the user, so that no new version of the operator changes them. ``roles``
    are the objects that an object with roles is made of, each with the groups of a role and the whole budget; decode
    stands first, because it can serve alone. Then the demand and the launch of the object itself are those of decode,
    but for the products of both.
    """

    demand: Demand
    launch: Launch
    generation: int = 0
    paused: bool = False
    site: LaunchSite = field(default_factory=LaunchSite)
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    update: UpdateStrategy = field(default_factory=UpdateStrategy)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    asks: str = ""
    content: str = ""
    roles: tuple["Wanted", ...] = ()

    @property
    def queue(self) -> ClusterQueue | None:
        """The queue of the cluster that admits its groups; ``None`` if the operator starts them by itself."""
        return self.launch.scheduling.queue or self.site.queue

    @property
    def gang(self) -> GangScheduler | None:
        """The gang scheduler of its pods; ``None`` if the cluster's scheduler binds them one by one."""
        asked = self.launch.scheduling.gang
        if asked is None:
            asked = self.site.gang if self.queue is None else GangSystem.NONE
        return next((known for known in self.site.gangs if known.system is asked), None)

    @property
    def gang_queue(self) -> str | None:
        """The queue of its gang scheduler; ``None`` leaves it to the system."""
        return self.launch.scheduling.gang_queue or (None if self.gang is None else self.gang.queue)

    @property
    def left_open(self) -> bool:
        """Whether the scheduler picks the nodes of its pods."""
        return self.launch.scheduling.placed_by is PlacedBy.SCHEDULER
