"""Building a refusal: the cause for every layout, the nearest miss, and hints for which a plan was found."""

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.refusal import (
    Refusal,
    RefusalReason,
    RejectedLayout,
)
from shardwise.domain.summary import DemandSummary, PoolCount
from shardwise.planner.hints import hints
from shardwise.planner.pools import Eligible, Pool, eligible
from shardwise.planner.shorten import at_least
from shardwise.planner.solve import SurveyedPool, fits, survey
from shardwise.planner.trials import TrialFleet


def refuse(
    demand: Demand,
    fleet: Fleet,
    pools: Eligible,
    surveyed: tuple[SurveyedPool, ...],
    rejected: tuple[RejectedLayout, ...],
    *,
    hinted: bool = True,
) -> Refusal:
    """Build the refusal of a demand that no layout serves. It holds counts and causes, no sentences."""
    waits = _fits_when_free(demand, fleet, rejected)
    counted = tuple(_count(pool) for pool in pools.pools)
    return Refusal(
        reason=RefusalReason.CAPACITY_SHORT if waits else _reason(pools, rejected),
        waits=waits or not pools.pools,
        rejected=rejected,
        nearest=min(rejected, key=lambda layout: layout.distance, default=None),
        hints=hints(demand, TrialFleet(fleet, demand, pools, surveyed), rejected) if hinted else (),
        nodes=len(fleet.nodes),
        free_gpus=sum(pool.free for pool in counted),
        excluded=pools.excluded,
        pools=counted,
        asked=_summary(demand),
        idle=pools.idle,
    )


def _summary(demand: Demand) -> DemandSummary:
    shared = None if demand.half is None else demand.half.shared
    return DemandSummary(
        demand.replicas,
        demand.gpu_budget,
        demand.context_length,
        demand.concurrency,
        target=demand.target,
        shared_budget=None if shared is None else shared.total,
        role="" if demand.half is None else demand.half.role.name.value,
    )


def _fits_when_free(demand: Demand, fleet: Fleet, rejected: tuple[RejectedLayout, ...]) -> bool:
    """Tell whether the demand would fit if every GPU of the usable nodes were free."""
    if demand.least_context is None and not any(layout.cause.area.waits for layout in rejected):
        return False  # of a demand that may be lowered, the causes are those of the full context
    return fits(at_least(demand), survey(demand, eligible(demand, fleet, emptied=True)))


def _count(pool: Pool) -> PoolCount:
    return PoolCount(pool.product, pool.size, pool.gpus, pool.free)


def _reason(pools: Eligible, rejected: tuple[RejectedLayout, ...]) -> RefusalReason:
    """Give the reason of the causes. Of several reasons, the last in their order counts."""
    if not pools.pools:
        return RefusalReason.NO_MATCHING_NODES
    reasons = {layout.cause.area.reason for layout in rejected}
    return next((reason for reason in reversed(RefusalReason) if reason in reasons), RefusalReason.ILLEGAL_LAYOUT)
