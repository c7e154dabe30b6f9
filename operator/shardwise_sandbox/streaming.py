"""Watches over HTTP: a line of JSON for each event, until the timeout, the client or the server ends the watch."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from shardwise_sandbox import tables
from shardwise_sandbox.api import Api
from shardwise_sandbox.conversion import present
from shardwise_sandbox.errors import ApiError
from shardwise_sandbox.objects import JsonObject, compact_json
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.selectors import Selection
from shardwise_sandbox.watch import ADDED, ObjectChange, Subscription

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """The parameters of a watch. With an empty version, ADDED events first send the present state."""

    resource: ResourceType
    selection: Selection
    version: str = ""
    bookmarks: bool = False
    initial_events: bool | None = None
    timeout: float = 3600.0
    as_table: bool = False

    @property
    def wants_present_state(self) -> bool:
        """Whether the watch starts with the objects that exist."""
        return self.initial_events if self.initial_events is not None else self.version in {"", "0"}


class Watch:
    """A running watch: it sends lines until its end."""

    def __init__(self, api: Api, request: WatchRequest, bookmark_every: float) -> None:
        self._api = api
        self._request = request
        self._bookmark_every = bookmark_every
        self._woken = asyncio.Event()
        self._subscription = Subscription(self._woken.set)

    async def serve(self, http: web.Request, response: web.StreamResponse) -> None:
        """Send events until the watch ends."""
        key = self._request.resource.key
        # No await in between: no change can come between the history and the subscription.
        opening = b"".join(self._opening())
        self._api.store.log.subscribe(key, self._subscription)
        try:
            await response.prepare(http)
            if opening:
                await response.write(opening)
            await self._follow(response)
        finally:
            self._api.store.log.unsubscribe(key, self._subscription)

    def _opening(self) -> Iterator[bytes]:
        log = self._api.store.log
        if not self._request.wants_present_state:
            try:
                missed = log.since(self._request.resource.key, int(self._request.version or log.current))
            except ApiError as error:
                self._subscription.closed = True
                yield compact_json({"type": "ERROR", "object": error.status()}) + b"\n"
                return
            yield from self._lines(missed)
            return
        for obj in self._api.reader.select(self._request.resource, self._request.selection):
            yield self._line(ADDED, ObjectChange(ADDED, self._request.resource.key, obj, None))
        if self._request.initial_events:
            yield self._bookmark({_INITIAL_EVENTS_END: "true"})

    def _lines(self, changes: list[ObjectChange]) -> Iterator[bytes]:
        for change in changes:
            kind = change.seen_by(self._request.selection)
            if kind:
                yield self._line(kind, change)

    def _line(self, kind: str, change: ObjectChange) -> bytes:
        if self._request.as_table:
            return compact_json({"type": kind, "object": self._table(change.obj)}) + b"\n"
        resource = self._request.resource
        return change.line(kind, resource.api_version, lambda obj: present(resource, obj))

    def _table(self, obj: JsonObject) -> JsonObject:
        list_meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        return tables.table(self._request.resource, [obj], list_meta, self._api.now())

    def _bookmark(self, annotations: JsonObject | None = None) -> bytes:
        metadata: JsonObject = {"resourceVersion": str(self._api.store.version)}
        if annotations:
            metadata["annotations"] = annotations
        resource = self._request.resource
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return compact_json({"type": "BOOKMARK", "object": obj}) + b"\n"

    async def _follow(self, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._request.timeout
        while await self._rest(min(end, loop.time() + self._bookmark_every)):
            over = loop.time() >= end
            lines = b"".join(self._unread(last=over))
            if lines:
                await response.write(lines)
            if over:
                return

    async def _rest(self, until: float) -> bool:
        """Wait for a change, or for the time of the next bookmark. Return whether the watch goes on."""
        if self._subscription.closed:
            return False
        try:
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        except TimeoutError:
            self._subscription.bookmark_due = True
        self._woken.clear()
        return not self._subscription.closed

    def _unread(self, *, last: bool) -> Iterator[bytes]:
        unread = [*self._subscription.unread]
        self._subscription.unread.clear()
        yield from self._lines(unread)
        if self._request.bookmarks and (self._subscription.bookmark_due or last):
            yield self._bookmark()
        self._subscription.bookmark_due = False
