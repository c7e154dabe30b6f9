"""The operator's process: kopf's watches, the queue's workers, the election. Wiring only, and the only user of kopf."""

from shardwise.cluster import LeadershipLost
from shardwise.controller.run import Options, run

__all__ = ["LeadershipLost", "Options", "run"]
