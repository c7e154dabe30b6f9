"""The demand of an object, as the planner sees it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from shardwise.domain.adapters import Adapters
from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts
from shardwise.domain.needs import PodNeeds
from shardwise.domain.roles import Half
from shardwise.domain.target import Target
from shardwise.domain.version import Version


class Objective(StrEnum):
    """The preference among the layouts that fit."""

    FEWEST_GPUS = "fewest-gpus"
    LATENCY = "latency"
    THROUGHPUT = "throughput"
    CHEAPEST = "cheapest"


@dataclass(frozen=True, slots=True)
class Pins:
    """The parts of the layout that the user fixed. ``None`` leaves a part to the planner."""

    tensor: int | None = None
    pipeline: int | None = None
    expert: bool | None = None
    data: int | None = None
    context: int | None = None

    @classmethod
    def of(cls, layout: Layout) -> "Pins":
        """Fix every part as in a layout."""
        return cls(layout.tensor, layout.pipeline, layout.expert, layout.data, layout.context)


@dataclass(frozen=True, slots=True)
class Toleration:
    """A toleration as in Kubernetes: an empty key with Exists matches all, an empty effect matches every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    seconds: int | None = None


class Operator(StrEnum):
    """The comparison with a label, as in Kubernetes: NotIn and DoesNotExist hold without the label."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement for a node label. ``values`` is empty for existence, and a single whole number for Gt and Lt."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class TowerUse(StrEnum):
    """What an engine does with the towers of a model (vision, audio), as the object's arguments tell it."""

    SPLIT = "split"
    """The tensor group shares each tower, where the engine can share it."""

    WHOLE = "whole"
    """Every rank holds whole towers, where the engine can keep them whole."""

    UNUSED = "unused"
    """The engine serves the language model alone."""


class EngineSetup(NamedTuple):
    """The parts of an engine's setup that decide which layouts it allows; ``None`` is the release that we read."""

    release: Version | None = None
    towers: TowerUse = TowerUse.SPLIT
    redundant_experts: int = 0
    all_to_all: str | None = None


@dataclass(frozen=True, slots=True)
class QueueOffer:
    """The nodes that a queue of the cluster offers: those that have all labels of a flavour."""

    queue: str
    flavors: tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True, slots=True)
class Demand:
    """A model to serve, and the resources that it may use.

    ``key`` is ``namespace/name``. ``context_length`` is tokens per sequence. ``concurrency`` is the number of sequences
    of that length that the KV cache must hold at once. ``gpu_budget`` limits the GPUs of all replicas together.
    ``kv_bytes`` is the size of an element of the KV cache. Empty ``products`` allow any product. ``within`` is a level
    of the fleet or a label key: all nodes of a group must have the same place there. ``node_affinity`` lists terms; a
    node must meet all requirements of any term, and no terms allow any node. ``offered`` are the nodes that the queue
    offers, if the groups go through one; ``node_affinity`` already asks for them. ``own_image`` says that the user
    names the engine's image, which AMD GPUs need. ``reserve`` overrides the runtime reserve per GPU, in bytes.
    ``least_context`` is the shortest accepted context, in tokens, if ``context_length`` does not fit; ``None`` accepts
    none shorter. ``release`` is the engine's, as the object or its image states; ``None`` is the release that we read.
    ``published``: the image is the engine's own, so that it knows only the model classes and methods of its release.
    ``remote_code``: the engine may run model classes that the checkpoint brings.
    ``kv_cache_dtype`` is the precision that the engine is told; ``None`` leaves it to the engine. ``adapters`` are LoRA
    adapters that the engine makes room for. ``uncounted`` are arguments and options whose memory the plan does not
    count. ``towers`` is what the engine does with the model's towers.
    ``sequences`` is the number of sequences in a step that the arguments state for vLLM, if any.
    ``needs`` is what each pod needs of its node besides GPUs. ``together``: a group of data ranks stays in an NVLink
    domain although ``pins`` state its degree, because the plan that they repeat does. ``redundant_experts`` are copies
    of busy experts that the GPUs of a stage hold beside all experts, as the arguments state. ``all_to_all`` is the
    backend by which data ranks exchange tokens, as the arguments state it; ``None`` is the engine's default.
    ``target`` is the load and the speed that clients want: with a rate, ``replicas`` is the least number of replicas,
    and 0 asks for none.
    ``half`` is the role of the groups, where an object has roles: prefill or decode.
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
    offered: QueueOffer | None = None
    own_image: bool = False
    reserve: int | None = None
    least_context: int | None = None
    release: Version | None = None
    published: bool = True
    kv_cache_dtype: str | None = None
    adapters: Adapters | None = None
    uncounted: tuple[str, ...] = ()
    sequences: int | None = None
    remote_code: bool = False
    towers: TowerUse = TowerUse.SPLIT
    needs: PodNeeds = field(default_factory=PodNeeds)
    together: bool = False
    redundant_experts: int = 0
    all_to_all: str | None = None
    target: Target | None = None
    half: Half | None = None

    @property
    def asks_for_16_bit_cache(self) -> bool:
        """Whether the engine is told to keep keys and values in 16 bits."""
        return self.kv_cache_dtype is not None and self.kv_bytes > 1

    @property
    def setup(self) -> EngineSetup:
        """The release of the engine, its use of towers, its redundant experts and its all-to-all."""
        return EngineSetup(self.release, self.towers, self.redundant_experts, self.all_to_all)

    @property
    def has_rdma(self) -> bool:
        """Whether the operator's configuration gives RDMA devices to the pods of a group."""
        return bool(self.needs.in_group)

    @property
    def is_counted(self) -> bool:
        """Whether its replicas follow from the estimates, as those of a role do whose number nobody states."""
        return self.half is not None and self.half.counted

    @property
    def runs(self) -> Version:
        """The release of the engine that the demand runs."""
        return self.release or RELEASES[self.engine]
