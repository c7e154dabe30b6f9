"""What one object asks for, as the planner sees it."""

from dataclasses import dataclass, field
from enum import StrEnum

from shardwise.domain.engine import EngineName
from shardwise.domain.model import ModelFacts


class Objective(StrEnum):
    """What to prefer among the layouts that fit."""

    FEWEST_GPUS = "fewest-gpus"
    LATENCY = "latency"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True)
class Pins:
    """Parts of the layout the user fixed. ``None`` leaves the part to the planner."""

    tensor: int | None = None
    pipeline: int | None = None
    expert: bool | None = None


@dataclass(frozen=True, slots=True)
class Toleration:
    """A toleration, with Kubernetes' meaning: empty key with Exists matches all, empty effect matches every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    seconds: int | None = None


class Operator(StrEnum):
    """How a requirement compares a label, with Kubernetes' meaning: NotIn and DoesNotExist hold without the label."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a label of a node must be. ``values`` are none for existence, one whole number for Gt and Lt."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """A model to serve, and what it may take.

    ``key`` is ``namespace/name``. ``context_length`` is tokens per sequence, ``concurrency`` the sequences of that
    length the KV cache must hold at once. ``gpu_budget`` bounds the GPUs of all replicas together. ``kv_bytes`` is
    the size of one KV element. ``products`` empty means any. ``within`` is a level of the fleet or a label key: all
    nodes of a group must have one place there. ``node_affinity`` are terms of which one must hold in all its
    requirements; none means any node. ``own_image`` says that the user names the engine's image, as AMD GPUs need.
    ``reserve`` overrides the runtime reserve per GPU, in bytes. ``least_context`` are the tokens that will do where
    ``context_length`` does not fit; ``None`` never lowers it.
    """

    key: str
    model: ModelFacts
    gpu_budget: int
    context_length: int
    engine: EngineName = EngineName.VLLM
    concurrency: int = 1
    kv_bytes: int = 2
    products: tuple[str, ...] = ()
    replicas: int = 1
    objective: Objective = Objective.FEWEST_GPUS
    pins: Pins = field(default_factory=Pins)
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    within: str | None = None
    node_affinity: tuple[tuple[Requirement, ...], ...] = ()
    own_image: bool = False
    reserve: int | None = None
    least_context: int | None = None
