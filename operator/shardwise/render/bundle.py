"""Whole sets of manifests: a group, the Service in front, everything; and the revision that names their content."""

from dataclasses import dataclass

from shardwise.domain.digest import json_digest
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.engines import GroupLaunch, launch
from shardwise.render.companions import companions, keys, needs_compute_domain
from shardwise.render.disruption import disruption_budget, has_budget
from shardwise.render.manifest import Manifest
from shardwise.render.names import hosts
from shardwise.render.pods import pods, with_revision
from shardwise.render.services import rendezvous, to_leaders


@dataclass(frozen=True, slots=True)
class Group:
    """One attempt of one replica: its headless Service, what its pods need beside them, and its pods in rank order.

    ``keys`` is the Secret of the object's keys, without the keys, where its pods talk ssh.
    """

    service: Manifest
    companions: tuple[Manifest, ...]
    pods: tuple[Manifest, ...]
    keys: Manifest | None = None

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All of it, in the order it is applied, but for the keys."""
        return (self.service, *self.companions, *self.pods)


def serving(wanted: Wanted) -> Manifest:
    """Make the Service to the leaders."""
    return to_leaders(wanted.launch)


def group(wanted: Wanted, plan: Plan, replica: int, attempt: int) -> Group:
    """Make one attempt of one replica. Raises ``LookupError`` for a replica the plan does not have."""
    placed = _placed(plan, replica)
    label = revision(wanted, plan, replica)
    started = _started(wanted, plan, placed, attempt)
    beside = companions(wanted, plan, placed, started)
    return Group(
        service=rendezvous(wanted.launch, started, replica, attempt, beside),
        companions=beside,
        pods=tuple(with_revision(one, label) for one in pods(wanted, plan, placed, started, attempt)),
        keys=keys(wanted) if started.keys_at else None,
    )


def revision(wanted: Wanted, plan: Plan, replica: int) -> str:
    """Name the content of a replica's pods, whatever their attempt: 10 hexadecimal digits.

    Two operators that render the same pods give the same revision, so that an upgrade restarts nothing by accident.
    """
    placed = _placed(plan, replica)
    return json_digest(pods(wanted, plan, placed, _started(wanted, plan, placed, 0), 0))


def bundle(wanted: Wanted, plan: Plan) -> tuple[Manifest, ...]:
    """Make everything for an object, at the first attempt; what groups share once; the Secret of keys without keys."""
    groups = [group(wanted, plan, placed.replica, 0) for placed in plan.groups]
    secrets = [one.keys for one in groups if one.keys is not None][:1]
    count = sum(len(placed.pods) for placed in plan.groups)
    budgets = [disruption_budget(wanted.launch, count)] if has_budget(wanted) else []
    made = [serving(wanted), *budgets, *secrets, *(manifest for one in groups for manifest in one.manifests)]
    return tuple({(one["kind"], one["metadata"]["name"]): one for one in made}.values())


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
