"""The desired states of the roles of an object: decode first, then prefill with what decode leaves.

The plans of both roles are made together, so that their groups can exchange KV caches, and stay while both answer their
demands. Each role gets a share of the budget of GPUs that leaves the other role its replicas.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.roles import RoleName
from shardwise.planner.halves import for_other, sharing
from shardwise.reconcile.desired import Case, DesiredState, desired_state, judge_nodes, remember
from shardwise.reconcile.limits import limit_of
from shardwise.reconcile.look import look
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.observed import Observed, OtherRole
from shardwise.reconcile.plans import PlanInForce, new_plan, recorded, sized
from shardwise.reconcile.recorded_plan import record_plan
from shardwise.reconcile.role_plans import Planned, part_of, planned_part, planned_roles, role_of
from shardwise.reconcile.role_sights import Held, other_role, sight, status_of_role

Decided: TypeAlias = tuple[Case, DesiredState]

_ORDER = (RoleName.DECODE, RoleName.PREFILL)


def decided_roles(wanted: Wanted, observed: Observed, now: float) -> Sequence[Decided]:
    """Work out the desired state of each role. ``now`` is in seconds since the epoch."""
    parts, plans = _settled(wanted, observed, now)
    found: list[Decided] = []
    shuns = observed.status.shuns
    for name in _ORDER:
        whole = replace(observed, status=replace(observed.status, shuns=shuns))
        other, held = _other(parts, plans, whole, found, name, now)
        part = _with_share(parts[name], plans, held, name, parts[name.other].demand.replicas)
        case = remember(part, sight(part, whole, other, held), now)
        case = replace(case, settled=plans[name])
        desired = desired_state(case)
        refusal = desired.group_set.refusal
        if refusal is not None and refusal is not plans[name].refusal:
            desired = replace(desired, group_set=replace(desired.group_set, refusal=_without_hints(refusal)))
        found.append((replace(case, wanted=desired.wanted), desired))
        shuns = desired.nodes.shuns
    return found


def without_roles(status: Status) -> Status:
    """Give the status of an object that has no roles any more: its groups are those of an object like any other."""
    if not status.roles:
        return status
    groups = tuple(replace(group, record=replace(group.record, role="")) for group in status.groups or ())
    return replace(status, groups=groups, roles=())


def _other(
    parts: Mapping[RoleName, Wanted],
    plans: Mapping[RoleName, PlanInForce],
    observed: Observed,
    found: Sequence[Decided],
    name: RoleName,
    now: float,
) -> tuple[OtherRole, Held]:
    """Say what the other role has: as decided just now, or as its groups stand."""
    part, in_force = parts[name.other], plans[name.other]
    plan = in_force.plan
    nvlink = 1 if plan is None else plan.nvlink_gpus
    if found:
        group_set = found[0][1].group_set
        return other_role(group_set.groups, part.demand.replicas), Held(group_set.records, nvlink)
    seen = replace(observed, status=status_of_role(observed.status, name.other))
    seen = replace(seen, pods=tuple(pod for pod in seen.pods if pod.role == name.other.value))
    case = remember(part, seen, now)
    views = look(part, plan, case.observed, judge_nodes(case).usable, now)
    begins = None if plan is None or not in_force.fresh else replace(plan, groups=in_force.fresh)
    return other_role(views, part.demand.replicas), Held([view.record for view in views], nvlink, begins)


def _with_share(
    part: Wanted, plans: Mapping[RoleName, PlanInForce], held: Held, name: RoleName, replicas: int
) -> Wanted:
    """Give a role with the share of the budget that the other role, of so many ``replicas``, leaves it.

    Decode leaves prefill the replicas that it shall have; but a group of decode may always run, because decode can
    serve alone. Prefill gets what decode does not hold.
    """
    total, left = part.demand.gpu_budget, held.gpus
    mine, other = plans[name].plan, plans[name.other].plan
    if name is RoleName.DECODE and mine is not None and other is not None:
        needed = _fair(part, mine, other, replicas)
        left = max(left, min(needed, total - mine.layout.world_size), 0)
    return replace(part, demand=for_other(sharing(part.demand, left), other))


def _fair(part: Wanted, mine: Plan, other: Plan, replicas: int) -> int:
    """Give the GPUs of ``replicas`` of the other role; with a target, only its share if the budget is too small."""
    group, needed = other.layout.world_size, other.layout.world_size * replicas
    both, total = needed + mine.layout.world_size * part.demand.replicas, part.demand.gpu_budget
    if part.demand.target is None or both <= total:
        return needed
    return max(1, total * replicas // both) * group


def _settled(
    wanted: Wanted, observed: Observed, now: float
) -> tuple[Mapping[RoleName, Wanted], Mapping[RoleName, PlanInForce]]:
    """Give each role with its replicas, and the plans in force. A target decides the replicas, where there is one."""
    parts, plans = _planned(wanted, observed, now)
    running = Counter(record.role for record in observed.status.records.values())
    return {name: sized(part, plans[name], running[name.value]) for name, part in parts.items()}, plans


def _planned(
    wanted: Wanted, observed: Observed, now: float
) -> tuple[Mapping[RoleName, Wanted], Mapping[RoleName, PlanInForce]]:
    """Give the roles and their plans: those of the status, or new plans for both."""
    parts, known = _recorded(wanted, observed)
    if all(plan is not None for plan in known.values()):
        return parts, {name: plan for name, plan in known.items() if plan is not None}
    for name, plan in known.items():
        alone = None if plan is None else _beside(parts[name.other], plan, observed, now)
        if plan is not None and alone is not None:
            return parts, {name: plan, name.other: alone}
    return _together(wanted, parts, observed, now)


def _recorded(
    wanted: Wanted, observed: Observed
) -> tuple[Mapping[RoleName, Wanted], Mapping[RoleName, PlanInForce | None]]:
    """Give the roles, and the plans of the status that answer their demands.

    A new target that needs more GPUs of both plans together than the budget has leaves none of them.
    """
    parts: dict[RoleName, Wanted] = {}
    known: dict[RoleName, PlanInForce | None] = {}
    for name in _ORDER:
        part = _with_replicas(part_of(wanted, name), observed.status)
        other = known.get(name.other)
        parts[name] = part = replace(part, demand=for_other(part.demand, None if other is None else other.plan))
        known[name] = recorded(status_of_role(observed.status, name), part, observed.fleet)
    grown = any(_has_new_target(part, observed.status) for part in parts.values())
    needed = sum(_needed(part, known[name]) for name, part in parts.items())
    return parts, dict.fromkeys(_ORDER) if grown and needed > wanted.demand.gpu_budget else known


def _has_new_target(part: Wanted, status: Status) -> bool:
    planned = status.role(role_of(part).value).plan
    sizing = None if planned is None else planned.plan.sizing
    return part.demand.target is not None and (sizing is None or sizing.target != part.demand.target)


def _needed(part: Wanted, in_force: PlanInForce | None) -> int:
    """Count the GPUs of all replicas that a role shall have."""
    if in_force is None or in_force.plan is None:
        return 0
    return sized(part, in_force).demand.replicas * in_force.plan.layout.world_size


def _with_replicas(part: Wanted, status: Status) -> Wanted:
    """Give a role the replicas that the estimates asked for when it was planned, if its object does not state them."""
    if not part.demand.is_counted:
        return part
    planned = status.role(role_of(part).value)
    count = planned.wanted if planned.plan is not None and planned.plan.demand == part.asks else 1
    return replace(part, demand=replace(part.demand, replicas=max(1, count)))


def _beside(part: Wanted, other: PlanInForce, observed: Observed, now: float) -> PlanInForce | None:
    """Plan a role for the plan that the other role keeps; ``None`` if no change of the fleet can make that possible."""
    if other.plan is None or part.demand.is_counted:
        return None
    beside = role_of(part).other.value
    records = [record for record in observed.status.records.values() if record.role == beside]
    held = Held(records, other.plan.nvlink_gpus)
    taken = max(held.gpus, other.plan.layout.world_size)
    shared = replace(part, demand=for_other(sharing(part.demand, taken), other.plan))
    case = remember(shared, sight(shared, observed, OtherRole(), held), now)
    made = new_plan(shared, judge_nodes(case).usable)
    if made.refusal is not None:
        made = replace(made, refusal=_without_hints(made.refusal))
    return _dated(made, now) if made.plan is not None or (made.refusal is not None and made.refusal.may_pass) else None


def _without_hints(refusal: Refusal) -> Refusal:
    """Give the refusal of a role without its hints: they are changes of an object without roles."""
    return replace(refusal, hints=())


def _together(
    wanted: Wanted, parts: Mapping[RoleName, Wanted], observed: Observed, now: float
) -> tuple[Mapping[RoleName, Wanted], Mapping[RoleName, PlanInForce]]:
    """Plan both roles: with all their replicas, or else with as many as there is room for, to which others may come."""
    case = remember(parts[RoleName.DECODE], observed, now)
    *_, fleet = judge_nodes(case).usable.choices()
    limit = limit_of(wanted, observed.fleet, observed.quotas, observed.gpus_of_others)
    made = planned_roles(wanted, fleet, limit)
    refusal = next((found for _, found in made.values() if not isinstance(found, Plan)), None)
    if refusal is not None:
        made = _fewer(wanted, fleet, limit) or made
    if not all(isinstance(found, Plan) for _, found in made.values()):
        return parts, {name: PlanInForce(None, None, refusal) for name in _ORDER}
    return _counted(parts, made), {name: _in_force(parts[name], made, name, observed, now) for name in _ORDER}


def _fewer(wanted: Wanted, fleet: Fleet, limit: GpuLimit | None) -> Planned:
    """Plan a part of the rate of a target, or a replica of each role; empty where there is no room for that either."""
    if wanted.demand.target is not None:
        return planned_part(wanted, fleet, limit)
    made = planned_roles(_of_one_each(wanted), fleet, limit)
    return made if all(isinstance(found, Plan) for _, found in made.values()) else {}


def _of_one_each(wanted: Wanted) -> Wanted:
    roles = tuple(
        replace(part, demand=replace(part.demand, replicas=min(1, part.demand.replicas))) for part in wanted.roles
    )
    return replace(wanted, roles=roles)


def _counted(parts: Mapping[RoleName, Wanted], made: Planned) -> Mapping[RoleName, Wanted]:
    """Give each role the replicas that the estimates ask for, if its object does not state them."""
    return {
        name: replace(part, demand=replace(part.demand, replicas=made[name][0].demand.replicas))
        if part.demand.is_counted
        else part
        for name, part in parts.items()
    }


def _in_force(part: Wanted, made: Planned, name: RoleName, observed: Observed, now: float) -> PlanInForce:
    """Give a new plan in force. Its places are used only where no group of the object holds GPUs yet."""
    found = made[name][1]
    assert isinstance(found, Plan)  # noqa: S101 - called only with plans
    fresh = () if observed.status.holdings else found.groups
    return _dated(PlanInForce(replace(found, groups=()), record_plan(found, part.asks), fresh=fresh), now)


def _dated(made: PlanInForce, now: float) -> PlanInForce:
    if made.recorded is None:
        return made
    return replace(made, recorded=replace(made.recorded, made_at=now))
