"""Why a layout with data ranks, or with a divided cache, cannot be used: causes as in ``shardwise.domain.refusal``."""

from dataclasses import dataclass
from typing import ClassVar

from shardwise.domain.refusal import Area, Cause


@dataclass(frozen=True, slots=True)
class DataOfDense(Cause):
    """Data parallelism is pinned, and the model has no experts: its data ranks would be ``data`` replicas."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 5

    data: int


@dataclass(frozen=True, slots=True)
class DataUnsupported(Cause):
    """The release of the engine has no data parallelism that Shardwise writes; releases from ``since`` on have it."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 6

    engine: str
    release: str
    since: str


@dataclass(frozen=True, slots=True)
class DataAlone(Cause):
    """With data parallelism, every GPU of the engine is a data rank of its own, and the layout has tensor groups."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 7

    engine: str
    tensor: int
    data: int


@dataclass(frozen=True, slots=True)
class TooFewExperts(Cause):
    """Whole experts are dealt out over more GPUs than there are experts."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 8

    experts: int
    gpus: int


@dataclass(frozen=True, slots=True)
class ContextUnsupported(Cause):
    """The release of the engine does not divide the cache of a sequence; or only of ``latent_only`` attention."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 9

    engine: str
    release: str
    latent_only: bool = False


@dataclass(frozen=True, slots=True)
class ContextUneven(Cause):
    """The GPUs of a tensor group, or the heads on them, do not divide into ``context`` parts."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 10

    context: int
    tensor: int
    legal: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ExchangeNeedsWhole(Cause):
    """The backend of the all-to-all deals out whole experts over all GPUs of a stage, and the layout splits them."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 11

    backend: str


@dataclass(frozen=True, slots=True)
class ExchangeNeedsData(Cause):
    """The backend of the all-to-all needs every GPU to be a data rank, and the layout has tensor groups."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 12

    backend: str
    tensor: int
    data: int


@dataclass(frozen=True, slots=True)
class HiddenUnsupported(Cause):
    """The hidden state of the model is wider than the kernels of the all-to-all take: ``most`` elements."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 13

    backend: str
    hidden: int
    most: int


@dataclass(frozen=True, slots=True)
class RanksUnsupported(Cause):
    """The kernels of the all-to-all have no settings for so many GPUs of a stage."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 14

    backend: str
    gpus: int
    legal: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExchangeAcross(Cause):
    """The backend of the all-to-all joins its ``gpus`` GPUs only in an NVLink domain of ``largest`` GPUs at most.

    ``by_rdma``: with RDMA in the operator configuration it joins GPUs of several domains, too.
    """

    area: ClassVar[Area] = Area.DOMAIN
    order: ClassVar[int] = 2

    backend: str
    product: str
    gpus: int
    largest: int
    by_rdma: bool


@dataclass(frozen=True, slots=True)
class ExpertsAcross(Cause):
    """Data ranks exchange tokens for their experts, and their ``gpus`` GPUs exceed the ``largest`` NVLink domain.

    The operator configuration gives no RDMA to the pods of a group, and the object does not pin the data degree.
    """

    area: ClassVar[Area] = Area.DOMAIN
    order: ClassVar[int] = 1

    product: str
    gpus: int
    largest: int
