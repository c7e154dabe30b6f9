"""The desired state of an object: the plan in force, its groups, and the nodes to avoid. Nothing is written here.

The steps: remember the status, judge the nodes, look at the groups, advance the groups, blame nodes, place groups and
replace groups.
"""

from dataclasses import dataclass, replace

from shardwise.domain.launch import Wanted
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.plan import Plan
from shardwise.reconcile.cluster_queue import missing_queue, on_offer
from shardwise.reconcile.figures import with_figures
from shardwise.reconcile.gang import as_served
from shardwise.reconcile.group_set import GroupSet, GroupSetBuilder, hindered, places_of, retained, without_plan
from shardwise.reconcile.idle import with_hangs
from shardwise.reconcile.inherited import inherited
from shardwise.reconcile.life import Terms, Trigger, advance, decided
from shardwise.reconcile.limits import limit_of
from shardwise.reconcile.look import look
from shardwise.reconcile.observed import Observed
from shardwise.reconcile.plans import PlanInForce, again, dated, identity, new_plan, recorded, sized
from shardwise.reconcile.records import BEGINNING, State
from shardwise.reconcile.refused import tries_of, with_words_once
from shardwise.reconcile.roll import roll
from shardwise.reconcile.shunned import ShunReason, Shuns, held_against, left_out, still_shunned
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView

