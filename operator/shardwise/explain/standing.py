"""The standing of an object in words and as data: its plan, the plan it would get today, and its groups."""

from collections.abc import Iterator
from typing import Any

from shardwise.domain.fleet import Exclusion
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.standing import GroupStanding, PodStanding, QueueStanding, Standing
from shardwise.domain.units import plural
from shardwise.explain.answers import plan_answer, refusal_answer
from shardwise.explain.cache_tokens import cache_text
from shardwise.explain.causes import cause
from shardwise.explain.exclusions import exclusion
from shardwise.explain.layouts import LISTED, others
from shardwise.explain.node_changes import node_change_answer, node_changes_message
from shardwise.explain.obstacles import obstacle_answer, obstacle_text
from shardwise.explain.plans import plan_text, whereabouts
from shardwise.explain.reason_links import link
from shardwise.explain.refusals import refusal_headline, refusal_text, rejection_text
from shardwise.explain.roles import half_text

_STICKY = "it stays: a plan changes if the object changes, or if the plan cannot be carried out any more"


def standing_text(standing: Standing, name: str) -> str:
    """Say the standing of an object at length. No trailing newline."""
    return "\n".join(_lines(standing, name))


def standing_answer(standing: Standing) -> dict[str, Any]:
    """Give the standing of an object as JSON data."""
    planned = standing.planned
    return {
        "generation": standing.generation,
        "observedGeneration": standing.observed,
        "paused": standing.paused,
        "planned": None if planned is None else plan_answer(_with_alternatives(standing, planned)),
        "plannedAt": standing.planned_at,
        "kept": standing.kept,
        "sameToday": standing.same_today,
        "changed": standing.changed,
        "changedNodes": [node_change_answer(change) for change in standing.changed_nodes],
        "lostNodes": [{"node": node, "reason": _loss(why)} for node, why in standing.lost],
        "next": _answer(standing.next) if standing.obstacle is None else _obstructed(standing.obstacle),
        "today": _answer(standing.today),
        "queue": None if standing.queue is None else _queue_answer(standing.queue),
        "notes": [said for _, said in _news(standing)],
        "nextBecause": "" if planned is None else _next(standing, planned),
        "groups": [_group_answer(group) for group in standing.groups],
    }


def _lines(standing: Standing, name: str) -> Iterator[str]:
    """Give the plan in the status, or the outcome that replaces it, and then the notes about it."""
    if standing.planned is not None:
        yield plan_text(_with_alternatives(standing, standing.planned), name)
    else:
        yield _outcome(standing.next, name) if standing.obstacle is None else obstacle_text(standing.obstacle, name)
    for label, said in _news(standing):
        yield f"  {label:<9}{said}"
    for position, group in enumerate(standing.groups):
        yield f"  {'groups' if position == 0 else '':<9}{_group(group)}"
    if standing.planned is not None:
        yield f"  next     {_next(standing, standing.planned)}"
        if standing.obstacle is not None:
            yield obstacle_text(standing.obstacle, name)
        elif not standing.kept:
            yield _outcome(standing.next, name)
    reason = _reason(standing)
    if reason:
        yield f"more: `{reason}` {link(reason)}"


def _reason(standing: Standing) -> str:
    """Give the reason for which the object has no plan, or keeps none; empty without one."""
    if standing.obstacle is not None:
        return standing.obstacle.reason
    wanted = standing.planned is None or not standing.kept
    return standing.next.reason.value if wanted and isinstance(standing.next, Refusal) else ""


def _obstructed(obstacle: Obstacle) -> dict[str, Any]:
    return {"fits": False, "refusal": obstacle_answer(obstacle)}


def _outcome(outcome: Plan | Refusal, name: str) -> str:
    return plan_text(outcome, name) if isinstance(outcome, Plan) else refusal_text(outcome, name)


def _answer(outcome: Plan | Refusal) -> dict[str, Any]:
    if isinstance(outcome, Plan):
        return {"fits": True, "plan": plan_answer(outcome)}
    return {"fits": False, "refusal": refusal_answer(outcome)}


def _with_alternatives(standing: Standing, planned: Plan) -> Plan:
    """Add the alternatives to the plan if the same plan would be made today. No status holds alternatives."""
    return standing.today if standing.same_today and isinstance(standing.today, Plan) else planned


def _news(standing: Standing) -> Iterator[tuple[str, str]]:
    """Give the notes about the object and its plan, each with its label."""
    if standing.paused:
        yield "paused", "the operator changes nothing while the annotation `shardwise.dev/paused` is `true`"
    if standing.observed < 0:
        yield "status", "no operator has seen this object yet"
    elif standing.observed < standing.generation:
        yield "status", f"the operator has seen generation {standing.observed}, this is {standing.generation}"
    if standing.queue is not None:
        yield "queue", _queue(standing.queue)
    if standing.half is not None:
        yield "transfer", half_text(standing.half)
        if standing.keeps_back:
            yield "roles", f"{standing.half.role.name.other} does not begin either: both roles begin together"
    if standing.planned is not None:
        yield from _news_of_plan(standing, standing.planned)


