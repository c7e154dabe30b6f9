"""What to apply and delete, so that a cluster comes to have the groups it should have.

Pods that belong to no attempt go first, so that their GPUs come back. A replica that goes is drained: its leader goes
first, and ends what it has begun while all ranks are there, then the others, then what they find each other by. One
that is broken, or whose next attempt waits for the GPUs, goes at once.
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
from shardwise.render import Group, Manifest, disruption_budget, group, has_budget, serving
from shardwise.render.companions import is_named_by_us
from shardwise.render.manifest import REVISION
from shardwise.render.names import group_name, serving_name

Attempt = tuple[int, int]
"""Replica and attempt."""

_FAILED = (State.BACKOFF, State.HELD)
_SERVES = (State.READY, State.UNREADY)


def actions_of(
    wanted: Wanted, plan: Plan | None, group_set: GroupSet, observed: Observed, usable: UsableFleet
) -> Iterator[Action]:
    """Give all that has to be done, in order."""
    made = {} if plan is None else dict(_made(wanted, plan, group_set, observed, usable))
    yield from _removals(wanted, group_set, made, observed)
    yield from _budget(wanted, plan, group_set, observed)
    if plan is not None:
        yield from _missing(serving(wanted), observed.services)
        beginning = (
            view for view in group_set.groups if view.record.replica in made and view.record.state not in _FAILED
        )
        launches = (action for view in beginning for action in _launch(view, made[view.record.replica], observed))
        yield from sorted(_once(launches), key=_rank)


def _made(
    wanted: Wanted, plan: Plan, group_set: GroupSet, observed: Observed, usable: UsableFleet
) -> Iterator[tuple[int, Group]]:
    """Make the groups that begin or lack their Service; and all, where others' companions may go with theirs.

    One of old content may be of another shape: it cannot be made as it is.
    """
    names = {group_name(wanted.launch.owner.name, one.replica, one.attempt) for one in group_set.records}
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
        present -= {(one.replica, one.attempt) for one in group_set.records if one.state in _FAILED}
    leaving: dict[Attempt, list[PodSeen]] = defaultdict(list)
    for pod in observed.pods:
        if (pod.replica, pod.attempt) not in present:
            leaving[pod.replica, pod.attempt].append(pod)
    replicas = {record.replica for record in group_set.records}
    for (replica, _), pods in sorted(leaving.items()):
        going = pods if replica in replicas else _next_to_go(pods)
        yield from (Delete("Pod", pod.name, pod.uid) for pod in going if not pod.deleting)
    draining = {(replica, attempt) for replica, attempt in leaving if replica not in replicas}
    kept = {group_name(wanted.launch.owner.name, *one) for one in present | draining}
    kept.add(serving_name(wanted.launch.owner.name))
    gone = [name for name in sorted(observed.services) if name not in kept]
    yield from _companion_removals(wanted.launch.owner.name, gone, made, observed)
    yield from (Delete("Service", name) for name in gone)


def _companion_removals(model: str, gone: list[str], made: Mapping[int, Group], observed: Observed) -> Iterator[Action]:
    """Remove what only groups that go needed beside them: before the Services that say so, or it would be forgotten.

    Only what is called as ours is: whoever may label a Service could else have anything deleted by us.
    """
    needed = {companion_of(one) for present in made.values() for one in present.companions}
    needed |= _said_of(observed, [name for name in observed.services if name not in gone])
    for api_version, kind, name in sorted(_said_of(observed, gone) - needed):
        if is_named_by_us(model, name):
            yield Delete(kind, name, api_version=api_version)


def _said_of(observed: Observed, services: Iterable[str]) -> set[Companion]:
    """Give what Services say their pods need."""
    return {one for service in services for one in observed.companions.get(service, ())}


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
    """Keep the disruption budget. It is changed, never deleted, while there are replicas to keep.

    An eviction whose budget is deleted under it is answered with 404, which `kubectl drain` takes for a pod that is
    gone: it would leave the pod on the node, and call the node drained.
    """
    budget = disruption_budget(wanted.launch, _to_keep(wanted, group_set))
    there = budget["metadata"]["name"] in observed.budgets
    if has_budget(wanted) and (there or plan is not None):
        yield from _missing(budget, observed.budgets)
    elif there:
        yield Delete(budget["kind"], budget["metadata"]["name"], api_version=budget["apiVersion"])


def _to_keep(wanted: Wanted, group_set: GroupSet) -> int:
    """Count the pods of as many replicas as are asked for, those that serve first.

    One that may not come back by itself, held or without a place, does not count, or drains would wait for it for ever;
    but what of a held group is left to be looked at counts for the cluster, as long as it is ready.
    """
    held = [view for view in group_set.groups if view.record.state is State.HELD]
    coming = [view.record for view in group_set.groups if view.record.nodes and view.record.state is not State.HELD]
    coming.sort(key=lambda record: record.state not in _SERVES)
    pods = sum(len(record.nodes) for record in coming[: wanted.demand.replicas])
    return pods + sum(pod.ready and not pod.deleting for view in held for pod in view.pods)


def _once(launches: Iterable[Apply | MakeKeys]) -> Iterable[Apply | MakeKeys]:
    """Make once what several groups need: made side by side, one of the two would be in the way of the other."""
    return {(one.manifest["kind"], one.manifest["metadata"]["name"]): one for one in launches}.values()


def _rank(action: Action) -> int:
    """Order what groups lack: all Services, what their pods need, all pods. What is alike is made side by side."""
    match action:
        case Apply({"kind": "Service"}):
            return 0
        case Apply({"kind": "Pod"}):
            return 2
        case _:
            return 1


def _launch(view: GroupView, made: Group, observed: Observed) -> Iterator[Apply | MakeKeys]:
    """Make what a group lacks: its Service, and while it is Pending what its pods need and those not there yet."""
    pending = view.record.state is State.PENDING
    if pending or made.service["metadata"]["name"] not in observed.services:
        yield from _missing(made.service, observed.services)
    if pending:
        there = {pod.name for pod in observed.pods}
        yield from (Apply(companion) for companion in made.companions)
        yield from (MakeKeys(secret) for secret in (made.keys,) if secret is not None)
        yield from (Apply(pod) for pod in made.pods if pod["metadata"]["name"] not in there)
