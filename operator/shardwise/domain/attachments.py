"""What connects a model with add-ons of the cluster: how clients reach it, and who sets the number of its replicas."""

from dataclasses import dataclass, field
from enum import StrEnum


class EndpointKind(StrEnum):
    """The kinds of endpoint by which clients reach the leaders that serve."""

    SERVICE = "service"
    INFERENCE_POOL = "inferencePool"


@dataclass(frozen=True, slots=True)
class EndpointPicker:
    """The Service of the endpoint picker, which chooses a leader for each request to an InferencePool.

    ``failure_mode`` says what the gateway does while the picker does not answer: ``FailOpen`` or ``FailClose``.
    """

    name: str
    port: int
    failure_mode: str = "FailClose"


@dataclass(frozen=True, slots=True)
class Gateway:
    """The Gateway that requests come through. An empty ``namespace`` is that of the object.

    ``hostnames`` are those that the route takes; empty: every hostname of the Gateway's listeners.
    """

    name: str
    namespace: str = ""
    hostnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How clients reach a model. ``picker`` and ``target_port`` are only for an InferencePool.

    ``target_port`` is where the pods take the requests of the pool; ``None`` is the port of the engine. ``gateway``
    ``None`` makes no route.
    """

    kind: EndpointKind = EndpointKind.SERVICE
    picker: EndpointPicker | None = None
    gateway: Gateway | None = None
    target_port: int | None = None


class Signal(StrEnum):
    """The measurements of an engine on which a scaler acts."""

    QUEUE = "queue"
    KV_CACHE = "kvCache"
    TIME_PER_TOKEN = "timePerToken"  # noqa: S105 - a measurement


@dataclass(frozen=True, slots=True)
class Scaling:
    """The bounds of the replicas that a scaler may ask for, and the value of a signal that it aims at.

    ``target`` is in the unit of the signal: waiting requests of a replica, percent of its KV cache, or milliseconds
    between tokens.
    """

    least: int
    most: int
    signal: Signal
    target: int


class ScalerKind(StrEnum):
    """The scalers of a cluster that Shardwise makes objects for."""

    KEDA = "keda"
    AUTOSCALER = "horizontalPodAutoscaler"


@dataclass(frozen=True, slots=True)
class Scaler:
    """The scaler of the cluster.

    ``prometheus`` is the address at which KEDA asks for metrics. ``wake_query`` is the query that counts the requests
    for a model without replicas, with ``{namespace}`` and ``{name}`` for those of the object; empty: no model is
    scaled to zero.
    """

    kind: ScalerKind
    prometheus: str = ""
    wake_query: str = ""


@dataclass(frozen=True, slots=True)
class AttachmentSite:
    """The add-ons of the cluster for which Shardwise makes objects.

    ``gateways`` are those that objects may name, as ``namespace/name``; an entry that ends with ``*`` allows every
    Gateway that begins with the text before it.
    """

    inference_pools: bool = False
    gateways: tuple[str, ...] = ()
    scaler: Scaler | None = field(default=None)
