"""Whether work goes on: told by what is finished, and by nothing while nothing is to be done."""

import asyncio

import pytest
from tests.controller.support import settle

from shardwise.operate import Progress


class Watched:
    """Work that ends when a test says so, by a clock in its hand."""

    def __init__(self) -> None:
        self.now = 10.0
        self.progress = Progress(lambda: self.now)
        self.gates: dict[str, asyncio.Event] = {}
        self.work = self.progress.of(self._work)

    async def _work(self, key: str) -> float | None:
        self.gates[key] = asyncio.Event()
        await self.gates[key].wait()
        if key == "wrong":
            raise ValueError(key)
        return 5.0

    async def begin(self, key: str) -> asyncio.Task[float | None]:
        task: asyncio.Task[float | None] = asyncio.ensure_future(self.work(key))
        await settle()
        return task


async def test_without_work_nothing_stands_still() -> None:
    watched = Watched()
    watched.now += 1000
    assert watched.progress.still_seconds == 0.0
    task = await watched.begin("a")
    assert watched.progress.still_seconds == 0.0
    watched.gates["a"].set()
    assert await task == 5.0


async def test_work_that_does_not_end_stands_still_since_it_began() -> None:
    watched = Watched()
    watched.now += 1000
    task = await watched.begin("a")
    watched.now += 30
    assert watched.progress.still_seconds == 30.0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert watched.progress.still_seconds == 0.0


@pytest.mark.parametrize("other", ["b", "wrong"])
async def test_a_slow_object_among_others_that_end_is_progress(other: str) -> None:
    """Also a failure is an end."""
    watched = Watched()
    slow = await watched.begin("slow")
    watched.now += 100
    task = await watched.begin(other)
    watched.gates[other].set()
    await asyncio.gather(task, return_exceptions=True)
    watched.now += 7
    assert watched.progress.still_seconds == 7.0
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
