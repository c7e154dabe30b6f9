"""An event loop in a thread of its own, for calls that no other work of the process may delay."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class OwnLoop:
    """Runs work on a loop of its own. The work shares no lock, no task and no connection with the loop that waits."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="own-loop", daemon=True)
        self._thread.start()
        self._begun.wait()

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run work to its end over there. A cancelled wait cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._loop))

    def close(self) -> None:
        """End the thread. Work that still runs there is cancelled."""
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._closed = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        await self._closed.wait()


@contextlib.asynccontextmanager
async def own_loop() -> AsyncIterator[OwnLoop]:
    """Give a loop of its own for as long as the block lasts."""
    loop = OwnLoop()
    try:
        yield loop
    finally:
        loop.close()
