"""Where one object stands: the plan it has, the one it would get today, and what its groups wait for."""

from dataclasses import dataclass

from shardwise.domain.fleet import Exclusion
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal


@dataclass(frozen=True, slots=True)
class PodStanding:
    """A pod that is not ready: its place in the group, its node (empty until it is bound), and what it waits for."""

    index: int
    node: str
    waits_for: str


@dataclass(frozen=True, slots=True)
class GroupStanding:
    """One replica: its state since a time (as Kubernetes writes times), and how many of its pods are ready.

    ``failures`` counts attempts in a row that ended before the group was ready, ``message`` says how the last one did.
    """

    replica: int
    state: str
    since: str
    attempt: int
    failures: int
    message: str
    ready: int
    pods: int
    waiting: tuple[PodStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """The place, from 1, of an object among those that wait for GPUs; ``first`` is whose turn it is, if another's."""

    position: int
    length: int
    first: str


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a plan from being started: its stable reason, as in conditions, and the message for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an object stands.

    ``planned`` is the plan in its status, made at ``planned_at``; ``None`` where there is none. ``changed``: the object
    asks for something else than that plan answers. ``lost`` are nodes of it that cannot be used any more, each with the
    reason. ``next`` is what the operator goes on with, ``today`` what would be planned were there no plan yet.
    ``generation`` is the object's, ``observed`` the one its status is about: -1 where no operator has seen it.
    ``queue`` is its place among the objects that wait for GPUs, where it waits and is not the only one.
    ``obstacle`` keeps the operator from starting ``next``; ``None`` while nothing does.
    """

    planned: Plan | None
    planned_at: str
    changed: bool
    lost: tuple[tuple[str, Exclusion | None], ...]
    next: Plan | Refusal
    today: Plan | Refusal
    groups: tuple[GroupStanding, ...] = ()
    generation: int = 0
    observed: int = -1
    paused: bool = False
    queue: QueueStanding | None = None
    obstacle: Obstacle | None = None

    @property
    def kept(self) -> bool:
        """Whether the plan in the status stays."""
        return self.planned is not None and isinstance(self.next, Plan) and self.next.groups == self.planned.groups

    @property
    def same_today(self) -> bool:
        """Whether the plan in the status is the one that would be made today."""
        if self.planned is None or not isinstance(self.today, Plan):
            return False
        return (self.today.layout, self.today.product, self.today.groups) == (
            self.planned.layout,
            self.planned.product,
            self.planned.groups,
        )
