"""The state of an object as a few lines: its condition, its plan, its wait, and the ranks of each replica. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shardwise.domain.roles import Connector
from shardwise.domain.units import plural
from shardwise.explain.cache_tokens import cache_text
from shardwise.explain.roles import transfer_text
from shardwise.reconcile.object_status import GroupStatus, RoleStatus, Status
from shardwise.reconcile.observed import PodSeen, see_pod
from shardwise.reconcile.recorded_plan import RecordedPlan
from shardwise.reconcile.records import State, held_by
from shardwise.reconcile.status_data import read_status
from shardwise.reconcile.views import Loss

_READY: Final = "■"
_NOT_READY: Final = "□"
_MINUTE: Final = 60
_COLOURS: Final = {"Ready": "green", "Stalled": "red"}

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StatusView:
    """An object and its pods, as the API server shows them. ``now`` is in seconds since the epoch.

    ``transfer`` says how KV caches travel between the roles of the object; empty without roles.
    """

    name: str
    status: Status
    generation: int
    pods: tuple[PodSeen, ...]
    now: float
    transfer: str = ""

    @property
    def condition(self) -> str:
        """Which of Ready, Reconciling and Stalled is True; empty until the operator has seen the present generation."""
        if self.status.generation < self.generation:
            return ""
        true = (found.kind for found in self.status.conditions if found.status == "True")
        return next((kind for kind in true if kind in ("Ready", "Reconciling", "Stalled")), "")

    @property
    def settled(self) -> bool:
        """Whether nothing more happens without a change from outside."""
        return self.condition in ("Ready", "Stalled")

    @property
    def colour(self) -> str:
        """The colour of its text on a terminal."""
        return _COLOURS.get(self.condition, "yellow")

    @property
    def text(self) -> str:
        """The lines, joined."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.name} {self._standing()}"
        if self.status.message:
            yield self.status.message
        if self.status.plan is not None:
            yield f"plan: {_planned(self.status.plan, self.status.groups or ())}"
        if self.status.waiting_since:
            yield f"has waited for GPUs for {_duration(self.now - self.status.waiting_since)}"
        if self.status.roles:
            yield from self._roles()
        else:
            yield from self._each(self.status.groups or ())

    def _roles(self) -> Iterator[str]:
        """Give each role with its groups, and the transfer between the roles."""
        for role in self.status.roles:
            groups = [group for group in self.status.groups or () if group.record.role == role.name]
            yield f"{role.name}: {_served(role)}, {_planned(role.plan, groups)}"
            yield from self._each(groups)
        if self.transfer:
            yield f"transfer: {self.transfer}"

    def _each(self, groups: Iterable[GroupStatus]) -> Iterator[str]:
        for group in groups:
            yield from self._group(group)

    def _standing(self) -> str:
        if not self.condition:
            return f"waits for the operator to look at generation {self.generation}"
        reason = next(found.reason for found in self.status.conditions if found.kind == self.condition)
        return f"is {self.condition}: {reason}"

    def _group(self, group: GroupStatus) -> Iterator[str]:
        record = group.record
        ready = min(group.ready_pods, len(record.nodes))
        bar = _READY * ready + _NOT_READY * (len(record.nodes) - ready)
        since = f"for {_duration(self.now - record.since)}" if record.since else ""
        counts = f"{bar} {ready} of {len(record.nodes)} pods ready" if record.nodes else group.message
        weights = f", weights on {group.loaded_pods}" if group.loaded_pods is not None and record.nodes else ""
        start = f"replica {record.replica}  {record.state:<8} attempt {record.attempt}"
        yield "  ".join(part for part in (start, f"{counts}{weights}", since) if part)
        if record.cache is not None:
            yield f"  {cache_text(record.cache)}"
        if record.state is not State.READY:
            yield from (self._pod(pod, record.gpus) for pod in self._pods_of(group))

    def _pods_of(self, group: GroupStatus) -> Sequence[PodSeen]:
        record = group.record
        mine = (pod for pod in self.pods if (pod.replica, pod.attempt) == (record.replica, record.attempt))
        return sorted(mine, key=lambda pod: pod.index)

    @staticmethod
    def _pod(pod: PodSeen, gpus: int) -> str:
        place = Loss(pod.index, pod.node or pod.wants, "").told(gpus)
        return f"  {place}: {'ready' if pod.ready else pod.failure or pod.waiting or 'starting'}"


def status_view(obj: Json, pods: Sequence[Json], now: float) -> StatusView:
    """Read an object and its pods. Pods that are not of this operator's form are left out."""
    metadata = obj["metadata"]
    seen = []
    for pod in pods:
        try:
            seen.append(see_pod(pod))
        except (KeyError, ValueError):
            continue
    return StatusView(
        f"{metadata['namespace']}/{metadata['name']}",
        read_status(obj.get("status") or {}),
        int(metadata.get("generation") or 0),
        tuple(seen),
        now,
        _transfer(obj.get("spec") or {}),
    )


def _transfer(spec: Json) -> str:
    if not spec.get("roles"):
        return ""
    given = spec.get("transfer") or {}
    return transfer_text(given.get("connector") or Connector.NIXL.value, given.get("within"))


def _served(role: RoleStatus) -> str:
    return f"{role.ready_replicas} of {plural(role.wanted, 'replica')} ready"


def _planned(made: RecordedPlan | None, groups: Iterable[GroupStatus]) -> str:
    """Say a plan, and the GPUs that its groups hold on nodes that are known."""
    held = plural(sum(held_by(group.record for group in groups).values()), "GPU")
    return f"{held} held, no plan" if made is None else f"{made.plan.layout} on {made.plan.product}, {held} held"


def _duration(seconds: float) -> str:
    """Say a duration in the two largest units: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, _MINUTE)
    hours, minutes_left = divmod(minutes, _MINUTE)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
