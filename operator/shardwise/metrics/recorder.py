"""What a term of the operator measures: its queue, its decisions, its calls, and the fleet and objects of its store."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from shardwise.cluster import Call
from shardwise.domain.reasons import Reason
from shardwise.domain.refusal import RefusalReason
from shardwise.hub import HubFacts, HubQuestion
from shardwise.metrics import table
from shardwise.metrics.census import ModelFigures, Occupancy, figures, of_fleet, of_objects, of_waits
from shardwise.metrics.meters import Meters, Reading, Values
from shardwise.observe import Json, Key, Store
from shardwise.operate import Queue
from shardwise.reconcile.actions import Decision, Emit
from shardwise.reconcile.records import parse_time
from shardwise.reconcile.status_data import seen_generation

_REFUSALS: Final = frozenset(RefusalReason)

Work = Callable[[Key], Awaitable[float | None]]


@dataclass(frozen=True, slots=True)
class _Beginning:
    """When an object was made, or when its edit was first seen, in seconds since the epoch."""

    uid: str
    generation: int
    after: str
    at: float


@dataclass(slots=True)
class Recorder:
    """Records a term. ``now`` is in seconds since the epoch, ``steady`` a steady clock in seconds.

    ``objects`` is the number of objects that get series of their own.
    """

    meters: Meters
    store: Store
    now: Callable[[], float]
    objects: int
    steady: Callable[[], float] = time.perf_counter
    _begun: dict[Key, _Beginning] = field(default_factory=dict)
    _leaving: dict[Key, int] = field(default_factory=dict)
    _known: dict[Key, tuple[Json, ModelFigures]] = field(default_factory=dict)
    _fleet: tuple[int, Values] | None = None

    def of(self, work: Work) -> Work:
        """Give the same work on objects, measured."""

        async def measured(key: Key) -> float | None:
            begun, outcome = self.steady(), "error"
            try:
                seconds = await work(key)
                outcome = "done"
            finally:
                self.meters.count(table.RECONCILES, outcome)
                self.meters.observe(table.RECONCILE_SECONDS, self.steady() - begun)
            return seconds

        return measured

    async def in_thread(self, decide: Callable[[], Decision]) -> Decision:
        """Decide in a thread, measured there: the time until a thread is free is no part of it."""
        return await asyncio.to_thread(self._decided, decide)

    def _decided(self, decide: Callable[[], Decision]) -> Decision:
        begun = self.steady()
        decision = decide()
        outcome = _outcome(decision)
        self.meters.observe(table.DECISION_SECONDS, self.steady() - begun, outcome)
        return decision

    def decided(self, key: Key, obj: Json, decision: Decision) -> None:
        """Count what a decision changes, once its status is written. ``obj`` is the object that it was made on."""
        for cause in decision.ends:
            self.meters.count(table.ATTEMPT_ENDS, cause.value)
        for action in decision.actions:
            if isinstance(action, Emit):
                self.meters.count(table.EVENTS, action.reason.value)
        reason = _refusal(decision)
        if reason is not None:
            self.meters.count(table.REFUSALS, reason)
        self._leaving[key] = decision.leaving
        self._timed(key, obj, decision)

    def _timed(self, key: Key, obj: Json, decision: Decision) -> None:
        """Measure the time until an object is Ready for the first time since it was made or edited."""
        begun = self._beginning(key, obj, decision.status.generation)
        if begun is None:
            self._begun.pop(key, None)
            return
        self._begun[key] = begun
        ready = decision.status.condition("Ready")
        if ready is not None and ready.status == "True":
            del self._begun[key]
            self.meters.observe(table.READY_SECONDS, max(0.0, self.now() - begun.at), begun.after)

    def _beginning(self, key: Key, obj: Json, generation: int) -> _Beginning | None:
        """Give the beginning of an object's generation; ``None`` if it was Ready, or this operator did not see it."""
        metadata, seen = obj["metadata"], seen_generation(obj.get("status") or {})
        known, uid = self._begun.get(key), str(metadata.get("uid"))
        if known is not None and (known.uid, known.generation) == (uid, generation):
            return known
        if seen >= generation:
            return None
        if seen < 0:
            return _Beginning(uid, generation, "create", parse_time(str(metadata.get("creationTimestamp") or "")))
        return _Beginning(uid, generation, "edit", self.now())

    def forget(self, key: Key) -> None:
        """Forget an object."""
        self._leaving.pop(key, None)
        self._begun.pop(key, None)

    def reading(self) -> Reading:
        """Copy what the gauges of fleet and objects are worked out from. An unchanged fleet is not copied again."""
        objects, leaving, moves = dict(self.store.sharded_models.objects), dict(self._leaving), self.store.ledger.moves
        occupancy = None if self._fleet is not None and self._fleet[0] == moves else self.store.ledger.occupancy()
        return partial(self._parts, objects, leaving, occupancy, moves, self.now())

    def _parts(
        self, objects: dict[Key, Json], leaving: dict[Key, int], occupancy: Occupancy | None, moves: int, now: float
    ) -> Sequence[Values]:
        known = {key: self._figures(key, obj) for key, obj in objects.items()}
        self._known = {key: (obj, known[key]) for key, obj in objects.items()}
        if occupancy is not None:
            self._fleet = moves, of_fleet(occupancy)
        fleet = {} if self._fleet is None else self._fleet[1]
        return fleet, of_objects(known, leaving, self.objects), of_waits(known, now)

    def _figures(self, key: Key, obj: Json) -> ModelFigures:
        """Read an object that has changed since the last reading."""
        seen = self._known.get(key)
        return seen[1] if seen is not None and seen[0] is obj else figures(obj)


def watch_queue(meters: Meters, queue: Queue[Key]) -> None:
    """Measure how long objects wait in a queue."""
    queue.waited = partial(meters.observe, table.QUEUE_WAIT)


def called(meters: Meters, call: Call) -> None:
    """Count a call to the API server."""
    meters.count(table.API_REQUESTS, call.method, call.resource, str(call.status))
    meters.observe(table.API_SECONDS, call.seconds, call.method)


def asked(meters: Meters, ask: Callable[[HubQuestion], HubFacts], question: HubQuestion) -> HubFacts:
    """Ask the Hub, measured."""
    begun, outcome = time.perf_counter(), "error"
    try:
        found = ask(question)
        outcome = "found"
    finally:
        meters.count(table.HUB_LOOKUPS, outcome)
        meters.observe(table.HUB_SECONDS, time.perf_counter() - begun)
    return found


def _outcome(decision: Decision) -> str:
    if any(isinstance(action, Emit) and action.reason is Reason.PLANNED for action in decision.actions):
        return "planned"
    return "kept" if _refusal(decision) is None else "refused"


def _refusal(decision: Decision) -> str | None:
    """Give the reason of a refusal that a decision reports in Reconciling or Stalled; ``None`` without a refusal."""
    for condition in decision.status.conditions:
        if condition.kind != "Ready" and condition.status == "True" and condition.reason in _REFUSALS:
            return condition.reason
    return None
