"""The causes for which attempts end, as codes: how a decision finds each, and nothing of how it is told."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from shardwise.domain.reasons import FailureKind
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.views import GroupView

_UNDER_WAY: Final = frozenset({State.PENDING, State.QUEUED, State.STARTING, State.READY, State.UNREADY})
"""States with an attempt that can end."""


class Disruption(StrEnum):
    """The ends of an attempt that are not failures of the group itself."""

    QUEUE_EVICTED = "QueueEvicted"
    POD_LOST = "PodLost"
    NODE_AWAY = "NodeAway"
    NODE_FAULTY = "NodeFaulty"
    NO_PLACE = "NoPlace"
    PODS_REFUSED = "PodsRefused"
    REPLACED = "Replaced"


AttemptEnd = FailureKind | Disruption
"""Why an attempt ended."""


def attempt_ends(before: Iterable[GroupView], after: Iterable[Record]) -> Iterator[AttemptEnd]:
    """Give the cause for each attempt that a decision ends. Groups that are no longer wanted are not counted."""
    records = {record.replica: record for record in after}
    for view in before:
        record = records.get(view.record.replica)
        if record is not None and _ends(view.record, record):
            yield _cause(view, record)


def _ends(old: Record, new: Record) -> bool:
    if old.state not in _UNDER_WAY:
        return False
    return new.attempt > old.attempt or new.state in (State.BACKOFF, State.HELD, State.REFUSED)


def _cause(view: GroupView, record: Record) -> AttemptEnd:
    """Find the cause, in the order of the triggers in ``LIFE``."""
    if view.evicted or record.state is State.REFUSED:
        return Disruption.QUEUE_EVICTED if view.evicted else Disruption.PODS_REFUSED
    if view.disrupted is not None:
        return Disruption.POD_LOST
    if view.failed is not None:
        return view.failure_kind or FailureKind.OTHER
    if view.record.state is State.UNREADY and view.not_ready_node is not None:
        return Disruption.NODE_AWAY
    if record.state is State.WAITING:
        return Disruption.NO_PLACE
    return Disruption.NODE_FAULTY if view.faulty_nodes else Disruption.REPLACED
