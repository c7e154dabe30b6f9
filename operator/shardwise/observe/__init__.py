"""Objects from watches, a live read or files in a single store, and the observation of an object. Pure.

The operator and the command line both observe through :class:`Store`, so that both decide on the same values.
"""

from shardwise.observe.documents import field_problems, in_namespace, kind_read, store_of
from shardwise.observe.gang_shelf import GangShelf, slim_pod_group
from shardwise.observe.objects import (
    OURS,
    STRANGERS,
    Json,
    Key,
    is_relevant,
    key_of,
    owner_of,
    slim,
    slim_model,
    slim_node,
    slim_owned,
    slim_pod,
    version_of,
)
from shardwise.observe.queue_shelves import QueueShelves, reads_alike
from shardwise.observe.shelf import Shelf
from shardwise.observe.store import Store
from shardwise.observe.waiting import FRONT, Waiting, key_at, waits

__all__ = [
    "FRONT",
    "OURS",
    "STRANGERS",
    "GangShelf",
    "Json",
    "Key",
    "QueueShelves",
    "Shelf",
    "Store",
    "Waiting",
    "field_problems",
    "in_namespace",
    "is_relevant",
    "key_at",
    "key_of",
    "kind_read",
    "owner_of",
    "reads_alike",
    "slim",
    "slim_model",
    "slim_node",
    "slim_owned",
    "slim_pod",
    "slim_pod_group",
    "store_of",
    "version_of",
    "waits",
]
