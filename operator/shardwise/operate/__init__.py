"""The work of the operator's process that knows no kopf: a queue of keys, and a single reconcile for every cause.

Changes go into the store and wake the objects they may concern; each object is read, observed, decided on and acted on.
``shardwise.reconcile`` decides on the actions; ``shardwise.cluster`` talks to the API.
"""

from shardwise.operate.asking import Asking
from shardwise.operate.changes import Changes
from shardwise.operate.deciding import Deciding
from shardwise.operate.in_turn import InTurn
from shardwise.operate.listing import relist
from shardwise.operate.lookups import Lookups
from shardwise.operate.positions import Positions
from shardwise.operate.progress import Progress
from shardwise.operate.queue import Queue
from shardwise.operate.reconciler import Reconciler
from shardwise.operate.tasks import until_one_ends

__all__ = [
    "Asking",
    "Changes",
    "Deciding",
    "InTurn",
    "Lookups",
    "Positions",
    "Progress",
    "Queue",
    "Reconciler",
    "relist",
    "until_one_ends",
]
