"""Judging the layouts of a demand on the GPUs of a pool by all that does not depend on which of them are free.

An operator plans the same demand again and again while pods come and go, and hints change a single field of it. So each
judgement is made once: a :class:`Weighed` layout holds for every budget, a :class:`Judged` layout for a demand.
"""

from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.layout import Layout
from shardwise.domain.needs import A_CHANNEL, PodNeeds
from shardwise.domain.plan import Alternative, Estimate, LayoutOutcome, MemoryUse
from shardwise.domain.refusal import Cause, LoadingShort, MemoryShort, OverBudget, RejectedLayout
from shardwise.domain.role_causes import ShareShort
from shardwise.domain.roles import RoleName
from shardwise.domain.target import Sizing, Target
from shardwise.domain.target_causes import PriceUnknown
from shardwise.domain.version import dotted
from shardwise.planner.budgets import loading_budget
from shardwise.planner.capability_support import unsuited_layout
from shardwise.planner.choose import Candidate, SortKey, lost_because, preference
from shardwise.planner.cost import estimate
from shardwise.planner.engine_support import unsupported
from shardwise.planner.layouts import layouts
from shardwise.planner.legality import illegal
from shardwise.planner.links import Links
from shardwise.planner.memory import loading_use, memory_use, relays_experts
from shardwise.planner.pools import SurveyedGpus
from shardwise.planner.prefill_sizing import PrefillSizer
from shardwise.planner.sizing import Capacity, Sizer
from shardwise.planner.sparse_cache import on_gpus
from shardwise.planner.transfer_support import transfer_cause

_DEMANDS: Final = 32
"""Demands on a pool whose judgements are kept: the objects of a cluster have few different demands."""


class Lost(NamedTuple):
    """A rejected layout, also as an alternative to a plan, and its ``order`` among these."""

    order: tuple[int, int]
    rejected: RejectedLayout
    alternative: Alternative

    @classmethod
    def of(cls, layout: Layout, product: str, cause: Cause) -> "Lost":
        """Give a layout on GPUs of a product that a cause rules out."""
        alternative = Alternative(layout, product, LayoutOutcome.REFUSED, cause)
        return cls((layout.world_size, layout.pipeline), RejectedLayout(layout, product, cause), alternative)


