"""Which operator acts: the leader holds the Lease and works, the others watch and are ready."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from shardwise.cluster.errors import ClusterError
from shardwise.cluster.lease import GIVE_UP_SECONDS, RENEW_SECONDS
from shardwise.cluster.outage import Outage, Sparing

_log = logging.getLogger(__name__)

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class LeadershipLost(Exception):
    """The Lease could not be renewed in time: another may act by now. What has begun has to end, and begin again."""


class Held(Protocol):
    """A lock that a single operator holds at a time."""

    async def try_to_hold(self) -> bool:
        """Take it, or renew it."""

    async def let_go(self) -> None:
        """Give it up."""


class Runs(Protocol):
    """A place where work runs to its end."""

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run work, and give its result. A cancelled wait cancels the work."""


class Here:
    """The loop of whoever waits."""

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run work as a part of the caller."""
        return await work()


class Election:
    """Waits for the Lease, and renews it. ``steady`` and ``sleep`` are the clock.

    ``outage`` is told of a look at the Lease that gets no answer in time. ``place`` is where the Lease is looked at and
    renewed: a loop of its own, so that no other work of the operator delays a renewal.
    """

    def __init__(
        self,
        lease: Held,
        steady: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        outage: Outage | None = None,
        place: Runs | None = None,
    ) -> None:
        self._lease: Final = lease
        self._steady = steady
        self._sleep = sleep
        self._outage = outage or Outage(steady)
        self._refused = Sparing(steady)
        self._place = place or Here()

    @contextlib.asynccontextmanager
    async def leading(self) -> AsyncIterator[asyncio.Task[None]]:
        """Wait until the Lease is ours, and give a task that ends with :class:`LeadershipLost` when it no longer is.

        On the way out the Lease is given up, so that the next can act at once.
        """
        won = await self._place.run(self._win)
        _log.info("leading")
        renewal = asyncio.create_task(self._place.run(partial(self._renew, won)))
        try:
            yield renewal
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            await self._place.run(self._let_go)

    async def _let_go(self) -> None:
        with contextlib.suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(RENEW_SECONDS):
                await self._lease.let_go()

    async def _win(self) -> float:
        """Wait for the Lease. Give when the try began that got it: it counts from before its answer came."""
        begun = self._steady()
        while not await self._tried():
            await self._sleep(RENEW_SECONDS)
            begun = self._steady()
        return begun

    async def _renew(self, renewed: float) -> None:
        while True:
            await self._sleep(RENEW_SECONDS)
            left = renewed + GIVE_UP_SECONDS - self._steady()
            begun = self._steady()
            if left > 0 and await self._tried(left):
                renewed = begun
            elif self._steady() - renewed >= GIVE_UP_SECONDS:
                raise LeadershipLost(f"the Lease was not renewed for {GIVE_UP_SECONDS:.0f} s")

    async def _tried(self, seconds: float = GIVE_UP_SECONDS) -> bool:
        """Try once, for no longer than the time left: a later answer does not count."""
        try:
            async with asyncio.timeout(seconds):  # wait_for may swallow a cancellation (Python 3.11)
                return await self._lease.try_to_hold()
        except TimeoutError:
            self._outage.failed(f"the Lease cannot be held: no answer within {seconds:.0f} s")
        except ClusterError as error:
            if error.status:  # else the outage is known
                self._refused.say(f"the Lease cannot be held: {error}")
        return False
