"""The life of one group, as one table.

Rules. A group lives and dies together: what happens to one pod happens to all. An attempt is written down (Pending)
before its pods are made; once all have been seen, and those of the attempt before have left the nodes they wait for, it
is Starting, and from then on a pod that is missing is lost. The next attempt has other names, so it waits for nobody,
least of all for pods on a dead node.

What ends an attempt is a *failure* or a *disruption*. A failure is the group's own: an engine exited, the kubelet threw
a pod out. Failures in a row are counted, the wait after each doubles, and after the last one that is allowed the group
is Held until it is edited. They are forgotten once an attempt has served for the policy's window. A group that had
served begins again at once after its first. A disruption is nobody's fault: a pod was deleted, its node went, was
drained or stayed away. It is not counted, and the next attempt begins at once; one that never served waits out
``FIRST_WAIT`` seconds, so that whoever deletes pods as they come does not drive us in a circle.

Pods the scheduler finds no place for are given up after ``UNSCHEDULABLE_AFTER`` seconds, or at once where their node
may not be used any more, as after an eviction that was seen before its taint: their GPUs may serve others. A node that
is not Ready is given ``NODE_GRACE`` seconds; Kubernetes' own eviction, by the tolerations of our pods, is usually
faster.

``LIFE`` says for each state what may happen and what follows, most urgent first. What it does not list changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from shardwise.domain.launch import RestartPolicy
from shardwise.explain import exclusion
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.views import GroupView

FIRST_WAIT: Final = 10.0
"""Seconds before an attempt that failed once is made again; doubled by every further failure."""

LONGEST_WAIT: Final = 300.0
"""Seconds a group waits at most, as the kubelet's own back-off."""

UNSCHEDULABLE_AFTER: Final = 60.0
"""Seconds the scheduler gets to find a place: it tries again by itself whenever something changes."""

NODE_GRACE: Final = 60.0
"""Seconds a group that stopped serving waits for a node that is not Ready, in case nobody evicts its pods."""


class Trigger(StrEnum):
    """What may happen to a group. Those in ``SEEN`` are seen on its pods; the others are decided in ``group_set``."""

    DISRUPTED = "a pod is deleted, gone, or without its node"
    NODE_AWAY = "a node has not been Ready for too long"
    FAILED = "an engine exited, or a pod was evicted by its kubelet"
    UNSCHEDULABLE = "a pod has found no place for too long"
    WAITED = "its wait is over"
    ALLOWED = "the policy allows more failures now"
    READY = "all pods ready"
    UNREADY = "a pod not ready"
    COMPLETE = "all pods there"
    RENEWED = "other content is wanted, and it is its turn"
    DISPLACED = "its place cannot be used"
    PLACED = "a place is found"


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms a group lives: the object's policy, and the time, in seconds since the epoch."""

    policy: RestartPolicy
    now: float


Step = Callable[[GroupView, Terms], Record]


