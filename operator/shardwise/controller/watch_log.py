"""kopf's records in the log: of its failed requests, one for an outage; and kinds that are missing in plain words.

kopf tries each of seven watches again every few seconds, and logs each try as an error.
"""

import logging
import re
from typing import Final

OUTAGE_SECONDS: Final = 60.0
"""A failed request that comes later than this after the last one belongs to another outage."""

_FAILED: Final = "Request attempt #"
_UNSERVED: Final = "Unresolved resources cannot be served"
_KIND: Final = re.compile(r"group='([^']*)', version='([^']*)', any_name='([^']*)'")


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
        if record.getMessage().startswith(_UNSERVED):
            record.msg, record.args = _unserved(record.getMessage()), ()
        logging.getLogger().handle(record)


def _unserved(message: str) -> str:
    """Say which kinds the cluster lacks; an object that asks for one says so itself."""
    kinds = sorted(f"{plural} of {group}/{version}" for group, version, plural in _KIND.findall(message))
    return f"the cluster does not serve {', '.join(kinds)}; they are watched as soon as it does" if kinds else message


def log_an_outage_once() -> None:
    """Let kopf log each outage of the API server once. Doing it again changes nothing."""
    kopf = logging.getLogger("kopf")
    kopf.handlers = [OncePerOutage()]
    kopf.propagate = False
