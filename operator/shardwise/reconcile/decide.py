"""The decision for one object: which plan, which groups, what of each to make and to remove, and what to report."""

from dataclasses import dataclass, replace

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.reasons import Reason
from shardwise.engines import problems
from shardwise.reconcile.actions import Decision, Emit
from shardwise.reconcile.carry_out import actions_of
from shardwise.reconcile.fabric import lacking_compute_domains
from shardwise.reconcile.group_set import GroupSet, GroupSetBuilder, places_of, retained, without_plan
from shardwise.reconcile.inherited import inherited
from shardwise.reconcile.left_alone import invalid_status, paused_status
from shardwise.reconcile.life import Terms, Trigger, advance, decided, until_next
from shardwise.reconcile.look import look
from shardwise.reconcile.observed import Observed
from shardwise.reconcile.plans import PlanInForce, again, dated, identity, new_plan, recorded
from shardwise.reconcile.records import State, read_records
from shardwise.reconcile.roll import roll
from shardwise.reconcile.shunned import ShunReason, Shuns, held_against, left_out, read_shunned
from shardwise.reconcile.status import Progress, status_of
from shardwise.reconcile.tell import told, write_refused
from shardwise.reconcile.turns import kept_back
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView

Views = tuple[GroupView, ...]


@dataclass(frozen=True, slots=True)
class Invalid:
    """An object that cannot be honoured, with the reason for people and its stable name."""

    generation: int
    message: str
    reason: Reason = Reason.INVALID_SPEC
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """What becomes of an object: the plan in force, its groups before and after, what it shuns, where it may go."""

    in_force: PlanInForce
    before: Views
    group_set: GroupSet
    shuns: Shuns
    usable: UsableFleet

    def progress(self, wanted: Wanted, observed: Observed) -> Progress:
        """Give what the status and the Events are made from."""
        plan, document = self.in_force.plan, self.in_force.document
        return Progress(
            wanted, plan, document, self.group_set, self.before, self.shuns, observed.turn, refused=observed.refused
        )


def decide(wanted: Wanted, observed: Observed, now: float) -> Decision:
    """Decide what to do for one object. ``now`` is seconds since the epoch."""
    if wanted.paused:
        return Decision(paused_status(observed, wanted.generation, now))
    refused = problems(wanted)
    if refused:
        message = "; ".join(f"{field}: {text}" for field, text in refused)
        return decide_invalid(Invalid(wanted.generation, message), observed, now)
    way = course(wanted, observed, now)
    lacking = lacking_compute_domains(wanted, way.in_force.plan, way.group_set.records, observed, way.usable)
    if lacking:
        return decide_invalid(Invalid(wanted.generation, lacking, Reason.COMPUTE_DOMAINS_MISSING), observed, now)
    progress = way.progress(wanted, observed)
    status = status_of(progress, observed.status, now)
    actions = actions_of(wanted, way.in_force.plan, way.group_set, observed, way.usable)
    events = (*told(progress, status, observed), *write_refused(status, observed))
    return Decision(status, (*actions, *events), _retry_after(way.group_set, way.shuns, Terms(wanted.restart, now)))


def course(wanted: Wanted, observed: Observed, now: float) -> Course:
    """Work out what becomes of an object's plan and groups, whatever is done about it. ``now`` is as of ``decide``."""
    observed = replace(observed, status=inherited(wanted, observed.status))
    terms = Terms(wanted.restart, now)
    shuns = read_shunned(observed.status, now)
    plan = _plan(wanted, observed, _usable(observed, shuns, now))
    before = look(wanted, plan.plan, observed, _usable(observed, shuns, now), now)
    after = tuple(_advanced(view, terms) for view in before)
    shuns = _blamed(before, after, shuns, now)
    after = tuple(map(_forgiven, before, after))
    usable = _usable(observed, shuns, now)
    plan, group_set = _with_groups(wanted, plan, after, observed, usable, terms)
    there = frozenset((pod.replica, pod.attempt) for pod in observed.pods)
    return Course(dated(plan, now), before, _stamped(wanted, plan.plan, before, group_set, there), shuns, usable)


def decide_invalid(invalid: Invalid, observed: Observed, now: float) -> Decision:
    """Report an object that cannot be honoured, and leave what runs alone: the mistake may be the last edit's."""
    status = invalid_status(observed, invalid.generation, invalid.reason, invalid.message, now)
    if invalid.retry_after is not None:
        return Decision(status, retry_after=invalid.retry_after)
    said = invalid.message == observed.status.get("message")
    return Decision(status, () if said else (Emit(invalid.reason, invalid.message, warning=True),))