def wait_seconds(failures: int) -> float:
    """Give the wait after so many failures in a row."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** max(0, min(failures, 32) - 1)) if failures > 0 else 0.0


def advance(view: GroupView, terms: Terms) -> Record:
    """Give the record of a group after what is seen of it."""
    for trigger, step in LIFE[view.record.state].items():
        seen = SEEN.get(trigger)
        if seen is not None and seen(view, terms):
            return step(view, terms)
    return view.record


def decided(view: GroupView, trigger: Trigger, terms: Terms) -> Record:
    """Give the record of a group after something was decided about it. Raises ``KeyError`` where it cannot be."""
    return LIFE[view.record.state][trigger](view, terms)


def until_next(view: GroupView, terms: Terms) -> float | None:
    """Give the seconds after which time alone changes something for a group, ``None`` where it never does."""
    record = view.record
    ends = {
        State.BACKOFF: record.retry_at,
        State.STARTING: view.refused_since and _gives_up_at(view),
        State.UNREADY: view.not_ready_node and record.since + NODE_GRACE,
    }
    end = ends.get(record.state)
    return max(0.0, end - terms.now) if end else None


def _gives_up_at(view: GroupView) -> float:
    """Give the scheduler its time from when it could first have found a place: not while earlier pods were there."""
    return max(view.refused_since, view.record.since) + UNSCHEDULABLE_AFTER


def _next_attempt(view: GroupView, terms: Terms, message: str = "") -> Record:
    record = view.record
    return replace(
        record,
        attempt=record.attempt + 1,
        state=State.PENDING,
        since=terms.now,
        served=0.0,
        retry_at=0.0,
        content="",
        message=message or record.message,
        failure=None,
    )


def _entered(state: State) -> Step:
    def enter(view: GroupView, terms: Terms) -> Record:
        return replace(view.record, state=state, since=terms.now, message="")

    return enter


def _begin_there(view: GroupView, terms: Terms) -> Record:
    """Begin in a place just found; why the one before was left is told with it."""
    return replace(view.record, state=State.PENDING, since=terms.now)


def _serve(view: GroupView, terms: Terms) -> Record:
    served = view.record.served or terms.now
    return replace(view.record, state=State.READY, since=terms.now, served=served, message="")


def _fail(view: GroupView, terms: Terms) -> Record:
    record, policy, loss = view.record, terms.policy, view.failed
    forgotten = bool(record.served) and terms.now - record.served >= policy.window
    failures = (0 if forgotten else record.failures) + 1
    message = loss.told(record.gpus) if loss is not None else ""
    failed = replace(record, failures=failures, message=message, failure=view.failure_kind)
    if failures > policy.max_restarts:
        held = replace(failed, state=State.HELD, since=terms.now)
        return held if policy.keep_failed else replace(held, nodes=(), gpus=0)
    wait = wait_seconds(failures - 1 if record.served else failures)
    return _begin_in(view, terms, failed, wait)


def _disrupt(view: GroupView, terms: Terms) -> Record:
    record, loss = view.record, view.disrupted or view.not_ready_node
    wait = 0.0 if record.served else max(0.0, record.since + FIRST_WAIT - terms.now)
    return _begin_in(view, terms, replace(record, message=loss.told(record.gpus) if loss is not None else ""), wait)


def _begin_in(view: GroupView, terms: Terms, record: Record, wait: float) -> Record:
    if wait > 0:
        return replace(record, state=State.BACKOFF, since=terms.now, retry_at=terms.now + wait)
    return _next_attempt(replace(view, record=record), terms)


def _give_up(view: GroupView, terms: Terms) -> Record:
    pod = (*view.shut_out, *view.refused)[0]
    message = f"pod {pod.index} found no place on {view.record.nodes[pod.index]}: {pod.waiting}"
    return _without_place(_next_attempt(view, terms, message))


def _displace(view: GroupView, terms: Terms) -> Record:
    """Leave a place. Pods made for it are those of an attempt that is over."""
    if not view.pods:
        return _without_place(replace(view.record, since=terms.now))
    return _without_place(_next_attempt(view, terms, _no_place(view)))


def _no_place(view: GroupView) -> str:
    """Say what is wrong with a place that cannot be used: with the first of its nodes of which anything is."""
    known = dict(view.nodes)
    for node in view.record.nodes:
        if node not in known:
            return f"{node} is gone"
        why = known[node]
        if why is not None:
            return f"{node} {exclusion(why)}"
    return "its place cannot be used any more"


def _without_place(record: Record) -> Record:
    return replace(record, state=State.WAITING, nodes=(), gpus=0, content="")


def _renew(view: GroupView, terms: Terms) -> Record:
    faulty = next(iter(view.faulty_nodes), None)
    why = "other content is wanted" if faulty is None else f"{faulty} reports a GPU fault"
    return replace(_next_attempt(view, terms, why), failures=0)


SEEN: Final[Mapping[Trigger, Callable[[GroupView, Terms], bool]]] = {
    Trigger.DISRUPTED: lambda view, _: view.disrupted is not None,
    Trigger.NODE_AWAY: lambda view, terms: (
        view.not_ready_node is not None and terms.now >= view.record.since + NODE_GRACE
    ),
    Trigger.FAILED: lambda view, _: view.failed is not None,
    Trigger.UNSCHEDULABLE: lambda view, terms: (
        bool(view.shut_out) or (view.refused_since > 0 and terms.now >= _gives_up_at(view))
    ),
    Trigger.WAITED: lambda view, terms: terms.now >= view.record.retry_at,
    Trigger.ALLOWED: lambda view, terms: view.record.failures <= terms.policy.max_restarts,
    Trigger.READY: lambda view, _: view.ready,
    Trigger.UNREADY: lambda view, _: not view.ready,
    Trigger.COMPLETE: lambda view, _: view.complete and not view.held_up,
}
"""How what happens to a group is seen."""

LIFE: Final[Mapping[State, Mapping[Trigger, Step]]] = {
    State.WAITING: {
        Trigger.PLACED: _begin_there,
    },
    State.PENDING: {
        Trigger.DISRUPTED: _disrupt,
        Trigger.FAILED: _fail,
        Trigger.READY: _serve,
        Trigger.COMPLETE: _entered(State.STARTING),
        Trigger.RENEWED: _renew,
        Trigger.DISPLACED: _displace,
    },
    State.STARTING: {
        Trigger.DISRUPTED: _disrupt,
        Trigger.FAILED: _fail,
        Trigger.UNSCHEDULABLE: _give_up,
        Trigger.READY: _serve,
        Trigger.RENEWED: _renew,
    },
    State.READY: {
        Trigger.DISRUPTED: _disrupt,
        Trigger.FAILED: _fail,
        Trigger.UNREADY: _entered(State.UNREADY),
        Trigger.RENEWED: _renew,
    },
    State.UNREADY: {
        Trigger.DISRUPTED: _disrupt,
        Trigger.FAILED: _fail,
        Trigger.NODE_AWAY: _disrupt,
        Trigger.READY: _serve,
        Trigger.RENEWED: _renew,
    },
    State.BACKOFF: {
        Trigger.WAITED: _next_attempt,
        Trigger.RENEWED: _renew,
    },
    State.HELD: {
        Trigger.ALLOWED: _next_attempt,
        Trigger.RENEWED: _renew,
    },
}
"""The table."""
