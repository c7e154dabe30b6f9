"""A refusal: the cause of every layout, the nearest miss, and hints that were planned with before they are given."""

from collections.abc import Iterator
from dataclasses import replace

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Precision, Quantization, Weight
from shardwise.domain.refusal import (
    Attempt,
    BlockSplit,
    DomainTooSmall,
    Hint,
    MemoryShort,
    NoExperts,
    NoRoom,
    NotDivisible,
    OverBudget,
    PipelineUnsupported,
    Refusal,
    RefusalReason,
    TooManyStages,
)
from shardwise.planner.pools import Eligible, eligible
from shardwise.planner.solve import solve

_SHORTEST_CONTEXT_HINT = 2048
"""Tokens below which a shorter context is no longer worth a hint."""


def refuse(demand: Demand, fleet: Fleet, pools: Eligible, attempts: tuple[Attempt, ...]) -> Refusal:
    """Word nothing, count everything: build the refusal of a demand that no layout serves."""
    waits = _fits_when_free(demand, fleet)
    return Refusal(
        reason=RefusalReason.CAPACITY_SHORT if waits else _reason(pools, attempts),
        waits=waits or not pools.pools,
        attempts=attempts,
        nearest=_nearest(attempts),
        hints=tuple(_hints(demand, fleet)),
        nodes=len(fleet.nodes),
        free_gpus=sum(node.free for pool in pools.pools for node in pool.nodes),
        excluded=pools.excluded,
    )


def _fits_when_free(demand: Demand, fleet: Fleet) -> bool:
    """Tell whether the demand fits once every GPU of the usable nodes is free."""
    emptied = replace(fleet, nodes=tuple(replace(node, free=node.gpus) for node in fleet.nodes))
    return solve(demand, eligible(demand, emptied)).plan is not None


def _reason(pools: Eligible, attempts: tuple[Attempt, ...]) -> RefusalReason:
    if not pools.pools:
        return RefusalReason.NO_MATCHING_NODES
    kinds = {type(attempt.cause) for attempt in attempts}
    if kinds <= {NotDivisible, BlockSplit, NoExperts, TooManyStages, PipelineUnsupported}:
        return RefusalReason.ILLEGAL_LAYOUT
    if kinds & {NoRoom, DomainTooSmall}:
        return RefusalReason.CAPACITY_SHORT
    return RefusalReason.BUDGET_SHORT if OverBudget in kinds else RefusalReason.MEMORY_SHORT


def _nearest(attempts: tuple[Attempt, ...]) -> Attempt | None:
    """Choose the attempt that came closest: the smallest shortfall, memory before room before budget before law."""
    return min(attempts, key=_distance, default=None)


def _distance(attempt: Attempt) -> tuple[int, float, Layout, str]:
    match attempt.cause:
        case NoRoom(wanted=wanted, slots=slots):
            rank, short = 0, 1 - slots / wanted
        case MemoryShort(needed=needed, budget=budget):
            rank, short = 1, needed / max(1, budget)
        case OverBudget(needed=needed, budget=budget):
            rank, short = 2, needed / max(1, budget)
        case _:
            rank, short = 3, 0.0
    return rank, short, attempt.layout, attempt.product


def _hints(demand: Demand, fleet: Fleet) -> Iterator[Hint]:
    """Try one change after the other; give those with which the planner finds a plan."""
    for field, value, changed in _changes(demand, fleet):
        plan = solve(changed, eligible(changed, fleet)).plan
        if plan is not None:
            value_or_gpus = value or str(plan.gpus)
            yield Hint(field, value_or_gpus, plan.layout, plan.product)


def _changes(demand: Demand, fleet: Fleet) -> Iterator[tuple[str, str, Demand]]:
    free = sum(node.free for node in fleet.nodes)
    if free > demand.gpu_budget:
        yield "spec.gpuBudget.total", "", replace(demand, gpu_budget=free)
    if demand.model.quantization is Quantization.NONE:
        yield "spec.model.quantization", "fp8", replace(demand, model=_in_fp8(demand.model))
    context = _largest_context(demand, fleet)
    if context is not None:
        yield "spec.model.contextLength", str(context), replace(demand, context_length=context)
    if demand.replicas > 1:
        yield "spec.replicas", "1", replace(demand, replicas=1)
    if demand.pins != Pins():
        yield "spec.parallelism", "unset", replace(demand, pins=Pins())
    if demand.products:
        yield "spec.gpuBudget.products", "unset", replace(demand, products=())
    if demand.within is not None:
        yield "spec.placement.within", "unset", replace(demand, within=None)


def _in_fp8(model: ModelFacts) -> ModelFacts:
    """Give the model as the engine loads it when told to quantise to fp8: one scale a tensor, no blocks."""
    kinds = tuple(replace(layer, weights=tuple(map(_stored_in_fp8, layer.weights))) for layer in model.kinds)
    return replace(model, quantization=Quantization.FP8, kinds=kinds, checkpoint_bytes=None)


def _stored_in_fp8(weight: Weight) -> Weight:
    return replace(weight, precision=Precision(1.0)) if weight.linear else weight


def _largest_context(demand: Demand, fleet: Fleet) -> int | None:
    """Halve the context until it fits; ``None`` when no length worth naming does."""
    context = demand.context_length // 2
    while context >= _SHORTEST_CONTEXT_HINT:
        shorter = replace(demand, context_length=context)
        if solve(shorter, eligible(shorter, fleet)).plan is not None:
            return context
        context //= 2
    return None
