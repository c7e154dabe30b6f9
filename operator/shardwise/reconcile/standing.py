"""The standing of an object, from the same observation as a decision. Nothing is decided here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.domain.launch import Wanted
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.domain.reasons import Reason
from shardwise.domain.refusal import Refusal
from shardwise.domain.standing import GroupStanding, PodStanding, QueueStanding, Standing
from shardwise.planner import plan
from shardwise.reconcile.cluster_queue import with_lent_gpus
from shardwise.reconcile.decide import obstacle_of
from shardwise.reconcile.desired import Case, DesiredState, desired_state, remember
from shardwise.reconcile.node_changes import node_changes
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.observed import Observed, PodSeen
from shardwise.reconcile.open_places import landing
from shardwise.reconcile.plans import with_group
from shardwise.reconcile.records import Record, format_time
from shardwise.reconcile.refused import refusal_told
from shardwise.reconcile.role_plans import role_of
from shardwise.reconcile.roles import decided_roles, without_roles
from shardwise.reconcile.turns import Turn
from shardwise.reconcile.usable_fleet import UsableFleet


def standings_of(wanted: Wanted, observed: Observed, now: float) -> Mapping[str, Standing]:
    """Report the standing of an object, or of each of its roles by name. ``now`` is as of ``decide``."""
    if not wanted.roles:
        return {"": standing_of(wanted, observed, now)}
    decided = decided_roles(wanted, observed, now)
    return _told_once({role_of(case.wanted).value: _standing(case, desired) for case, desired in decided})


def _told_once(standings: Mapping[str, Standing]) -> Mapping[str, Standing]:
    """Give the standing of the role that was refused alone, where neither role can begin for want of its plan."""
    name, standing = next(iter(standings.items()))
    refusal = standing.next
    if not isinstance(refusal, Refusal) or not all(_waits_for(other, refusal) for other in standings.values()):
        return standings
    refused = name if refusal.asked is None else refusal.asked.role or name
    return {refused: replace(standings[refused], keeps_back=True)}


def _waits_for(standing: Standing, refusal: Refusal) -> bool:
    """Tell whether a role has no group, and does not begin for a refusal alone."""
    return standing.next is refusal and standing.obstacle is None and not standing.groups


def standing_of(wanted: Wanted, observed: Observed, now: float) -> Standing:
    """Report the standing of an object without roles. ``now`` is in seconds since the epoch, as of ``decide``."""
    case = remember(wanted, replace(observed, status=without_roles(observed.status)), now)
    return _standing(case, desired_state(case))


def _standing(case: Case, desired: DesiredState) -> Standing:
    wanted, observed, status = case.wanted, case.observed, case.observed.status
    planned = _planned(status, desired.nodes.usable)
    today = plan(wanted.demand, observed.fleet)
    following = _next(desired.wanted, desired, today)
    return Standing(
        planned=planned,
        planned_at=_planned_at(status) if planned is not None else "",
        changed=planned is not None and status.plan is not None and status.plan.demand != wanted.asks,
        lost=() if planned is None else tuple(_lost(planned, observed.fleet)),
        next=following,
        today=today,
        groups=tuple(_groups(planned, status.records, observed)),
        generation=wanted.generation,
        observed=status.generation,
        paused=wanted.paused,
        queue=_queue(observed.turn) if isinstance(following, Refusal) and following.waits else None,
        obstacle=None if wanted.paused else _obstacle(case, desired),
        changed_nodes=node_changes(desired.in_force.plan, desired.group_set.groups, with_lent_gpus(observed)),
        half=wanted.demand.half,
    )


def _obstacle(case: Case, desired: DesiredState) -> Obstacle | None:
    """Give the obstacle that keeps all groups from beginning, if there is an obstacle."""
    lacking = obstacle_of(case, desired) or desired.group_set.obstacle
    if lacking is not None:
        return lacking
    told = refusal_told(desired.group_set.groups)
    placed = any(record.nodes for record in desired.group_set.records)
    return Obstacle(Reason.PODS_REFUSED.value, told) if told and not placed else None


def _queue(turn: Turn) -> QueueStanding | None:
    return QueueStanding(turn.position, turn.length, turn.first) if turn.length > 1 else None


def _next(wanted: Wanted, desired: DesiredState, today: Plan | Refusal) -> Plan | Refusal:
    """Give the plan that the operator goes on with. If some replicas have no plan, give their refusal."""
    in_force = desired.in_force
    if desired.group_set.refusal is not None or in_force.plan is None:
        return desired.group_set.refusal or today
    placed = [view for view in desired.group_set.groups if view.record.nodes and not (in_force.fresh and view.stale)]
    placed.sort(key=lambda view: (bool(view.faulty_nodes), view.record.attempt == 0, view.record.replica))
    groups = _placements(
        in_force.plan, (view.record for view in placed[: wanted.demand.replicas]), desired.nodes.usable
    )
    made = replace(in_force.plan, groups=groups or in_force.fresh)
    if not isinstance(today, Plan) or not _same(made, today):
        return made
    # Only the plan of today knows its alternatives; no status holds them. Only the plan of both roles has their notes.
    return replace(today, notes=made.notes) if wanted.launch.role and made.notes else today


def _same(first: Plan, other: Plan) -> bool:
    return (first.layout, first.product, first.groups) == (other.layout, other.product, other.groups)


def _placements(made: Plan, records: Iterable[Record], usable: UsableFleet) -> tuple[GroupPlacement, ...]:
    ordered = sorted(records, key=lambda record: record.replica)
    domains = usable.domains(node for record in ordered for node in record.known_nodes)
    return tuple(
        with_group(made, record.replica, record.known_nodes, record.gpus, domains).groups[0] for record in ordered
    )


def _planned(status: Status, usable: UsableFleet) -> Plan | None:
    """Read the plan of a status, with its groups in their places; ``None`` if no group has a place.

    A plan that this version cannot read counts as no plan, as it does for the operator.
    """
    placed = [record for record in status.records.values() if record.nodes]
    if status.plan is None or not placed:
        return None
    return replace(status.plan.plan, groups=_placements(status.plan.plan, placed, usable))


def _planned_at(status: Status) -> str:
    """Give the time when the plan was made. The version before this version recorded only when it was first planned."""
    planned = status.condition("Planned")
    first = planned.since if planned is not None and planned.status == "True" else 0.0
    made_at = (status.plan.made_at if status.plan is not None else 0.0) or first
    return format_time(made_at) if made_at else ""


def _lost(planned: Plan, fleet: Fleet) -> Iterator[tuple[str, Exclusion | None]]:
    """Name the nodes that cannot be used any more, each with the reason; ``None`` if the node is gone."""
    nodes = {node.name: node for node in fleet.nodes}
    for name in dict.fromkeys(pod.node for group in planned.groups for pod in group.pods if pod.node):
        if name not in nodes:
            yield name, None
        elif nodes[name].exclusion is not None:
            yield name, nodes[name].exclusion


def _groups(planned: Plan | None, records: dict[int, Record], observed: Observed) -> Iterator[GroupStanding]:
    for group in planned.groups if planned is not None else ():
        record = records.get(group.replica, Record(group.replica))
        mine = [pod for pod in observed.pods if (pod.replica, pod.attempt) == (group.replica, record.attempt)]
        yield GroupStanding(
            replica=group.replica,
            state=record.state.value,
            since=format_time(record.since) if record.since else "",
            attempt=record.attempt,
            failures=record.failures,
            message=record.message or landing(record, observed.fleet),
            ready=sum(pod.ready for pod in mine),
            pods=len(group.pods),
            waiting=tuple(_waiting(sorted(mine, key=lambda pod: pod.index))),
            cache=record.cache,
        )


def _waiting(pods: list[PodSeen]) -> Iterator[PodStanding]:
    for pod in pods:
        if not pod.ready:
            yield PodStanding(pod.index, pod.node, "being deleted" if pod.deleting else pod.failure or pod.waiting)
