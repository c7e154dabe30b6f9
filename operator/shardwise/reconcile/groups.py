"""The life of one group.

Rules: a group lives and dies together. An attempt is written down (Pending) before its pods are made; it is Starting
once all of them have been seen, and from then on any that is missing, failed, going, or started again in place ends
it. The next attempt has other names, so it waits for nobody. An attempt that ended before it was Ready counts as a
failure: the wait doubles, and after the last allowed one the group is Held, its pods left to be looked at.

    state     seen                            next
    Pending   pods missing                    make them
    Pending   all pods there                  Starting
    Starting  the leader ready                Ready, failures forgotten
    Starting  a pod lost                      Backoff (failures + 1), or Held
    Ready     a pod lost                      Pending, attempt + 1
    any       other content wanted            Pending, attempt + 1
    Backoff   its wait over                   Pending, attempt + 1
    Held      other content wanted            Pending, attempt + 1
"""

from dataclasses import dataclass, replace
from typing import Final

from shardwise.domain.plan import GroupPlacement
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.records import Record, State

FIRST_WAIT: Final = 10.0
"""Seconds before an attempt that failed once is made again; doubled by every further failure."""

LONGEST_WAIT: Final = 300.0
"""Seconds a group waits at most, as the kubelet's own back-off."""


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group: its placement, its record, the pods of its present attempt, and the content it should have."""

    placed: GroupPlacement
    record: Record
    pods: tuple[PodSeen, ...]
    revision: str

    @property
    def complete(self) -> bool:
        """Whether all pods of the attempt are there."""
        return {pod.index for pod in self.pods} == {pod.index for pod in self.placed.pods}

    @property
    def ready(self) -> bool:
        """Whether the group serves: the leader is ready only once all ranks have met, and all pods must still be up."""
        return self.complete and self.lost == "" and all(pod.ready for pod in self.pods)

    @property
    def stale(self) -> bool:
        """Whether its pods were made from other content, or for other nodes, than wanted."""
        return any(pod.revision != self.revision for pod in self.pods)

    @property
    def moved(self) -> bool:
        """Whether a pod sits on another node than planned."""
        nodes = {pod.index: pod.node for pod in self.placed.pods}
        return any(pod.node not in ("", nodes.get(pod.index)) for pod in self.pods)

    @property
    def lost(self) -> str:
        """How the group lost a pod; empty while all are well."""
        for pod in self.pods:
            if pod.failure:
                return f"pod {pod.index}{f' on {pod.node}' if pod.node else ''}: {pod.failure}"
            if pod.deleting:
                return f"pod {pod.index}{f' on {pod.node}' if pod.node else ''} is being deleted"
        if self.record.state in (State.STARTING, State.READY) and not self.complete:
            here = {pod.index for pod in self.pods}
            gone = next(pod for pod in self.placed.pods if pod.index not in here)
            return f"pod {gone.index} on {gone.node} is gone"
        return ""


def wait_seconds(failures: int) -> float:
    """Give the wait after so many failures in a row."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** max(0, min(failures, 32) - 1)) if failures else 0.0


def advance(view: GroupView, *, max_restarts: int, renew: bool, now: float) -> Record:
    """Give the record of a group after what was seen. ``renew``: stale content may be replaced now."""
    record = view.record
    if view.stale and renew:
        return Record(record.replica, record.attempt + 1, 0, now)
    if record.state is State.HELD:
        return record
    if record.state is State.BACKOFF:
        over = now >= record.since + wait_seconds(record.failures)
        return replace(record, attempt=record.attempt + 1, state=State.PENDING, since=now) if over else record
    if view.lost:
        return _after_loss(view, max_restarts, now)
    return _forward(view, now)


def _after_loss(view: GroupView, max_restarts: int, now: float) -> Record:
    record = view.record
    if record.state is State.READY:
        return Record(record.replica, record.attempt + 1, 0, now, State.PENDING, view.lost)
    failures = record.failures + 1
    state = State.HELD if failures > max_restarts else State.BACKOFF
    return replace(record, failures=failures, state=state, since=now, message=view.lost)


def _forward(view: GroupView, now: float) -> Record:
    record = view.record
    if view.ready:
        state, failures = State.READY, 0
    elif view.complete:
        state, failures = State.STARTING, record.failures
    else:
        state, failures = State.PENDING if record.state is not State.READY else record.state, record.failures
    if state is record.state:
        return record
    return replace(record, state=state, failures=failures, since=now, message="")