Views = tuple[GroupView, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """The input of every step: the object as its user wants it, the observation, and the terms of its groups.

    ``settled`` is the plan of a role that was made together with the plan of the other role. ``obstacle`` keeps groups
    from beginning, whatever the plan; all others go on.
    """

    wanted: Wanted
    observed: Observed
    terms: Terms
    settled: PlanInForce | None = None
    obstacle: Obstacle | None = None


@dataclass(frozen=True, slots=True)
class JudgedNodes:
    """The nodes that the object avoids, and the fleet that it may use because of that."""

    shuns: Shuns
    usable: UsableFleet


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The plan in force, the groups before and after the decision, and the nodes as judged.

    ``wanted`` is the object with as many replicas as its target needs.
    """

    wanted: Wanted
    in_force: PlanInForce
    before: Views
    group_set: GroupSet
    nodes: JudgedNodes


def desired_state(case: Case) -> DesiredState:
    """Work out the desired state of an object, step by step."""
    nodes = judge_nodes(case)
    in_force = plan_in_force(case, nodes.usable)
    before = look(case.wanted, in_force.plan, case.observed, nodes.usable, case.terms.now)
    before = with_hangs(before, case.observed)
    after = tuple(_advanced(view, case.terms) for view in before)
    nodes = blame_nodes(case, nodes, before, after)
    after = with_words_once(tuple(map(_forgiven, before, after)))
    in_force, group_set = place_and_replace(case, in_force, after, nodes.usable)
    group_set = with_figures(in_force.plan, _signed(case, in_force.plan, before, group_set), case.observed)
    return DesiredState(
        sized(case.wanted, in_force, len(group_set.groups)), dated(in_force, case.terms.now), before, group_set, nodes
    )


def remember(wanted: Wanted, observed: Observed, now: float) -> Case:
    """Collect the input of a decision, with the status as this version writes it. ``now`` is as of ``decide``."""
    status = inherited(wanted, observed.status)
    terms = Terms(
        wanted.restart,
        now,
        refused=observed.refused,
        tries=tries_of(status.records.values()),
        excused=observed.excused or status.generation != wanted.generation,
        queued=wanted.queue is not None,
        left_open=wanted.left_open,
    )
    obstacle = missing_queue(wanted, observed.queue)
    wanted = as_served(on_offer(wanted, observed.queue.offer), observed.gang)
    return Case(wanted, replace(observed, status=status), terms, obstacle=obstacle)


def judge_nodes(case: Case) -> JudgedNodes:
    """Read the nodes that the object avoids, and work out the fleet that it may use."""
    observed, now = case.observed, case.terms.now
    limit = limit_of(case.wanted, observed.fleet, observed.quotas, observed.gpus_of_others)
    if case.wanted.queue is not None:
        # The queue decides whose turn it is, and who must go. The scheduler may still wait for pods that go.
        usable = UsableFleet(observed.fleet, limit=limit, lent=observed.queue.lent)
    else:
        usable = UsableFleet(observed.fleet, kept=observed.turn.kept, own=observed.status.holdings, limit=limit)
    return _judged(still_shunned(observed.status.shuns, now), usable)


def _judged(shuns: Shuns, usable: UsableFleet) -> JudgedNodes:
    barred, blamed = left_out(shuns, ShunReason.UNSCHEDULABLE), left_out(shuns, ShunReason.FAILED)
    return JudgedNodes(shuns, replace(usable, barred=barred, blamed=blamed))


def plan_in_force(case: Case, usable: UsableFleet) -> PlanInForce:
    """Keep the recorded plan if it answers the demand; else make a plan, unless no group could begin."""
    known = case.settled or recorded(case.observed.status, case.wanted, usable.fleet)
    if known is None and case.obstacle is not None:
        return PlanInForce(None, None)
    return known or new_plan(case.wanted, usable)


def _advanced(view: GroupView, terms: Terms) -> GroupView:
    """Advance a group by the observation of its pods. The next attempt has no pods yet, and has the wanted content.

    A Refused group has no content. If the group had old content, its place may not suit the new content, so the group
    looks for another place.
    """
    record = advance(view, terms)
    if record.attempt == view.record.attempt and record.state is not State.REFUSED:
        return replace(view, record=record)
    begun = replace(view, record=record, pods=(), stale=False)
    if view.stale and record.state in BEGINNING:
        return replace(begun, record=decided(begun, Trigger.DISPLACED, terms))
    return begun


def _forgiven(old: GroupView, new: GroupView) -> GroupView:
    """Forget the failures of old content. They say nothing about the content that replaces it."""
    anew = old.stale and new.record.attempt > old.record.attempt
    return replace(new, record=replace(new.record, failures=0)) if anew else new


def blame_nodes(case: Case, nodes: JudgedNodes, before: Views, after: Views) -> JudgedNodes:
    """Hold failures against the nodes where they happened, and missing capacity against the nodes that lacked it."""
    shuns, now = nodes.shuns, case.terms.now
    for old, new in zip(before, after, strict=True):
        if (
            new.record.failures > old.record.failures
            and old.failed is not None
            and old.failed.whose
            and old.failed.node
        ):
            shuns = held_against(shuns, [old.failed.node], ShunReason.FAILED, now)
        gave_up = new.record.state is State.WAITING and old.record.state is State.STARTING
        if gave_up and not (old.shut_out or case.wanted.queue):
            known = old.record.known_nodes
            refused = [known[pod.index] for pod in old.refused if known[pod.index] and not pod.for_gang]
            shuns = held_against(shuns, refused, ShunReason.UNSCHEDULABLE, now)
    return nodes if shuns is nodes.shuns else _judged(shuns, nodes.usable)


def place_and_replace(
    case: Case, in_force: PlanInForce, groups: Views, usable: UsableFleet
) -> tuple[PlanInForce, GroupSet]:
    """Place and replace the groups. Where no group is left and none of this shape has a place, use a new plan."""
    group_set = _grouped(case, in_force, groups, usable)
    lost = in_force.plan is not None and not in_force.fresh and not any(view.record.nodes for view in group_set.groups)
    if not (lost and group_set.refusal is not None and group_set.refusal.may_pass and case.wanted.demand.replicas):
        return in_force, group_set
    remade = again(case.wanted, in_force, group_set.refusal, usable)
    if not remade.fresh:
        return remade, replace(group_set, refusal=remade.refusal)
    return remade, _grouped(case, remade, groups, usable)


def _grouped(case: Case, in_force: PlanInForce, groups: Views, usable: UsableFleet) -> GroupSet:
    wanted = sized(case.wanted, in_force, len(groups))
    if in_force.plan is None:
        return replace(without_plan(wanted, in_force, groups), obstacle=case.obstacle)
    named = frozenset(pod.replica for pod in case.observed.pods)
    named |= frozenset() if case.observed.other is None else case.observed.other.numbers
    builder = GroupSetBuilder(wanted, in_force.plan, usable, case.terms, named)
    if case.obstacle is not None:
        builder.keep(retained(wanted, groups, case.observed.other), may_begin=False)
        return hindered(wanted, builder.build(), case.obstacle)
    builder.keep(retained(wanted, groups, case.observed.other))
    builder.fill(places_of(in_force) if not builder.capacity.taken else ())
    roll(builder, case.observed.other)
    return builder.build()


def _signed(case: Case, plan: Plan | None, before: Views, group_set: GroupSet) -> GroupSet:
    """Record the content of each attempt that begins.

    An attempt that is known only from its pods is compared with the wanted content by the next decision.
    """
    if plan is None:
        return group_set
    found = {(pod.replica, pod.attempt) for pod in case.observed.pods}
    held = {view.record.replica for view in before if view.record.state is State.HELD}

    def sign(view: GroupView) -> GroupView:
        record = view.record
        begins = record.state in BEGINNING and not record.content and (record.replica, record.attempt) not in found
        lets_go = record.state is State.HELD and not record.nodes and record.replica not in held
        if not (begins or lets_go):
            return view
        return replace(view, record=replace(record, content=identity(case.wanted, plan, record.nodes, record.gpus)))

    return replace(group_set, groups=tuple(map(sign, group_set.groups)))
