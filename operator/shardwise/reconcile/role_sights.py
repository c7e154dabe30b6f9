"""An object with roles, role by role: what a decision about a role sees of it, and what becomes of the whole.

A role is decided on like an object. It sees its own pods, Services and groups, and a fleet without the GPUs that the
other role holds. Numbers of replicas and names of Services of the other role are taken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import Wanted
from shardwise.domain.needs import needs_by_node
from shardwise.domain.plan import Plan
from shardwise.domain.roles import RoleName
from shardwise.planner.halves import only_in, within_of, without
from shardwise.reconcile.drift import Live
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.observed import Observed, OtherRole
from shardwise.reconcile.records import SERVING, Record, State, held_by
from shardwise.reconcile.role_plans import role_of
from shardwise.reconcile.views import GroupView
from shardwise.render.manifest import SERVING_ROLE


@dataclass(frozen=True, slots=True)
class Held:
    """The groups of the other role: their records, and the GPUs that share NVLink in their layout.

    ``planned`` is a plan of the other role whose groups are about to begin, and hold nothing yet.
    """

    records: Sequence[Record] = ()
    nvlink_gpus: int = 1
    planned: Plan | None = None

    @property
    def gpus(self) -> int:
        """The GPUs that they hold, or are about to hold."""
        return sum(record.held_gpus for record in self.records) + (0 if self.planned is None else self.planned.gpus)


def sight(part: Wanted, observed: Observed, other: OtherRole, held: Held) -> Observed:
    """Give the observation of an object as a decision about a role sees it."""
    name = role_of(part)
    status = status_of_role(observed.status, name)
    pods = tuple(pod for pod in observed.pods if _belongs(pod.role, name))
    services = {key for key, live in observed.services.items() if not _belongs(_role_of(live), name)}
    numbers = {pod.replica for pod in observed.pods if not _belongs(pod.role, name)}
    numbers |= {record.replica for record in held.records}
    fleet = _without(observed.fleet, part, held)
    place = _place(part, observed)
    if place:
        fleet = only_in(fleet, str(within_of(part.demand)), place)
    seen = replace(other, numbers=frozenset(numbers) | other.numbers, services=frozenset(services))
    others = observed.gpus_of_others + held.gpus
    return replace(observed, status=status, pods=pods, fleet=fleet, gpus_of_others=others, other=seen)


def status_of_role(status: Status, name: RoleName) -> Status:
    """Give the status of an object as if it had the groups of a role alone. Groups without a role count as decode."""
    groups = (
        None if status.groups is None else tuple(group for group in status.groups if _belongs(group.record.role, name))
    )
    role = status.role(name.value)
    return replace(status, groups=groups, plan=role.plan, replicas=role.replicas, ready_replicas=role.ready_replicas)


def other_role(views: Iterable[GroupView], wanted: int) -> OtherRole:
    """Say of a role what the other role has to know of its groups. ``wanted`` is the replicas that it shall have."""
    groups = tuple(views)
    fresh = [view for view in groups if not view.leaving]
    return OtherRole(
        numbers=frozenset(view.record.replica for view in groups),
        serves=any(view.record.state is State.READY or view.ready for view in fresh) or not wanted,
        begins=any(view.record.nodes and view.record.state not in SERVING for view in fresh),
        leaves=any(view.leaving and view.record.state in SERVING for view in groups),
        spare=len(groups) > wanted,
    )


def _belongs(role: str, name: RoleName) -> bool:
    """Tell whether a label or a record names a role. An object that gets roles keeps its groups as decode."""
    return (role or RoleName.DECODE.value) == name.value


def _role_of(live: Live) -> str:
    return str((live["metadata"].get("labels") or {}).get(SERVING_ROLE, ""))


def _without(fleet: Fleet, part: Wanted, held: Held) -> Fleet:
    """Give the fleet without what the groups of the other role hold."""
    groups = ((record.held_nodes, record.gpus) for record in held.records)
    left = fleet.without(held_by(held.records), needs_by_node(part.demand.needs, held.nvlink_gpus, groups))
    return left if held.planned is None else without(left, part.demand, held.planned)


def _place(part: Wanted, observed: Observed) -> str:
    """Give the bounding place of both roles in which groups of the object lie; empty while there is none."""
    level = within_of(part.demand)
    if level is None:
        return ""
    held = (name for record in observed.status.records.values() for name in record.nodes)
    nodes = (node for node in map(observed.fleet.node, held) if node is not None)
    return next((observed.fleet.place(node, level) for node in nodes), "")
