"""The operator's process: kopf's watches into our own store, a queue, one reconcile for every cause. Wiring only.

What to do is decided in ``shardwise.reconcile``; how to talk to the API is known in ``shardwise.cluster``.
"""

from shardwise.cluster import LeadershipLost
from shardwise.controller.run import Options, run

__all__ = ["LeadershipLost", "Options", "run"]