def _plan(wanted: Wanted, observed: Observed, usable: UsableFleet) -> PlanInForce:
    """Keep the plan that answers the demand, or make one."""
    return recorded(observed.status, wanted.asks) or new_plan(wanted, usable)


def _usable(observed: Observed, shuns: Shuns, now: float) -> UsableFleet:
    own: dict[str, int] = {}
    for record in read_records(observed.status).values():
        for node in record.nodes:
            own[node] = own.get(node, 0) + record.gpus
    return UsableFleet(
        fleet=observed.fleet,
        barred=left_out(shuns, ShunReason.UNSCHEDULABLE),
        blamed=left_out(shuns, ShunReason.FAILED),
        kept=kept_back(observed.turn, observed.fleet, now),
        own=own,
    )


def _advanced(view: GroupView, terms: Terms) -> GroupView:
    """Give a group after what is seen of it. The next attempt has no pods yet, and is of what is wanted now.

    The place of one of old content may be of another shape, or where nothing is wanted any more: it looks for another.
    """
    record = advance(view, terms)
    if record.attempt == view.record.attempt:
        return replace(view, record=record)
    begun = replace(view, record=record, pods=(), stale=False)
    if view.stale and record.state is State.PENDING:
        return replace(begun, record=decided(begun, Trigger.DISPLACED, terms))
    return begun


def _forgiven(old: GroupView, new: GroupView) -> GroupView:
    """Forget the failures of old content: they are not those of what is begun in its place."""
    anew = old.stale and new.record.attempt > old.record.attempt
    return replace(new, record=replace(new.record, failures=0)) if anew else new


def _blamed(before: Views, after: Views, shuns: Shuns, now: float) -> Shuns:
    """Hold failures against the nodes they happened on, and places that were none against theirs."""
    for old, new in zip(before, after, strict=True):
        if new.record.failures > old.record.failures and old.failed is not None and old.failed.node:
            shuns = held_against(shuns, [old.failed.node], ShunReason.FAILED, now)
        if new.record.state is State.WAITING and old.record.state is State.STARTING and not old.shut_out:
            refused = [old.record.nodes[pod.index] for pod in old.refused]
            shuns = held_against(shuns, refused, ShunReason.UNSCHEDULABLE, now)
    return shuns


def _with_groups(
    wanted: Wanted, plan: PlanInForce, groups: Views, observed: Observed, usable: UsableFleet, terms: Terms
) -> tuple[PlanInForce, GroupSet]:
    """Work out the groups; where none is left and none of their shape has a place, by a new plan."""
    group_set = _group_set(wanted, plan, groups, observed, usable, terms)
    lost = plan.plan is not None and not plan.fresh and not any(view.record.nodes for view in group_set.groups)
    if not (lost and group_set.refusal is not None and group_set.refusal.waits and wanted.demand.replicas):
        return plan, group_set
    remade = again(wanted, plan, group_set.refusal, usable)
    if not remade.fresh:
        return remade, replace(group_set, refusal=remade.refusal)
    return remade, _group_set(wanted, remade, groups, observed, usable, terms)


def _group_set(
    wanted: Wanted, plan: PlanInForce, groups: Views, observed: Observed, usable: UsableFleet, terms: Terms
) -> GroupSet:
    if plan.plan is None:
        return without_plan(wanted, plan, groups)
    builder = GroupSetBuilder(wanted, plan.plan, usable, terms, frozenset(pod.replica for pod in observed.pods))
    builder.keep(retained(wanted, groups))
    builder.fill(places_of(plan) if not builder.capacity.taken else ())
    roll(builder)
    return builder.build()


def _stamped(
    wanted: Wanted, plan: Plan | None, before: Views, group_set: GroupSet, pods: frozenset[tuple[int, int]]
) -> GroupSet:
    """Write down what the attempts that begin are made from; those found by their pods are looked at next time."""
    if plan is None:
        return group_set
    held = {view.record.replica for view in before if view.record.state is State.HELD}

    def stamp(view: GroupView) -> GroupView:
        record = view.record
        begins = record.state is State.PENDING and not record.content and (record.replica, record.attempt) not in pods
        lets_go = record.state is State.HELD and not record.nodes and record.replica not in held
        if not (begins or lets_go):
            return view
        return replace(view, record=replace(record, content=identity(wanted, plan, record.nodes, record.gpus)))

    return replace(group_set, groups=tuple(map(stamp, group_set.groups)))


def _retry_after(group_set: GroupSet, shuns: Shuns, terms: Terms) -> float | None:
    """Come back when time alone changes something: a wait ends, a grace passes, a node is forgiven."""
    ends = [until_next(view, terms) for view in group_set.groups]
    if group_set.refusal is not None:
        ends += [one.until - terms.now for one in shuns if one.counts]
    return min((end for end in ends if end is not None), default=None)
