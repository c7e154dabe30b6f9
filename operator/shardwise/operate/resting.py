"""Objects that wait, and that nothing which has happened since their last decision could help: they are not decided on.

A long queue is looked at whenever a GPU becomes free. The first objects take the GPU, and nothing has changed for the
others: their look ends here, without a plan. docs/decisions/0045 has the reasons.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.observe import Json, Key, Store
from shardwise.planner.pools import usable
from shardwise.reconcile.actions import Decision, Emit
from shardwise.reconcile.far_back import place_told
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.observed import Observed
from shardwise.reconcile.turns import Turn

LONGEST_SECONDS: Final = 1800.0
"""How long an object rests at most, whatever happens."""

_NO_FLEET: Final = Fleet(())


@dataclass(frozen=True, slots=True)
class Sight:
    """The parts of an observation that tell whether an object could be helped since, and nothing large.

    ``rest`` is the observation without its fleet, turn, status and limits. ``mark`` is that of the ledger, ``told`` the
    place in the queue as a status says it. ``kept`` counts and digests the nodes that are kept for others.
    """

    rest: Observed
    mark: int
    told: str
    kept: tuple[int, int]
    limits: tuple[GpuLimit, ...]
    gpus_of_others: int


@dataclass(frozen=True, slots=True)
class _Rest:
    obj: Json
    demand: Demand
    seen: Sight
    until: float


class Resting:
    """The objects that rest. ``now`` is in seconds since the epoch."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._rests: dict[Key, _Rest] = {}

    def sight(self, observed: Observed) -> Sight:
        """Keep the parts of an observation that was made just now."""
        turn = observed.turn
        bare = replace(
            observed, fleet=_NO_FLEET, turn=Turn(), status=Status(), quotas=(), gpus_of_others=0, relisted=False
        )
        kept = len(turn.kept), hash(turn.kept)
        return Sight(bare, self._store.ledger.mark, place_told(turn), kept, observed.quotas, observed.gpus_of_others)

    def begin(self, key: Key, obj: Json, demand: Demand, seen: Sight, decision: Decision) -> None:
        """Let an object rest, as it is after its decision, if all that is left is to wait for GPUs."""
        waits = bool(decision.status.waiting_since) and not decision.status.holdings and not seen.rest.pods
        # A queue of the cluster may take GPUs away from others: no change of the ledger tells of that.
        waits = waits and key not in self._store.cluster_queues.entered
        if waits and not decision.mends and all(isinstance(action, Emit) for action in decision.actions):
            seconds = LONGEST_SECONDS if decision.retry_after is None else decision.retry_after
            self._rests[key] = _Rest(obj, demand, seen, self._now() + min(LONGEST_SECONDS, seconds))

    def seconds_left(self, key: Key) -> float | None:
        """Give the seconds for which an object may go on resting; ``None`` if it does not rest, or no longer."""
        rest, now = self._rests.get(key), self._now()
        if rest is None or now >= rest.until or not self._is_as_before(key, rest, now):
            self._rests.pop(key, None)
            return None
        return rest.until - now

    def end(self, key: Key) -> None:
        """Forget an object."""
        self._rests.pop(key, None)

    def _is_as_before(self, key: Key, rest: _Rest, now: float) -> bool:
        if self._store.sharded_models.objects.get(key) is not rest.obj:
            return False
        observed = self._store.observe(key, now)
        sight, before = self.sight(observed), rest.seen
        same = (sight.rest, sight.told, sight.kept) == (before.rest, before.told, before.kept)
        if not same or _eased(before, sight):
            return False
        return not self._store.ledger.gained(before.mark, usable(rest.demand, observed.fleet))


def _eased(before: Sight, now: Sight) -> bool:
    """Tell whether a limit of the namespace leaves more GPUs than before, or is another limit."""
    alike = [replace(limit, used=0) for limit in before.limits] == [replace(limit, used=0) for limit in now.limits]
    less = any(new.used < old.used for old, new in zip(before.limits, now.limits, strict=False))
    return not alike or less or now.gpus_of_others < before.gpus_of_others
