"""Outages of the API server: whether it answers, and a log that says so without a line for every failed call."""

import logging
from collections.abc import Callable
from typing import Final

SAY_AGAIN_SECONDS: Final = 60.0
"""How often the log repeats itself while nothing changes."""

_log = logging.getLogger(__name__)


class Sparing:
    """Says a warning at once, and the same warning again after a minute at the earliest."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = ("", 0.0)

    def say(self, message: str) -> None:
        """Say a warning, unless it was said just now."""
        said, at = self._last
        if message != said or self._now() - at >= SAY_AGAIN_SECONDS:
            self._last = message, self._now()
            _log.warning("%s", message)


class Outage:
    """Whether the API server answers. The log tells the beginning and the end of an outage, and a line a minute.

    ``now`` is a steady clock in seconds. Beginnings within a minute of each other are told once.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since: float | None = None
        self._said_at: float | None = None
        self._told = False

    @property
    def seconds(self) -> float:
        """Seconds since the API server ceased to answer; 0 if it answers."""
        return 0.0 if self._since is None else self._now() - self._since

    def failed(self, words: str) -> None:
        """Take note of a call without an answer. ``words`` say which, and why."""
        now = self._now()
        if self._since is None:
            self._since = now
        if self._said_at is None or now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at, self._told = now, True
            lasting = f" for {now - self._since:.0f} s" if now > self._since else ""
            _log.warning("the API server does not answer%s: %s", lasting, words)

    def answered(self) -> None:
        """Take note of an answer."""
        if self._since is None:
            return
        if self._told:
            _log.info("the API server answers again, after %.0f s", self.seconds)
        self._since, self._told = None, False
