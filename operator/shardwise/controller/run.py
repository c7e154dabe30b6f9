"""Starting and stopping the operator: connection, store, queue, kopf; embeddable in a demo or a test."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import kopf

from shardwise.cluster import Cluster, ClusterError, Connection, Election, LeadershipLost, Outage, connect
from shardwise.cluster.lease import Lease
from shardwise.cluster.outage import Sparing
from shardwise.cluster.own_loop import own_loop
from shardwise.controller.frugal import frugal_settings, no_records
from shardwise.controller.health import Health, served
from shardwise.controller.measuring import MeasuredLease, Measuring
from shardwise.controller.requesting import Requesting
from shardwise.controller.watches import registry_of, system_kinds
from shardwise.domain.launch import QueueSystem
from shardwise.domain.site import Site
from shardwise.domain.units import plural
from shardwise.hub import HubFacts, HubQuestion, ask_hub, known_facts
from shardwise.observe import OURS, Key, Store
from shardwise.observe.kinds import ATTACHED, BUDGET, SERVICE, is_served
from shardwise.operate import (
    Asking,
    Changes,
    Deciding,
    InTurn,
    Lookups,
    Positions,
    Progress,
    Queue,
    Reconciler,
    relist,
    until_one_ends,
)
from shardwise.operate.engine_http import Fetch, fetched

FIRST_WAIT_SECONDS: Final = 1.0
"""How long the operator waits before it begins anew; doubled for as long as it does not get under way."""

LONGEST_WAIT_SECONDS: Final = 30.0
"""The longest such wait: that of client-go's reflectors."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. ``kubeconfig`` and ``context`` ``None`` mean the usual places, or the pod's own account.

    ``relist_seconds`` is how often everything is listed again, for changes that a watch may have lost. The first time
    it is after ``first_relist_seconds``: no watch tells of a deletion between our first list and the list that kopf's
    watch begins with, and kopf does not say when it has begun. ``health`` is the host and the port at which the health
    endpoints are served. ``site`` is the operator configuration.
    ``ask`` asks the Hub, in place of the real Hub. ``fetch`` asks the engines of leaders, in place of HTTP.
    ``lease`` is the namespace and name of the Lease to hold before acting, and ``identity`` who holds it; without it
    the operator acts at once. ``measured_objects`` is the number of objects that get metrics of their own.
    ``namespaces`` are those whose objects the operator serves; none: all of them.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    workers: int = 4
    relist_seconds: float = 300.0
    health: tuple[str, int] | None = None
    now: Callable[[], float] = field(default=time.time)
    ask: Callable[[HubQuestion], HubFacts] | None = None
    fetch: Fetch = field(default=fetched)
    site: Site = field(default_factory=Site)
    lease: tuple[str, str] | None = None
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}")
    first_relist_seconds: float = 15.0
    measured_objects: int = 1000
    namespaces: tuple[str, ...] = ()


class WatchesEnded(Exception):
    """kopf's watches have ended with an error that they do not get over by themselves."""


async def run(options: Options, stop: asyncio.Event | None = None, ready: asyncio.Event | None = None) -> None:
    """Run the operator until ``stop`` is set or the process is told to end. ``ready`` is set once all is listed.

    An API server that is away is waited for. Raises :class:`~shardwise.cluster.Refused` if nothing says where it is.
    """
    connection = await connect(options.kubeconfig, options.context)
    stop = stop or asyncio.Event()
    health = Health(Outage(time.monotonic))
    measuring = Measuring(health)
    try:
        _stop_on_signals(stop)
        async with served(options.health, health, measuring.meters.exposition), measuring.loop_delay():
            await _terms(options, connection, measuring, stop, ready)
    finally:
        _leave_signals()


async def _terms(
    options: Options, connection: Connection, measuring: Measuring, stop: asyncio.Event, ready: asyncio.Event | None
) -> None:
    """Serve term after term until stopped. What ended a term is waited out, for longer while none gets under way."""
    refused, wait, health = Sparing(time.monotonic), FIRST_WAIT_SECONDS, measuring.health
    while not stop.is_set():
        try:
            await _term(options, connection, measuring, stop, ready)
        except LeadershipLost as error:
            measuring.lost()
            _log.warning("%s; nothing is done until the operator leads again", error)
        except (ClusterError, WatchesEnded) as error:
            if not health.outage.seconds:  # else the log tells of the outage
                refused.say(f"waiting: {error}")
        wait = FIRST_WAIT_SECONDS if health.listed else wait
        health.begin()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)
        wait = min(LONGEST_WAIT_SECONDS, 2 * wait)


