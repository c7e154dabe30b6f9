"""The standing of an object: its plan, the plan it would get today, and the state of its groups."""

from dataclasses import dataclass

from shardwise.domain.cache_tokens import CacheTokens
from shardwise.domain.fleet import Exclusion
from shardwise.domain.node_changes import NodeChange
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.roles import Half


@dataclass(frozen=True, slots=True)
class PodStanding:
    """A pod that is not ready: its place in the group, its node (empty until it is bound), and the reason it waits."""

    index: int
    node: str
    waits_for: str


@dataclass(frozen=True, slots=True)
class GroupStanding:
    """A replica: its state since a time (as Kubernetes writes times), and how many of its pods are ready.

    ``failures`` counts the last attempts in a row that ended before the group was ready. ``message`` says how the last
    attempt ended. ``cache`` is the size of its KV cache, once its engine has said it.
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
    cache: CacheTokens | None = None


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """The position, from 1, of an object in the queue for GPUs. ``first`` is another object whose turn it is."""

    position: int
    length: int
    first: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The standing of an object.

    ``planned`` is the plan in the status, made at ``planned_at``; ``None`` without a plan. ``changed``: the object has
    changed since that plan was made. ``lost`` lists nodes of the plan that cannot be used any more, each with the
    reason. The operator continues with ``next``. ``today`` is the outcome of planning today without the old plan.
    ``generation`` is the object's generation, ``observed`` the generation that the status describes, or -1 if no
    operator has seen the object. ``queue`` is the position among several objects that wait for GPUs. ``obstacle`` keeps
    the operator from starting ``next``; ``None`` while there is no obstacle. ``changed_nodes`` are nodes that changed
    under running groups. ``half`` is the role, and the layout of the other role, where the object has roles.
    ``keeps_back``: the other role does not begin either, because this role has no plan.
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
    changed_nodes: tuple[NodeChange, ...] = ()
    half: Half | None = None
    keeps_back: bool = False

    @property
    def kept(self) -> bool:
        """Whether the plan in the status stays."""
        return self.planned is not None and isinstance(self.next, Plan) and self.next.groups == self.planned.groups

    @property
    def same_today(self) -> bool:
        """Whether the same plan as in the status would be made today."""
        if self.planned is None or not isinstance(self.today, Plan):
            return False
        return (self.today.layout, self.today.product, self.today.groups) == (
            self.planned.layout,
            self.planned.product,
            self.planned.groups,
        )
