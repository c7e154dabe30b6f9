"""Wiring of the metrics: every term of the operator is measured by the same meters."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus
from types import SimpleNamespace
from typing import Final

import aiohttp

from shardwise import __version__
from shardwise.cluster import Call
from shardwise.cluster.election import Held
from shardwise.controller.health import Health
from shardwise.hub import HubFacts, HubQuestion
from shardwise.metrics import Meters, Recorder, asked, called, table, watch_queue
from shardwise.metrics.meters import Reading, Values
from shardwise.observe import Key, Store
from shardwise.operate import Queue

LOOP_SECONDS: Final = 1.0
"""How often the delay of the event loop is measured."""


class Measuring:
    """The meters of the process, and what the present term adds to them."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.meters = Meters()
        self.meters.read = self._reading
        self._recorder: Recorder | None = None
        self._queue: Queue[Key] | None = None

    def begin(self, store: Store, now: Callable[[], float], objects: int) -> Recorder:
        """Begin a term."""
        self._recorder = Recorder(self.meters, store, now, objects)
        return self._recorder

    def watch(self, queue: Queue[Key]) -> None:
        """Measure the queue of the term."""
        self._queue = queue
        watch_queue(self.meters, queue)

    def called(self, call: Call) -> None:
        """Count a call to the API server."""
        called(self.meters, call)

    def asking(self, ask: Callable[[HubQuestion], HubFacts]) -> Callable[[HubQuestion], HubFacts]:
        """Give the same questions to the Hub, measured."""
        return partial(asked, self.meters, ask)

    def leads(self) -> None:
        """Take note that the operator leads from now on."""
        self.health.leads = True
        self.meters.count(table.LEADERSHIPS)

    def lost(self) -> None:
        """Take note that the Lease was lost."""
        self.meters.count(table.LEADERSHIPS_LOST)

    def trace(self) -> aiohttp.TraceConfig:
        """Count the watches among the requests of a session."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._watch_began)
        trace.on_request_exception.append(self._watch_failed)
        return trace

    async def _watch_began(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if params.url.query.get("watch") == "true":
            failed = params.response.status != HTTPStatus.OK
            self.meters.count(table.WATCH_ERRORS if failed else table.WATCHES, params.url.name)

    async def _watch_failed(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        if params.url.query.get("watch") == "true":
            self.meters.count(table.WATCH_ERRORS, params.url.name)

    @contextlib.asynccontextmanager
    async def loop_delay(self) -> AsyncIterator[None]:
        """Measure the delay of the event loop while the block lasts."""
        task = asyncio.create_task(self._measure_delay())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _measure_delay(self) -> None:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(LOOP_SECONDS)
            self.meters.observe(table.LOOP_DELAY, max(0.0, time.monotonic() - begun - LOOP_SECONDS))

    def _reading(self) -> Reading:
        """Copy what the gauges are worked out from.

        The leader alone tells of the fleet and of objects: a sum over all operators counts them once.
        """
        health, queue = self.health, self._queue
        still = health.progress.still_seconds if health.progress is not None else 0.0
        own: Values = {
            table.BUILD: {(__version__,): 1},
            table.LEADER: {(): health.leads},
            table.LISTED: {(): health.listed},
            table.API_OUTAGE: {(): health.outage.seconds},
            table.STILL: {(): still},
            table.QUEUE_LENGTH: {(): 0 if queue is None else queue.length},
            table.QUEUE_RUNNING: {(): 0 if queue is None else queue.running},
        }
        if self._recorder is None or not health.leads:
            return lambda: [own]
        led = self._recorder.reading()
        return lambda: [own, *led()]


class MeasuredLease:
    """A lock whose tries are counted."""

    def __init__(self, lease: Held, meters: Meters) -> None:
        self._lease = lease
        self._meters = meters

    async def try_to_hold(self) -> bool:
        """Take it, or renew it."""
        outcome = "error"
        try:
            held = await self._lease.try_to_hold()
            outcome = "held" if held else "other"
        finally:
            self._meters.count(table.LEASE_TRIES, outcome)
        return held

    async def let_go(self) -> None:
        """Give it up."""
        await self._lease.let_go()
