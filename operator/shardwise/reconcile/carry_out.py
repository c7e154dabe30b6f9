"""The objects to apply and to delete, so that the cluster gets the groups of a group set.

Pods that belong to no current attempt are deleted first, so that their GPUs come free. A replica that is removed is
drained: its leader goes first, and finishes its requests while all ranks are up. Then the other pods go, then the
objects by which the pods find each other. A replica that is broken, or whose next attempt waits for the GPUs, goes at
once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.reconcile.actions import Action, Apply, Delete, MakeKeys
from shardwise.reconcile.group_set import GroupSet
from shardwise.reconcile.observed import Companion, Observed, PodSeen, companion_of
from shardwise.reconcile.plans import with_group
from shardwise.reconcile.records import State
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView
from shardwise.render.bundle import Group, group, serving
from shardwise.render.companions import is_named_by_us
from shardwise.render.disruption import disruption_budget, has_budget
from shardwise.render.manifest import REVISION, Manifest
from shardwise.render.names import group_name, serving_name

Attempt = tuple[int, int]
"""The numbers of a replica and of its attempt."""

_FAILED = (State.BACKOFF, State.HELD)
_SERVES = (State.READY, State.UNREADY)


def actions_of(
    wanted: Wanted, plan: Plan | None, group_set: GroupSet, observed: Observed, usable: UsableFleet
) -> Iterator[Action]:
    """Give all actions, in order."""
    made = {} if plan is None else dict(_made(wanted, plan, group_set, observed, usable))
    yield from _removals(wanted, group_set, made, observed)
    yield from _budget(wanted, plan, group_set, observed)
    if plan is not None:
        yield from _missing(serving(wanted), observed.services)
        beginning = _beginning(group_set, made, observed)
        launches = (action for view in beginning for action in _launch(view, made[view.record.replica], observed))
        yield from sorted(_once(launches), key=_rank)


def _beginning(group_set: GroupSet, made: Mapping[int, Group], observed: Observed) -> Iterator[GroupView]:
    """Give the groups whose objects may be made. While a write is refused, a single Pending group is tried for all."""
    pending = False
    for view in group_set.groups:
        if view.record.replica not in made or view.record.state in _FAILED:
            continue
        if view.record.state is State.PENDING:
            if pending and observed.refused:
                continue
            pending = True
        yield view


def _made(
    wanted: Wanted, plan: Plan, group_set: GroupSet, observed: Observed, usable: UsableFleet
) -> Iterator[tuple[int, Group]]:
    """Render the groups that begin or lack their Service. Render all groups if companions of others may be deleted.

    A group of old content may have another shape, and then it cannot be rendered.
    """
    names = {group_name(wanted.launch.owner.name, record.replica, record.attempt) for record in group_set.records}
    companions_go = any(needed for service, needed in observed.companions.items() if service not in names)
    for view in group_set.groups:
        record = view.record
        there = group_name(wanted.launch.owner.name, record.replica, record.attempt) in observed.services
        begins = record.state is State.PENDING or not there
        if record.nodes and not view.stale and (companions_go or begins):
            domains = usable.domains(record.nodes)
            placed = with_group(plan, record.replica, record.nodes, record.gpus, domains)
            yield record.replica, group(wanted, placed, record.replica, record.attempt)


def _removals(wanted: Wanted, group_set: GroupSet, made: Mapping[int, Group], observed: Observed) -> Iterator[Action]:
    present = {(record.replica, record.attempt) for record in group_set.records if record.nodes}
    if not wanted.restart.keep_failed:
        present -= {(record.replica, record.attempt) for record in group_set.records if record.state in _FAILED}
    leaving: dict[Attempt, list[PodSeen]] = defaultdict(list)
    for pod in observed.pods:
        if (pod.replica, pod.attempt) not in present:
            leaving[pod.replica, pod.attempt].append(pod)
    replicas = {record.replica for record in group_set.records}
    for (replica, _), pods in sorted(leaving.items()):
        going = pods if replica in replicas else _next_to_go(pods)
        yield from (Delete("Pod", pod.name, pod.uid) for pod in going if not pod.deleting)
    draining = {(replica, attempt) for replica, attempt in leaving if replica not in replicas}
    kept = {group_name(wanted.launch.owner.name, *attempt) for attempt in present | draining}
    kept.add(serving_name(wanted.launch.owner.name))
    gone = [name for name in sorted(observed.services) if name not in kept]
    yield from _companion_removals(wanted.launch.owner.name, gone, made, observed)
    yield from (Delete("Service", name) for name in gone)


def _companion_removals(model: str, gone: list[str], made: Mapping[int, Group], observed: Observed) -> Iterator[Action]:
    """Delete the companions that only leaving groups needed, before the Services that record them are gone.

    Only objects with a name of ours are deleted. Otherwise a user who may label a Service could make the operator
    delete any object.
    """
    needed = {companion_of(companion) for present in made.values() for companion in present.companions}
    needed |= _said_of(observed, [name for name in observed.services if name not in gone])
    for api_version, kind, name in sorted(_said_of(observed, gone) - needed):
        if is_named_by_us(model, name):
            yield Delete(kind, name, api_version=api_version)


def _said_of(observed: Observed, services: Iterable[str]) -> set[Companion]:
    """Give the companions that Services record for their pods."""
    return {companion for service in services for companion in observed.companions.get(service, ())}


def _next_to_go(pods: list[PodSeen]) -> list[PodSeen]:
    """Choose the pods of a leaving group that go now: the leader alone while all ranks are with it."""
    leader = next((pod for pod in pods if pod.index == 0), None)
    whole = len(pods) == pods[0].size and not any(pod.exit is not None for pod in pods)
    followers_stay = not any(pod.deleting for pod in pods if pod.index)
    return [leader] if leader is not None and leader.ready and whole and followers_stay else pods


def _missing(manifest: Manifest, present: Mapping[str, str]) -> Iterator[Apply]:
    metadata = manifest["metadata"]
    if present.get(metadata["name"]) != metadata["labels"][REVISION]:
        yield Apply(manifest)


def _budget(wanted: Wanted, plan: Plan | None, group_set: GroupSet, observed: Observed) -> Iterator[Action]:
    """Keep the disruption budget. While there are replicas to keep, the budget is changed and never deleted.

    If the budget is deleted during an eviction, the API server answers 404. `kubectl drain` then believes that the pod
    is gone: it leaves the pod on the node, and reports the node as drained.
    """
    budget = disruption_budget(wanted.launch, _to_keep(wanted, group_set))
    there = budget["metadata"]["name"] in observed.budgets
    if has_budget(wanted) and (there or plan is not None):
        yield from _missing(budget, observed.budgets)
    elif there:
        yield Delete(budget["kind"], budget["metadata"]["name"], api_version=budget["apiVersion"])


def _to_keep(wanted: Wanted, group_set: GroupSet) -> int:
    """Count the pods of the wanted number of replicas, serving replicas first.

    A replica that is held or has no place may never come back by itself. It does not count, or drains would wait for it
    for ever. The pods that a held group keeps for inspection count for the cluster while they are ready.
    """
    held = [view for view in group_set.groups if view.record.state is State.HELD]
    coming = [view.record for view in group_set.groups if view.record.nodes and view.record.state is not State.HELD]
    coming.sort(key=lambda record: record.state not in _SERVES)
    pods = sum(len(record.nodes) for record in coming[: wanted.demand.replicas])
    return pods + sum(pod.ready and not pod.deleting for view in held for pod in view.pods)


def _once(launches: Iterable[Apply | MakeKeys]) -> Iterable[Apply | MakeKeys]:
    """Keep each object once when several groups need it. Parallel writes of the same object would conflict."""
    return {(action.manifest["kind"], action.manifest["metadata"]["name"]): action for action in launches}.values()


def _rank(action: Action) -> int:
    """Order the objects: Services, then companions, then pods. Objects of equal rank are made in parallel."""
    match action:
        case Apply({"kind": "Service"}):
            return 0
        case Apply({"kind": "Pod"}):
            return 2
        case _:
            return 1


def _launch(view: GroupView, made: Group, observed: Observed) -> Iterator[Apply | MakeKeys]:
    """Make the missing objects of a group: its Service and, while it is Pending, its companions and missing pods."""
    pending = view.record.state is State.PENDING
    if pending or made.service["metadata"]["name"] not in observed.services:
        yield from _missing(made.service, observed.services)
    if pending:
        there = {pod.name for pod in observed.pods}
        yield from (Apply(companion) for companion in made.companions)
        yield from (MakeKeys(secret) for secret in (made.keys,) if secret is not None)
        yield from (Apply(pod) for pod in made.pods if pod["metadata"]["name"] not in there)
