"""The status of the version before this version, taken over so that serving groups go on serving.

That version recorded neither the content of its pods nor the GPUs of each pod, and it named the demand in another way.
If it had seen the present generation of the object, its plan and its groups answer the present demand. Only groups that
it was still making begin again. After an edit that the old version did not see, its groups have old content like any
other group.
"""

from dataclasses import replace

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.reconcile.object_status import GroupStatus, Status
from shardwise.reconcile.plans import identity
from shardwise.reconcile.records import Record, State


def inherited(wanted: Wanted, status: Status) -> Status:
    """Give the status as this version would have written it. A status that this version wrote is given unchanged."""
    groups = status.groups or ()
    recorded = status.plan
    if recorded is None or status.generation != wanted.generation or not any(group.older for group in groups):
        return status
    updating = any(_may_replace(group.record) for group in groups)
    taken = tuple(_taken_over(wanted, recorded.plan, group, updating=updating) for group in groups)
    return replace(status, plan=replace(recorded, demand=wanted.asks), groups=taken)


def _taken_over(wanted: Wanted, plan: Plan, group: GroupStatus, *, updating: bool) -> GroupStatus:
    record = group.record
    if record.state is State.PENDING or (updating and record.state is State.READY):
        return group
    served = record.since if record.state is State.READY else record.served
    content = identity(wanted, plan, record.nodes, record.gpus)
    return replace(group, record=replace(record, content=content, served=served), older=False)


def _may_replace(record: Record) -> bool:
    """Tell whether a group may be replacing old content. Then the serving groups may still have the old content.

    A group that replaces a lost group has a message about the loss until its pods exist.
    """
    return record.attempt > 0 and not record.message and record.state in (State.PENDING, State.STARTING)
