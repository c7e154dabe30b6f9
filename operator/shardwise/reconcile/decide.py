"""The decision for an object: work out its desired state, then report the state and list the actions that reach it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardwise.domain.launch import Wanted
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.reasons import Reason
from shardwise.engines import problems
from shardwise.reconcile.actions import Decision, Emit
from shardwise.reconcile.asks import Ask, TokenAsk
from shardwise.reconcile.carry_out import actions_of, budget, to_keep
from shardwise.reconcile.cluster_queue import group_too_large, with_lent_gpus
from shardwise.reconcile.desired import Case, DesiredState, desired_state, remember
from shardwise.reconcile.endings import attempt_ends
from shardwise.reconcile.fabric import lacking_compute_domains
from shardwise.reconcile.figures import asks, until_next_ask
from shardwise.reconcile.gang import gang_obstacle, ignored_gangs
from shardwise.reconcile.idle import token_asks, until_next_token_ask
from shardwise.reconcile.left_alone import invalid_status, paused_status
from shardwise.reconcile.life import until_next
from shardwise.reconcile.mender import Mender, mended_by
from shardwise.reconcile.mends import Mends, contested, mends_after, next_mend
from shardwise.reconcile.node_changes import node_changes
from shardwise.reconcile.observed import Observed
from shardwise.reconcile.open_places import landing
from shardwise.reconcile.refused import until_next_try
from shardwise.reconcile.role_decisions import RoleDecision, whole_actions, whole_status
from shardwise.reconcile.roles import Decided, decided_roles, without_roles
from shardwise.reconcile.status import Progress, status_of
from shardwise.reconcile.tell import told, write_refused


@dataclass(frozen=True, slots=True)
class Invalid:
    """An object that cannot be honoured, with the reason for people and its stable name.

    ``retry_after`` is in seconds; ``None`` means that an event will come, such as an edit or the end of a look-up.
    """

    generation: int
    message: str
    reason: Reason = Reason.INVALID_SPEC
    retry_after: float | None = None


def decide(wanted: Wanted, observed: Observed, now: float) -> Decision:
    """Decide the next actions for an object. ``now`` is in seconds since the epoch."""
    if wanted.paused:
        return Decision(paused_status(observed, wanted.generation, now))
    refused = problems(wanted)
    if refused:
        message = "; ".join(f"{field}: {text}" for field, text in refused)
        return decide_invalid(Invalid(wanted.generation, message), observed, now)
    decided = decided_roles(wanted, observed, now) if wanted.roles else _alone(wanted, observed, now)
    for case, desired in decided:
        obstacle = obstacle_of(case, desired)
        if obstacle is not None:
            reason = Reason(obstacle.reason)
            return decide_invalid(Invalid(wanted.generation, obstacle.message, reason), observed, now)
    return _of_roles(decided, observed, now) if wanted.roles else _reported(*decided[0])


def _alone(wanted: Wanted, observed: Observed, now: float) -> Sequence[Decided]:
    """Decide on an object without roles."""
    case = remember(wanted, replace(observed, status=without_roles(observed.status)), now)
    desired = desired_state(case)
    return ((replace(case, wanted=desired.wanted), desired),)


def _of_roles(decided: Sequence[Decided], observed: Observed, now: float) -> Decision:
    """Put the decisions for the roles of an object together."""
    roles = [RoleDecision(case.wanted, _reported(case, desired)) for case, desired in decided]
    status = whole_status(roles, observed.status, now)
    case, mender = decided[0][0], Mender(observed.mends, now)
    pods = sum(to_keep(case.wanted, desired.group_set) for case, desired in decided)
    planned = any(desired.in_force.plan is not None for _, desired in decided)
    acts = (*budget(case, pods, mender, planned=planned), *whole_actions(roles, status))
    mends = mends_after(observed.mends, mended_by(acts), now)
    waits = [wait for role in roles if (wait := role.decision.retry_after) is not None]
    return Decision(
        status,
        acts,
        min(waits, default=None),
        mends,
        tuple(end for role in roles for end in role.decision.ends),
        sum(role.decision.leaving for role in roles),
        tuple(ask for role in roles for ask in role.decision.asks),
    )


def obstacle_of(case: Case, desired: DesiredState) -> Obstacle | None:
    """Give what the cluster lacks for the plan to be carried out; ``None`` if nothing is lacking."""
    lacking = compute_domains_lacking(case, desired)
    if lacking:
        return Obstacle(Reason.COMPUTE_DOMAINS_MISSING.value, lacking)
    missing = gang_obstacle(case.wanted, case.observed.gang)
    return missing or group_too_large(case.wanted, desired.group_set.records)


def compute_domains_lacking(case: Case, desired: DesiredState) -> str:
    """Say why the groups cannot begin without ComputeDomains; empty if nothing prevents them."""
    plan, records = desired.in_force.plan, desired.group_set.records
    return lacking_compute_domains(case.wanted, plan, records, case.observed, desired.nodes.usable)


def decide_invalid(invalid: Invalid, observed: Observed, now: float) -> Decision:
    """Report an object that cannot be honoured. Its pods stay, because the last edit may be the mistake."""
    status = invalid_status(observed, invalid.generation, invalid.reason, invalid.message, now)
    if invalid.reason is Reason.MODEL_FACTS_UNAVAILABLE:
        return Decision(status, retry_after=invalid.retry_after)
    said = status.message == observed.status.message
    return Decision(status, () if said else (Emit(invalid.reason, invalid.message, warning=True),))


def _reported(case: Case, desired: DesiredState) -> Decision:
    """Write the status, the actions and the Events of a desired state."""
    observed, now = case.observed, case.terms.now
    actions = tuple(actions_of(case, desired))
    mends = mends_after(observed.mends, mended_by(actions), now)
    progress = _progress(case, desired, mends)
    status = status_of(progress, observed.status, now)
    events = (*told(progress, status, observed), *write_refused(status, observed))
    ends = tuple(attempt_ends(desired.before, desired.group_set.records))
    leaving = sum(view.leaving for view in desired.group_set.groups)
    asked: tuple[Ask | TokenAsk, ...] = (
        *asks(case.wanted, desired.in_force.plan, desired.group_set, observed, now),
        *token_asks(case.wanted, desired.group_set.groups, observed, now),
    )
    return Decision(status, (*actions, *events), _retry_after(case, desired, mends), mends, ends, leaving, asked)


def _progress(case: Case, desired: DesiredState, mends: Mends) -> Progress:
    return Progress(
        case.wanted,
        desired.in_force.plan,
        desired.in_force.recorded,
        desired.group_set,
        desired.before,
        desired.nodes.shuns,
        case.observed.turn,
        refused=case.observed.refused,
        contested=contested(mends),
        changed=node_changes(desired.in_force.plan, desired.group_set.groups, with_lent_gpus(case.observed)),
        landed={view.record.replica: landing(view.record, case.observed.fleet) for view in desired.group_set.groups},
        ganged=ignored_gangs(case.wanted, desired.group_set.groups, case.observed.gang),
        missing=case.observed.attachments.missing,
    )


def _retry_after(case: Case, desired: DesiredState, mends: Mends) -> float | None:
    """Give the seconds until time alone changes something: a wait ends, a grace passes, a node is forgiven.

    A contested object is put right again, or forgotten.
    """
    groups, now = desired.group_set.groups, case.terms.now
    ends = [*(until_next(view, case.terms) for view in groups), next_mend(mends, now)]
    ends.append(until_next_try(groups, now) if desired.group_set.obstacle is None else None)
    ends.append(until_next_ask(case.wanted, desired.in_force.plan, desired.group_set, case.observed, now))
    ends.append(until_next_token_ask(case.wanted, groups, case.observed, now))
    if desired.group_set.refusal is not None:
        ends += [shun.until - case.terms.now for shun in desired.nodes.shuns if shun.counts]
    return min((end for end in ends if end is not None), default=None)
