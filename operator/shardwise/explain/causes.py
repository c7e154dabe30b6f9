"""One clause for each cause a layout can be refused, or passed over, for; and its numbers as data."""

from dataclasses import fields
from typing import Any, Final, assert_never

from shardwise.domain.refusal import (
    BlockSplit,
    Cause,
    DomainTooSmall,
    MemoryShort,
    MoreGpus,
    NoExperts,
    NoRoom,
    NotDivisible,
    OverBudget,
    PipelineUnsupported,
    Preferred,
    Slower,
    Tight,
    TooManyStages,
)
from shardwise.domain.units import gib, plural

Illegal = NotDivisible | BlockSplit | NoExperts | TooManyStages | PipelineUnsupported
Short = MemoryShort | OverBudget | NoRoom | DomainTooSmall
Lost = MoreGpus | Tight | Slower | Preferred

_LEGAL: Final = 8
"""Legal degrees that are listed: all powers of two there are on one node and in one rack."""


def cause(why: Cause) -> str:
    """Say a cause, numbers first."""
    match why:
        case NotDivisible() | BlockSplit() | NoExperts() | TooManyStages() | PipelineUnsupported():
            return illegal(why)
        case MemoryShort() | OverBudget() | NoRoom() | DomainTooSmall():
            return _short(why)
        case MoreGpus() | Tight() | Slower() | Preferred():
            return f"fits{_lost(why)}"
        case _:
            assert_never(why)


def numbers(why: Cause) -> dict[str, Any]:
    """Give a cause as data: its kind and every number of it. Bytes are bytes, a GPU each."""
    found = {_camel(one.name): getattr(why, one.name) for one in fields(why)}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
    return {"kind": type(why).__name__, **plain}


def fate(why: Cause) -> str:
    """Name what became of the layouts that share a kind of cause, as it follows their count."""
    return _FATES[type(why)]


def illegal(why: Illegal) -> str:
    """Say which rule of model or engine a layout breaks."""
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


def memory_short(why: MemoryShort) -> str:
    """Say how much a GPU lacks, and of what its need is made."""
    return (
        f"{gib(why.needed)} needed of {gib(why.budget)} a GPU, {gib(why.needed - why.budget)} short "
        f"(weights {gib(why.weights)}, KV cache {gib(why.kv_cache)}, activations and reserve {gib(why.other)})"
    )


def _short(why: Short) -> str:
    match why:
        case MemoryShort():
            return memory_short(why)
        case OverBudget(needed, budget, replicas):
            each = f" for {replicas} replicas" if replicas > 1 else ""
            return f"{plural(needed, 'GPU')} needed{each}, `spec.gpuBudget.total` allows {budget}"
        case NoRoom():
            return _no_room(why)
        case DomainTooSmall(product, tensor, largest, usable, nodes):
            where = f" on {usable} of {nodes} nodes" if nodes > 1 else ""
            return (
                f"a tensor group of {tensor} exceeds the largest NVLink domain of {product}, "
                f"{plural(largest, 'GPU')}{where}"
            )


def _no_room(why: NoRoom) -> str:
    """Say how many stages find a place; where all do by their number, they do not find it together."""
    asked = f"{plural(why.wanted, 'stage')} of {plural(why.slot_gpus, 'GPU')} wanted"
    bound = f" with one value of `{why.within}`" if why.within else ""
    if why.free == 0:
        return f"{asked}{bound}, no {why.product} is free"
    if why.slots >= why.wanted:
        together = bound or " in equal parts a node"
        return f"{asked}{together}, the {why.free} free {why.product} have room for {why.slots}, but not so"
    return f"{asked}{bound}, the {why.free} free {why.product} have room for {why.slots}"


def _lost(why: Lost) -> str:
    match why:
        case MoreGpus(gpus, chosen):
            return f", and needs {plural(gpus, 'GPU')} where {chosen} {'is' if chosen == 1 else 'are'} enough"
        case Tight(slack, wanted):
            return f", but tightly: {gib(slack)} of slack a GPU, {gib(wanted)} wanted"
        case Slower(measure, ratio):
            return f", at an estimated {ratio:.2f} times the {measure}"
        case Preferred(because):
            return f", and {because}"


def _legal(legal: tuple[int, ...]) -> str:
    if not legal:
        return ""
    shown = ", ".join(str(one) for one in legal[:_LEGAL])
    return f" (possible here: {shown}{', …' if len(legal) > _LEGAL else ''})"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


_FATES: Final[dict[type, str]] = {
    NotDivisible: "cannot be divided",
    BlockSplit: "would cut quantisation blocks",
    NoExperts: "want experts there are none of",
    TooManyStages: "have more stages than layers",
    PipelineUnsupported: "need stages the engine cannot make",
    MemoryShort: "lack memory",
    OverBudget: "exceed the budget",
    NoRoom: "find no room",
    DomainTooSmall: "exceed the NVLink domain",
    MoreGpus: "fit on more GPUs",
    Tight: "fit tightly",
    Slower: "fit and are slower",
    Preferred: "fit and come after the chosen",
}