class Weighed:
    """A layout on the GPUs of a pool, for every budget. Each answer is worked out once, when somebody asks for it.

    ``law`` is the first cause for which model, engine and kernels do not allow the layout. ``unfit`` is the cause that
    rules out every layout on these GPUs.
    """

    def __init__(self, demand: Demand, gpus: SurveyedGpus, layout: Layout, unfit: Cause | None) -> None:
        self.layout = layout
        self.law = unfit or _law(demand, gpus, layout)
        self._demand = demand
        self._gpus = gpus

    @cached_property
    def memory(self) -> MemoryUse:
        """The bytes on the fullest GPU."""
        return memory_use(self._demand, self.layout, self._gpus.memory, self._gpus.compute_capability)

    @cached_property
    def short(self) -> Cause | None:
        """The cause for which the GPUs have too little memory, to serve or to load."""
        use = self.memory
        if use.slack >= 0:
            return self._loading_short()
        other = use.activations + use.reserve
        return MemoryShort(self._gpus.product, use.needed, use.budget, use.weights, use.kv_cache, other)

    def _loading_short(self) -> LoadingShort | None:
        demand, gpus, layout = self._demand, self._gpus, self.layout
        needed, budget = loading_use(demand, layout, gpus.compute_capability), loading_budget(layout, gpus.memory)
        if needed <= budget:
            return None
        relays = relays_experts(demand, gpus.compute_capability)
        return LoadingShort(gpus.product, demand.engine.value, dotted(demand.runs), needed, budget, relays)

    @cached_property
    def estimate(self) -> Estimate:
        """The estimated speed."""
        gpus, layout = self._gpus, self.layout
        return estimate(self._demand, layout, links_of(self._demand, gpus, layout), self.memory)

    @cached_property
    def _sizer(self) -> Sizer | PrefillSizer:
        gpus, layout, half = self._gpus, self.layout, self._demand.half
        links = links_of(self._demand, gpus, layout)
        sizer = PrefillSizer if half is not None and half.role.name is RoleName.PREFILL else Sizer
        return sizer(self._demand, layout, links, self.memory, (gpus.memory, gpus.compute_capability))

    def missed(self, demand: Demand) -> Cause | None:
        """Give the cause for which the layout, which fits, misses the target of a demand."""
        found = self._capacity(demand)
        return found if isinstance(found, Cause) else None

    def _capacity(self, demand: Demand) -> Capacity | Cause | None:
        return None if demand.target is None else self._sizer.capacity(demand.target)

    def most_rate(self, target: Target) -> float:
        """Give the most requests per second that a replica serves within a target; 0 where it misses the target."""
        found = self._sizer.capacity(target)
        return found.rate if isinstance(found, Capacity) else 0.0

    def sizing(self, demand: Demand) -> Sizing | None:
        """Say how replicas meet the target of a demand; ``None`` without a target, and where none meets it."""
        found = self._capacity(demand)
        if demand.target is None or not isinstance(found, Capacity):
            return None
        return self._sizer.sizing(demand.target, found)

    def is_out(self, demand: Demand) -> bool:
        """Tell whether :meth:`cause` gives a cause, without working out which."""
        if self.law or is_over_budget(demand, self.layout) or self.short:
            return True
        if demand.target is None:
            return False
        return self.missed(demand) is not None or is_over_budget(self.sized(demand), self.layout)

    def cause(self, demand: Demand) -> Cause | None:
        """Give the first cause that rules the layout out for a demand, whatever is free.

        With a target, the budget comes last: it is blamed only where a larger budget would meet the target.
        """
        if demand.target is None:
            return self.law or _over_budget(demand, self.layout) or self.short
        return self.law or self.short or self.missed(demand) or _over_budget(self.sized(demand), self.layout)

    def sized(self, demand: Demand) -> Demand:
        """Give a demand with the replicas that its target needs of this layout, or more if it asks for more.

        A demand for no replicas stays one.
        """
        found = self._capacity(demand)
        if demand.target is None or not isinstance(found, Capacity) or not demand.replicas:
            return demand
        needed = found.replicas(demand.target)
        return replace(demand, replicas=needed) if needed > demand.replicas else demand


class Judged:
    """A layout of a demand on the GPUs of a pool. ``cause`` rules it out, whatever is free."""

    def __init__(self, demand: Demand, gpus: SurveyedGpus, weighed: Weighed) -> None:
        self.layout = weighed.layout
        self.cause = weighed.cause(demand)
        self._demand = demand
        self._gpus = gpus
        self._weighed = weighed
        self._losses: dict[Judged, Alternative] = {}

    @cached_property
    def candidate(self) -> Candidate:
        """The layout as a candidate: nothing rules it out."""
        weighed, target = self._weighed, self._demand.target
        replicas = 1 if target is None else self.sized(self._demand).replicas
        rate = 0.0 if target is None or target.rate is None else replicas * weighed.most_rate(target)
        return Candidate(self.layout, self._gpus, weighed.memory, weighed.estimate, replicas, rate)

    @property
    def sizing(self) -> Sizing | None:
        """How the replicas meet the target; ``None`` without a target."""
        return self._weighed.sizing(self._demand)

    def sized(self, demand: Demand) -> Demand:
        """Give the demand, or an equal one with a place, with the replicas that its target needs of this layout."""
        return self._weighed.sized(demand)

    @cached_property
    def preference(self) -> SortKey:
        """The sort key of the candidate."""
        return preference(self._demand, self.candidate)

    @cached_property
    def lost(self) -> "Lost | None":
        """The layout with the cause that rules it out, whatever is free."""
        return None if self.cause is None else Lost.of(self.layout, self._gpus.product, self.cause)

    def lost_to(self, chosen: "Judged") -> Alternative:
        """Give the layout as an alternative to the chosen layout, with the cause why it lost."""
        known = self._losses.get(chosen)
        if known is None:
            me = self.candidate
            cause = lost_because(self._demand, chosen.candidate, me)
            known = Alternative(me.layout, me.pool.product, LayoutOutcome.FITS, cause, me.memory, me.estimate)
            self._losses[chosen] = known
        return known


