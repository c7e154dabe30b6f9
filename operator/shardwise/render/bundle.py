"""Sets of manifests: a group, the Service for clients, a whole object; and the revision that names their content."""

from collections.abc import Callable
from dataclasses import dataclass

from shardwise.domain.digest import json_digest
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.engines import GroupLaunch, launch
from shardwise.engines.transfer import serves_clients
from shardwise.render.attachments import attachments
from shardwise.render.companions import companions, keys, needs_compute_domain
from shardwise.render.disruption import disruption_budget, has_budget
from shardwise.render.gangs import pod_groups
from shardwise.render.manifest import LEADER, ROLE, SERVER, SERVES, Manifest
from shardwise.render.names import hosts
from shardwise.render.pods import OpenTo, pods, with_revision
from shardwise.render.services import rendezvous, to_leaders


@dataclass(frozen=True, slots=True)
class Group:
    """An attempt of a replica: its headless Service, the companions of its pods, and its pods in rank order.

    ``keys`` is the Secret for the object's keys, without the keys; ``None`` if its pods do not use ssh.
    """

    service: Manifest
    companions: tuple[Manifest, ...]
    pods: tuple[Manifest, ...]
    keys: Manifest | None = None

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All manifests but the keys, in the order in which they are applied."""
        return (self.service, *self.companions, *self.pods)


def serving(wanted: Wanted) -> Manifest:
    """Make the Service to the leaders. Groups that clients must not reach without a router have no such Service."""
    return to_leaders(wanted.launch)


def group(wanted: Wanted, plan: Plan, replica: int, attempt: int, open_to: OpenTo | None = None) -> Group:
    """Make an attempt of a replica. Raises ``LookupError`` for a replica that the plan does not have.

    ``open_to`` has the terms on nodes for pods whose nodes the scheduler picks, by the planned node.
    """
    placed = _placed(plan, replica)
    label = revision(wanted, plan, replica)
    started = _started(wanted, plan, placed, attempt)
    made = pods(wanted, plan, placed, started, attempt, open_to or {})
    beside = (*companions(wanted, plan, placed, started), *pod_groups(wanted, placed, attempt, made))
    return Group(
        service=rendezvous(wanted.launch, started, replica, attempt, beside),
        companions=beside,
        pods=tuple(with_revision(pod, label) for pod in made),
        keys=keys(wanted) if started.keys_at else None,
    )


def revision(wanted: Wanted, plan: Plan, replica: int) -> str:
    """Name the content of a replica's pods, in every attempt alike: 10 hexadecimal digits.

    Two versions of the operator that render the same pods give the same revision, so that an upgrade restarts no pod.
    """
    placed = _placed(plan, replica)
    anywhere: OpenTo = {pod.node: () for pod in placed.pods} if wanted.left_open else {}
    return json_digest(pods(wanted, plan, placed, _started(wanted, plan, placed, 0), 0, anywhere))


def bundle(
    wanted: Wanted,
    plan: Plan,
    *others: tuple[Wanted, Plan],
    where: Callable[[Wanted, Plan], OpenTo] = lambda _wanted, _plan: {},
) -> tuple[Manifest, ...]:
    """Make all manifests of an object at its first attempt, each once; the Secret for keys has no keys.

    ``others`` are the further roles of an object with roles. Pods that serve clients have the label of groups that
    serve: where no operator runs, nobody else would set it. ``where`` gives the ``open_to`` of the groups of a plan.
    """
    placed = (wanted, plan), *others
    groups = [group(part, plan, found.replica, 0, where(part, plan)) for part, plan in placed for found in plan.groups]
    secrets = [started.keys for started in groups if started.keys is not None][:1]
    count = sum(len(started.pods) for started in groups)
    budgets = [disruption_budget(wanted.launch, count)] if has_budget(wanted) else []
    services = [serving(part) for part, _ in placed if serves_clients(part)]
    of_groups = (manifest for started in groups for manifest in started.manifests)
    made = [*services, *budgets, *secrets, *of_groups, *attachments(wanted, plan)]
    return tuple({(manifest["kind"], manifest["metadata"]["name"]): _serves(manifest) for manifest in made}.values())


def _serves(manifest: Manifest) -> Manifest:
    """Give a pod that serves the label by which the Service for clients selects it; leave other manifests alone."""
    labels = manifest["metadata"]["labels"]
    if labels.get(ROLE) not in (LEADER, SERVER):
        return manifest
    return manifest | {"metadata": manifest["metadata"] | {"labels": labels | {SERVES: "true"}}}


def needs_compute_domains(wanted: Wanted, plan: Plan) -> bool:
    """Tell whether any group of a plan needs a ComputeDomain."""
    return any(needs_compute_domain(wanted, plan, placed) for placed in plan.groups)


def _placed(plan: Plan, replica: int) -> GroupPlacement:
    for placed in plan.groups:
        if placed.replica == replica:
            return placed
    raise LookupError(f"the plan has no replica {replica}")


def _started(wanted: Wanted, plan: Plan, placed: GroupPlacement, attempt: int) -> GroupLaunch:
    owner = wanted.launch.owner
    return launch(wanted, plan, placed, hosts(owner.name, owner.namespace, placed.replica, attempt, len(placed.pods)))
