"""Which plan is in force: the recorded one, for as long as it answers the demand and can be carried out.

A better plan never replaces one that works. A group whose node is gone, and one that scaling adds, is planned anew in
the layout the others have; only where no group is left alive is the whole demand planned again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.domain.refusal import Attempt, Hint, OverBudget, Refusal, RefusalReason
from shardwise.explain import demand_fingerprint, plan_document, plan_from_document
from shardwise.planner import plan as plan_demand
from shardwise.planner import take
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.records import Record, State


@dataclass(frozen=True, slots=True)
class InForce:
    """The plan to carry out, its document for the status, and the refusal where not all of the demand has one."""

    plan: Plan | None
    document: dict[str, Any] | None
    refusal: Refusal | None = None


def in_force(
    demand: Demand,
    status: Mapping[str, Any],
    records: Mapping[int, Record],
    pods: tuple[PodSeen, ...],
    fleet: Fleet,
) -> InForce:
    """Keep, mend or make the plan. ``fleet`` is the fleet as if this object held nothing."""
    recorded = _recorded(status, fingerprint(demand))
    if recorded is None:
        return _made(demand, plan_demand(demand, fleet))
    plan, document = recorded
    kept = tuple(
        group for group in plan.groups if group.replica < demand.replicas and _holds(group, records, pods, fleet)
    )
    if len(kept) == demand.replicas == len(plan.groups):
        return InForce(plan, document)
    if len(kept) == demand.replicas:
        return _regrouped(plan, document, kept)
    return _mended(demand, plan, document, kept, fleet) if kept else _made(demand, plan_demand(demand, fleet))


def fingerprint(demand: Demand) -> str:
    """Name a demand whatever its replicas: scaling keeps the groups that are there."""
    return demand_fingerprint(replace(demand, replicas=1))


def _recorded(status: Mapping[str, Any], wanted: str) -> tuple[Plan, dict[str, Any]] | None:
    document = status.get("plan")
    if not document or document.get("demand") != wanted:
        return None
    try:
        return plan_from_document(document), dict(document)
    except (KeyError, TypeError, ValueError):
        return None


def _holds(group: GroupPlacement, records: Mapping[int, Record], pods: tuple[PodSeen, ...], fleet: Fleet) -> bool:
    """Tell whether a group can stay where it is: all its pods live, or all its nodes could take them again."""
    record = records.get(group.replica, Record(group.replica))
    present = sum(
        pod.replica == group.replica and pod.attempt == record.attempt and not pod.deleting and not pod.failure
        for pod in pods
    )
    if present == len(group.pods) and record.state in (State.STARTING, State.READY, State.HELD):
        return True
    usable = {node.name for node in fleet.nodes if node.exclusion is None}
    return all(pod.node in usable for pod in group.pods)


def _made(demand: Demand, outcome: Plan | Refusal) -> InForce:
    if isinstance(outcome, Refusal):
        return InForce(None, None, outcome)
    return InForce(outcome, plan_document(outcome) | {"demand": fingerprint(demand)})


def _regrouped(plan: Plan, document: dict[str, Any], groups: tuple[GroupPlacement, ...]) -> InForce:
    regrouped = replace(plan, groups=groups)
    fresh = plan_document(regrouped)
    return InForce(regrouped, document | {"groups": fresh["groups"], "replicas": fresh["replicas"]})


def _mended(
    demand: Demand, plan: Plan, document: dict[str, Any], kept: tuple[GroupPlacement, ...], fleet: Fleet
) -> InForce:
    """Plan the missing groups in the layout of the others, beside them."""
    present = {group.replica for group in kept}
    missing = [replica for replica in range(demand.replicas) if replica not in present]
    outcome = plan_demand(_like(plan, demand, len(missing)), take(fleet, replace(plan, groups=kept)))
    needed = plan.layout.world_size * demand.replicas
    if needed > demand.gpu_budget:
        outcome = _over_budget(demand, plan, needed, outcome, fleet)
    elif isinstance(outcome, Refusal):
        outcome = replace(outcome, hints=())  # they would be true of the missing groups alone
    if isinstance(outcome, Refusal):
        return replace(_regrouped(plan, document, kept), refusal=outcome)
    added = (replace(group, replica=missing[group.replica]) for group in outcome.groups)
    return _regrouped(plan, document, tuple(sorted((*kept, *added), key=lambda group: group.replica)))


def _like(plan: Plan, demand: Demand, replicas: int) -> Demand:
    """Demand more replicas in the layout and on the product of a plan."""
    layout = plan.layout
    return replace(
        demand,
        replicas=replicas,
        gpu_budget=layout.world_size * replicas,
        products=(plan.product,),
        pins=Pins(layout.tensor, layout.pipeline, layout.expert),
    )


def _over_budget(demand: Demand, plan: Plan, needed: int, outcome: Plan | Refusal, fleet: Fleet) -> Refusal:
    """Refuse replicas the budget does not allow; the hint is given where the fleet has room for them."""
    cause = OverBudget(needed, demand.gpu_budget, demand.replicas)
    attempt = Attempt(plan.layout, plan.product, cause)
    hint = Hint("spec.gpuBudget.total", needed, plan.layout, plan.product, gpus=needed)
    return Refusal(
        reason=RefusalReason.BUDGET_SHORT,
        waits=False,
        attempts=(attempt,),
        nearest=attempt,
        hints=(hint,) if isinstance(outcome, Plan) else (),
        nodes=len(fleet.nodes),
        free_gpus=sum(node.free for node in fleet.nodes),
    )
