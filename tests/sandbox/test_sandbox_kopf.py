"""A real kopf operator lives on the sandbox: it sees events, and survives broken and expired watches."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import kopf
import pytest
from tests.sandbox.support import widget

from shardwise_sandbox import Sandbox

Seen = list[tuple[str | None, str]]


@asynccontextmanager
async def operator(cluster: Sandbox, registry: kopf.OperatorRegistry) -> AsyncIterator[None]:
    stop = asyncio.Event()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.reconnect_backoff = 0.0
    settings.networking.error_backoffs = (0.0, 0.0)

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=cluster.url, scheme="Bearer", token="sandbox")

    running = asyncio.create_task(
        kopf.operator(registry=registry, standalone=True, clusterwide=True, stop_flag=stop, settings=settings)
    )
    try:
        yield
    finally:
        stop.set()
        await running


class Watcher:
    """An operator that notes the events of widgets."""

    def __init__(self) -> None:
        self.registry = kopf.OperatorRegistry()
        self.seen: Seen = []
        self._changed = asyncio.Event()

        @kopf.on.event("test.dev", "v1", "widgets", registry=self.registry, id="note")
        def note(type: str | None, name: str, **_: Any) -> None:  # noqa: A002 - kopf passes arguments by name
            self.seen.append((type, name))
            self._changed.set()

    async def saw(self, wanted: Callable[[Seen], bool]) -> None:
        async with asyncio.timeout(10):
            while not wanted(self.seen):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


def is_watching(cluster: Sandbox) -> bool:
    return cluster.store.log.watchers(("test.dev", "widgets")) > 0


async def test_kopf_sees_objects_that_were_there_and_every_later_change(served: Sandbox, watcher: Watcher) -> None:
    served.create(widget("old"))
    async with operator(served, watcher.registry):
        await watcher.saw(lambda seen: (None, "old") in seen)
        served.create(widget("new"))
        await watcher.saw(lambda seen: ("ADDED", "new") in seen)
        served.patch("widget", "default", "new", {"spec": {"size": 2}})
        await watcher.saw(lambda seen: ("MODIFIED", "new") in seen)
        served.delete("widget", "default", "new")
        await watcher.saw(lambda seen: ("DELETED", "new") in seen)


async def test_kopf_resumes_a_dropped_watch_without_replays(served: Sandbox, watcher: Watcher) -> None:
    served.create(widget("a"))
    async with operator(served, watcher.registry):
        await watcher.saw(lambda seen: (None, "a") in seen)
        await served.wait_for(lambda: is_watching(served), what="kopf to watch widgets")
        assert served.drop_watches("widgets") == 1
        served.create(widget("b"))
        await watcher.saw(lambda seen: ("ADDED", "b") in seen)
    assert watcher.seen == [(None, "a"), ("ADDED", "b")]


async def test_kopf_lists_again_after_410_and_never_hears_of_a_deletion_in_between(
    served: Sandbox, watcher: Watcher
) -> None:
    served.create(widget("dead"))
    served.create(widget("live"))
    async with operator(served, watcher.registry):
        await watcher.saw(lambda seen: {(None, "dead"), (None, "live")} <= set(seen))
        watcher.seen.clear()
        served.drop_watches("widgets")
        served.delete("widget", "default", "dead")
        served.compact()
        await watcher.saw(lambda seen: (None, "live") in seen)
    assert "dead" not in {name for _, name in watcher.seen}


async def test_kopf_puts_and_removes_its_finalizer_by_json_patch(served: Sandbox) -> None:
    registry = kopf.OperatorRegistry()
    done: list[str] = []

    @kopf.on.delete("test.dev", "v1", "widgets", registry=registry, id="gone")
    def gone(name: str, **_: Any) -> None:
        done.append(name)

    async with operator(served, registry):
        await served.wait_for(lambda: is_watching(served), what="kopf to watch widgets")
        served.create(widget("w"))
        await served.wait_for(
            lambda: served.get("widget", "default", "w")["metadata"].get("finalizers"), what="kopf's finalizer"
        )
        served.delete("widget", "default", "w")
        await served.wait_for(lambda: served.find("widget", "default", "w") is None, what="the widget to go")
    assert done == ["w"]
