"""The status of the version before this version, taken over so that serving groups go on serving.

That version recorded neither the content of its pods nor the GPUs of each pod, and it named the demand in another way.
If it had seen the present generation of the object, its plan and its groups answer the present demand. Only groups that
it was still making begin again. After an edit that the old version did not see, its groups have old content like any
other group.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.reconcile.plans import identity, recorded
from shardwise.reconcile.records import Record, State, format_time, read_records

Status = Mapping[str, Any]

_NO_MORE: Final = ("groups", "replicas")
"""Fields of a plan that are no more: groups know their places themselves."""


def inherited(wanted: Wanted, status: Status) -> Status:
    """Give a status in the format of this version. A status that this version wrote is given unchanged."""
    if not _of_before(status) or status.get("observedGeneration") != wanted.generation:
        return status
    in_force = recorded(status)
    if in_force is None or in_force.plan is None:
        return status
    document = {name: value for name, value in status["plan"].items() if name not in _NO_MORE}
    groups = list(_groups(wanted, in_force.plan, status))
    return {**status, "plan": document | {"demand": wanted.asks}, "groups": groups}


def _of_before(status: Status) -> bool:
    return any(group.get("nodes") and not group.get("gpusPerPod") for group in status.get("groups") or ())


def _groups(wanted: Wanted, plan: Plan, status: Status) -> Iterator[Status]:
    records = read_records(status)
    updating = any(_may_replace(record) for record in records.values())
    for group in status["groups"]:
        record = records.get(group.get("replica"))
        if record is None or record.state is State.PENDING or (updating and record.state is State.READY):
            yield group
            continue
        content = identity(wanted, plan, record.nodes, record.gpus)
        served = {"served": format_time(record.since)} if record.state is State.READY else {}
        yield {**group, "gpusPerPod": record.gpus, "content": content, **served}


def _may_replace(record: Record) -> bool:
    """Tell whether a group may be replacing old content. Then the serving groups may still have the old content.

    A group that replaces a lost group has a message about the loss until its pods exist.
    """
    return record.attempt > 0 and not record.message and record.state in (State.PENDING, State.STARTING)
