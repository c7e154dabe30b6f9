"""The only package that talks to the Kubernetes API: connect, list, apply, delete, record events. Thin, no decisions.

Every exception of the client library is converted here, once, into :class:`ClusterError`.
"""

from shardwise.cluster.client import Call, Cluster
from shardwise.cluster.connection import Connection, connect
from shardwise.cluster.election import Election, LeadershipLost
from shardwise.cluster.errors import ClusterError, Refused, Retryable
from shardwise.cluster.keys import with_keys
from shardwise.cluster.outage import Outage

__all__ = [
    "Call",
    "Cluster",
    "ClusterError",
    "Connection",
    "Election",
    "LeadershipLost",
    "Outage",
    "Refused",
    "Retryable",
    "connect",
    "with_keys",
]
