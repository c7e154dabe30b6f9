"""Starting and stopping the operator: connection, store, queue, kopf; embeddable in a demo or a test."""

import asyncio
import contextlib
import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import kopf

from shardwise.api import ShardedModel
from shardwise.cluster import Cluster, Connection, Election, connect
from shardwise.cluster.lease import Lease
from shardwise.cluster.resources import BUDGET, COMPUTE_DOMAIN, NODE, POD, PRIORITY_CLASS, SERVICE, SHARDED_MODEL
from shardwise.controller.frugal import frugal_settings
from shardwise.controller.queue import Queue
from shardwise.controller.reconciler import Reconciler
from shardwise.controller.store import OURS, Key, Store, is_relevant, slim
from shardwise.controller.waiting import Waiting
from shardwise.controller.watches import Watches
from shardwise.domain.model import ModelFacts
from shardwise.domain.site import Site
from shardwise.hub import model_facts
from shardwise.reconcile import holdings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. ``kubeconfig`` and ``context`` ``None`` mean the usual places, or the pod's own account.

    ``relist_seconds`` is how often all is listed again, for what a watch may have lost; the first time it is after
    ``first_relist_seconds``: no watch tells of what is deleted between our first list and the one kopf's watch begins
    with, and kopf does not say when it has begun. ``liveness`` is an address such as ``http://0.0.0.0:8080/healthz``.
    ``site`` is the operator configuration. ``lease`` is the namespace and name of the Lease to hold before acting, and
    ``identity`` who holds it; without it the operator acts at once.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    workers: int = 4
    relist_seconds: float = 300.0
    liveness: str | None = None
    now: Callable[[], float] = field(default=time.time)
    facts: Callable[[ShardedModel], ModelFacts] = field(default=model_facts)
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
    waiting = Waiting(store.models, store.priorities)
    reconciler = Reconciler(cluster, store, options.facts, options.now, options.site.launch, waiting)
    queue: Queue[Key] = Queue(reconciler.reconcile)
    watches = Watches(store, queue, waiting)
    reconciler.when_turns_change = watches.wake_behind
    reconciler.is_due = queue.is_due
    work = partial(_acting, options, cluster, store, watches, queue)
    try:
        await relist(cluster, store, watches, queue)
        tasks = [asyncio.create_task(_watch(options, connection, watches, stop))]
        tasks.append(asyncio.create_task(_led(_election(options, cluster), work, ready)))
        await until_one_ends(tasks)
    finally:
        queue.close()
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


async def _acting(
    options: Options,
    cluster: Cluster,
    store: Store,
    watches: Watches,
    queue: Queue[Key],
    ready: asyncio.Event | None,
) -> None:
    """Work until cancelled. What another did before us is listed first, whatever the watches have told."""
    if options.lease is not None:
        store.forget_plans()
        await relist(cluster, store, watches, queue)
    async with _background(options, cluster, store, watches, queue):
        if ready is not None:
            ready.set()
        await asyncio.Event().wait()


async def relist(cluster: Cluster, store: Store, watches: Watches, queue: Queue[Key]) -> None:
    """List everything, sweep what is gone, and look at every object: the barrier before the first decision."""
    nodes, nodes_at = await cluster.list(NODE, trim=slim)
    pods, pods_at = await cluster.list(POD, trim=slim)
    services, services_at = await cluster.list(SERVICE, OURS, slim)
    budgets, budgets_at = await cluster.list(BUDGET, OURS, slim)
    classes, classes_at = await cluster.list(PRIORITY_CLASS)
    models, models_at = await cluster.list(SHARDED_MODEL)
    store.compute_domains = await cluster.serves(COMPUTE_DOMAIN)
    store.nodes.sweep(nodes, int(nodes_at or 0))
    store.pods.sweep(filter(is_relevant, pods), int(pods_at or 0))
    store.services.sweep(services, int(services_at or 0))
    store.budgets.sweep(budgets, int(budgets_at or 0))
    store.priorities.sweep(map(slim, classes), int(classes_at or 0))
    for gone in store.models.sweep(models, int(models_at or 0)):
        watches.model(gone, deleted=True)
    for key, model in store.models.objects.items():
        if key not in store.plans:
            store.hold(key, holdings(model.get("status") or {}))
    for key in watches.waiting.in_turn(list(store.models.objects)):
        queue.add(key)


@contextlib.asynccontextmanager
async def _background(
    options: Options, cluster: Cluster, store: Store, watches: Watches, queue: Queue[Key]
) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(queue.serve()) for _ in range(options.workers)]
    tasks.append(asyncio.create_task(_relist_again(options, cluster, store, watches, queue)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _relist_again(options: Options, cluster: Cluster, store: Store, watches: Watches, queue: Queue[Key]) -> None:
    wait = min(options.first_relist_seconds, options.relist_seconds)
    while True:
        await asyncio.sleep(wait)
        wait = options.relist_seconds
        try:
            await relist(cluster, store, watches, queue)
        except Exception as error:  # noqa: BLE001 - the next relist is the remedy
            _log.warning("relist failed: %s", error)


async def _watch(options: Options, connection: Connection, watches: Watches, stop: asyncio.Event | None) -> None:
    registry = kopf.OperatorRegistry()
    watches.register(registry)
    _log_in(registry, connection)
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


async def until_one_ends(tasks: Collection[asyncio.Task[object]]) -> None:
    """Run kopf's tasks until one ends or fails, then end the others.

    ``kopf.operator`` does this, too, but it takes every task that others start meanwhile for its own: it waits 5 s for
    them and cancels them, which would end whoever stops us.
    """
    done: set[asyncio.Task[object]] = set()
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        if not task.cancelled():
            task.result()


def _log_in(registry: kopf.OperatorRegistry, connection: Connection) -> None:
    """Give kopf our credentials, read again whenever it asks: it does when the API server refused the last ones."""

    @kopf.on.login(registry=registry, id="connection")
    async def log_in(**_: object) -> kopf.ConnectionInfo:
        fresh = await connection.renewed()
        return kopf.ConnectionInfo(
            server=fresh.server,
            token=fresh.token,
            scheme="Bearer" if fresh.token else None,
            ca_path=fresh.ca_path,
            certificate_path=fresh.certificate_path,
            private_key_path=fresh.private_key_path,
            insecure=fresh.insecure,
        )
