"""The HTTP server of the API, with injected faults."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from shardwise_sandbox.api import Api
from shardwise_sandbox.errors import ApiError
from shardwise_sandbox.faults import Fault, FaultHook, RequestInfo
from shardwise_sandbox.handlers import ApiResponse, Handlers, read_body
from shardwise_sandbox.objects import compact_json
from shardwise_sandbox.routes import route
from shardwise_sandbox.streaming import Watch, WatchRequest

_LIMIT: Final = 3 * 1024**2
"""The largest body of a request in bytes, as on the real server."""


class Server:
    """Serves an API on a free port of the loopback interface."""

    def __init__(self, api: Api, bookmark_every: float = 60.0) -> None:
        self._api = api
        self._handlers = Handlers(api)
        self._bookmark_every = bookmark_every
        self._runner: web.AppRunner | None = None
        self.faults: FaultHook | None = None
        self.requests: list[RequestInfo] = []
        self.on_answer: Callable[[], None] = lambda: None
        self.url = ""

    async def start(self, port: int = 0) -> None:
        """Start to listen. ``url`` then has the address."""
        app = web.Application(client_max_size=_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A handler ends with its client. Otherwise an idle watch would outlive its client.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{bound}"

    async def stop(self) -> None:
        """End all watches and stop the server."""
        self._api.store.log.drop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        info = self._describe(http)
        self.requests.append(info)
        try:
            info.body = read_body(info.content_type, await http.read())
            fault = await self._fault(info)
            return await self._answer(http, info, fault)
        except web.HTTPRequestEntityTooLarge as error:
            return self._respond(http, info, _refusal(ApiError(413, "RequestEntityTooLarge", str(error.reason))))
        except ApiError as error:
            return self._respond(http, info, _refusal(error))

    def _describe(self, http: web.Request) -> RequestInfo:
        info = RequestInfo(
            method=http.method,
            path=unquote(http.path),
            query=dict(http.query),
            user_agent=http.headers.get("User-Agent", ""),
            content_type=http.headers.get("Content-Type", "").split(";")[0].strip(),
        )
        try:
            about = route(self._api.store.registry, info.path)
        except ApiError:
            return info
        if about is not None:
            info.group, info.resource = about.resource.group, about.resource.plural
            info.namespace, info.name, info.subresource = about.namespace, about.name, about.subresource
        return info

    async def _fault(self, info: RequestInfo) -> Fault | None:
        found = self.faults(info) if self.faults is not None else None
        return await found if inspect.isawaitable(found) else found

    async def _answer(self, http: web.Request, info: RequestInfo, fault: Fault | None) -> web.StreamResponse:
        if fault is not None and not fault.applies:
            return self._falsely(http, info, fault)
        if fault is not None and fault.seconds:
            await asyncio.sleep(fault.seconds)
        answer = self._carry_out(info, http.headers.get("Accept", ""))
        if fault is not None and fault.hides_answer:
            return self._falsely(http, info, fault)
        if isinstance(answer, WatchRequest):
            return await self._watch(http, info, answer)
        return self._respond(http, info, answer)

    def _carry_out(self, info: RequestInfo, accept: str) -> ApiResponse | WatchRequest:
        return self._handlers.handle(info, accept)

    def _falsely(self, http: web.Request, info: RequestInfo, fault: Fault) -> web.StreamResponse:
        if fault.status:
            return self._respond(http, info, ApiResponse(fault.body(), fault.status))
        if http.transport is not None:
            http.transport.abort()
        return web.Response(status=500)

    def _respond(self, http: web.Request, info: RequestInfo, answer: ApiResponse) -> web.Response:
        del http
        info.code = answer.code
        self.on_answer()
        headers = {"Retry-After": "1"} if answer.code in {429, 503} else {}
        if answer.text:
            return web.Response(text=answer.text, status=answer.code, headers=headers)
        body = compact_json(answer.body)
        return web.Response(body=body, status=answer.code, content_type="application/json", headers=headers)

    async def _watch(self, http: web.Request, info: RequestInfo, wanted: WatchRequest) -> web.StreamResponse:
        info.code = 200
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await Watch(self._api, wanted, self._bookmark_every).serve(http, response)
        except ConnectionError:
            # The client left while a line was written: no response is possible.
            return response
        return response


def _refusal(error: ApiError) -> ApiResponse:
    return ApiResponse(error.status(), error.code)
