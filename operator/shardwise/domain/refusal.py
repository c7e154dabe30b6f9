"""Why a layout, or a whole demand, cannot be placed, as values with numbers. ``shardwise.explain`` has the words.

A new cause needs a class here, with its traits, and a sentence in ``shardwise.explain.causes``. No other module lists
causes: the planner decides by their traits.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar, NamedTuple

from shardwise.domain.demand import Toleration
from shardwise.domain.exclusions import LeftOut
from shardwise.domain.layout import Layout
from shardwise.domain.needs import IdleGpus
from shardwise.domain.summary import DemandSummary, PoolCount
from shardwise.domain.target import Target


class RefusalReason(StrEnum):
    """Stable reasons of a refusal, as they stand in conditions. The message may change, the reasons may not.

    Where layouts are rejected for several reasons, the refusal has the last of them in this order.
    """

    NO_MATCHING_NODES = "NoMatchingNodes"
    ILLEGAL_LAYOUT = "IllegalLayout"
    PRICE_UNKNOWN = "PriceUnknown"
    MEMORY_SHORT = "MemoryShort"
    TARGET_MISSED = "TargetMissed"
    BUDGET_SHORT = "BudgetShort"
    QUOTA_SHORT = "QuotaShort"
    CAPACITY_SHORT = "CapacityShort"


class Area(Enum):
    """Where a cause lies, in the order in which a refusal explains its causes: model first, free GPUs last.

    ``reason`` is the stable reason of a refusal for causes of this area; ``None`` where the layout fits. ``distance``
    orders near misses: 0 comes closest to fitting. ``of_product``: the cause holds for the GPUs of one product only.
    ``waits``: free GPUs can take the cause away, so that waiting may help.
    """

    LAW = 0, RefusalReason.ILLEGAL_LAYOUT, 3, False, False
    PRODUCT = 1, RefusalReason.ILLEGAL_LAYOUT, 3, True, False
    PRICE = 2, RefusalReason.PRICE_UNKNOWN, 3, True, False
    MEMORY = 3, RefusalReason.MEMORY_SHORT, 1, True, False
    DOMAIN = 4, RefusalReason.CAPACITY_SHORT, 3, True, False
    TARGET = 5, RefusalReason.TARGET_MISSED, 1, True, False
    BUDGET = 6, RefusalReason.BUDGET_SHORT, 2, False, False
    QUOTA = 7, RefusalReason.QUOTA_SHORT, 2, False, False
    ROOM = 8, RefusalReason.CAPACITY_SHORT, 0, True, True
    PREFERENCE = 9, None, 3, False, False

    def __init__(self, order: int, reason: RefusalReason | None, distance: int, of_product: bool, waits: bool) -> None:  # noqa: FBT001 - a row of the table above
        self.order = order
        self.reason = reason
        self.distance = distance
        self.of_product = of_product
        self.waits = waits


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a layout cannot be used or, in the area ``PREFERENCE``, why another layout was chosen.

    ``order`` sorts causes of the same area where a refusal explains them. ``supports_rule``: the cause shows why the
    rule of the sharding guide that decided asks for more than this layout.
    """

    area: ClassVar[Area]
    order: ClassVar[int] = 0
    supports_rule: ClassVar[bool] = False

    @property
    def shortfall(self) -> float:
        """How far the layout is from fitting, compared with others of the same area: more is worse."""
        return 0.0


@dataclass(frozen=True, slots=True)
class MethodUnloadable(Cause):
    """The release of the engine does not load checkpoints of this method.

    ``variant`` is the entry of the config that is the reason, ``None`` where no checkpoint of the method is loaded.
    ``since`` is the first release that loads the checkpoint, ``before`` the first that no longer does, where known.
    """

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = -3

    engine: str
    release: str
    method: str
    variant: str | None = None
    since: str | None = None
    before: str | None = None

    @property
    def said(self) -> str:
        """Name the checkpoints that are not loaded."""
        return f"`{self.method}` checkpoints" + (f" with `{self.variant}`" if self.variant else "")


@dataclass(frozen=True, slots=True)
class ArchitectureUnknown(Cause):
    """The release of the engine has no class for the model. ``since``, ``before``: see :class:`MethodUnloadable`."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = -2

    engine: str
    release: str
    architecture: str
    since: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class CapabilityShort(Cause):
    """The compute capability of the GPUs is under the least that the engine needs. ``what`` is the user's need."""

    area: ClassVar[Area] = Area.PRODUCT

    product: str
    what: str
    has: str
    least: str


