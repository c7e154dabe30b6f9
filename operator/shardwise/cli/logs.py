"""The logs of the operator: lines for people, or JSON for machines, on standard error.

A line about an object carries the namespace and the name of the object, and a line about a replica also the replica and
its attempt. Tokens that a message quotes are left out.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final

from shardwise.operate.about import key_at_work

LEVELS: Final = ("debug", "info", "warning", "error")

_GROUP: Final = ("replica", "attempt")
"""Fields of a record that is about a replica."""

_TOKEN: Final = re.compile(r"\bhf_[A-Za-z0-9]{8,}|(?<=[Bb]earer )[^\s\"',;]{8,}|\beyJ[\w.-]{16,}")
"""Tokens of the Hub, of an HTTP header, and of ServiceAccounts: an engine or a server may quote its own in an error."""

_LEFT_OUT: Final = "…"

_UNSEEN: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {ord("\n"): "\\n"}
"""Characters that would begin another line, or change a terminal."""


def set_up_logs(form: str, level: str = "info") -> None:
    """Send logs to standard error, from a level on; kopf's running commentary only for ``debug``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else _Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level == "info":
        logging.getLogger("kopf").setLevel(logging.WARNING)


class _Lines(logging.Formatter):
    """Writes a line for people. A traceback has lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(sep=" ", timespec="milliseconds")
        message = record.getMessage()
        where = "/".join(_object_of().values())
        named = "" if where in message else f"{where}: "
        line = f"{time.removesuffix('+00:00')} {record.levelname} {named}{message}".translate(_UNSEEN)
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return _TOKEN.sub(_LEFT_OUT, line + trace)


class _JsonLines(logging.Formatter):
    """Writes a JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **_object_of(),
            **{field: found for field in _GROUP if (found := getattr(record, field, None)) is not None},
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({key: _without_tokens(value) for key, value in line.items()})


def _object_of() -> dict[str, str]:
    """Give the namespace and the name of the object that is worked on. Records are formatted where they are made."""
    key = key_at_work()
    return {} if key is None else {"namespace": key[0], "name": key[1]}


def _without_tokens(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    return _TOKEN.sub(_LEFT_OUT, value) if isinstance(value, str) else value
