"""kopf's records in the log: of its failed requests, one for an outage.

kopf tries each of seven watches again every few seconds, and logs each try as an error.
"""

import logging
from typing import Final

OUTAGE_SECONDS: Final = 60.0
"""A failed request that comes later than this after the last one belongs to another outage."""

_FAILED: Final = "Request attempt #"


class OncePerOutage(logging.Handler):
    """Passes kopf's records on to the handlers of the root logger, but of failed requests only the first."""

    def __init__(self) -> None:
        super().__init__()
        self._last = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless it repeats an outage that is known."""
        if record.levelno >= logging.ERROR and record.getMessage().startswith(_FAILED):
            known = record.created - self._last < OUTAGE_SECONDS
            self._last = record.created
            if known:
                return
        logging.getLogger().handle(record)


def log_an_outage_once() -> None:
    """Let kopf log each outage of the API server once. Doing it again changes nothing."""
    kopf = logging.getLogger("kopf")
    kopf.handlers = [OncePerOutage()]
    kopf.propagate = False
