"""Whether the work of the queue goes on."""

from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

Work = Callable[[K], Awaitable[float | None]]


class Progress:
    """Notices work that stands still. ``now`` is a steady clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._begun: dict[Hashable, float] = {}
        self._ended = now()

    def of(self, work: "Work[K]") -> "Work[K]":
        """Give the same work, watched. A key is worked on once at a time."""

        async def watched(key: K) -> float | None:
            self._begun[key] = self._now()
            try:
                return await work(key)
            finally:
                del self._begun[key]
                self._ended = self._now()

        return watched

    @property
    def still_seconds(self) -> float:
        """Seconds for which keys have been worked on and none was finished; 0 if none is worked on."""
        if not self._begun:
            return 0.0
        return self._now() - max(self._ended, min(self._begun.values()))
