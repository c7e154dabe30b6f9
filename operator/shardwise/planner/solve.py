"""The search for a demand's plan: enumerate layouts, reject, place and choose. Every lost layout is recorded."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from operator import itemgetter
from typing import Final

from shardwise.domain.data_causes import ExchangeAcross, ExpertsAcross
from shardwise.domain.demand import Demand, Objective
from shardwise.domain.layout import Layout
from shardwise.domain.notes import FasterWithMore, Note
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Cause, DomainTooSmall, NoRoom, RejectedLayout
from shardwise.planner.all_to_all import backend_for
from shardwise.planner.choose import Candidate, rule_of
from shardwise.planner.judging import Judged, Lost, judged, weighed, without_place
from shardwise.planner.limited import links_data_ranks
from shardwise.planner.memory import states
from shardwise.planner.notes import across_domains, notes
from shardwise.planner.placement import has_room, lacking_for_pods, place, slot_gpus
from shardwise.planner.pools import Eligible, Pool, SurveyedGpus

Fitting = tuple[Judged, Pool]
"""A layout that nothing rules out, and its pool."""

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
    asked = without_place(demand)
    found: list[Fitting] = []
    rejected: list[Lost] = []
    for facts in surveyed:
        for layout in judged(asked, facts.gpus):
            lost = layout.lost or _crowded_out(layout.sized(demand), facts, layout.layout)
            if lost is None:
                found.append((layout, facts.pool))
            else:
                rejected.append(lost)
    made = _choose(demand, found, rejected)
    return Solution(made, tuple(lost.rejected for lost in rejected))


def fitting(demand: Demand, surveyed: Iterable["SurveyedPool"]) -> Iterator[tuple[Demand, Layout, Pool]]:
    """Give the layouts that no cause rules out, in the order of the search. Placement may still fail.

    The demands have the replicas that their target needs of the layout.
    """
    for facts in surveyed:
        for found in weighed(demand, facts.gpus):
            if found.is_out(demand):
                continue
            sized = found.sized(demand)
            if _crowded(sized, facts, found.layout) is None:
                yield sized, found.layout, facts.pool


def fits(demand: Demand, surveyed: Iterable["SurveyedPool"]) -> bool:
    """Tell whether :func:`solve` would find a plan, without choosing the best layout."""
    return any(place(sized, pool, layout) is not None for sized, layout, pool in fitting(demand, surveyed))


def _choose(demand: Demand, found: list[Fitting], rejected: list[Lost]) -> Plan | None:
    """Give the plan of the most preferred layout that has a place. Layouts without a place are rejected, too."""
    found.sort(key=lambda fit: fit[0].preference)
    for position, (chosen, pool) in enumerate(found):
        sized = chosen.sized(demand)
        groups = place(sized, pool, chosen.layout)
        if groups is None:
            rejected.append(Lost.of(chosen.layout, pool.product, _no_room(sized, pool, chosen.layout)))
            continue
        losers = (loser.lost_to(chosen) for loser, _ in found[position + 1 :])
        candidate, rivals = chosen.candidate, [rival.candidate for rival, _ in found]
        refused = (lost.alternative for lost in sorted(rejected, key=itemgetter(0)))
        return Plan(
            layout=candidate.layout,
            product=pool.product,
            engine=demand.engine,
            context_length=demand.context_length,
            concurrency=demand.concurrency,
            groups=groups,
            memory=candidate.memory,
            rule=rule_of(demand, pool, candidate.layout, groups),
            tight=candidate.tight,
            estimate=candidate.estimate,
            alternatives=(*losers, *refused),
            notes=(
                *notes(demand, candidate, pool, rivals),
                *across_domains(demand, candidate.layout, groups),
                *_faster_with_more(demand, candidate, pool),
            ),
            resource=pool.resource,
            ipv6=pool.ipv6,
            joined=pool.joined,
            states=states(demand, candidate.layout, candidate.memory, pool.compute_capability),
            linked=links_data_ranks(pool, candidate.layout),
            sizing=chosen.sizing,
            price=pool.kind.price,
        )
    return None


def _faster_with_more(demand: Demand, chosen: Candidate, pool: Pool) -> Iterator[Note]:
    """Note a plan on a few more GPUs than the budget that is much faster than a pipeline within the budget."""
    layout, pins = chosen.layout, demand.pins
    most = _LITTLE_MORE * layout.world_size * demand.replicas
    pinned = pins.tensor is not None or pins.pipeline is not None
    small = demand.target is None and demand.objective is Objective.FEWEST_GPUS
    if layout.pipeline == 1 or pinned or not small or demand.gpu_budget >= most:
        return
    richer, facts = replace(demand, gpu_budget=most), SurveyedPool(pool)
    beyond = (
        found
        for found in judged(without_place(richer), facts.gpus)
        if found.cause is None and demand.gpu_budget < found.layout.world_size * demand.replicas
    )
    roomy = (
        found
        for found in beyond
        if has_room(richer, pool, found.layout) and _crowded(richer, facts, found.layout) is None
    )
    best = min(roomy, key=lambda found: found.preference, default=None)
    speed = chosen.estimate.seconds_per_token
    if best is not None and speed >= _LITTLE_MORE * best.candidate.estimate.seconds_per_token:
        gpus = best.layout.world_size * demand.replicas
        yield FasterWithMore(best.layout, gpus, best.candidate.estimate.seconds_per_token, speed)


def _joined_for(demand: Demand, pool: Pool) -> Pool:
    """Join a pool's nodes where a pin asks for a tensor group wider than any NVLink domain. The user chose this."""
    pinned = demand.pins.tensor
    return replace(pool, joined=True) if pinned is not None and pinned > pool.largest_domain else pool


