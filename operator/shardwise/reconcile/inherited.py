"""The status of an object as the version before this one wrote it, taken over so that what serves goes on serving.

That version wrote down neither what its pods were made from nor how many GPUs each holds, and named the demand another
way. Where it had seen the object as it is now, its plan and its groups are what is asked for; but for groups it was
still making, which begin again. After an edit that nobody has seen yet, they are of old content like any other.
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
    """Give a status as this version writes it; one that it wrote itself as it is."""
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
    """Tell whether a group may be one that replaces old content: then those that serve may have it still.

    One that replaces a lost one says what was lost, until its pods are there.
    """
    return record.attempt > 0 and not record.message and record.state in (State.PENDING, State.STARTING)
