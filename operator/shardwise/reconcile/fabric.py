"""NVLink between nodes, on a cluster that does not offer it to pods: the message, and the remedy."""

from dataclasses import replace

from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.planner import plan as plan_demand
from shardwise.reconcile.observed import Observed
from shardwise.reconcile.plans import with_group
from shardwise.reconcile.records import Record
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.render.bundle import needs_compute_domains


def lacking_compute_domains(
    wanted: Wanted, plan: Plan | None, records: tuple[Record, ...], observed: Observed, usable: UsableFleet
) -> str:
    """Say why groups that span nodes over NVLink are not started; empty if nothing prevents them, or pods exist."""
    if plan is None or observed.compute_domains or observed.pods:
        return ""
    for record in records:
        domains = usable.domains(record.nodes)
        placed = with_group(plan, record.replica, record.nodes, record.gpus, domains)
        message = missing_compute_domains(wanted, placed, observed.fleet)
        if message:
            return message
    return ""


def missing_compute_domains(wanted: Wanted, plan: Plan, fleet: Fleet) -> str:
    """Say why a plan cannot start without ComputeDomains, and name a remedy; empty if the plan needs none.

    A pin is named only if planning with the pin worked.
    """
    if not needs_compute_domains(wanted, plan):
        return ""
    pods = plan.groups[0].pods
    reason = (
        f"{plan.layout} shares each layer over {len(pods)} nodes by NVLink, which takes a ComputeDomain, and the "
        "cluster serves no `resource.nvidia.com/v1beta1`; install NVIDIA's DRA driver"
    )
    tensor = pods[0].gpus
    pinned = replace(wanted.demand, pins=replace(wanted.demand.pins, tensor=tensor))
    outcome = plan_demand(pinned, fleet)
    helps = isinstance(outcome, Plan) and not needs_compute_domains(wanted, outcome)
    return f"{reason}, or pin `spec.parallelism.tensor` to {tensor}" if helps else reason
