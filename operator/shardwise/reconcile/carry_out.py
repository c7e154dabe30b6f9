"""The objects to apply and to delete, so that the cluster gets the groups of a group set.

The leaders of groups that do not serve leave the Service for clients before anything else is done. Then the pods that
belong to no current attempt are deleted, so that their GPUs come free (``leaving``). A replica that is removed is
drained; when its pods are gone, the objects by which the pods find each other go. A replica that is broken, or whose
next attempt waits for the GPUs, goes at once.
"""

from collections.abc import Iterable, Iterator, Mapping

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.roles import RoleName
from shardwise.engines.transfer import serves_clients
from shardwise.reconcile.actions import Action, Apply, Delete, MakeKeys
from shardwise.reconcile.attached import attached
from shardwise.reconcile.cluster_queue import left_queue, steered
from shardwise.reconcile.desired import Case, DesiredState
from shardwise.reconcile.drift import Live, label_path, owners
from shardwise.reconcile.gang import lacks_group
from shardwise.reconcile.group_set import GroupSet
from shardwise.reconcile.leaving import leaving_pods
from shardwise.reconcile.mender import Mender, has_other_content
from shardwise.reconcile.observed import Companion, Observed, companion_of
from shardwise.reconcile.open_places import open_to
from shardwise.reconcile.plans import with_group
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView
from shardwise.reconcile.whole import SERVES, admissions, by_attempt, withdrawals
from shardwise.render.bundle import Group, group, serving
from shardwise.render.companions import COMPUTE_DOMAIN, LABELS, POD_GROUPS, is_named_by_us
from shardwise.render.disruption import disruption_budget, has_budget
from shardwise.render.manifest import Manifest, group_labels
from shardwise.render.names import group_name, serving_name
from shardwise.render.services import is_as_made

_FAILED = (State.BACKOFF, State.HELD)
_MAY_NOT_COME = (State.HELD, State.QUEUED)


def actions_of(case: Case, desired: DesiredState) -> Iterator[Action]:
    """Give all actions, in order.

    The leaders of groups that serve are labelled before the Service that selects the label is made or changed.
    """
    wanted, observed = case.wanted, case.observed
    plan, group_set = desired.in_force.plan, desired.group_set
    mender = Mender(observed.mends, case.terms.now)
    made = {} if plan is None else dict(_made(wanted, plan, group_set, observed, desired.nodes.usable))
    yield from withdrawals(observed.pods, group_set.records)
    yield from _removals(case, desired, made)
    if wanted.launch.role is None:
        yield from budget(case, to_keep(wanted, group_set), mender, planned=plan is not None)
    yield from admissions(observed.pods, group_set.records)
    if plan is not None:
        yield from mender.kept(serving(wanted), observed.services) if serves_clients(wanted) else ()
        beginning = _beginning(group_set, made, observed)
        launches = (
            action for view in beginning for action in _launch(view, made[view.record.replica], observed, mender)
        )
        yield from sorted(_once(launches), key=_rank)
    if wanted.launch.role is None or wanted.launch.role.name is RoleName.DECODE:
        yield from attached(wanted, plan, observed.attachments, mender)


def _beginning(group_set: GroupSet, made: Mapping[int, Group], observed: Observed) -> Iterator[GroupView]:
    """Give the groups whose objects may be made. While a write is refused, a single Pending group is tried for all."""
    pending = False
    for view in group_set.groups:
        if view.record.replica not in made or view.record.state in _FAILED:
            continue
        if view.lacks_pods:
            if pending and observed.refused:
                continue
            pending = True
        yield view


def _made(
    wanted: Wanted, plan: Plan, group_set: GroupSet, observed: Observed, usable: UsableFleet
) -> Iterator[tuple[int, Group]]:
    """Render the groups that begin, or whose Service is missing or drifted.

    Render all groups if companions may go, and after a relist.

    A group of old content may have another shape, and then it cannot be rendered.
    """
    names = {group_name(wanted.launch.owner.name, record.replica, record.attempt) for record in group_set.records}
    companions_go = any(needed for service, needed in observed.companions.items() if service not in names)
    for view in group_set.groups:
        record = view.record
        begins = view.lacks_pods or not _has_its_service(wanted, record, observed)
        begins = begins or lacks_group(wanted, view, observed.gang)
        if record.nodes and not view.stale and (companions_go or begins or observed.relisted):
            domains = usable.domains(record.nodes)
            placed = with_group(plan, record.replica, record.nodes, record.gpus, domains)
            terms = open_to(wanted, placed, usable)
            made = group(wanted, placed, record.replica, record.attempt, terms)
            yield record.replica, steered(wanted, made, record, usable, observed.queue.offer)


def _has_its_service(wanted: Wanted, record: Record, observed: Observed) -> bool:
    """Tell whether the Service of a group exists as it was made."""
    live = observed.services.get(group_name(wanted.launch.owner.name, record.replica, record.attempt))
    if live is None:
        return False
    labels = group_labels(wanted.launch, record.replica, record.attempt)
    return labels.items() <= (live["metadata"].get("labels") or {}).items() and is_as_made(live)


def _removals(case: Case, desired: DesiredState, made: Mapping[int, Group]) -> Iterator[Action]:
    wanted, observed, group_set = case.wanted, case.observed, desired.group_set
    present = {(record.replica, record.attempt) for record in group_set.records if record.nodes}
    if not wanted.restart.keep_failed:
        present -= {(record.replica, record.attempt) for record in group_set.records if record.state in _FAILED}
    leaving = {number: pods for number, pods in by_attempt(observed.pods).items() if number not in present}
    replicas = frozenset(record.replica for record in group_set.records)
    yield from leaving_pods(leaving, desired.before, replicas)
    yield from left_queue(wanted.launch.owner.name, leaving, observed.queue)
    draining = {(replica, attempt) for replica, attempt in leaving if replica not in replicas}
    kept = {group_name(wanted.launch.owner.name, *attempt) for attempt in present | draining}
    kept |= {serving_name(wanted.launch.owner.name)} if serves_clients(wanted) else set()
    kept |= frozenset() if observed.other is None else observed.other.services
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
        if is_named_by_us(model, api_version, kind, name):
            yield Delete(kind, name, api_version=api_version)


