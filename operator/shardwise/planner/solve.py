"""The search for a demand's plan: enumerate layouts, reject, place and choose. Every lost layout is recorded."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Final

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.layout import Layout
from shardwise.domain.notes import FasterWithMore, Note
from shardwise.domain.plan import Alternative, LayoutOutcome, MemoryUse, Plan
from shardwise.domain.refusal import (
    Cause,
    DomainTooSmall,
    LoadingShort,
    MemoryShort,
    NoRoom,
    OverBudget,
    RejectedLayout,
)
from shardwise.domain.version import dotted
from shardwise.planner.budgets import loading_budget
from shardwise.planner.capability_support import unsuited_layout
from shardwise.planner.choose import Candidate, lost_because, preference, rule_of
from shardwise.planner.cost import estimate
from shardwise.planner.engine_support import unsupported
from shardwise.planner.layouts import layouts
from shardwise.planner.legality import illegal
from shardwise.planner.links import Links
from shardwise.planner.memory import loading_use, memory_use, relays_experts, states
from shardwise.planner.notes import notes
from shardwise.planner.placement import (
    domain_counts,
    has_room,
    lacking_for_pods,
    largest_domain,
    nodes_of_largest_domain,
    place,
)
from shardwise.planner.pools import Eligible, Pool, stage_slots
from shardwise.planner.sparse_cache import on_gpus

_DOMAINS_SHOWN: Final = 5
_LITTLE_MORE: Final = 2
"""The most times as many GPUs as planned that are little more, and the times as fast that are worth a note."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The result of a search: a plan, and every rejected layout with its cause."""

    plan: Plan | None
    rejected: tuple[RejectedLayout, ...]


def solve(demand: Demand, surveyed: Iterable["SurveyedPool"]) -> Solution:
    """Search all pools. The plan is the most preferred candidate that can be placed."""
    candidates: list[Candidate] = []
    rejected: list[RejectedLayout] = []
    for facts in surveyed:
        for layout, judged in _judged(demand, facts, layouts(demand, facts.pool)):
            if isinstance(judged, Candidate):
                candidates.append(judged)
            else:
                rejected.append(RejectedLayout(layout, facts.pool.product, judged))
    return _choose(demand, candidates, rejected)


def fitting(demand: Demand, surveyed: Iterable["SurveyedPool"]) -> Iterator[tuple[Layout, Pool]]:
    """Give the layouts that no cause rules out, in the order of the search. Placement may still fail."""
    for facts in surveyed:
        for layout, found, _ in _checked(demand, facts, layouts(demand, facts.pool)):
            if isinstance(found, MemoryUse):
                yield layout, facts.pool


def fits(demand: Demand, surveyed: Iterable["SurveyedPool"]) -> bool:
    """Tell whether :func:`solve` would find a plan, without choosing the best layout."""
    return any(place(demand, pool, layout) is not None for layout, pool in fitting(demand, surveyed))


def _choose(demand: Demand, candidates: list[Candidate], rejected: list[RejectedLayout]) -> Solution:
    candidates.sort(key=lambda candidate: preference(demand, candidate))
    for position, candidate in enumerate(candidates):
        groups = place(demand, candidate.pool, candidate.layout)
        if groups is None:
            rejected.append(RejectedLayout(candidate.layout, candidate.pool.product, _no_room(demand, candidate)))
            continue
        plan = Plan(
            layout=candidate.layout,
            product=candidate.pool.product,
            engine=demand.engine,
            context_length=demand.context_length,
            concurrency=demand.concurrency,
            groups=groups,
            memory=candidate.memory,
            rule=rule_of(demand, candidate.pool, candidate.layout, groups),
            tight=candidate.tight,
            estimate=candidate.estimate,
            alternatives=(*_losers(demand, candidate, candidates[position + 1 :]), *_rejections(rejected)),
            notes=(*notes(demand, candidate, candidates), *_faster_with_more(demand, candidate)),
            resource=candidate.pool.resource,
            ipv6=candidate.pool.nodes[0].ipv6,
            joined=candidate.pool.joined,
            states=states(demand, candidate.layout, candidate.memory, candidate.pool.compute_capability),
        )
        return Solution(plan, tuple(rejected))
    return Solution(None, tuple(rejected))


