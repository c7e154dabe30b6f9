"""The status of an object as a value: everything that the operator reports of it and remembers from look to look.

``reconcile/status_data.py`` reads and writes it as JSON data.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shardwise.domain.needs import Amounts, PodNeeds, added_by_node, needs_by_node
from shardwise.reconcile.conditions import DatedCondition
from shardwise.reconcile.recorded_plan import RecordedPlan
from shardwise.reconcile.records import Record, held_by
from shardwise.reconcile.shunned import Shuns


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group in a status: its record, its message for people, and the numbers of its pods.

    ``loaded_pods`` counts the pods that have their weights; ``None`` if no pod fetches weights before its engine
    starts. ``older`` marks a group that the version before this version wrote, without the GPUs of each pod.
    """

    record: Record
    message: str = ""
    ready_pods: int = 0
    loaded_pods: int | None = None
    older: bool = False

    @property
    def serves(self) -> bool:
        """Whether all its pods are ready."""
        return 0 < len(self.record.nodes) <= self.ready_pods


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """A role in a status: its plan, the replicas that it shall have, those that have a place and those that serve."""

    name: str
    wanted: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    plan: RecordedPlan | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The status of an object.

    ``generation`` is the generation that the status describes, -1 before the first look. ``groups`` is ``None`` until
    a decision is written. ``restarts`` counts the restarts of all groups. ``waiting_since`` is in seconds since the
    epoch; 0 if the object does not wait for GPUs. ``unread_plan`` and ``unread_groups`` are data that this version
    cannot read: they stay as they are while the object is left alone, and no decision writes them. ``roles`` have the
    plans of an object with roles, which has no other plan.
    """

    generation: int = -1
    message: str = ""
    replicas: int = 0
    ready_replicas: int = 0
    selector: str = ""
    endpoint: str = ""
    restarts: int = 0
    groups: tuple[GroupStatus, ...] | None = None
    plan: RecordedPlan | None = None
    shuns: Shuns = ()
    waiting_since: float = 0.0
    conditions: tuple[DatedCondition, ...] = ()
    unread_plan: object = None
    unread_groups: tuple[object, ...] = ()
    roles: tuple[RoleStatus, ...] = ()

    @property
    def records(self) -> dict[int, Record]:
        """The records of its groups, by replica."""
        return {group.record.replica: group.record for group in self.groups or ()}

    @property
    def knows_all_groups(self) -> bool:
        """Whether every group was recorded and could be read. Otherwise groups must be found from their pods."""
        return self.groups is not None and not self.unread_groups

    @property
    def holdings(self) -> Mapping[str, int]:
        """The GPUs that its groups hold, by node."""
        return held_by(self.records.values())

    @property
    def coming(self) -> int:
        """The GPUs that its groups will hold on nodes that the scheduler has yet to pick."""
        return sum(record.coming_gpus for record in self.records.values())

    def other_holdings(self, needs: PodNeeds) -> Mapping[str, Amounts]:
        """Add up the resources besides GPUs that the pods of its groups need, by node."""
        plans = {role.name: role.plan for role in self.roles} | {"": self.plan}
        parts = []
        for name in sorted({record.role for record in self.records.values()}):
            known = plans.get(name)
            groups = ((record.held_nodes, record.gpus) for record in self.records.values() if record.role == name)
            parts.append(needs_by_node(needs, 1 if known is None else known.plan.nvlink_gpus, groups))
        return added_by_node(*parts)

    def role(self, name: str) -> RoleStatus:
        """Give a role; a role that nobody has decided on is empty."""
        return next((role for role in self.roles if role.name == name), RoleStatus(name))

    def condition(self, kind: str) -> DatedCondition | None:
        """Find a condition by its kind."""
        return next((condition for condition in self.conditions if condition.kind == kind), None)

    def gives(self, reason: str) -> bool:
        """Tell whether a condition that is True gives a reason."""
        return any((condition.reason, condition.status) == (reason, "True") for condition in self.conditions)
