"""The plan in force: how each group is split. The places of the groups are in their records.

The recorded plan stays while the demand is the same and a group of the plan runs or can be placed. A better plan never
replaces a plan that works. If no group is left and no group of this shape can be placed, the demand is planned again. A
shape with fewer GPUs than before is used only if the object allows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.digest import json_digest
from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan, PodPlacement
from shardwise.domain.plan_data import layout_data
from shardwise.domain.refusal import Hint, OverQuota, Refusal, RefusalReason, RejectedLayout
from shardwise.domain.target import Sizing
from shardwise.planner import most_replicas, sizing_of
from shardwise.planner import plan as plan_demand
from shardwise.planner.judging import budget_cause
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.recorded_plan import RecordedPlan, record_plan
from shardwise.reconcile.usable_fleet import UsableFleet


@dataclass(frozen=True, slots=True)
class PlanInForce:
    """How groups are split now. ``fresh`` are the places of a plan that was just made for the whole demand.

    ``refusal`` says why a part of the demand has no plan. Without ``plan`` no group can begin.
    """

    plan: Plan | None
    recorded: RecordedPlan | None
    refusal: Refusal | None = None
    fresh: tuple[GroupPlacement, ...] = ()


def recorded(status: Status, wanted: Wanted, fleet: Fleet) -> PlanInForce | None:
    """Give the plan of a status, if it answers the demand of an object and meets its target.

    A plan for another target stays if it meets the new target, too, with as many replicas as that needs.
    """
    known = status.plan
    if known is None or known.demand != wanted.asks:
        return None
    sizing, target = known.plan.sizing, wanted.demand.target
    if target != (sizing.target if sizing is not None else None):
        sizing = sizing_of(wanted.demand, fleet, known.plan)
        if target is not None and (sizing is None or _exceeds(wanted.demand, known.plan, sizing)):
            return None
        known = replace(known, plan=replace(known.plan, sizing=sizing))
    return PlanInForce(known.plan, known)


def _exceeds(demand: Demand, plan: Plan, sizing: Sizing) -> bool:
    """Tell whether the replicas that a target needs exceed the budget."""
    return max(sizing.replicas, demand.replicas) * plan.layout.world_size > demand.gpu_budget


def sized(wanted: Wanted, in_force: PlanInForce, running: int = 0) -> Wanted:
    """Give an object with the replicas that its target needs of the plan in force, or more if it asks for more.

    If no plan meets the target, the ``running`` groups stay.
    """
    asked, target = wanted.demand.replicas, wanted.demand.target
    sizing = None if in_force.plan is None else in_force.plan.sizing
    needed = running if sizing is None else sizing.replicas
    if target is None or target.rate is None or needed <= asked or not asked:
        return wanted
    return replace(wanted, demand=replace(wanted.demand, replicas=needed))


def new_plan(wanted: Wanted, usable: UsableFleet) -> PlanInForce:
    """Plan a whole demand. If fleet or namespace lack room for all replicas, plan as many replicas as fit."""
    whole = _unlimited(wanted, usable)
    if usable.limit is None or (whole.fresh and usable.allows(sum(map(gpus_of, whole.fresh)))):
        return whole
    return _limited(wanted, usable, usable.limit.left, whole)


def gpus_of(group: GroupPlacement) -> int:
    """Count the GPUs of a planned group."""
    return sum(pod.gpus for pod in group.pods)


def _limited(wanted: Wanted, usable: UsableFleet, left: int, whole: PlanInForce) -> PlanInForce:
    """Plan with no more GPUs than the namespace may still hold. ``whole`` is the outcome without this limit.

    An object waits for free GPUs only if they would help it within the limit.
    """
    if whole.plan is None and whole.refusal is not None and not whole.refusal.may_pass:
        return whole
    if left:
        demand = replace(wanted.demand, gpu_budget=min(left, wanted.demand.gpu_budget))
        made = _unlimited(replace(wanted, demand=demand), usable, shared=wanted.demand.gpu_budget)
        if made.plan is not None or (made.refusal is not None and made.refusal.waits):
            return replace(made, refusal=None if made.refusal is None else replace(made.refusal, hints=()))
    return PlanInForce(None, None, _short_of_quota(whole, usable))


def _short_of_quota(whole: PlanInForce, usable: UsableFleet) -> Refusal | None:
    """Refuse a demand whose smallest plan exceeds the limit. ``whole`` says which layout comes closest."""
    if whole.plan is not None:
        return over_quota(whole.plan, whole.plan.layout.world_size, usable)
    nearest = None if whole.refusal is None else whole.refusal.nearest
    if whole.refusal is None or nearest is None:
        return whole.refusal
    over = _over(nearest.layout.world_size, usable)
    rejected = RejectedLayout(nearest.layout, nearest.product, over)
    reason = RefusalReason.QUOTA_SHORT
    return replace(whole.refusal, reason=reason, waits=False, rejected=(rejected,), nearest=rejected, hints=())


def _unlimited(wanted: Wanted, usable: UsableFleet, shared: int | None = None) -> PlanInForce:
    """Plan a whole demand, or as many replicas as the fleet has room for. ``shared`` is as of ``most_replicas``."""
    *narrower, widest = usable.choices()
    for fleet in narrower:
        outcome = plan_demand(wanted.demand, fleet, hinted=False)
        if isinstance(outcome, Plan):
            return _in_force(wanted, outcome)
    outcome = plan_demand(wanted.demand, widest)
    if isinstance(outcome, Plan):
        return _in_force(wanted, outcome)
    fewer = most_replicas(wanted.demand, widest, shared)
    if fewer is not None:
        return replace(_in_force(wanted, fewer), refusal=outcome)
    widened = usable.widened
    return PlanInForce(None, None, outcome) if widened is None else _unlimited(wanted, widened, shared)


def _in_force(wanted: Wanted, plan: Plan) -> PlanInForce:
    return PlanInForce(replace(plan, groups=()), record_plan(plan, wanted.asks), fresh=plan.groups)


def dated(made: PlanInForce, now: float) -> PlanInForce:
    """Add the time to a plan that was just made. ``now`` is in seconds since the epoch."""
    if made.recorded is None or not made.fresh:
        return made
    return replace(made, recorded=replace(made.recorded, made_at=now))


def again(wanted: Wanted, before: PlanInForce, refusal: Refusal, usable: UsableFleet) -> PlanInForce:
    """Plan a demand again whose plan has no place any more. ``refusal`` says why its shape has no place."""
    made = new_plan(wanted, usable)
    if made.plan is None or before.plan is None:
        return replace(before, refusal=refusal)
    if made.plan.layout.world_size < before.plan.layout.world_size and not wanted.restart.smaller_layout:
        return replace(before, refusal=_smaller(refusal, made.plan, len(made.fresh)))
    return made


def _smaller(refusal: Refusal, plan: Plan, replicas: int) -> Refusal:
    hint = Hint(
        "spec.restartPolicy.smallerLayout", True, plan.layout, plan.product, gpus=plan.layout.world_size * replicas
    )
    return replace(refusal, hints=(hint,))


def one_more(wanted: Wanted, plan: Plan) -> Demand:
    """Demand another group of the same shape as the groups of a plan."""
    layout = plan.layout
    return replace(
        wanted.demand,
        replicas=1,
        gpu_budget=layout.world_size,
        products=(plan.product,),
        pins=Pins.of(layout),
        context_length=plan.context_length,
        concurrency=plan.concurrency,
        least_context=None,
        target=None,
        together=wanted.demand.pins.data is None,
    )


def with_group(plan: Plan, replica: int, nodes: tuple[str, ...], gpus: int, domains: Mapping[str, str]) -> Plan:
    """Give a plan with a single group in its place. A node that the fleet does not know is its own NVLink domain."""
    pods = tuple(
        PodPlacement(index, node, domains.get(node, node), gpus, tuple(range(index * gpus, (index + 1) * gpus)))
        for index, node in enumerate(nodes)
    )
    return replace(plan, groups=(GroupPlacement(replica, pods),))


def identity(wanted: Wanted, plan: Plan, nodes: tuple[str, ...], gpus: int) -> str:
    """Name the content of a group's pods: the user's spec, the plan in force, and the place if the plan picks it."""
    layout = plan.layout
    shape = [*layout_data(layout).values(), plan.context_length, plan.concurrency]
    place = [""] * len(nodes) if wanted.left_open else list(nodes)
    return json_digest([wanted.content, shape, place, gpus])


def over_budget(wanted: Wanted, plan: Plan, fleet: Fleet) -> Refusal:
    """Refuse replicas that the budget does not allow. The hint is given if the fleet has room for them."""
    demand = wanted.demand
    needed = plan.layout.world_size * demand.replicas
    rejected = RejectedLayout(plan.layout, plan.product, budget_cause(demand, needed))
    whole = replace(one_more(wanted, plan), replicas=demand.replicas, gpu_budget=needed)
    hint = Hint("spec.gpuBudget.total", needed, plan.layout, plan.product, gpus=needed)
    return Refusal(
        reason=RefusalReason.BUDGET_SHORT,
        waits=False,
        rejected=(rejected,),
        nearest=rejected,
        hints=(hint,) if isinstance(plan_demand(whole, fleet, hinted=False), Plan) else (),
        nodes=len(fleet.nodes),
        free_gpus=sum(node.free for node in fleet.nodes),
    )


def within_limit(demand: Demand, made: Plan, fleet: Fleet, limit: GpuLimit | None) -> Plan | Refusal:
    """Give a plan for all replicas that holds no more GPUs than a limit leaves. ``made`` is the plan without it."""
    gpus = sum(map(gpus_of, made.groups))
    if limit is None or gpus <= limit.left:
        return made
    smaller = plan_demand(replace(demand, gpu_budget=limit.left), fleet, hinted=False) if limit.left else None
    return smaller if isinstance(smaller, Plan) else over_quota(made, gpus, UsableFleet(fleet, limit=limit))


def over_quota(plan: Plan, gpus: int, usable: UsableFleet) -> Refusal:
    """Refuse a group with which the object would hold more GPUs than its namespace allows. There must be a limit."""
    rejected = RejectedLayout(plan.layout, plan.product, _over(gpus, usable))
    return Refusal(
        reason=RefusalReason.QUOTA_SHORT,
        waits=False,
        rejected=(rejected,),
        nearest=rejected,
        hints=(),
        nodes=len(usable.fleet.nodes),
        free_gpus=sum(node.free for node in usable.fleet.nodes),
    )


def _over(gpus: int, usable: UsableFleet) -> OverQuota:
    assert usable.limit is not None  # noqa: S101 - called only with a limit
    return OverQuota(gpus, usable.limit.name, usable.limit.hard, usable.limit.used)