def _faster_with_more(demand: Demand, chosen: Candidate) -> Iterator[Note]:
    """Note a plan on a few more GPUs than the budget that is much faster than a pipeline within the budget."""
    layout, pins = chosen.layout, demand.pins
    most = _LITTLE_MORE * layout.world_size * demand.replicas
    pinned = pins.tensor is not None or pins.pipeline is not None
    if layout.pipeline == 1 or pinned or demand.objective is not Objective.FEWEST_GPUS or demand.gpu_budget >= most:
        return
    richer, facts = replace(demand, gpu_budget=most), SurveyedPool(chosen.pool)
    beyond = (
        other
        for other in layouts(richer, facts.pool)
        if demand.gpu_budget < other.world_size * demand.replicas <= most and has_room(richer, facts.pool, other)
    )
    found = [judged for _, judged in _judged(richer, facts, beyond) if isinstance(judged, Candidate)]
    best = min(found, key=lambda candidate: preference(richer, candidate), default=None)
    speed = chosen.estimate.seconds_per_token
    if best is not None and speed >= _LITTLE_MORE * best.estimate.seconds_per_token:
        gpus = best.layout.world_size * demand.replicas
        yield FasterWithMore(best.layout, gpus, best.estimate.seconds_per_token, speed)


def _losers(demand: Demand, chosen: Candidate, losers: list[Candidate]) -> Iterator[Alternative]:
    for loser in losers:
        cause = lost_because(demand, chosen, loser)
        yield Alternative(loser.layout, loser.pool.product, LayoutOutcome.FITS, cause, loser.memory, loser.estimate)


def _rejections(rejected: list[RejectedLayout]) -> Iterator[Alternative]:
    for lost in sorted(rejected, key=lambda lost: (lost.layout.world_size, lost.layout.pipeline)):
        yield Alternative(lost.layout, lost.product, LayoutOutcome.REFUSED, lost.cause)


def _joined_for(demand: Demand, pool: Pool) -> Pool:
    """Join a pool's nodes where a pin asks for a tensor group wider than any NVLink domain. The user chose this."""
    pinned = demand.pins.tensor
    return replace(pool, joined=True) if pinned is not None and pinned > largest_domain(pool) else pool


def _apart_for(demand: Demand, pool: Pool) -> Pool:
    """Part the nodes of a rack, unless a pin asks for a tensor group that is wider than a node."""
    pinned = demand.pins.tensor
    return pool if pinned is not None and pinned > max(pool.node_sizes) else replace(pool, apart=pool.needs_driver)


