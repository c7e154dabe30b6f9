"""Decisions beside the loop: a costly object delays no watch, no probe, no Lease, and no other object.

``decide`` is pure, so that it can run in a thread on values that nothing changes. What it plans is compared with the
present fleet before its GPUs are held. docs/decisions/0044 has the reasons and the measurements.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Node
from shardwise.domain.launch import Wanted
from shardwise.observe import Json, Key, Store, waits
from shardwise.operate.resting import Resting, Sight
from shardwise.reconcile.actions import Decision
from shardwise.reconcile.decide import decide
from shardwise.reconcile.observed import Observed

MOST_TRIES: Final = 5
"""Decisions in a row for an object whose nodes changed meanwhile. Others go on before it is tried again."""


InThread = Callable[[Callable[[], Decision]], Awaitable[Decision]]
"""Runs a call beside the loop."""


class Deciding:
    """Decides on objects, each in a thread, and holds their planned GPUs. ``now`` is in seconds since the epoch.

    Objects that wait are decided on one at a time, in turn: a quick decision must not overtake the decision of an
    object before it. All others are decided on side by side.
    """

    def __init__(self, store: Store, now: Callable[[], float], in_thread: InThread = asyncio.to_thread) -> None:
        self._store = store
        self._now = now
        self._in_thread = in_thread
        self._in_turn = asyncio.Lock()
        self._seen: dict[Key, tuple[Demand, Sight]] = {}
        self.resting = Resting(store, now)

    async def decided(
        self, key: Key, obj: Json, wanted: Wanted, others_first: Callable[[Key], bool]
    ) -> Decision | None:
        """Decide on an object as it was read. ``None``: it has changed, or others go first; look at it again.

        ``others_first`` tells whether an object that waits has to let others go first.
        """
        self._store.waiting.learn(key, wanted.demand)
        self._store.cluster_queues.enter(key, wanted.queue)
        if not waits(obj):
            return await self._held(key, obj, wanted)
        async with self._in_turn:
            return None if others_first(key) else await self._held(key, obj, wanted)

    async def _held(self, key: Key, obj: Json, wanted: Wanted) -> Decision | None:
        """Decide, and hold the planned GPUs if nobody else has taken them meanwhile; else decide anew."""
        for _ in range(MOST_TRIES):
            if not self._is_as_read(key, obj):  # others were decided on first, and objects are deleted meanwhile
                return None
            now = self._now()
            observed = self._store.observe(key, now)
            self._seen[key] = wanted.demand, self.resting.sight(observed)
            decision = await self._in_thread(partial(decide, wanted, observed, now))
            if self._is_as_read(key, obj) and self._is_current(key, observed, decision):
                # Nothing waits between this comparison and the hold: nobody else plans between the two.
                if observed.excused:  # else a quota was changed while the decision was made: for the next decision
                    self._store.excused.discard(key)
                needed = decision.status.other_holdings(wanted.demand.needs)
                self._store.hold(key, decision.status.holdings, needed, decision.status.coming)
                self._store.count_mends(key, decision.mends)
                return decision
        return None

    def _is_as_read(self, key: Key, obj: Json) -> bool:
        return self._store.sharded_models.objects.get(key) is obj

    def carried_out(self, key: Key, obj: Json, decision: Decision) -> None:
        """Take in that a decision was carried out, and the object as it is with its status: it may rest."""
        seen = self._seen.pop(key, None)
        if seen is not None:
            self.resting.begin(key, obj, *seen, decision)

    def forget(self, key: Key) -> None:
        """Forget an object."""
        self._seen.pop(key, None)
        self.resting.end(key)

    def _is_current(self, key: Key, seen: Observed, decision: Decision) -> bool:
        """Tell whether the GPUs that a decision plans are still free, on nodes that have not changed.

        The limits of the namespace must not have become narrower either: others there may have planned meanwhile.
        """
        planned = decision.status.holdings
        if not planned and not decision.status.coming:
            return True
        now = self._store.observe(key, self._now())
        if now.gpus_of_others > seen.gpus_of_others or now.quotas != seen.quotas:
            return False
        return all(_is_unchanged(seen.fleet.node(name), now.fleet.node(name)) for name in planned)


def _is_unchanged(seen: Node | None, now: Node | None) -> bool:
    if seen is None or now is None:
        return seen is now
    taken = dict(seen.taken)
    if now.free < seen.free or any(amount > taken.get(name, 0) for name, amount in now.taken):
        return False
    return now._replace(free=seen.free, taken=seen.taken) == seen
