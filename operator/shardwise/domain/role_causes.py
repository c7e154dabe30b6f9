"""Why a layout cannot serve a role of an object: causes as in ``shardwise.domain.refusal``."""

from dataclasses import dataclass
from typing import ClassVar

from shardwise.domain.refusal import Area, Cause, OverBudget


@dataclass(frozen=True, slots=True)
class DecodeStages(Cause):
    """The engine's decode takes KV caches into one stage, or with ``or_as_prefill`` into as many as prefill has."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 21

    engine: str
    pipeline: int
    or_as_prefill: bool = False


@dataclass(frozen=True, slots=True)
class PrefillStages(Cause):
    """The engine's prefill has several stages only for models whose layers all keep the same kind of KV cache."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 22

    engine: str
    pipeline: int


@dataclass(frozen=True, slots=True)
class TensorApart(Cause):
    """The tensor degrees of prefill and decode do not divide each other; or with ``equal``, they differ."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 23

    engine: str
    prefill: int
    decode: int
    equal: bool = False


@dataclass(frozen=True, slots=True)
class PrefillWider(Cause):
    """Prefill has a larger tensor degree than decode, and more than ``kv_heads``: ranks would hold the same heads."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 24

    engine: str
    prefill: int
    decode: int
    kv_heads: int


@dataclass(frozen=True, slots=True)
class ContextApart(Cause):
    """The context degree does not suit the transfer of KV caches; ``legal`` lists the degrees that do."""

    area: ClassVar[Area] = Area.LAW
    order: ClassVar[int] = 25

    engine: str
    role: str
    context: int
    legal: tuple[int, ...] = (1,)


@dataclass(frozen=True, slots=True)
class ShareShort(OverBudget):
    """All replicas of a role together need more GPUs than the other role leaves of ``spec.gpuBudget.total``.

    ``budget`` is what is left of ``total``: the role ``other`` takes ``taken`` GPUs.
    """

    order: ClassVar[int] = 1

    role: str
    other: str
    total: int
    taken: int
