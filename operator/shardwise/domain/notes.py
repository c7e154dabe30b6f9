"""Notes on a plan, as values with numbers. ``shardwise.explain.notes`` has the words.

A new note needs a class here and a sentence there.
"""

from dataclasses import dataclass

from shardwise.domain.estimate_errors import EstimateError, Measure
from shardwise.domain.layout import Layout


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader of a plan should know beside its numbers."""


@dataclass(frozen=True, slots=True)
class Remark(Note):
    """A note that is known only as a sentence: of a model's config, or read from a status."""

    text: str


@dataclass(frozen=True, slots=True)
class UnknownProduct(Note):
    """Shardwise has no data about the GPU product."""

    product: str


@dataclass(frozen=True, slots=True)
class TensorAcrossNodes(Note):
    """Tensor groups of ``tensor`` GPUs cross nodes without NVLink, because a pin asks for them."""

    tensor: int


@dataclass(frozen=True, slots=True)
class DomainUnlabelled(Note):
    """``count`` of ``nodes`` nodes of a rack product, such as ``example``, have no label of an NVLink domain."""

    product: str
    count: int
    nodes: int
    example: str


@dataclass(frozen=True, slots=True)
class WithDriver(Note):
    """The plan with NVIDIA's DRA driver would be ``layout`` on ``nodes`` nodes of the ``product`` for each replica."""

    layout: Layout
    nodes: int
    product: str


@dataclass(frozen=True, slots=True)
class CheckedAgainst(Note):
    """Without NVLink, a layout was compared with the runner-up on as many GPUs, by the estimated speed.

    With ``throughput``, both speeds are output tokens per second and GPU for many sequences. Otherwise they are seconds
    per token of a single sequence.
    """

    layout: Layout
    other: Layout
    speed: float
    other_speed: float
    throughput: bool


@dataclass(frozen=True, slots=True)
class CacheOnEachGpu(Note):
    """Latent attention keeps its whole KV cache on each of the ``tensor`` GPUs of a tensor group."""

    tensor: int


@dataclass(frozen=True, slots=True)
class StatesBoundSequences(Note):
    """The engine works on at most ``count`` sequences at once, because each needs a state of constant size."""

    count: int


@dataclass(frozen=True, slots=True)
class ExpertsInsideGroup(Note):
    """Experts are shared by the ``tensor`` GPUs of a tensor group, although a replica has ``world_size`` GPUs.

    Data ranks across NVLink domains would share them, and the operator configuration states no RDMA.
    """

    tensor: int
    world_size: int


@dataclass(frozen=True, slots=True)
class DataWouldServe(Note):
    """A ``layout`` with data ranks, on no more GPUs, would serve many more tokens, at a higher time per token.

    Speeds are estimated output tokens per second and GPU for many sequences.
    """

    layout: Layout
    speed: float
    chosen_speed: float


@dataclass(frozen=True, slots=True)
class ExpertsAcrossDomains(Note):
    """The ``gpus`` GPUs that share experts lie in ``domains`` NVLink domains. ``rdma``: RDMA is configured.

    ``backend`` is the all-to-all that the object's arguments name.
    """

    gpus: int
    domains: int
    rdma: bool
    backend: str | None = None


@dataclass(frozen=True, slots=True)
class ContextShortened(Note):
    """The plan has ``tokens`` tokens a sequence, because nothing fits ``wanted`` tokens."""

    tokens: int
    wanted: int


@dataclass(frozen=True, slots=True)
class NotCounted(Note):
    """An argument or an option takes GPU memory that the plan does not count.

    ``slack`` bytes of each GPU are left for it.
    """

    word: str
    slack: int


@dataclass(frozen=True, slots=True)
class MethodFromImage(Note):
    """The engine as published does not load checkpoints of the model's method; the object's image may."""

    engine: str
    release: str
    checkpoints: str


@dataclass(frozen=True, slots=True)
class ArchitectureFromElsewhere(Note):
    """The engine as published has no class for the model; the object's image or the checkpoint may bring a class."""

    engine: str
    release: str
    architecture: str


@dataclass(frozen=True, slots=True)
class FasterWithMore(Note):
    """A budget of ``gpus`` would allow a much faster layout. Speeds are estimated seconds per token of a sequence."""

    layout: Layout
    gpus: int
    speed: float
    chosen_speed: float


@dataclass(frozen=True, slots=True)
class MergedBlocksCut(Note):
    """A GPU's ``part`` of the outputs of a merged weight cuts a quantisation block, unchecked by the engine."""

    engine: str
    weight: str
    part: int
    block: int


@dataclass(frozen=True, slots=True)
class TransformersCode(Note):
    """The engine has no class of its own for the model, and runs the code of the Transformers library."""

    engine: str
    release: str
    architecture: str


@dataclass(frozen=True, slots=True)
class RolesCounted(Note):
    """The numbers of replicas follow from the estimates: ``decode`` replicas answer what ``prefill`` replicas feed.

    Budget and fleet may have room for fewer than ``wanted``, prefill first. Speeds are estimated tokens per second of a
    replica, on prompts and on answers; a request is taken to have ``prompt`` tokens for each token of its answer.
    """

    prefill: int
    decode: int
    wanted: tuple[int, int]
    prefill_speed: float
    decode_speed: float
    prompt: int


@dataclass(frozen=True, slots=True)
class CacheByTcp(Note):
    """KV caches travel between prefill and decode by TCP: the operator configuration gives pods no RDMA devices."""


@dataclass(frozen=True, slots=True)
class EstimatesTrusted(Note):
    """How far the estimates for the target are from measurements; ``None`` where nothing was measured.

    ``mixture``: of mixtures of experts, else of dense models, on the GPU product. ``apart``: the estimates are for a
    role, and the measurements for replicas that do both parts of a request.
    """

    product: str
    mixture: bool
    errors: tuple[tuple[Measure, EstimateError | None], ...]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class TransferCounted(Note):
    """The time to the first token has the transfer of a prompt's KV cache in it, and the part that passes in decode.

    ``bytes`` is the part of the cache that the fullest GPU of decode reads, in ``seconds``: ``by_rdma``, else by TCP.
    ``decode`` is seconds.
    """

    bytes: float
    seconds: float
    decode: float
    by_rdma: bool