def _said_of(observed: Observed, services: Iterable[str]) -> set[Companion]:
    """Give the companions that Services record for their pods."""
    return {companion for service in services for companion in observed.companions.get(service, ())}


def budget(case: Case, pods: int, mender: Mender, *, planned: bool) -> Iterator[Action]:
    """Keep the disruption budget, for so many pods of all roles. ``planned``: the object has a plan.

    While there are replicas to keep, the budget is changed and never deleted. If the budget is deleted during an
    eviction, the API server answers 404. `kubectl drain` then believes that the pod is gone: it leaves the pod on the
    node, and reports the node as drained.
    """
    wanted, budgets = case.wanted, case.observed.budgets
    manifest = disruption_budget(wanted.launch, pods)
    there = manifest["metadata"]["name"] in budgets
    if has_budget(wanted) and (there or planned):
        yield from mender.kept(manifest, budgets)
    elif there:
        yield Delete(manifest["kind"], manifest["metadata"]["name"], api_version=manifest["apiVersion"])


def to_keep(wanted: Wanted, group_set: GroupSet) -> int:
    """Count the pods of the wanted number of replicas, serving replicas first.

    A replica that is held, queued or without a place may never come back by itself. It does not count, or drains would
    wait for it for ever. The pods that a held group keeps for inspection count for the cluster while they are ready.
    """
    held = [view for view in group_set.groups if view.record.state is State.HELD]
    coming = [view.record for view in group_set.groups if view.record.nodes and view.record.state not in _MAY_NOT_COME]
    coming.sort(key=lambda record: record.state not in SERVES)
    pods = sum(len(record.nodes) for record in coming[: wanted.demand.replicas])
    return pods + sum(pod.ready and not pod.deleting for view in held for pod in view.pods)


def _once(launches: Iterable[Action]) -> Iterable[Action]:
    """Keep each action once when several groups need it. Parallel writes of the same object would conflict."""
    return {_acted_on(action): action for action in launches}.values()


def _acted_on(action: Action) -> tuple[type[Action], str, str]:
    match action:
        case Apply(manifest) | MakeKeys(manifest):
            return type(action), manifest["kind"], manifest["metadata"]["name"]
        case Delete(kind, name):
            return Delete, kind, name
        case _:
            return type(action), "", ""


def _rank(action: Action) -> int:
    """Order the objects: Services, then companions, then pods. Objects of equal rank are made in parallel."""
    match action:
        case Delete() | Apply({"kind": "Service"}):
            return 0
        case Apply({"kind": "Pod"}):
            return 2
        case _:
            return 1


def _launch(view: GroupView, made: Group, observed: Observed, mender: Mender) -> Iterator[Action]:
    """Make the missing objects of a group: its Service and, while it is Pending, its companions and missing pods.

    The Service of a group that is up gets no other content: another version may write there what the pods do not need.
    """
    live = observed.services.get(made.service["metadata"]["name"])
    pending = view.lacks_pods
    if pending or live is None:
        yield from mender.kept(made.service, observed.services)
    elif not has_other_content(made.service, live):
        yield from mender.mended(_as_recorded(made.service, live), live)
    if pending or observed.relisted:
        yield from _beside(made, observed, up=not pending)
    if not pending and not all(pod.node for pod in view.pods):
        yield from (Apply(group) for group in _missing_groups(made, observed))
    if pending:
        there = {pod.name for pod in observed.pods}
        yield from (Apply(pod) for pod in made.pods if pod["metadata"]["name"] not in there)


def _as_recorded(service: Manifest, live: Live) -> Manifest:
    """Give the Service of a group that is up with the companions that it records, unless another manager wrote them.

    Another version of the operator may have made them under other names, and they are found by these labels.
    """
    labels = live["metadata"].get("labels") or {}
    kept = {label: labels[label] for label in LABELS if label in labels and not owners(live, label_path(label))}
    metadata = service["metadata"]
    return {**service, "metadata": {**metadata, "labels": {**metadata["labels"], **kept}}}


def _beside(made: Group, observed: Observed, *, up: bool) -> Iterator[Apply | MakeKeys]:
    """Apply the companions of a group and its keys; of a group that is ``up``, the companions that its Service records.

    The operator may not read them. To apply what is there changes nothing. Another version may give companions other
    names, and the pods of a group that is up do not know these. The objects of gangs are read: those that are there are
    not applied, and pods that are bound need none.
    """
    recorded = observed.companions.get(made.service["metadata"]["name"], frozenset()) if up else None
    for companion in made.companions:
        served = not up or observed.compute_domains or companion["kind"] != COMPUTE_DOMAIN[1]
        known = recorded is None or (companion_of(companion) in recorded and served)
        if known and not (_is_of_gang(companion) and (up or companion["metadata"]["name"] in observed.gang.groups)):
            yield Apply(companion)
    if made.keys is not None:
        yield MakeKeys(made.keys)


def _missing_groups(made: Group, observed: Observed) -> Iterator[Manifest]:
    """Give the objects of gangs that are gone."""
    groups = (found for found in made.companions if _is_of_gang(found))
    return (found for found in groups if found["metadata"]["name"] not in observed.gang.groups)


def _is_of_gang(companion: Manifest) -> bool:
    return (companion["apiVersion"], companion["kind"]) in POD_GROUPS
