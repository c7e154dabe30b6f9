"""The logs of the operator: lines for people, or JSON for machines, on standard error."""

import json
import logging
import sys
from datetime import UTC, datetime


def set_up_logs(form: str, *, verbose: bool) -> None:
    """Send logs to standard error; kopf's running commentary only when asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)
    if not verbose:
        logging.getLogger("kopf").setLevel(logging.WARNING)


class _JsonLines(logging.Formatter):
    """Writes a JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
