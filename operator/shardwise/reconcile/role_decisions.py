"""The decision for an object with roles, from the decisions for its roles: one status, one budget, all actions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shardwise.domain.launch import Wanted
from shardwise.domain.refusal import RefusalReason
from shardwise.engines.transfer import serves_clients
from shardwise.reconcile.actions import Action, Decision, Emit
from shardwise.reconcile.conditions import MOST_MESSAGE, DatedCondition, short_of
from shardwise.reconcile.object_status import GroupStatus, RoleStatus, Status
from shardwise.reconcile.role_plans import role_of
from shardwise.reconcile.status import small

_ALL: Final = ("Ready", "Planned", "Launched")
"""Conditions that hold for the whole if they hold for both roles; any other holds if it holds for a role."""


@dataclass(frozen=True, slots=True)
class RoleDecision:
    """A role as it was decided on, and the decision."""

    wanted: Wanted
    decision: Decision

    @property
    def name(self) -> str:
        """The name of the role."""
        return role_of(self.wanted).value

    @property
    def status(self) -> Status:
        """The status as if the object had the groups of the role alone."""
        return self.decision.status


def whole_status(roles: Sequence[RoleDecision], before: Status, now: float) -> Status:
    """Put the statuses of the roles together. ``before`` is the status of the whole; ``now`` is as of ``decide``."""
    first, statuses = roles[0], [role.status for role in roles]
    groups = [_of_role(group, role.name) for role in roles for group in role.status.groups or ()]
    status = Status(
        generation=first.status.generation,
        message=_said({role.name: role.status.message for role in roles})[:MOST_MESSAGE],
        replicas=sum(status.replicas for status in statuses),
        ready_replicas=sum(status.ready_replicas for status in statuses),
        selector=first.status.selector,
        endpoint=first.status.endpoint if serves_clients(first.wanted) else "",
        restarts=before.restarts + sum(status.restarts - before.restarts for status in statuses),
        groups=tuple(sorted(groups, key=lambda group: group.record.replica)),
        shuns=statuses[-1].shuns,
        waiting_since=min((status.waiting_since for status in statuses if status.waiting_since), default=0.0),
        roles=tuple(_role(role) for role in roles),
    )
    return small(replace(status, conditions=tuple(_conditions(roles, status, before, now))))


def _of_role(group: GroupStatus, name: str) -> GroupStatus:
    return replace(group, record=replace(group.record, role=name))


def _role(role: RoleDecision) -> RoleStatus:
    status = role.status
    return RoleStatus(role.name, role.wanted.demand.replicas, status.replicas, status.ready_replicas, status.plan)


def _said(words: dict[str, str]) -> str:
    """Say what each role says; once, if both say the same."""
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{name}: {text}" for name, text in words.items() if text)


def _conditions(roles: Sequence[RoleDecision], status: Status, before: Status, now: float) -> Iterator[DatedCondition]:
    """Give each condition of the whole. Exactly one of Ready, Reconciling and Stalled holds."""
    for condition in roles[0].status.conditions:
        found = [other for role in roles if (other := role.status.condition(condition.kind)) is not None]
        holds = _holds(condition.kind, roles, found)
        decides = next((other for other in found if (other.status == "True") is holds), found[0])
        words = {role.name: other.message for role, other in zip(roles, found, strict=False)}
        made = replace(decides, status=str(holds), message=_said(words)[:MOST_MESSAGE])
        if condition.kind == "Degraded":
            made = _degraded(made, status, sum(role.wanted.demand.replicas for role in roles))
        old = before.condition(condition.kind)
        yield replace(made, since=old.since if old is not None and old.status == made.status else now)


def _holds(kind: str, roles: Sequence[RoleDecision], found: Sequence[DatedCondition]) -> bool:
    each = [condition.status == "True" for condition in found]
    if kind == "Reconciling":
        stalled = [role.status.condition("Stalled") for role in roles]
        return any(each) and not any(held is not None and held.status == "True" for held in stalled)
    return all(each) if kind in _ALL else any(each)


def _degraded(made: DatedCondition, status: Status, wanted: int) -> DatedCondition:
    """Say that replicas of a role lack although the other role serves."""
    lacking = short_of(status.ready_replicas, wanted) if status.ready_replicas else None
    if made.status == "True" or lacking is None:
        return made
    return replace(made, status="True", reason=lacking.reason.value, message=lacking.message)


def whole_actions(roles: Sequence[RoleDecision], status: Status) -> Iterator[Action]:
    """Give the actions of all roles, and their Events with the name of the role.

    A refusal that the status of the whole does not say is told when the status says it.
    """
    for role in roles:
        yield from (action for action in role.decision.actions if not isinstance(action, Emit))
    for role in roles:
        for action in role.decision.actions:
            if isinstance(action, Emit) and (action.reason not in tuple(RefusalReason) or status.gives(action.reason)):
                yield replace(action, message=f"{role.name}: {action.message}")
