"""The life of a group, as a table.

Rules. A group lives and dies together: an event on a single pod concerns all pods. An attempt is recorded (Pending)
before its pods are made. When all its pods have been seen, and the pods of the attempt before have left the nodes, the
attempt is Starting. From then on a missing pod is lost. The next attempt has other names, so it waits for no old pod,
above all not for pods on a dead node.

An attempt ends by a *failure* or by a *disruption*. A failure is the group's own: an engine exited or hangs, or the
kubelet evicted a pod. Failures in a row are counted, and the wait doubles after each. After the last failure that the
policy allows, the group is Held until the object is edited. Failures are forgotten when an attempt has served for the
window of the policy. A group that had served begins again at once after its first failure. A disruption is not the
group's fault: a pod was deleted, or its node was removed, drained or away. A disruption is not counted, and the next
attempt begins at once. An attempt that never served waits ``FIRST_WAIT`` seconds first, so that a client which deletes
new pods cannot drive the operator in a circle.

If the scheduler finds no node for pods, the attempt is given up after ``UNSCHEDULABLE_AFTER`` seconds. It is given up
at once if the node may not be used any more, as after an eviction that was seen before its taint, or if a pod of a
stranger took the GPUs. Then other objects can use the GPUs. A node that is not Ready gets ``NODE_GRACE`` seconds.
Kubernetes' own eviction, by the tolerations of our pods, is usually faster.

If the API server refuses pods of a group, the group gives its place back after ``REFUSED_AFTER`` seconds, also if some
of its pods were admitted. It is Refused: it waits without a place. ``shardwise.reconcile.refused`` decides when it is
tried again. A group that is tried again, or that also loses a pod, gives its place back at the first refusal. An edit
of the spec, or another quota, is a new chance, at the earliest ``FIRST_WAIT`` seconds after the last refused try. A
group that is replaced before its pods were admitted keeps the time since which they are refused: an object that is
edited again and again holds its place no longer.

Where a queue of the cluster admits groups, an attempt is Queued instead of Pending: its pods are made, and wait behind
the gates of the queue. A Queued group holds no GPUs. It is Starting when all gates are gone. If the queue takes a group
away, as for another of higher priority, the attempt ends without a failure, and the next attempt enters the queue as a
group of its own. An attempt that never served waits for ``FIRST_WAIT`` seconds from its beginning first, as above. The
next attempt is no restart then. Nor is it a restart if the attempt before never left its gates: nothing ran, whatever
became of its pods.

Where the scheduler picks the nodes, the place of an attempt is open until all its pods are bound. An open place holds
no GPUs, and no node is left or blamed for it: its nodes are those of the plan. Then the nodes are those of the pods.

``LIFE`` gives the triggers of each state and the step for each trigger, most urgent first. Other triggers change
nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from shardwise.domain.launch import RestartPolicy
from shardwise.explain.exclusions import exclusion
from shardwise.reconcile.records import BEGINNING, Record, State
from shardwise.reconcile.views import GroupView

FIRST_WAIT: Final = 10.0
"""Seconds before an attempt that failed once is made again; doubled by every further failure."""

LONGEST_WAIT: Final = 300.0
"""Seconds a group waits at most, as the kubelet's own back-off."""

UNSCHEDULABLE_AFTER: Final = 60.0
"""Seconds the scheduler gets to find a place: it tries again by itself whenever something changes."""

REFUSED_AFTER: Final = UNSCHEDULABLE_AFTER
"""Seconds for which a group keeps its place while the API server refuses its pods, in case the refusal is short."""

NODE_GRACE: Final = 60.0
"""Seconds a group that stopped serving waits for a node that is not Ready, in case nobody evicts its pods."""


class Trigger(StrEnum):
    """An event in the life of a group. Triggers in ``SEEN`` are seen on the pods; ``group_set`` decides the others."""

    EVICTED = "a queue of the cluster takes the group away"
    DISRUPTED = "a pod is deleted, gone, or without its node"
    NODE_AWAY = "a node has not been Ready for too long"
    FAILED = "an engine exited or hangs, or a pod was evicted by its kubelet"
    UNSCHEDULABLE = "a pod has found no node for too long"
    REFUSED = "the API server has refused pods for too long"
    EXCUSED = "the spec or a quota was changed"
    RETRIED = "its pods are tried again"
    WAITED = "its wait is over"
    ALLOWED = "the policy allows more failures now"
    READY = "all pods ready"
    UNREADY = "a pod not ready"
    COMPLETE = "all pods there"
    ADMITTED = "all pods there, and no gate"
    RENEWED = "other content is wanted, and it is its turn"
    DISPLACED = "its place cannot be used"
    PLACED = "a place is found"


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a group's life: the policy of the object, and the time, in seconds since the epoch.

    ``refused`` is the refusal of a write in the words of the API server; empty if nothing is refused. ``tries`` counts
    the refused tries of the object in a row. ``excused`` tells that the spec or a quota was changed since the last
    decision. ``queued`` tells that a queue of the cluster admits the groups, ``left_open`` that the scheduler picks
    their nodes.
    """

    policy: RestartPolicy
    now: float
    refused: str = ""
    tries: int = 0
    excused: bool = False
    queued: bool = False
    left_open: bool = False

    @property
    def first(self) -> State:
        """The state of an attempt that begins."""
        return State.QUEUED if self.queued else State.PENDING


Step = Callable[[GroupView, Terms], Record]


def wait_seconds(failures: int) -> float:
    """Give the wait, in seconds, after a number of failures in a row."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** max(0, min(failures, 32) - 1)) if failures > 0 else 0.0