def _news_of_plan(standing: Standing, planned: Plan) -> Iterator[tuple[str, str]]:
    if standing.planned_at:
        yield "planned", standing.planned_at
    if standing.changed_nodes:
        yield "nodes", node_changes_message(standing.changed_nodes)
    yield "today", _today(standing, planned)


def _queue(queue: QueueStanding) -> str:
    """Say the object's position. Free GPUs may be kept for an object before it."""
    place = f"position {queue.position} of {queue.length} among the objects that wait for GPUs"
    return f"{place}, after `{queue.first}`" if queue.first else place


def _today(standing: Standing, planned: Plan) -> str:
    """Say whether the same plan would be made today, and if not, why not."""
    if standing.same_today:
        return "the same would be planned"
    if isinstance(standing.today, Refusal):
        nearest = standing.today.nearest
        because = "" if nearest is None else f"; {rejection_text(nearest)}"
        return f"it would be refused, {refusal_headline(standing.today)}{because}"
    made = f"{standing.today.layout} on {whereabouts(standing.today)} would be planned"
    if standing.changed or _asks_for_other(standing.today, planned):
        return f"{made}: the object has changed"
    if (standing.today.layout, standing.today.product) == (planned.layout, planned.product):
        return f"{made}: other GPUs are free"
    return f"{made}; {planned.layout} on {planned.product} {_why_not(planned, standing.today)}"


def _asks_for_other(today: Plan, planned: Plan) -> bool:
    """Tell whether the object asks for another number of replicas, or has another target, than the plan answers."""
    if today.sizing is not None and planned.sizing is not None:
        return today.sizing.target != planned.sizing.target
    return today.replicas != planned.replicas


def _why_not(planned: Plan, today: Plan) -> str:
    wanted = (planned.layout, planned.product)
    found = (cause(other.cause) for other in today.alternatives if (other.layout, other.product) == wanted)
    return next(found, "is not possible on the nodes that the object may use")


def _next(standing: Standing, planned: Plan) -> str:
    if standing.kept:
        return _STICKY
    because = _moved_by(standing, planned)
    if isinstance(standing.next, Refusal):
        return f"{because}, and no other plan takes its place"
    return f"{because}: {standing.next.layout} on {whereabouts(standing.next)} takes its place"


def _moved_by(standing: Standing, planned: Plan) -> str:
    """Say why a plan is replaced."""
    if standing.changed:
        return "the object has changed"
    if standing.lost:
        nodes = [f"{node} {_loss(why)}" for node, why in standing.lost]
        return ", ".join(nodes[:LISTED]) + others(max(0, len(nodes) - LISTED))
    return f"the object no longer asks for {plural(planned.replicas, 'replica')}"


def _loss(why: Exclusion | None) -> str:
    return "is gone" if why is None else exclusion(why)


def _group(group: GroupStanding) -> str:
    since = f" since {group.since}" if group.since else ""
    failed = f", {plural(group.failures, 'failure')} in a row" if group.failures else ""
    state = f"replica {group.replica}: {group.state}{since}, attempt {group.attempt}{failed}"
    waits = "".join(f"; {_pod(pod)}" for pod in group.waiting[:LISTED]) + others(max(0, len(group.waiting) - LISTED))
    told = not group.message or any(pod.waits_for in group.message for pod in group.waiting)
    message = "" if told else f"; {group.message}"
    cache = "" if group.cache is None else f"; {cache_text(group.cache)}"
    return f"{state}, {group.ready} of {plural(group.pods, 'pod')} ready{waits}{message}{cache}"


def _pod(pod: PodStanding) -> str:
    where = f" on {pod.node}" if pod.node else ""
    return f"pod {pod.index}{where}: {pod.waits_for}"


def _queue_answer(queue: QueueStanding) -> dict[str, Any]:
    return {"position": queue.position, "length": queue.length, "first": queue.first or None}


def _group_answer(group: GroupStanding) -> dict[str, Any]:
    return {
        "replica": group.replica,
        "state": group.state,
        "since": group.since,
        "attempt": group.attempt,
        "failures": group.failures,
        "message": group.message,
        "readyPods": group.ready,
        "pods": group.pods,
        "kvCacheTokens": group.cache and {"planned": group.cache.planned, "measured": group.cache.measured},
        "waiting": [{"index": pod.index, "node": pod.node, "waitsFor": pod.waits_for} for pod in group.waiting],
    }
