"""A refusal: the cause of every layout, the nearest miss, and hints that were planned with before they are given."""

from dataclasses import replace

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.refusal import (
    Asked,
    DomainTooSmall,
    MemoryShort,
    NoRoom,
    OverBudget,
    PoolCount,
    Refusal,
    RefusalReason,
    RejectedLayout,
)
from shardwise.planner.hints import ILLEGAL, Trials, hints
from shardwise.planner.pools import Eligible, Pool, eligible
from shardwise.planner.shorten import at_least
from shardwise.planner.solve import Surveyed, fits, survey


def refuse(
    demand: Demand, fleet: Fleet, pools: Eligible, surveyed: tuple[Surveyed, ...], rejected: tuple[RejectedLayout, ...]
) -> Refusal:
    """Word nothing, count everything: build the refusal of a demand that no layout serves."""
    waits = _fits_when_free(demand, fleet, rejected)
    counted = tuple(_count(pool) for pool in pools.pools)
    return Refusal(
        reason=RefusalReason.CAPACITY_SHORT if waits else _reason(pools, rejected),
        waits=waits or not pools.pools,
        rejected=rejected,
        nearest=min(rejected, key=distance, default=None),
        hints=hints(demand, Trials(fleet, demand, pools, surveyed), rejected),
        nodes=len(fleet.nodes),
        free_gpus=sum(pool.free for pool in counted),
        excluded=pools.excluded,
        pools=counted,
        asked=Asked(demand.replicas, demand.gpu_budget, demand.context_length, demand.concurrency),
    )


def distance(rejected: RejectedLayout) -> tuple[int, float, Layout, str]:
    """Rate how far a layout is from fitting, the closest first: lack of room, of memory, of budget, then law."""
    match rejected.cause:
        case NoRoom(wanted=wanted, slots=slots):
            rank, short = 0, 1 - slots / wanted
        case MemoryShort(needed=needed, budget=budget):
            rank, short = 1, needed / max(1, budget)
        case OverBudget(needed=needed, budget=budget):
            rank, short = 2, needed / max(1, budget)
        case _:
            rank, short = 3, 0.0
    return rank, short, rejected.layout, rejected.product


def _fits_when_free(demand: Demand, fleet: Fleet, rejected: tuple[RejectedLayout, ...]) -> bool:
    """Tell whether the demand fits once every GPU of the usable nodes is free: only lack of room goes away so."""
    if not any(isinstance(layout.cause, NoRoom) for layout in rejected):
        return False
    emptied = replace(fleet, nodes=tuple(replace(node, free=node.gpus) for node in fleet.nodes))
    return fits(at_least(demand), survey(demand, eligible(demand, emptied)))


def _count(pool: Pool) -> PoolCount:
    gpus, free = (sum(counts) for counts in zip(*((node.gpus, node.free) for node in pool.nodes), strict=True))
    return PoolCount(pool.product, len(pool.nodes), gpus, free)


def _reason(pools: Eligible, rejected: tuple[RejectedLayout, ...]) -> RefusalReason:
    if not pools.pools:
        return RefusalReason.NO_MATCHING_NODES
    kinds = {type(layout.cause) for layout in rejected}
    if kinds <= set(ILLEGAL):
        return RefusalReason.ILLEGAL_LAYOUT
    if kinds & {NoRoom, DomainTooSmall}:
        return RefusalReason.CAPACITY_SHORT
    return RefusalReason.BUDGET_SHORT if OverBudget in kinds else RefusalReason.MEMORY_SHORT
