"""The objects by which gang schedulers know groups. There are none unless a gang scheduler is configured."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from shardwise.domain.launch import GangSystem
from shardwise.observe.objects import Json, part
from shardwise.observe.shelf import Shelf
from shardwise.queues import GANGS, QueuedGroup, gang_of
from shardwise.reconcile.observed import GangSeen

_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
)


class GangShelf:
    """The groups that we made for gang schedulers. ``served`` is as of ``GangSeen``."""

    def __init__(self) -> None:
        self.pod_groups: Final = Shelf()
        self.served: Final[dict[GangSystem, str]] = {}

    def seen(self, namespace: str, names: Callable[[], Iterable[str]]) -> GangSeen:
        """Give what a decision looks at. ``names`` gives the names that the groups of its object have."""
        if not self.served:
            return GangSeen()
        found = ((name, self.pod_groups.objects.get((namespace, name))) for name in names())
        return GangSeen(dict(self.served), {name: _read(obj) for name, obj in found if obj is not None})


def slim_pod_group(obj: Json, api_version: str = "") -> dict[str, Any]:
    """Keep of a group the fields that are read. ``api_version`` is that of the list: its objects may not say it."""
    metadata = part(obj["metadata"], _METADATA)
    return {"apiVersion": api_version or obj["apiVersion"], "metadata": metadata, "status": obj.get("status") or {}}


def _read(obj: Json) -> QueuedGroup:
    return GANGS[gang_of(obj["apiVersion"])].read_group(obj)
