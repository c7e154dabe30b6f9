"""What to start, besides where: everything rendering asks of an object that planning does not."""

from dataclasses import dataclass, field
from enum import StrEnum

from shardwise.domain.demand import Demand, Toleration


class SourceKind(StrEnum):
    """Where the weights come from."""

    HUGGING_FACE = "huggingFace"
    PERSISTENT_VOLUME_CLAIM = "persistentVolumeClaim"
    HOST_PATH = "hostPath"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of the weights. Only the fields of its kind are set.

    ``location`` is the claim's name, the host path or the image reference; ``path`` a folder inside it.
    """

    kind: SourceKind = SourceKind.HUGGING_FACE
    revision: str | None = None
    token_secret: str | None = None
    token_key: str = "token"  # noqa: S105 - the key's name inside the Secret, no secret itself
    location: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class EnvVar:
    """An environment variable: a plain value, or a reference to a Secret's or ConfigMap's key."""

    name: str
    value: str | None = None
    secret: tuple[str, str] | None = None
    config_map: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that owns what is rendered."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How one object wants its pods. ``image`` ``None`` is the engine's default; ``args`` are appended, item by item.

    ``port`` is where clients reach the leaders' Service. ``labels`` and ``annotations`` go onto pods besides
    Shardwise's own. ``resources`` are extra container requests and limits (CPU, memory, RDMA devices).
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object, read and converted: what to plan and what to start.

    ``max_restarts`` counts restarts in a row, none of which became Ready, after which a group is held.
    """

    demand: Demand
    launch: Launch
    generation: int = 0
    paused: bool = False
    max_restarts: int = 10
