"""Whole sets of manifests: a group, the Service in front, everything; and the revision that names their content."""

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.engines import GroupLaunch, launch
from shardwise.engines.vllm import HTTP_PORT
from shardwise.render.manifest import Manifest, digest
from shardwise.render.names import leader_host
from shardwise.render.pods import pod, with_revision
from shardwise.render.services import rendezvous, to_leaders


def serving(wanted: Wanted) -> Manifest:
    """Make the Service to the leaders."""
    return to_leaders(wanted.launch, HTTP_PORT)


def group(wanted: Wanted, plan: Plan, replica: int, attempt: int) -> tuple[Manifest, ...]:
    """Make one attempt of one replica: its headless Service, then its pods in rank order.

    Raises ``LookupError`` for a replica the plan does not have, and ``UnsupportedEngine``.
    """
    placed = _placed(plan, replica)
    label = revision(wanted, plan, replica)
    started = _started(wanted, plan, placed, attempt)
    pods = (pod(wanted.launch, plan, started, place, replica, attempt) for place in placed.pods)
    service = rendezvous(wanted.launch, started, replica, attempt)
    return (service, *(with_revision(one, label) for one in pods))


def revision(wanted: Wanted, plan: Plan, replica: int) -> str:
    """Name the content of a replica's pods, whatever their attempt: 10 hexadecimal digits.

    Two operators that render the same pods give the same revision, so that an upgrade restarts nothing by accident.
    """
    placed = _placed(plan, replica)
    started = _started(wanted, plan, placed, 0)
    pods = [pod(wanted.launch, plan, started, place, replica, 0) for place in placed.pods]
    return digest(pods)


def bundle(wanted: Wanted, plan: Plan) -> tuple[Manifest, ...]:
    """Make everything for an object, at the first attempt."""
    groups = (one for placed in plan.groups for one in group(wanted, plan, placed.replica, 0))
    return (serving(wanted), *groups)


def _placed(plan: Plan, replica: int) -> GroupPlacement:
    for placed in plan.groups:
        if placed.replica == replica:
            return placed
    raise LookupError(f"the plan has no replica {replica}")


def _started(wanted: Wanted, plan: Plan, placed: GroupPlacement, attempt: int) -> GroupLaunch:
    owner = wanted.launch.owner
    return launch(wanted, plan, placed, leader_host(owner.name, owner.namespace, placed.replica, attempt))
