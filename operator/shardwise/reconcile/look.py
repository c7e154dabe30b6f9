"""The groups of an object as they are, from records and pods together, with old content told from new."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import repeat

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.queues import QueuedGroup
from shardwise.reconcile.observed import Observed, PodSeen
from shardwise.reconcile.plans import identity, with_group
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView
from shardwise.render.bundle import revision
from shardwise.render.names import group_name

Pods = tuple[PodSeen, ...]


def look(
    wanted: Wanted, plan: Plan | None, observed: Observed, usable: UsableFleet, now: float
) -> tuple[GroupView, ...]:
    """Give the groups of an object, by replica. Without a plan, all groups count as old content."""
    by_replica: dict[int, list[PodSeen]] = defaultdict(list)
    for pod in observed.pods:
        by_replica[pod.replica].append(pod)
    known = _remembered(observed, by_replica, now)
    records = [_present(wanted, record, by_replica[replica], now) for replica, record in sorted(known.items())]
    linger = _lingering(observed.pods, records)
    views = (_view(wanted, plan, record, tuple(by_replica[record.replica]), usable, linger) for record in records)
    return tuple(replace(view, queued=_queued(wanted, observed, view.record)) for view in views)


def _queued(wanted: Wanted, observed: Observed, record: Record) -> QueuedGroup | None:
    """Give the present attempt of a group as the queue of the cluster shows it."""
    if not observed.queue.groups:
        return None
    return observed.queue.groups.get(group_name(wanted.launch.owner.name, record.replica, record.attempt))


def _remembered(observed: Observed, replicas: Iterable[int], now: float) -> dict[int, Record]:
    """Read the records of an object. If some records cannot be read, rebuild their groups from the pods.

    If all records can be read, pods of other replicas are leaving.
    """
    known = observed.status.records
    if observed.status.knows_all_groups:
        return known
    return {replica: Record(replica, -1, since=now) for replica in replicas} | known


def _present(wanted: Wanted, record: Record, pods: list[PodSeen], now: float) -> Record:
    """Find the present attempt: the recorded attempt, or the attempt of the pods if the pods know better.

    The pods know better if they belong to a later attempt, or to another place than the recorded place. Then a late
    operator made them, or the status was set back. The place is the node each pod must go to, or the node that the
    scheduler picked for it. If not all pods exist, the place is unknown, and the attempt is abandoned.
    """
    attempt = max((record.attempt, *(pod.attempt for pod in pods)))
    present = sorted((pod for pod in pods if pod.attempt == attempt), key=lambda pod: pod.index)
    places = [pod.wants or (pod.node if wanted.left_open else "") for pod in present]
    if attempt == record.attempt and not any(map(_is_elsewhere, present, places, repeat(record.known_nodes))):
        return _as_bound(record, present)
    first = State.PENDING if wanted.queue is None else State.QUEUED
    fresh = Record(record.replica, attempt, first, now, record.failures)
    if len(present) == present[0].size and all(places) and all(pod.gpus == present[0].gpus for pod in present):
        return replace(fresh, nodes=tuple(places), gpus=present[0].gpus)
    return replace(fresh, attempt=attempt + 1, state=State.WAITING)


def _as_bound(record: Record, present: list[PodSeen]) -> Record:
    """Close an open place when all pods are bound: their nodes are the place, and the nodes of the plan are kept."""
    nodes = tuple(pod.node for pod in present)
    if not record.open or len(nodes) < len(record.nodes) or not all(nodes):
        return record
    return replace(record, nodes=nodes, planned=record.nodes, open=False)


def _is_elsewhere(pod: PodSeen, place: str, known: Sequence[str]) -> bool:
    """Tell whether a pod has another place than the recorded place, as far as both are known."""
    recorded = known[pod.index] if pod.index < len(known) else ""
    return bool(place and recorded) and place != recorded


def _lingering(pods: Pods, records: list[Record]) -> frozenset[str]:
    """Name the nodes that still have pods of earlier attempts."""
    present = {(record.replica, record.attempt) for record in records}
    return frozenset(pod.node for pod in pods if pod.node and (pod.replica, pod.attempt) not in present)


def _view(
    wanted: Wanted, plan: Plan | None, record: Record, pods: Pods, usable: UsableFleet, linger: frozenset[str]
) -> GroupView:
    present = tuple(sorted((pod for pod in pods if pod.attempt == record.attempt), key=lambda pod: pod.index))
    seen = {*filter(None, record.known_nodes), *(pod.node for pod in present if pod.node)}
    waits = not record.open and any(pod.unschedulable and not pod.node for pod in present)
    closed = usable.closed(wanted.demand, record.nodes) if waits else frozenset()
    view = GroupView(record, present, nodes=usable.exclusions(sorted(seen)), linger=linger, closed=closed)
    if plan is None:
        return replace(view, stale=True)
    if not record.nodes:
        return replace(view, stale=record.content not in ("", identity(wanted, plan, (), 0)))
    wanted_content = identity(wanted, plan, record.nodes, record.gpus)
    if record.content == wanted_content or _made_so(wanted, plan, view, usable):
        return replace(view, record=replace(record, content=wanted_content))
    return replace(view, stale=True)


def _made_so(wanted: Wanted, plan: Plan, view: GroupView, usable: UsableFleet) -> bool:
    """Tell whether the pods equal the pods that would be made now, in spite of edits. Then they may stay.

    Their nodes must suit the demand. A group of another shape cannot even be rendered.
    """
    record, layout = view.record, plan.layout
    if not view.pods or record.held_gpus != layout.world_size or not usable.suits(wanted.demand, record.nodes):
        return False
    placed = with_group(plan, record.replica, record.nodes, record.gpus, usable.domains(record.nodes))
    rendered = revision(wanted, placed, record.replica)
    return all(pod.revision == rendered for pod in view.pods)