def links_of(demand: Demand, gpus: SurveyedGpus, layout: Layout) -> Links:
    """Say how ranks are joined. Stages that fit a node get no channel for NVLink between nodes."""
    kind, node = gpus.kind, max(gpus.node_sizes)
    domain = gpus.largest_domain if kind.rack and not gpus.joined else node
    on_nvlink = kind.nvlink is not None and layout.tensor <= domain
    joined = node if demand.needs.channels and layout.tensor <= node and layout.data == 1 else domain
    return Links(kind, on_nvlink, stages_in_domain=layout.world_size <= joined, domain=domain)


def weighed(demand: Demand, gpus: SurveyedGpus) -> tuple[Weighed, ...]:
    """Give the layouts of a demand on GPUs, in their order, for every budget, number of replicas, time and rate."""
    target = demand.target and Target(demand.target.input_tokens, demand.target.output_tokens)
    half = demand.half and replace(demand.half, shared=None)
    return _weighed(replace(without_place(demand), gpu_budget=0, replicas=1, target=target, half=half), gpus)


@lru_cache(maxsize=_DEMANDS)
def _weighed(demand: Demand, gpus: SurveyedGpus) -> tuple[Weighed, ...]:
    adapted = on_gpus(demand, gpus.compute_capability)
    unfit = unfit_for(adapted, gpus)
    return tuple(Weighed(adapted, gpus, layout, unfit) for layout in layouts(demand, gpus.gpus))


@lru_cache(maxsize=_DEMANDS)
def judged(demand: Demand, gpus: SurveyedGpus) -> tuple[Judged, ...]:
    """Judge the layouts of a demand on GPUs, in their order. The demand is one of :func:`without_place`."""
    return tuple(Judged(demand, gpus, found) for found in weighed(demand, gpus))


def _law(demand: Demand, gpus: SurveyedGpus, layout: Layout) -> Cause | None:
    return (
        illegal(demand.model, demand.engine, layout, demand.setup)
        or transfer_cause(demand.model, demand.engine, layout, demand.half)
        or unsuited_layout(demand, gpus, layout)
    )


def unfit_for(demand: Demand, gpus: SurveyedGpus) -> Cause | None:
    """Give the cause that rules out every layout of a demand on GPUs: the engine, or a price that nobody stated."""
    unpriced = demand.objective is Objective.CHEAPEST and gpus.kind.price is None
    return unsupported(demand, gpus) or (PriceUnknown(gpus.product) if unpriced else None)


def without_place(demand: Demand) -> Demand:
    """Give the demand without its name and without what says where it may run: no judgement depends on these.

    The time of a transfer depends on RDMA.
    """
    by_rdma = demand.needs.in_group if demand.half is not None and demand.target is not None else ()
    return replace(
        demand,
        key="",
        products=(),
        own_image=False,
        node_selector=(),
        node_affinity=(),
        offered=None,
        tolerations=(),
        within=None,
        together=False,
        needs=PodNeeds(in_stage=A_CHANNEL if demand.needs.channels else (), in_group=by_rdma),
    )


def is_over_budget(demand: Demand, layout: Layout) -> bool:
    """Tell whether the replicas would hold more GPUs than the budget."""
    return layout.world_size * demand.replicas > demand.gpu_budget


def _over_budget(demand: Demand, layout: Layout) -> OverBudget | None:
    if not is_over_budget(demand, layout):
        return None
    return budget_cause(demand, layout.world_size * demand.replicas)


def budget_cause(demand: Demand, needed: int) -> OverBudget:
    """Say that the replicas of a demand need more GPUs than it may have, and what the other role takes of a budget."""
    counts = needed, demand.gpu_budget, demand.replicas
    if demand.half is None or demand.half.shared is None:
        return OverBudget(*counts)
    name, shared = demand.half.role.name, demand.half.shared
    return ShareShort(*counts, name.value, name.other.value, shared.total, shared.taken)
