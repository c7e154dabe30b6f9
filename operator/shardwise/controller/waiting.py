"""Who waits for GPUs, as the objects themselves say, and in which order they are looked at."""

from typing import Final

from shardwise.api.convert import PAUSED
from shardwise.controller.store import Json, Key, Shelf, key_of
from shardwise.domain.demand import Demand
from shardwise.reconcile import Turn, Waiter, parse_time, turn_of


class Waiting:
    """The objects that wait. Their demands are known once each has been read; the rest stands in their status."""

    def __init__(self, models: Shelf, priorities: Shelf) -> None:
        self._models = models
        self._priorities = priorities
        self.demands: Final[dict[Key, Demand]] = {}

    def turn(self, key: Key, me: Json | None = None) -> Turn:
        """Give the queue as one object meets it, which may be one that is not there yet."""
        others = (self._waiter(one, model) for one, model in self._models.objects.items() if waits(model))
        return turn_of(self._waiter(key, self._models.objects[key] if me is None else me), others)

    def in_turn(self, keys: list[Key]) -> list[Key]:
        """Order objects by whose turn it is."""
        return sorted(keys, key=lambda key: self._waiter(key, self._models.objects[key]).order)

    def place(self, model: Json | None) -> tuple[int, float, str] | None:
        """Give what an object's place among those that wait goes by; ``None`` where it does not wait, or is gone."""
        return self._waiter(key_of(model), model).order if model is not None and waits(model) else None

    def _waiter(self, key: Key, model: Json) -> Waiter:
        return Waiter(
            key="/".join(key),
            priority=self._priority(model),
            created=parse_time(str(model["metadata"].get("creationTimestamp") or "")),
            since=parse_time(str((model.get("status") or {}).get("waitingSince") or "")),
            demand=self.demands.get(key),
        )

    def _priority(self, model: Json) -> int:
        """Give the value of an object's PriorityClass; of the cluster's default, or 0, where it names none."""
        placement = (model.get("spec") or {}).get("placement")
        named = placement.get("priorityClassName") if isinstance(placement, dict) else None
        classes = self._priorities.objects.values()
        chosen = (
            one for one in classes if one["metadata"]["name"] == named or (not named and one.get("globalDefault"))
        )
        return next((int(one.get("value") or 0) for one in chosen), 0)


def waits(model: Json) -> bool:
    """Tell whether an object waits for GPUs. One that is paused or going does not."""
    metadata = model["metadata"]
    paused = (metadata.get("annotations") or {}).get(PAUSED) == "true"
    return "waitingSince" in (model.get("status") or {}) and not paused and "deletionTimestamp" not in metadata
