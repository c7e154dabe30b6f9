"""The tasks of kopf that ask the API server, so that none of them goes on after its watches have ended.

If one watch fails, as that of a kind that was deleted, kopf ends its own tasks but not the other watches. They would
go on without an owner: each would hold a connection, and at the end of the loop they would keep the process alive.
"""

import asyncio
from types import SimpleNamespace
from typing import Final

import aiohttp

_AGAIN_SECONDS: Final = 1.0
"""After so long a task is cancelled again: a watch of kopf that waits for its own helper misses the first time."""


class Requesting:
    """The tasks that make requests over the sessions of ``trace``, until they are ended."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._ended = False

    def trace(self) -> aiohttp.TraceConfig:
        """Note each task that makes a request over a session. kopf gives no other sight of its watches."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._begun)
        return trace

    async def end(self) -> None:
        """End all of the tasks, and wait until they have ended. A task that asks later ends as it asks."""
        self._ended = True
        going = set(self._tasks)
        while going:
            for task in going:
                task.cancel()
            _, going = await asyncio.wait(going, timeout=_AGAIN_SECONDS)

    async def _begun(self, *_: aiohttp.ClientSession | SimpleNamespace | aiohttp.TraceRequestStartParams) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        if self._ended:
            task.cancel()
        if task not in self._tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