@dataclass(frozen=True, slots=True)
class CapabilityUnsupported(Cause):
    """The engine has the model's feature, ``what``, only for other compute capabilities: those that it ``takes``."""

    area: ClassVar[Area] = Area.PRODUCT
    order: ClassVar[int] = 1

    product: str
    engine: str
    release: str
    what: str
    has: str
    takes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KernelSplit(Cause):
    """The engine's kernels for a compute capability need a partition that is a multiple of ``multiple``."""

    area: ClassVar[Area] = Area.PRODUCT
    order: ClassVar[int] = 2

    product: str
    engine: str
    has: str
    what: str
    partition: int
    multiple: int
    tensor: int


@dataclass(frozen=True, slots=True)
class NotDivisible(Cause):
    """A dimension of the model does not divide. ``what`` is the dimension's name in the plural, ``by`` the degree."""

    area: ClassVar[Area] = Area.LAW

    what: str
    size: int
    by: int
    legal: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TowerNotDivisible(NotDivisible):
    """The heads of a tower do not divide. ``word`` is the argument with which every rank holds the whole tower."""

    order: ClassVar[int] = -1

    word: str | None = None


@dataclass(frozen=True, slots=True)
class BlockSplit(Cause):
    """A partition of a quantised weight is not a multiple of its quantisation block."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 1

    what: str
    partition: int
    block: int
    tensor: int
    legal: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NoExperts(Cause):
    """The layout deals out whole experts, and the model has none."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class TooManyStages(Cause):
    """The pipeline has more stages than the model has layers."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 3

    pipeline: int
    layers: int


@dataclass(frozen=True, slots=True)
class PipelineUnsupported(Cause):
    """The engine cannot split this architecture into stages."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 4

    engine: str
    architecture: str


@dataclass(frozen=True, slots=True)
class MemoryShort(Cause):
    """The fullest GPU lacks memory. All sizes are bytes."""

    area: ClassVar[Area] = Area.MEMORY
    supports_rule: ClassVar[bool] = True

    product: str
    needed: int
    budget: int
    weights: int
    kv_cache: int
    other: int

    @property
    def shortfall(self) -> float:
        """The needed bytes over the budget."""
        return self.needed / max(1, self.budget)


@dataclass(frozen=True, slots=True)
class LoadingShort(Cause):
    """The fullest GPU lacks memory while the engine loads, when it holds more than it keeps.

    ``relays``: it gives the experts another form; else it holds unquantised weights until it has quantised them. Sizes
    are bytes: ``needed`` of ``budget``.
    """

    area: ClassVar[Area] = Area.MEMORY
    order: ClassVar[int] = 1
    supports_rule: ClassVar[bool] = True

    product: str
    engine: str
    release: str
    needed: int
    budget: int
    relays: bool = False

    @property
    def shortfall(self) -> float:
        """The needed bytes over the budget."""
        return self.needed / max(1, self.budget)


@dataclass(frozen=True, slots=True)
class OverBudget(Cause):
    """All replicas together need more GPUs than ``spec.gpuBudget.total``."""

    area: ClassVar[Area] = Area.BUDGET

    needed: int
    budget: int
    replicas: int

    @property
    def shortfall(self) -> float:
        """The needed GPUs over the budget."""
        return self.needed / max(1, self.budget)


@dataclass(frozen=True, slots=True)
class OverQuota(Cause):
    """The namespace may not hold as many GPUs. ``limit`` says where the limit ``hard`` stands.

    ``used`` counts the GPUs that others in the namespace hold or have planned.
    """

    area: ClassVar[Area] = Area.QUOTA

    needed: int
    limit: str
    hard: int
    used: int

    @property
    def shortfall(self) -> float:
        """The needed GPUs over the GPUs that are left."""
        return self.needed / max(1, self.hard - self.used)


@dataclass(frozen=True, slots=True)
class NoRoom(Cause):
    """The free GPUs have no room for the groups. ``slots`` of ``wanted`` stages find a place; ``free`` counts GPUs.

    Where the free GPUs are enough and lie apart, ``by_domain`` has the free GPUs of the NVLink domains (or nodes), the
    most first and at most five, and ``domains`` counts the domains that have any.
    """

    area: ClassVar[Area] = Area.ROOM

    product: str
    wanted: int
    slots: int
    slot_gpus: int
    free: int
    within: str | None = None
    by_domain: tuple[int, ...] = ()
    domains: int = 0

    @property
    def shortfall(self) -> float:
        """The share of the stages that found no place."""
        return 1 - self.slots / self.wanted


