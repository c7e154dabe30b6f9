"""Where an object stands, from the same observation a decision is made from. Nothing is decided here."""

from collections.abc import Iterator
from typing import Any

from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.standing import GroupStanding, PodStanding, Standing
from shardwise.explain import plan_from_document
from shardwise.planner import plan
from shardwise.reconcile.observed import Observed, PodSeen
from shardwise.reconcile.plans import fingerprint, in_force
from shardwise.reconcile.records import Record, format_time, read_records


def standing_of(wanted: Wanted, observed: Observed) -> Standing:
    """Say where an object stands."""
    status, demand = observed.status, wanted.demand
    records = read_records(status)
    planned = _planned(status.get("plan"))
    force = in_force(demand, status, records, observed.pods, observed.fleet)
    today = plan(demand, observed.fleet)
    return Standing(
        planned=planned,
        planned_at=_planned_at(status.get("conditions") or ()) if planned is not None else "",
        changed=planned is not None and status["plan"].get("demand") != fingerprint(demand),
        lost=() if planned is None else tuple(_lost(planned, observed.fleet)),
        next=_next(force.plan, force.refusal, today),
        today=today,
        groups=tuple(_groups(planned, records, observed.pods)),
        generation=wanted.generation,
        observed=int(status.get("observedGeneration", -1)),
        paused=wanted.paused,
    )


def _next(made: Plan | None, refusal: Refusal | None, today: Plan | Refusal) -> Plan | Refusal:
    """Where only some replicas have a plan, what the others lack is the news."""
    return refusal or made or today


def _planned(document: dict[str, Any] | None) -> Plan | None:
    """Read the plan of a status; one that another version wrote counts as none, as it does for the operator."""
    try:
        return None if not document else plan_from_document(document)
    except (KeyError, TypeError, ValueError):
        return None


def _planned_at(conditions: Any) -> str:  # noqa: ANN401 - any JSON
    made = (one for one in conditions if one.get("type") == "Planned" and one.get("status") == "True")
    return next((str(one.get("lastTransitionTime") or "") for one in made), "")


def _lost(planned: Plan, fleet: Fleet) -> Iterator[tuple[str, str]]:
    nodes = {node.name: node for node in fleet.nodes}
    for name in dict.fromkeys(pod.node for group in planned.groups for pod in group.pods):
        if name not in nodes:
            yield name, "is gone"
        elif nodes[name].exclusion is not None:
            yield name, str(nodes[name].exclusion)


def _groups(planned: Plan | None, records: dict[int, Record], pods: tuple[PodSeen, ...]) -> Iterator[GroupStanding]:
    for group in planned.groups if planned is not None else ():
        record = records.get(group.replica, Record(group.replica))
        mine = [pod for pod in pods if (pod.replica, pod.attempt) == (group.replica, record.attempt)]
        yield GroupStanding(
            replica=group.replica,
            state=record.state.value,
            since=format_time(record.since) if record.since else "",
            attempt=record.attempt,
            failures=record.failures,
            message=record.message,
            ready=sum(pod.ready for pod in mine),
            pods=len(group.pods),
            waiting=tuple(_waiting(sorted(mine, key=lambda pod: pod.index))),
        )


def _waiting(pods: list[PodSeen]) -> Iterator[PodStanding]:
    for pod in pods:
        if not pod.ready:
            yield PodStanding(pod.index, pod.node, "being deleted" if pod.deleting else pod.failure or pod.waiting)