def _apart_for(demand: Demand, pool: Pool) -> Pool:
    """Part the nodes of a rack, unless a pin asks for a tensor group that is wider than a node."""
    pinned = demand.pins.tensor
    return pool if pinned is not None and pinned > max(pool.node_sizes) else replace(pool, apart=pool.needs_driver)


class SurveyedPool:
    """A pool with the figures that the search needs for every layout, computed once."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.free = pool.free
        self.largest_domain = pool.largest_domain
        self.gpus = SurveyedGpus(
            kind=pool.kind,
            product=pool.product,
            memory=pool.memory,
            node_sizes=pool.node_sizes,
            resource=pool.resource,
            joined=pool.joined,
            compute_capability=pool.compute_capability,
            gpus=pool.gpus,
            largest_domain=self.largest_domain,
        )
        self.slots = cache(lambda tensor: sum(root.slots(tensor) for root in pool.domains.places.roots))

    @cached_property
    def free_by_domain(self) -> tuple[tuple[int, ...], int]:
        """The free GPUs of the domains with the most, and the number of domains that have any."""
        found: Counter[int] = Counter()
        for root in self.pool.domains.places.roots:
            for counts, domains in root.held.items():
                found[sum(counts)] += len(domains)
        del found[0]
        most = (free for free in sorted(found, reverse=True) for _ in range(found[free]))
        return tuple(islice(most, _DOMAINS_SHOWN)), found.total()


def survey(demand: Demand, pools: Eligible, *, with_driver: bool = False) -> tuple[SurveyedPool, ...]:
    """Survey the pools. Searches for demands that pin the same tensor degree can share the result.

    ``with_driver``: as if the cluster served ComputeDomains.
    """
    found = pools.pools if with_driver else (_apart_for(demand, pool) for pool in pools.pools)
    return tuple(SurveyedPool(_joined_for(demand, pool)) for pool in found)


def _crowded_out(demand: Demand, facts: SurveyedPool, layout: Layout) -> Lost | None:
    cause = _crowded(demand, facts, layout)
    return None if cause is None else Lost.of(layout, facts.pool.product, cause)


def _crowded(demand: Demand, facts: SurveyedPool, layout: Layout) -> Cause | None:
    """Compare counts before placing: this is cheap and rules out most layouts."""
    if layout.tensor > facts.largest_domain:
        usable, nodes = facts.pool.nodes_of_largest_domain
        return DomainTooSmall(facts.pool.product, layout.tensor, facts.largest_domain, usable, nodes)
    gpus = slot_gpus(demand, layout)
    if gpus > facts.largest_domain:
        exchange = backend_for(demand.engine, demand.all_to_all, layout)
        if exchange is not None and demand.all_to_all is not None and exchange.network != "any":
            by_rdma = exchange.network == "rdma"
            return ExchangeAcross(demand.all_to_all, facts.pool.product, gpus, facts.largest_domain, by_rdma)
        return ExpertsAcross(facts.pool.product, gpus, facts.largest_domain)
    wanted = layout.world_size // gpus * demand.replicas
    slots = facts.slots(gpus)
    if slots < wanted:
        shown, domains = facts.free_by_domain if facts.free >= wanted * gpus else ((), 0)
        return NoRoom(facts.pool.product, wanted, slots, gpus, facts.free, demand.within, shown, domains)
    return None


def _no_room(demand: Demand, pool: Pool, layout: Layout) -> Cause:
    """Say which resource besides GPUs is short; else count slots inside the bounding places.

    The slots are those of the largest place, or of all places that hold whole groups.
    """
    short = lacking_for_pods(demand, pool, layout)
    if short is not None:
        return short
    gpus = slot_gpus(demand, layout)
    places = pool.place_slots(gpus)
    wanted, found = layout.world_size // gpus, max(places)
    if found >= wanted:
        whole = (count * (slots - slots % wanted) for slots, count in places.items())
        wanted, found = wanted * demand.replicas, sum(whole)
    return NoRoom(pool.product, wanted, found, gpus, pool.free, demand.within)