@dataclass(frozen=True, slots=True)
class PodsShort(Cause):
    """Enough GPUs are free, and a node lacks another resource for the pods that these GPUs would put on it.

    The ``pods`` pods on the ``node`` ask for more of the ``resource`` than is left. Counts are in thousandths.
    """

    area: ClassVar[Area] = Area.ROOM
    order: ClassVar[int] = 1

    product: str
    node: str
    pods: int
    resource: str
    asked: int
    left: int

    @property
    def shortfall(self) -> float:
        """The share of the asked count that is missing."""
        return 1 - self.left / self.asked


@dataclass(frozen=True, slots=True)
class DomainTooSmall(Cause):
    """No NVLink domain (or node, without NVLink) of this product has as many GPUs as a tensor group needs.

    The largest domain has ``largest`` GPUs, on ``usable`` of its ``nodes``.
    """

    area: ClassVar[Area] = Area.DOMAIN

    product: str
    tensor: int
    largest: int
    usable: int = 1
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class MoreGpus(Cause):
    """The layout fits and needs more GPUs than the chosen layout."""

    area: ClassVar[Area] = Area.PREFERENCE

    gpus: int
    chosen: int


@dataclass(frozen=True, slots=True)
class Tight(Cause):
    """The layout fits with less slack than wanted. Both sizes are bytes."""

    area: ClassVar[Area] = Area.PREFERENCE
    supports_rule: ClassVar[bool] = True

    slack: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Slower(Cause):
    """The layout fits, and its estimate is worse. ``measure`` names the estimate; a ratio above 1 is worse."""

    area: ClassVar[Area] = Area.PREFERENCE
    supports_rule: ClassVar[bool] = True

    measure: str
    ratio: float


class Merit(StrEnum):
    """What the chosen layout has and a layout that fits lacks. Each merit is a part of the order of preference."""

    WHOLE_BLOCKS = "whole-blocks"
    NVLINK_IN_TENSOR_GROUPS = "nvlink-in-tensor-groups"
    NODES_USED_EVENLY = "nodes-used-evenly"
    BLOCKS_KEPT = "blocks-kept"
    EXPERTS_SPLIT = "experts-split"
    SMALLER_GPUS = "smaller-gpus"
    TENSOR_FIRST = "tensor-first"
    ONE_DATA_RANK = "one-data-rank"


@dataclass(frozen=True, slots=True)
class Preferred(Cause):
    """The layout fits, and the order of preference puts the chosen layout first, on the GPU product ``chosen``."""

    area: ClassVar[Area] = Area.PREFERENCE

    merit: Merit
    chosen: str


class RejectedLayout(NamedTuple):
    """A layout on a GPU product that cannot be used, and the cause."""

    layout: Layout
    product: str
    cause: Cause

    @property
    def distance(self) -> tuple[int, float, Layout, str]:
        """How far the layout is from fitting, the closest first; a key that sorts all rejected layouts."""
        return self.cause.area.distance, self.cause.shortfall, self.layout, self.product


class Change(StrEnum):
    """What a hint does to its field: set a value, add an entry to a list or map, remove an entry, or drop the field."""

    SET = "set"
    ADD = "add"
    REMOVE = "remove"
    UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Hint:
    """A change of the object that works: the exact field and value, and the plan that the planner made with it.

    ``value`` is ``None`` where the field is dropped. ``gpus`` counts the GPUs of all replicas of that plan.
    """

    field: str
    value: int | float | bool | str | Toleration | Target | None
    layout: Layout
    product: str
    gpus: int
    change: Change = Change.SET
    tight: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a demand has no plan.

    ``waits``: the demand would fit if GPUs became free, so that waiting makes sense.
    ``rejected`` lists every layout that was tried, once. ``nearest`` is the layout that came closest. ``pools`` count
    the usable nodes, ``excluded`` the nodes left out for each reason. ``asked`` is ``None`` where only a
    part of a demand was refused. ``idle`` are the GPUs that no pod can use for want of another resource.
    """

    reason: RefusalReason
    waits: bool
    rejected: tuple[RejectedLayout, ...]
    nearest: RejectedLayout | None
    hints: tuple[Hint, ...]
    nodes: int
    free_gpus: int
    excluded: tuple[tuple[LeftOut, int], ...] = ()
    pools: tuple[PoolCount, ...] = ()
    asked: DemandSummary | None = None
    idle: tuple[IdleGpus, ...] = ()

    @property
    def may_pass(self) -> bool:
        """Whether the demand may get a plan without an edit: if GPUs become free, or if the namespace gets more."""
        return self.waits or self.reason is RefusalReason.QUOTA_SHORT