class SurveyedPool:
    """A pool with the figures that the search needs for every layout, computed once."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.free = sum(node.free for node in pool.nodes)
        self.largest_domain = largest_domain(pool)
        self.node_gpus = max(pool.node_sizes)
        counted = domain_counts(pool)
        self.slots = cache(lambda tensor: stage_slots(counted, tensor))

    @cached_property
    def free_by_domain(self) -> tuple[int, ...]:
        """The free GPUs of each domain that has any, the most first."""
        return tuple(sorted((free for counts in self.pool.free_counts if (free := sum(counts))), reverse=True))


def survey(demand: Demand, pools: Eligible, *, with_driver: bool = False) -> tuple[SurveyedPool, ...]:
    """Survey the pools. Searches for demands that pin the same tensor degree can share the result. O(nodes).

    ``with_driver``: as if the cluster served ComputeDomains.
    """
    found = pools.pools if with_driver else (_apart_for(demand, pool) for pool in pools.pools)
    return tuple(SurveyedPool(_joined_for(demand, pool)) for pool in found)


def _judged(demand: Demand, facts: SurveyedPool, tried: Iterable[Layout]) -> Iterator[tuple[Layout, Candidate | Cause]]:
    """Give each layout with its candidate, or with the cause that rules it out."""
    for layout, found, adapted in _checked(demand, facts, tried):
        if isinstance(found, MemoryUse):
            speed = estimate(adapted, layout, _links(demand, facts, layout), found)
            yield layout, Candidate(layout, facts.pool, found, speed)
        else:
            yield layout, found


def _checked(
    demand: Demand, facts: SurveyedPool, tried: Iterable[Layout]
) -> Iterator[tuple[Layout, Cause | MemoryUse, Demand]]:
    """Give each layout with the first cause against it, or with its memory use, and the demand as the GPUs serve it.

    What does not depend on the layout is looked at once.
    """
    adapted = on_gpus(demand, facts.pool.compute_capability)
    unfit = unsupported(adapted, facts.pool)
    for layout in tried:
        yield layout, unfit or _ruled_out(adapted, facts, layout), adapted


def _ruled_out(demand: Demand, facts: SurveyedPool, layout: Layout) -> Cause | MemoryUse:
    """Give the first cause against a layout: law, budget, memory, then room. Without a cause, give its memory use."""
    broken = illegal(demand.model, demand.engine, layout, demand.setup) or unsuited_layout(demand, facts.pool, layout)
    if broken is not None:
        return broken
    if layout.world_size * demand.replicas > demand.gpu_budget:
        return OverBudget(layout.world_size * demand.replicas, demand.gpu_budget, demand.replicas)
    use = memory_use(demand, layout, facts.pool.memory, facts.pool.compute_capability)
    if use.slack < 0:
        return _memory_short(facts.pool, use)
    return _loading_short(demand, facts.pool, layout) or _crowded(demand, facts, layout) or use


def _memory_short(pool: Pool, use: MemoryUse) -> MemoryShort:
    other = use.activations + use.reserve
    return MemoryShort(pool.product, use.needed, use.budget, use.weights, use.kv_cache, other)


def _loading_short(demand: Demand, pool: Pool, layout: Layout) -> LoadingShort | None:
    capability = pool.compute_capability
    needed, budget = loading_use(demand, layout, capability), loading_budget(layout, pool.memory)
    if needed <= budget:
        return None
    relays = relays_experts(demand, capability)
    return LoadingShort(pool.product, demand.engine.value, dotted(demand.runs), needed, budget, relays)


def _crowded(demand: Demand, facts: SurveyedPool, layout: Layout) -> Cause | None:
    """Compare counts before placing: this is cheap and rules out most layouts."""
    if layout.tensor > facts.largest_domain:
        usable, nodes = nodes_of_largest_domain(facts.pool)
        return DomainTooSmall(facts.pool.product, layout.tensor, facts.largest_domain, usable, nodes)
    wanted = layout.pipeline * demand.replicas
    slots = facts.slots(layout.tensor)
    if slots < wanted:
        apart = facts.free_by_domain if facts.free >= wanted * layout.tensor else ()
        shown, domains = apart[:_DOMAINS_SHOWN], len(apart)
        return NoRoom(facts.pool.product, wanted, slots, layout.tensor, facts.free, demand.within, shown, domains)
    return None


def _no_room(demand: Demand, candidate: Candidate) -> Cause:
    """Say which resource besides GPUs is short; else count slots inside the bounding places.

    The slots are those of the largest place, or of all places that hold whole groups.
    """
    pool, layout = candidate.pool, candidate.layout
    short = lacking_for_pods(demand, pool, layout)
    if short is not None:
        return short
    free = sum(node.free for node in pool.nodes)
    places = pool.place_slots(layout.tensor)
    wanted, found = layout.pipeline, max(places)
    if found >= wanted:
        whole = (count * (slots - slots % layout.pipeline) for slots, count in places.items())
        wanted, found = wanted * demand.replicas, sum(whole)
    return NoRoom(pool.product, wanted, found, layout.tensor, free, demand.within)


def _links(demand: Demand, facts: SurveyedPool, layout: Layout) -> Links:
    """Say how ranks are joined. Stages that fit a node get no channel for NVLink between nodes."""
    kind = facts.pool.kind
    domain = facts.largest_domain if kind.rack and not facts.pool.joined else facts.node_gpus
    on_nvlink = kind.nvlink is not None and layout.tensor <= domain
    joined = facts.node_gpus if demand.needs.channels and layout.tensor <= facts.node_gpus else domain
    return Links(kind, on_nvlink, stages_in_domain=layout.world_size <= joined)
