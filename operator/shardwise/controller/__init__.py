"""The operator's process: kopf's watches, the queue's workers, the election. Wiring only, and the only user of kopf."""

from shardwise.controller.run import Options, run
from shardwise.controller.watch_log import log_an_outage_once

__all__ = ["Options", "log_an_outage_once", "run"]