def advance(view: GroupView, terms: Terms) -> Record:
    """Give the record of a group after the observation of its pods."""
    for trigger, step in LIFE[view.record.state].items():
        seen = SEEN.get(trigger)
        if seen is not None and seen(view, terms):
            return step(view, terms)
    return view.record


def decided(view: GroupView, trigger: Trigger, terms: Terms) -> Record:
    """Give the record of a group after a decided trigger. Raises ``KeyError`` if the state does not allow it."""
    return LIFE[view.record.state][trigger](view, terms)


def until_next(view: GroupView, terms: Terms) -> float | None:
    """Give the seconds until time alone changes a group; ``None`` if time alone never changes it."""
    record = view.record
    ends = {
        State.BACKOFF: record.retry_at,
        State.PENDING: _is_refused(view, terms) and record.since + REFUSED_AFTER,
        State.QUEUED: _is_refused(view, terms) and record.since + REFUSED_AFTER,
        State.STARTING: view.refused_since and _gives_up_at(view),
        State.UNREADY: view.not_ready_node and record.since + NODE_GRACE,
    }
    end = ends.get(record.state)
    return max(0.0, end - terms.now) if end else None


def _gives_up_at(view: GroupView) -> float:
    """Give the time when the wait for the scheduler ends. It starts when no earlier pods are in the way."""
    return max(view.refused_since, view.record.since) + UNSCHEDULABLE_AFTER


def _is_refused(view: GroupView, terms: Terms) -> bool:
    return bool(terms.refused) and not view.complete


def _next_attempt(view: GroupView, terms: Terms, message: str = "") -> Record:
    record = view.record
    return replace(
        record,
        attempt=record.attempt + 1,
        state=terms.first,
        since=terms.now,
        served=0.0,
        retry_at=0.0,
        content="",
        message=message or record.message,
        failure=None,
        no_restart=False,
        cache=None,
        open=terms.left_open,
        planned=(),
    )


def _entered(state: State) -> Step:
    def enter(view: GroupView, terms: Terms) -> Record:
        return replace(view.record, state=state, since=terms.now, message="", refused=0)

    return enter


def _begin_there(view: GroupView, terms: Terms) -> Record:
    """Begin in a place that was just found. The message says why the group left the place before."""
    return replace(view.record, state=terms.first, since=terms.now, open=terms.left_open, planned=())


def _serve(view: GroupView, terms: Terms) -> Record:
    served = view.record.served or terms.now
    return replace(view.record, state=State.READY, since=terms.now, served=served, message="", refused=0)


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


def _evict(view: GroupView, terms: Terms) -> Record:
    """Give the place back. The next attempt enters the queue anew, and gets a place then.

    The content names the place, too. A group that kept it would seem edited, and would not wait.
    """
    record = replace(view.record, message=f"evicted from the queue: {view.evicted}", nodes=(), gpus=0, content="")
    wait = 0.0 if record.served else max(0.0, record.since + FIRST_WAIT - terms.now)
    begun = _begin_in(view, terms, record, wait)
    return begun if wait else _without_place(begun)


def _begin_in(view: GroupView, terms: Terms, record: Record, wait: float) -> Record:
    if wait > 0:
        no_restart = view.ends_without_restart
        return replace(record, state=State.BACKOFF, since=terms.now, retry_at=terms.now + wait, no_restart=no_restart)
    return _next_attempt(replace(view, record=record), terms)


def _unless_refused(step: Step) -> Step:
    """Give the step for the loss of a pod: if other pods of the group are refused, the group gives its place back."""

    def lose(view: GroupView, terms: Terms) -> Record:
        return _refuse(view, terms) if _is_refused(view, terms) else step(view, terms)

    return lose


def _refuse(view: GroupView, terms: Terms) -> Record:
    """Give the place back, and wait without a place. Pods that were admitted belong to an attempt that is over."""
    record = _without_place(_next_attempt(view, terms) if view.pods else view.record)
    tries = 1 if terms.excused else terms.tries + 1
    retry_at = terms.now + wait_seconds(tries)
    return replace(
        record, state=State.REFUSED, since=terms.now, refused=tries, retry_at=retry_at, message=terms.refused
    )


def _excuse(view: GroupView, terms: Terms) -> Record:
    """Let an object be tried soon, and start the count of its refused tries again."""
    record = view.record
    soonest = max(terms.now, record.since + FIRST_WAIT)
    return replace(record, refused=1, retry_at=min(record.retry_at, soonest))


