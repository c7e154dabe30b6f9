"""One clause for each cause a layout can be refused, or passed over, for."""

from typing import assert_never

from shardwise.domain.refusal import (
    BlockSplit,
    Cause,
    DomainTooSmall,
    MemoryShort,
    MoreGpus,
    NoExperts,
    NoRoom,
    NotDivisible,
    NotPinned,
    OverBudget,
    PipelineUnsupported,
    Preferred,
    Slower,
    Tight,
    TooManyStages,
)
from shardwise.domain.units import gib, plural

_LISTED = 8


def cause(why: Cause) -> str:
    """Say a cause, numbers first."""
    match why:
        case NotDivisible() | BlockSplit() | NoExperts() | TooManyStages() | PipelineUnsupported() | NotPinned():
            return _illegal(why)
        case MemoryShort() | OverBudget() | NoRoom() | DomainTooSmall():
            return _short(why)
        case MoreGpus() | Tight() | Slower() | Preferred():
            return _lost(why)
        case _:
            assert_never(why)


def _illegal(why: NotDivisible | BlockSplit | NoExperts | TooManyStages | PipelineUnsupported | NotPinned) -> str:
    match why:
        case NotDivisible(what, size, by, legal):
            return f"{size} {what} are not divisible by {by}{_legal(legal)}"
        case BlockSplit(what, partition, block, tensor, legal):
            return (
                f"TP{tensor} leaves {partition} {what} a GPU, not a multiple of the quantisation block of {block}"
                f"{_legal(legal)}"
            )
        case NoExperts():
            return "the model has no experts to deal out"
        case TooManyStages(pipeline, layers):
            return f"{layers} layers cannot fill {pipeline} stages"
        case PipelineUnsupported(engine, architecture):
            return f"{engine} cannot split `{architecture}` into pipeline stages"
        case NotPinned(field, pinned):
            return f"`spec.parallelism.{field}` pins {pinned}"


def _short(why: MemoryShort | OverBudget | NoRoom | DomainTooSmall) -> str:
    match why:
        case MemoryShort(needed=needed, budget=budget, weights=weights, kv_cache=kv_cache, other=other):
            return (
                f"{gib(needed)} needed of {gib(budget)} a GPU, {gib(needed - budget)} short "
                f"(weights {gib(weights)}, KV cache {gib(kv_cache)}, activations and reserve {gib(other)})"
            )
        case OverBudget(needed, budget, replicas):
            each = f" for {replicas} replicas" if replicas > 1 else ""
            return f"{plural(needed, 'GPU')} needed{each}, `spec.gpuBudget.total` allows {budget}"
        case NoRoom(product, wanted, slots, gpus, free, within):
            bound = f" with one value of `{within}`" if within else ""
            return (
                f"{plural(wanted, 'stage')} of {plural(gpus, 'GPU')} wanted{bound}, "
                f"free {product} have room for {slots} ({plural(free, 'free GPU')})"
            )
        case DomainTooSmall(product, tensor, largest, usable, nodes):
            where = f" on {usable} of {nodes} nodes" if nodes > 1 else ""
            return (
                f"a tensor group of {tensor} exceeds the largest NVLink domain of {product}, "
                f"{plural(largest, 'GPU')}{where}"
            )


def _lost(why: MoreGpus | Tight | Slower | Preferred) -> str:
    match why:
        case MoreGpus(gpus, chosen):
            return f"fits, and needs {plural(gpus, 'GPU')} where {chosen} {'is' if chosen == 1 else 'are'} enough"
        case Tight(slack, wanted):
            return f"fits, but tightly: {gib(slack)} of slack a GPU, {gib(wanted)} wanted"
        case Slower(measure, ratio):
            return f"fits, at an estimated {ratio:.2f} times the {measure}"
        case Preferred(because):
            return f"fits, and {because}"


def _legal(legal: tuple[int, ...]) -> str:
    if not legal:
        return ""
    shown = ", ".join(str(one) for one in legal[:_LISTED])
    return f" (possible here: {shown}{', …' if len(legal) > _LISTED else ''})"
