"""Why a layout, or a whole demand, cannot be placed: values with numbers. ``shardwise.explain`` makes the words."""

from dataclasses import dataclass
from enum import StrEnum

from shardwise.domain.demand import Toleration
from shardwise.domain.layout import Layout


@dataclass(frozen=True, slots=True)
class NotDivisible:
    """A dimension of the model does not split. ``what`` is the dimension's name in the plural, ``by`` the degree."""

    what: str
    size: int
    by: int
    legal: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockSplit:
    """A partition of a quantised weight is not a multiple of its quantisation block."""

    what: str
    partition: int
    block: int
    tensor: int
    legal: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NoExperts:
    """Experts are to be dealt out whole, and the model has none."""


@dataclass(frozen=True, slots=True)
class TooManyStages:
    """More pipeline stages than layers."""

    pipeline: int
    layers: int


@dataclass(frozen=True, slots=True)
class PipelineUnsupported:
    """The engine cannot split this architecture into stages."""

    engine: str
    architecture: str


@dataclass(frozen=True, slots=True)
class MemoryShort:
    """The fullest GPU lacks memory. Bytes."""

    product: str
    needed: int
    budget: int
    weights: int
    kv_cache: int
    other: int


@dataclass(frozen=True, slots=True)
class OverBudget:
    """All replicas together need more GPUs than ``spec.gpuBudget.total``."""

    needed: int
    budget: int
    replicas: int


@dataclass(frozen=True, slots=True)
class NoRoom:
    """The free GPUs do not hold the groups. ``slots`` of ``wanted`` stages found a place; ``free`` counts GPUs."""

    product: str
    wanted: int
    slots: int
    slot_gpus: int
    free: int
    within: str | None = None


@dataclass(frozen=True, slots=True)
class DomainTooSmall:
    """No NVLink domain (or node, without NVLink) of this product has as many GPUs as a tensor group needs.

    The ``largest`` has so many GPUs, on ``usable`` of its ``nodes``.
    """

    product: str
    tensor: int
    largest: int
    usable: int = 1
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class MoreGpus:
    """Fits, and needs more GPUs than the chosen layout."""

    gpus: int
    chosen: int


@dataclass(frozen=True, slots=True)
class Tight:
    """Fits, with less slack than asked for. Bytes."""

    slack: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Slower:
    """Fits on as many GPUs, and the estimate is worse. ``measure`` names what was compared; ratio > 1 is worse."""

    measure: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Preferred:
    """Fits, and a rule prefers the chosen one. ``because`` states the rule in words of the field."""

    because: str


Cause = (
    NotDivisible
    | BlockSplit
    | NoExperts
    | TooManyStages
    | PipelineUnsupported
    | MemoryShort
    | OverBudget
    | NoRoom
    | DomainTooSmall
    | MoreGpus
    | Tight
    | Slower
    | Preferred
)


class RefusalReason(StrEnum):
    """Stable reasons of a refusal, as they stand in conditions. The message may change, these may not."""

    NO_MATCHING_NODES = "NoMatchingNodes"
    ILLEGAL_LAYOUT = "IllegalLayout"
    MEMORY_SHORT = "MemoryShort"
    BUDGET_SHORT = "BudgetShort"
    CAPACITY_SHORT = "CapacityShort"
    CONTEXT_TOO_LONG = "ContextTooLong"
    ENGINE_UNSUPPORTED = "EngineUnsupported"


@dataclass(frozen=True, slots=True)
class RejectedLayout:
    """A layout on a GPU product that cannot be used, and the cause."""

    layout: Layout
    product: str
    cause: Cause


class Change(StrEnum):
    """What a hint does to its field: give it a value, put one more into its list or map, take one out, or drop it."""

    SET = "set"
    ADD = "add"
    REMOVE = "remove"
    UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Hint:
    """A change that was planned with and works: the exact field and value, and the plan that is then made.

    ``value`` is ``None`` where the field is dropped. ``gpus`` counts those of all replicas of that plan.
    """

    field: str
    value: int | bool | str | Toleration | None
    layout: Layout
    product: str
    gpus: int
    change: Change = Change.SET
    tight: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as far as it decides whether a layout fits."""

    replicas: int
    gpu_budget: int
    context_length: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class PoolCount:
    """The usable nodes of one product and their GPUs, of which ``free`` are held by nobody."""

    product: str
    nodes: int
    gpus: int
    free: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a demand has no plan.

    ``waits``: the fleet could hold it were GPUs free, so that waiting makes sense; else the object itself must change.
    ``rejected`` lists every layout that was tried, once. ``nearest`` is the layout that came closest. ``pools`` count
    the usable nodes, ``excluded`` the nodes left out for each reason, both sorted. ``asked`` is ``None`` where only a
    part of a demand was refused.
    """

    reason: RefusalReason
    waits: bool
    rejected: tuple[RejectedLayout, ...]
    nearest: RejectedLayout | None
    hints: tuple[Hint, ...]
    nodes: int
    free_gpus: int
    excluded: tuple[tuple[str, int], ...] = ()
    pools: tuple[PoolCount, ...] = ()
    asked: Asked | None = None