def _try_again(view: GroupView, terms: Terms) -> Record:
    return replace(view.record, state=State.WAITING, since=terms.now, retry_at=0.0)


def _give_up(view: GroupView, terms: Terms) -> Record:
    pod = min((*view.shut_out, *view.refused), key=lambda pod: pod.for_gang)
    where = view.record.known_nodes[pod.index]
    message = f"pod {pod.index} found no place{f' on {where}' if where else ''}: {pod.waiting}"
    return _without_place(_next_attempt(view, terms, message))


def _displace(view: GroupView, terms: Terms) -> Record:
    """Leave a place. Pods that were made for the place belong to an attempt that is over."""
    if not view.pods:
        return _without_place(replace(view.record, since=terms.now))
    return _without_place(_next_attempt(view, terms, _no_place(view)))


def _no_place(view: GroupView) -> str:
    """Say why a place cannot be used: the first problem among its nodes."""
    known = dict(view.nodes)
    for node in view.record.nodes:
        if node not in known:
            return f"{node} is gone"
        why = known[node]
        if why is not None:
            return f"{node} {exclusion(why)}"
    return "its place cannot be used any more"


def _without_place(record: Record) -> Record:
    return replace(record, state=State.WAITING, nodes=(), gpus=0, content="", open=False, planned=())


def _renew(view: GroupView, terms: Terms) -> Record:
    faulty = next(iter(view.faulty_nodes), None)
    why = "other content is wanted" if faulty is None else f"{faulty} reports a GPU fault"
    since = view.record.since if view.record.state in BEGINNING and _is_refused(view, terms) else terms.now
    return replace(_next_attempt(view, terms, why), failures=0, since=since)


SEEN: Final[Mapping[Trigger, Callable[[GroupView, Terms], bool]]] = {
    Trigger.EVICTED: lambda view, _: bool(view.evicted),
    Trigger.DISRUPTED: lambda view, _: view.disrupted is not None,
    Trigger.NODE_AWAY: lambda view, terms: (
        view.not_ready_node is not None and terms.now >= view.record.since + NODE_GRACE
    ),
    Trigger.FAILED: lambda view, _: view.failed is not None,
    Trigger.UNSCHEDULABLE: lambda view, terms: (
        bool(view.shut_out) or (view.refused_since > 0 and terms.now >= _gives_up_at(view))
    ),
    Trigger.REFUSED: lambda view, terms: (
        _is_refused(view, terms) and (view.record.refused > 0 or terms.now >= view.record.since + REFUSED_AFTER)
    ),
    Trigger.EXCUSED: lambda _, terms: terms.excused,
    Trigger.WAITED: lambda view, terms: terms.now >= view.record.retry_at,
    Trigger.ALLOWED: lambda view, terms: view.record.failures <= terms.policy.max_restarts,
    Trigger.READY: lambda view, _: view.ready,
    Trigger.UNREADY: lambda view, _: not view.ready,
    Trigger.COMPLETE: lambda view, _: view.complete and not view.held_up,
    Trigger.ADMITTED: lambda view, _: view.admitted and not view.held_up,
}
"""How triggers are seen on the pods of a group."""

LIFE: Final[Mapping[State, Mapping[Trigger, Step]]] = {
    State.WAITING: {
        Trigger.PLACED: _begin_there,
    },
    State.PENDING: {
        Trigger.DISRUPTED: _unless_refused(_disrupt),
        Trigger.FAILED: _unless_refused(_fail),
        Trigger.READY: _serve,
        Trigger.COMPLETE: _entered(State.STARTING),
        Trigger.REFUSED: _refuse,
        Trigger.RENEWED: _renew,
        Trigger.DISPLACED: _displace,
    },
    State.QUEUED: {
        Trigger.EVICTED: _evict,
        Trigger.DISRUPTED: _unless_refused(_disrupt),
        Trigger.FAILED: _unless_refused(_fail),
        Trigger.READY: _serve,
        Trigger.ADMITTED: _entered(State.STARTING),
        Trigger.REFUSED: _refuse,
        Trigger.RENEWED: _renew,
        Trigger.DISPLACED: _displace,
    },
    State.STARTING: {
        Trigger.EVICTED: _evict,
        Trigger.DISRUPTED: _disrupt,
        Trigger.FAILED: _fail,
        Trigger.UNSCHEDULABLE: _give_up,
        Trigger.READY: _serve,
        Trigger.RENEWED: _renew,
    },
    State.READY: {
        Trigger.EVICTED: _evict,
        Trigger.DISRUPTED: _disrupt,
        Trigger.FAILED: _fail,
        Trigger.UNREADY: _entered(State.UNREADY),
        Trigger.RENEWED: _renew,
    },
    State.UNREADY: {
        Trigger.EVICTED: _evict,
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
    State.REFUSED: {
        Trigger.EXCUSED: _excuse,
        Trigger.RETRIED: _try_again,
    },
    State.HELD: {
        Trigger.ALLOWED: _next_attempt,
        Trigger.RENEWED: _renew,
    },
}
"""The table."""
