"""The health of the operator's process, for the probes of its pod. docs/decisions/0043 says what each endpoint means.

``/healthz``: the process turns. ``/readyz``: it can do its part, as the leader or as a standby that could take over.
``/leadz``: it leads, and makes progress. ``/metrics``: what it measures, for Prometheus.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from shardwise.cluster import Outage
from shardwise.operate import Progress

STILL_SECONDS: Final = 120.0
"""After this time without a finished object, a leader that works on objects makes no progress. A call to the API server
ends after 30 s, so this is no slow call."""


Exposition = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Gives the metrics in a form that the header ``Accept`` accepts, and their content type."""


@dataclass(slots=True)
class Health:
    """What the probes are told. Each term of the operator sets it anew."""

    outage: Outage
    listed: bool = False
    leads: bool = False
    progress: Progress | None = None

    def begin(self, progress: Progress | None = None) -> None:
        """Begin a term: nothing is listed yet."""
        self.listed = self.leads = False
        self.progress = progress

    @property
    def role(self) -> str:
        """Leader or standby."""
        return "leader" if self.leads else "standby"

    def obstacle(self) -> str:
        """Say what keeps the operator from doing its part; empty if nothing does."""
        if self.outage.seconds:
            return f"the API server has not answered for {self.outage.seconds:.0f} s"
        if not self.listed:
            return "the objects of the cluster are not listed yet"
        still = self.progress.still_seconds if self.leads and self.progress is not None else 0.0
        return f"no object was finished for {still:.0f} s" if still >= STILL_SECONDS else ""


@contextlib.asynccontextmanager
async def served(
    address: tuple[str, int] | None, health: Health, exposition: Exposition | None = None
) -> AsyncIterator[None]:
    """Serve the endpoints at a host and port while the block lasts; nothing without an address.

    ``exposition`` gives the metrics. Requests are not logged: kubelets ask every few seconds.
    """
    if address is None:
        yield
        return
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", _endpoint(lambda: "")),
            web.get("/readyz", _endpoint(health.obstacle, lambda: health.role)),
            web.get("/leadz", _endpoint(lambda: health.obstacle() or ("" if health.leads else "standby"))),
        ]
    )
    if exposition is not None:
        app.add_routes([web.get("/metrics", _metrics(exposition))])
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, *address).start()
        yield
    finally:
        await runner.cleanup()


def _endpoint(
    obstacle: Callable[[], str], words: Callable[[], str] = lambda: "ok"
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        found = obstacle()
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        return web.Response(text=f"{found or words()}\n", status=status)

    return answer


def _metrics(exposition: Exposition) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        text, content_type = await exposition(request.headers.get("Accept", ""))
        answered = web.Response(body=text, headers={"Content-Type": content_type})
        answered.enable_compression()
        return answered

    return answer
