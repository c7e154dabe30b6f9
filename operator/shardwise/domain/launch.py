"""What to start, besides where: everything rendering asks of an object that planning does not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.engine import EngineName


class SourceKind(StrEnum):
    """Where the weights come from."""

    HUGGING_FACE = "huggingFace"
    PERSISTENT_VOLUME_CLAIM = "persistentVolumeClaim"
    HOST_PATH = "hostPath"
    IMAGE = "image"


class CacheKind(StrEnum):
    """Where what is fetched from the Hub is kept."""

    EMPTY_DIR = "emptyDir"
    PERSISTENT_VOLUME_CLAIM = "persistentVolumeClaim"
    HOST_PATH = "hostPath"


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache of weights and compiled code. ``location`` is the claim's name or the path on the nodes.

    ``size`` bounds an emptyDir; ``None`` leaves it the node's disk.
    """

    kind: CacheKind = CacheKind.EMPTY_DIR
    location: str = ""
    size: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of the weights. Only the fields of its kind are set.

    ``location`` is the claim's name, the host path or the image reference; ``path`` a folder inside it. ``cache`` and
    ``pre_pull`` are for the Hub; ``None`` leaves them to the operator's configuration.
    """

    kind: SourceKind = SourceKind.HUGGING_FACE
    revision: str | None = None
    token_secret: str | None = None
    token_key: str = "token"  # noqa: S105 - the key's name inside the Secret, no secret itself
    location: str = ""
    path: str = ""
    cache: Cache | None = None
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
    """The object that owns what is rendered."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How one object wants its pods. ``image`` ``None`` is the engine's default; ``args`` are appended, item by item.

    ``version`` is the engine's release where the image's tag does not say it. ``options`` are entries of the options
    file of an engine that reads one. ``port`` is where clients reach the leaders' Service. ``labels`` and
    ``annotations`` go onto pods besides Shardwise's own. ``requests`` and ``limits`` are extra resources of the
    container (CPU, memory, RDMA devices).
    """

    owner: Owner
    model: str
    served_name: str
    source: Source = field(default_factory=Source)
    image: str | None = None
    image_pull_policy: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    version: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    priority_class: str | None = None
    scheduler_name: str | None = None
    service_account: str | None = None
    runtime_class: str | None = None
    port: int = 8000
    service_type: str = "ClusterIP"
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()
    shared_memory: str | None = None
    trust_remote_code: bool = False
    kv_cache_dtype: str | None = None
    quantization: str | None = None


SHARED_MEMORY: Final = "16Gi"
"""Size of /dev/shm: what the engines' own docker instructions ask for. A limit, not a reservation."""


class NodeNvlink(StrEnum):
    """How pods get at NVLink between nodes (IMEX channels)."""

    COMPUTE_DOMAIN = "computeDomain"
    PROVIDED = "provided"


@dataclass(frozen=True, slots=True)
class LaunchSite:
    """How pods are started on this cluster: the same for every object.

    ``env`` goes onto every pod; ``interface`` is the network interface ranks talk over. ``rdma`` are the device
    plugin's resources that a pod of a group of several gets, with ``ipc_lock`` the right to pin memory. ``host_paths``
    are the folders of the nodes that an object may mount, with all below them. ``gpu_device_class`` not ``None`` asks
    for GPUs by claims of that DeviceClass instead of ``nvidia.com/gpu``.
    """

    env: tuple[tuple[str, str], ...] = ()
    interface: str | None = None
    rdma: tuple[tuple[str, str], ...] = ()
    ipc_lock: bool = False
    host_paths: tuple[str, ...] = ()
    gpu_device_class: str | None = None
    images: tuple[tuple[EngineName, str], ...] = ()
    cache: Cache = field(default_factory=Cache)
    pre_pull: bool = False
    shared_memory: str = SHARED_MEMORY
    node_nvlink: NodeNvlink = NodeNvlink.COMPUTE_DOMAIN

    def image(self, engine: EngineName) -> str | None:
        """Give the image configured for an engine."""
        return dict(self.images).get(engine)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """What happens to a group that fails.

    ``max_restarts`` failures in a row are answered by a new attempt, the next one holds the group. ``window`` seconds
    of serving forget the failures before. ``keep_failed`` leaves the pods of a failed attempt until the next one
    begins, and those of a held group for as long as it is held. ``smaller_layout`` lets an object that lost its nodes
    come back on fewer GPUs than its plan had.
    """

    max_restarts: int = 10
    window: float = 3600.0
    keep_failed: bool = True
    smaller_layout: bool = False


@dataclass(frozen=True, slots=True)
class UpdateStrategy:
    """How groups are replaced when other content is wanted.

    ``recreate`` replaces all at once. Else they roll: at most ``max_surge`` new groups beside the old ones where GPUs
    and budget allow; where they do not, at most ``max_unavailable`` groups down at a time.
    """

    recreate: bool = False
    max_surge: int = 1
    max_unavailable: int = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object, read and converted: what to plan and what to start, and where.

    ``asks`` names all of the object that its plan depends on, ``content`` all of it that its pods may depend on: by
    what the user wrote, so that neither changes with the version of the operator.
    """

    demand: Demand
    launch: Launch
    generation: int = 0
    paused: bool = False
    site: LaunchSite = field(default_factory=LaunchSite)
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    update: UpdateStrategy = field(default_factory=UpdateStrategy)
    asks: str = ""
    content: str = ""
