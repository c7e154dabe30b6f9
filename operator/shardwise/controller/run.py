"""Starting and stopping the operator: connection, store, queue, kopf; embeddable in a demo or a test."""

import asyncio
import contextlib
import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import kopf

from shardwise.cluster import Cluster, Election, connect
from shardwise.cluster.lease import Lease
from shardwise.controller.frugal import frugal_settings
from shardwise.controller.watches import registry_of
from shardwise.domain.site import Site
from shardwise.hub import HubFacts, HubQuestion, ask_hub, known_facts
from shardwise.observe import OURS, Key, Store
from shardwise.observe.kinds import BUDGET, SERVICE
from shardwise.operate import Changes, InTurn, Lookups, Queue, Reconciler, relist, until_one_ends

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. ``kubeconfig`` and ``context`` ``None`` mean the usual places, or the pod's own account.

    ``relist_seconds`` is how often everything is listed again, for changes that a watch may have lost. The first time
    it is after ``first_relist_seconds``: no watch tells of a deletion between our first list and the list that kopf's
    watch begins with, and kopf does not say when it has begun. ``liveness`` is an address such as
    ``http://0.0.0.0:8080/healthz``. ``site`` is the operator configuration.
    ``ask`` asks the Hub, in place of the real Hub. ``lease`` is the namespace and name of the
    Lease to hold before acting, and ``identity`` who holds it; without it the operator acts at once.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    workers: int = 4
    relist_seconds: float = 300.0
    liveness: str | None = None
    now: Callable[[], float] = field(default=time.time)
    ask: Callable[[HubQuestion], HubFacts] | None = None
    site: Site = field(default_factory=Site)
    lease: tuple[str, str] | None = None
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}")
    first_relist_seconds: float = 15.0


async def run(options: Options, stop: asyncio.Event | None = None, ready: asyncio.Event | None = None) -> None:
    """Run the operator until ``stop`` is set or the process is told to end. ``ready`` is set once all is listed.

    Raises :class:`~shardwise.cluster.ClusterError` when there is no cluster to talk to.
    """
    connection = await connect(options.kubeconfig, options.context)
    cluster = Cluster(connection)
    store = Store(options.site.fleet)
    lookups = Lookups(options.ask or partial(ask_hub, site=options.site.hub), time.monotonic)
    facts = partial(known_facts, site=options.site.hub)
    reconciler = Reconciler(cluster, store, facts, options.now, options.site.launch, lookups)
    queue: Queue[Key] = Queue(reconciler.reconcile, InTurn(store.waiting))
    changes = Changes(store, queue)
    reconciler.when_turns_change = changes.wake_behind
    reconciler.due_ahead = queue.due_ahead
    lookups.wake = queue.add
    list_again = partial(relist, cluster, store, changes, queue)
    work = partial(_acting, options, store, queue, list_again)
    try:
        await list_again()
        registry = registry_of(changes, connection, quotas=store.reads_quotas)
        tasks = [asyncio.create_task(_watch(options, registry, stop))]
        tasks.append(asyncio.create_task(_led(_election(options, cluster), work, ready)))
        await until_one_ends(tasks)
    finally:
        queue.close()
        lookups.close()
        await cluster.close()


def _election(options: Options, cluster: Cluster) -> Election | None:
    if options.lease is None:
        return None
    return Election(Lease(cluster, *options.lease, options.identity, time.monotonic))


async def _led(
    election: Election | None,
    work: Callable[[asyncio.Event | None], Coroutine[Any, Any, None]],
    ready: asyncio.Event | None,
) -> None:
    """Work as soon as, and for as long as, we lead."""
    if election is None:
        await work(ready)
        return
    async with election.leading() as renewal:
        await until_one_ends([renewal, asyncio.create_task(work(ready))])


Listing = Callable[[], Coroutine[Any, Any, None]]


async def _acting(
    options: Options, store: Store, queue: Queue[Key], list_again: Listing, ready: asyncio.Event | None
) -> None:
    """Work until cancelled. Everything is listed first: another operator may have acted before us."""
    if options.lease is not None:
        store.forget_plans()
        await list_again()
    async with _background(options, queue, list_again):
        if ready is not None:
            ready.set()
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _background(options: Options, queue: Queue[Key], list_again: Listing) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(queue.serve()) for _ in range(options.workers)]
    tasks.append(asyncio.create_task(_relist_again(options, list_again)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _relist_again(options: Options, list_again: Listing) -> None:
    wait = min(options.first_relist_seconds, options.relist_seconds)
    while True:
        await asyncio.sleep(wait)
        wait = options.relist_seconds
        try:
            await list_again()
        except Exception as error:  # noqa: BLE001 - the next relist is the remedy
            _log.warning("relist failed: %s", error)


async def _watch(options: Options, registry: kopf.OperatorRegistry, stop: asyncio.Event | None) -> None:
    await until_one_ends(
        await kopf.spawn_tasks(
            registry=registry,
            settings=frugal_settings(dict.fromkeys((SERVICE.plural, BUDGET.plural), OURS)),
            standalone=True,
            clusterwide=True,
            liveness_endpoint=options.liveness,
            stop_flag=stop,
        )
    )
