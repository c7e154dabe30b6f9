"""What the operator measures of itself, of the fleet and of its objects, for Prometheus. It decides nothing.

Only this package knows prometheus-client.
"""

from shardwise.metrics.meters import Meters
from shardwise.metrics.recorder import Recorder, asked, called, watch_queue

__all__ = ["Meters", "Recorder", "asked", "called", "watch_queue"]