async def _term(
    options: Options, connection: Connection, measuring: Measuring, stop: asyncio.Event, ready: asyncio.Event | None
) -> None:
    """List, watch, stand for election and act, from fresh state: what an earlier term knew or had begun is gone."""
    health = measuring.health
    cluster = Cluster(await connection.renewed(), health.outage, measuring.called)
    store, progress = Store(options.site.fleet), Progress(time.monotonic)
    lookups = Lookups(measuring.asking(options.ask or partial(ask_hub, site=options.site.hub)), time.monotonic)
    facts = partial(known_facts, site=options.site.hub)
    recorder = measuring.begin(store, options.now, options.measured_objects)
    asking = Asking(store, options.now, options.fetch)
    deciding = Deciding(store, options.now, recorder.in_thread)
    reconciler = Reconciler(cluster, store, facts, options.now, options.site.launch, lookups, deciding)
    reconciler.when_decided, reconciler.when_let_go = recorder.decided, recorder.forget
    queue: Queue[Key] = Queue(progress.of(recorder.of(reconciler.reconcile)), InTurn(store.waiting))
    measuring.watch(queue)
    changes = Changes(store, queue)
    reconciler.when_turns_change = changes.wake_behind
    reconciler.due_ahead = queue.due_ahead
    reconciler.ask_engines = asking.begin
    lookups.wake = asking.wake = queue.add
    launch = options.site.launch
    list_again = partial(relist, cluster, store, changes, queue, options.namespaces, launch)
    beside: list[Listing] = [partial(_relist_again, options, list_again)]
    if QueueSystem.KUEUE in launch.queue_systems:
        beside.append(Positions(cluster, store, queue.add).keep)
    work = partial(_acting, options, store, queue, list_again, beside)
    health.begin(progress)
    try:
        await until_one_ends([asyncio.create_task(list_again()), asyncio.create_task(_set(stop))])
        if stop.is_set():
            return
        health.listed = True
        quotas, devices = store.reads_quotas, store.devices.index.known
        kinds = tuple(system_kinds(launch, store.gangs.served))
        registry = partial(registry_of, changes, connection, quotas=quotas, devices=devices, systems=kinds)
        traces = [measuring.trace()]
        tasks = [asyncio.create_task(watch) for watch in _watches(registry, traces, options.namespaces, stop)]
        tasks.append(asyncio.create_task(_led(options, connection, work, ready, measuring)))
        await until_one_ends(tasks)
    finally:
        queue.close()
        lookups.close()
        asking.close()
        await cluster.close()


async def _set(event: asyncio.Event) -> None:
    await event.wait()


_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Stop in order when the process is told to end, whatever it does at that time."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _leave_signals() -> None:
    """Give the signals back to the program that runs the operator."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _election(
    connection: Connection, lease: tuple[str, str], identity: str, measuring: Measuring
) -> AsyncIterator[Election]:
    """Stand for election in a thread, over a connection of its own: nothing that the operator does delays a renewal."""
    outage = measuring.health.outage
    async with own_loop() as place:
        cluster = await place.run(partial(_connected, connection, measuring))
        try:
            held = MeasuredLease(Lease(cluster, *lease, identity, time.monotonic), measuring.meters)
            yield Election(held, outage=outage, place=place)
        finally:
            await place.run(cluster.close)


async def _connected(connection: Connection, measuring: Measuring) -> Cluster:
    return Cluster(await connection.renewed(), measuring.health.outage, measuring.called)


async def _led(
    options: Options,
    connection: Connection,
    work: Callable[[asyncio.Event | None], Coroutine[Any, Any, None]],
    ready: asyncio.Event | None,
    measuring: Measuring,
) -> None:
    """Work as soon as, and for as long as, we lead."""
    if options.lease is None:
        measuring.leads()
        await work(ready)
        return
    elected = _election(connection, options.lease, options.identity, measuring)
    async with elected as election, election.leading() as renewal:
        measuring.leads()
        await until_one_ends([renewal, asyncio.create_task(work(ready))])


Listing = Callable[[], Coroutine[Any, Any, None]]


async def _acting(
    options: Options,
    store: Store,
    queue: Queue[Key],
    list_again: Listing,
    beside: Iterable[Listing],
    ready: asyncio.Event | None,
) -> None:
    """Work until cancelled. Everything is listed first: another operator may have acted before us.

    What is done ``beside`` goes on for as long.
    """
    if options.lease is not None:
        store.forget_plans()
        await list_again()
    spaces = "all namespaces" if not options.namespaces else ", ".join(f"`{name}`" for name in options.namespaces)
    _log.info("serves %s of %s", plural(len(store.sharded_models.objects), "ShardedModel"), spaces)
    async with _background(options, queue, beside):
        if ready is not None:
            ready.set()
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _background(options: Options, queue: Queue[Key], beside: Iterable[Listing]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(queue.serve()) for _ in range(options.workers)]
    tasks += [asyncio.create_task(work()) for work in beside]
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
            wait = min(options.first_relist_seconds, options.relist_seconds)


Registries = Callable[..., kopf.OperatorRegistry]


def _watches(
    registry: Registries, traces: list[aiohttp.TraceConfig], namespaces: tuple[str, ...], stop: asyncio.Event
) -> Iterator[Coroutine[Any, Any, None]]:
    """Give the watches of all kinds, or those of the whole cluster and those of the namespaces that are served.

    kopf watches either all namespaces or some, so the two need a registry each.
    """
    if not namespaces:
        yield _watch(registry, traces, stop)
        return
    yield _watch(partial(registry, among=lambda kind: not is_served(kind)), traces, stop)
    yield _watch(partial(registry, among=is_served), traces, stop, namespaces)


async def _watch(
    registry: Registries, traces: list[aiohttp.TraceConfig], stop: asyncio.Event, namespaces: tuple[str, ...] = ()
) -> None:
    requesting = Requesting()
    tasks = await kopf.spawn_tasks(
        registry=registry(traces=[*traces, requesting.trace()]),
        settings=frugal_settings(dict.fromkeys((kind.plural for kind in (SERVICE, BUDGET, *ATTACHED)), OURS)),
        memories=no_records(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    _stop_on_signals(stop)  # kopf has set handlers that end its own tasks alone, and never takes them away
    try:
        await until_one_ends(tasks)
    except Exception as error:
        raise WatchesEnded(f"the watches ended: {str(error) or type(error).__name__}") from error
    finally:
        await requesting.end()
