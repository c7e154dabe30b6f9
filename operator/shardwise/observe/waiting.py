"""Who waits for GPUs, as the objects themselves say, and in which order the operator looks at them."""

from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.launch import PAUSED
from shardwise.observe.objects import Json, Key, key_of
from shardwise.observe.shelf import Shelf
from shardwise.reconcile.records import parse_time
from shardwise.reconcile.status_data import is_waiting, waiting_since
from shardwise.reconcile.turns import Turn, Waiter, turn_of


class Waiting:
    """The objects that wait. Each demand is known once its object has been read; the rest stands in the status."""

    def __init__(self, sharded_models: Shelf, priorities: Shelf) -> None:
        self._sharded_models = sharded_models
        self._priorities = priorities
        self.demands: Final[dict[Key, Demand]] = {}

    def turn(self, key: Key) -> Turn:
        """Give the queue as an object meets it, whether or not the object waits yet."""
        waiting = ((other, obj) for other, obj in self._sharded_models.objects.items() if waits(obj))
        others = (self._waiter(other, obj) for other, obj in waiting)
        return turn_of(self._waiter(key, self._sharded_models.objects[key]), others)

    def in_turn(self, keys: list[Key]) -> list[Key]:
        """Order objects by whose turn it is."""
        return sorted(keys, key=lambda key: self._waiter(key, self._sharded_models.objects[key]).order)

    def place(self, obj: Json | None) -> tuple[int, float, str] | None:
        """Give the sort key of an object among those that wait; ``None`` where it does not wait, or is gone."""
        return self._waiter(key_of(obj), obj).order if obj is not None and waits(obj) else None

    def _waiter(self, key: Key, obj: Json) -> Waiter:
        return Waiter(
            key="/".join(key),
            priority=self._priority(obj),
            created=parse_time(str(obj["metadata"].get("creationTimestamp") or "")),
            since=waiting_since(obj.get("status") or {}),
            demand=self.demands.get(key),
        )

    def _priority(self, obj: Json) -> int:
        """Give the value of an object's PriorityClass; of the cluster's default, or 0, where it names none."""
        placement = (obj.get("spec") or {}).get("placement")
        named = placement.get("priorityClassName") if isinstance(placement, dict) else None
        classes = self._priorities.objects.values()
        chosen = (
            known
            for known in classes
            if known["metadata"]["name"] == named or (not named and known.get("globalDefault"))
        )
        return next((int(known.get("value") or 0) for known in chosen), 0)


def waits(obj: Json) -> bool:
    """Tell whether an object waits for GPUs. An object that is paused or being deleted does not."""
    metadata = obj["metadata"]
    paused = (metadata.get("annotations") or {}).get(PAUSED) == "true"
    return is_waiting(obj.get("status") or {}) and not paused and "deletionTimestamp" not in metadata
