"""Asking Kueue for the positions of waiting groups in their queues. Nobody waits for the answers.

Kueue answers by an API of its own (`visibility.kueue.x-k8s.io`), which is not watched and may be absent. Then nothing
is said of positions, and nothing is missing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from shardwise.cluster import Cluster, ClusterError
from shardwise.domain.launch import QueueSystem
from shardwise.observe import Key, Store
from shardwise.observe.kinds import PENDING_WORKLOADS, Kind
from shardwise.observe.objects import Json, owner_of
from shardwise.queues import SYSTEMS, Position
from shardwise.reconcile.records import State
from shardwise.reconcile.status_data import read_records

ASKED_EVERY: Final = 30.0
"""Seconds between two questions about a queue. Each is a single call, however many groups wait in the queue."""

_KUEUE: Final = SYSTEMS[QueueSystem.KUEUE]
_log = logging.getLogger(__name__)


class Positions:
    """Keeps the positions of groups that wait in Kueue's queues.

    ``wake`` is called with an object whose position changes.
    """

    def __init__(self, cluster: Cluster, store: Store, wake: Callable[[Key], None]) -> None:
        self._cluster = cluster
        self._store = store
        self._wake = wake

    async def keep(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(ASKED_EVERY)

    async def ask(self) -> None:
        """Ask about each queue in which a group waits, and wake the objects whose positions changed."""
        known = self._store.cluster_queues.positions
        found: dict[Key, Position] = {}
        for queue in sorted(set(self._waiting())):
            found |= await self._of_queue(queue)
        changed = {group for group in {**known, **found} if known.get(group) != found.get(group)}
        known.clear()
        known.update(found)
        for key in sorted(set(self._owners(changed))):
            self._wake(key)

    def _waiting(self) -> Iterator[Key]:
        """Name the LocalQueues in which groups wait."""
        for key, queue in self._store.cluster_queues.queues.items():
            obj = self._store.sharded_models.objects.get(key)
            records = read_records((obj or {}).get("status") or {})
            if any(record.state is State.QUEUED for record in records.values()):
                yield key[0], queue.name

    async def _of_queue(self, queue: Key) -> Mapping[Key, Position]:
        """Give the positions of our groups in a LocalQueue; nothing if Kueue does not tell."""
        for kind in PENDING_WORKLOADS:
            answer = await self._answer(kind, queue)
            if answer is not None:
                groups = self._store.services.objects
                return {group: position for group, position in _KUEUE.read_positions(answer) if group in groups}
        return {}

    async def _answer(self, kind: Kind, queue: Key) -> Json | None:
        try:
            return await self._cluster.get(kind, *queue)
        except ClusterError as error:
            _log.debug("%s/%s: Kueue does not tell the positions in this queue: %s", *queue, error)
            return None

    def _owners(self, groups: Iterable[Key]) -> Iterator[Key]:
        services = (self._store.services.objects.get(group) for group in groups)
        owners = (owner_of(service) for service in services if service is not None)
        return (owner for owner in owners if owner is not None)
