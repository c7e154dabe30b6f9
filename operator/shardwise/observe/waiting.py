"""The objects that wait for GPUs, as they say themselves, and the order in which the operator looks at them.

An object is read once when it changes. Nothing here goes through all objects for a look at a single one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import PAUSED
from shardwise.observe.objects import Json, Key, key_of
from shardwise.reconcile.kept_nodes import wish_of
from shardwise.reconcile.records import parse_time
from shardwise.reconcile.status_data import is_waiting, waiting_since, wants_place
from shardwise.reconcile.turn_order import TurnOrder
from shardwise.reconcile.turns import Order, Places, Turn, Waiter

FRONT: Final[Order] = (-(2**31), 0.0, "")
"""A place before every object: priorities are 32-bit numbers."""


class Waiting:
    """The objects that wait, and those that lack a place, each in the order of their turns.

    ``line`` are the objects that wait for GPUs. ``lacking`` are all objects that free GPUs may help: those that wait,
    and those that have no plan yet or serve on a faulty node. Each demand is known once its object has been read; the
    rest stands in the object.
    """

    def __init__(self) -> None:
        self.line: Final = TurnOrder()
        self.lacking: Final = Places()
        self._objects: dict[Key, Json] = {}
        self._demands: dict[Key, Demand] = {}
        self._classes: dict[str, Json] = {}

    def object_changed(self, before: Json | None, after: Json | None) -> None:
        """Take in a ShardedModel that changed, came (``before`` is ``None``) or went (``after`` is ``None``)."""
        changed = after if after is not None else before
        if changed is None:
            return
        key = key_of(changed)
        if after is None:
            self._objects.pop(key, None)
            self._demands.pop(key, None)
        else:
            self._objects[key] = after
        self._put(key, after)

    def class_changed(self, before: Json | None, after: Json | None) -> None:
        """Take in a PriorityClass. It may move every object."""
        if before is not None:
            self._classes.pop(before["metadata"]["name"], None)
        if after is not None:
            self._classes[after["metadata"]["name"]] = after
        if _worth(before) != _worth(after):
            for key, obj in self._objects.items():
                self._put(key, obj)

    def node_changed(self, name: str, fleet: Callable[[], Fleet]) -> None:
        """Take in that a node changed, came or went, apart from the number of its free GPUs."""
        self.line.node_changed(name, fleet)

    def learn(self, key: Key, demand: Demand) -> None:
        """Note the demand of an object that was read."""
        if key in self._demands and wish_of(self._demands[key]) == wish_of(demand):
            return
        self._demands[key] = demand
        if "/".join(key) in self.line.places:
            self._put(key, self._objects[key])

    def _put(self, key: Key, obj: Json | None) -> None:
        name = "/".join(key)
        if obj is None or not waits(obj):
            self.line.drop(name)
        else:
            self.line.put(self._waiter(key, obj))
        order = None if obj is None or not wants_place(obj) else self._order(key, obj)
        if order != self.lacking.order_of(name):
            self.lacking.drop(name)
            if order is not None:
                self.lacking.put(order)

    def turn(self, key: Key, fleet: Fleet, now: float) -> Turn:
        """Give the queue as an object meets it, whether or not it waits yet. ``now`` is in seconds since the epoch."""
        me = self.line.waiter("/".join(key)) or self._waiter(key, self._objects[key])
        return self.line.turn(me, fleet, now)

    def place(self, key: Key) -> Order | None:
        """Give the place of an object among those that wait; ``None`` where it does not wait, or is gone."""
        return self.line.places.order_of("/".join(key))

    def order_of(self, key: Key) -> Order | None:
        """Give the place that an object has, or would have if it waited; ``None`` for an unknown object."""
        return self._order(key, self._objects[key]) if key in self._objects else None

    def in_turn(self, keys: Iterable[Key]) -> list[Key]:
        """Order objects by whose turn it is."""
        return sorted(keys, key=lambda key: self._order(key, self._objects[key]))

    def lacking_from(self, key: Key | None = None) -> list[Key]:
        """Give the objects that lack a place in the order of their turns: all, or from an object's place on."""
        order = None if key is None else self.order_of(key)
        return [key_at(order) for order in self.lacking.part(self.lacking.before(order or FRONT))]

    def _waiter(self, key: Key, obj: Json) -> Waiter:
        negative, created, name = self._order(key, obj)
        return Waiter(name, -negative, created, waiting_since(obj.get("status") or {}), self._demands.get(key))

    def _order(self, key: Key, obj: Json) -> Order:
        created = parse_time(str(obj["metadata"].get("creationTimestamp") or ""))
        return -self._priority(obj), created, "/".join(key)

    def class_of(self, obj: Json) -> str:
        """Name the PriorityClass that the pods of an object get; empty without a class."""
        named = _named_class(obj)
        defaults = (known for known in self._classes.values() if known.get("globalDefault"))
        return str(named or next((known["metadata"]["name"] for known in defaults), ""))

    def _priority(self, obj: Json) -> int:
        """Give the value of an object's PriorityClass; of the cluster's default, or 0, where it names none."""
        named = _named_class(obj)
        if named:
            return _value(self._classes.get(str(named)))
        return _value(next((known for known in self._classes.values() if known.get("globalDefault")), None))


def key_at(order: Order) -> Key:
    """Give the namespace and name of the object at a place in the order."""
    namespace, _, name = order[2].partition("/")
    return namespace, name


def _value(known: Mapping[str, object] | None) -> int:
    return int(str((known or {}).get("value") or 0))


def _worth(known: Json | None) -> tuple[str, int, bool] | None:
    """Give the parts of a PriorityClass that place objects."""
    return None if known is None else (known["metadata"]["name"], _value(known), bool(known.get("globalDefault")))


def _named_class(obj: Json) -> object:
    placement = (obj.get("spec") or {}).get("placement")
    return placement.get("priorityClassName") if isinstance(placement, dict) else None


def waits(obj: Json) -> bool:
    """Tell whether an object waits for GPUs. An object that is paused or being deleted does not."""
    status = obj.get("status")
    if not status or not is_waiting(status):
        return False
    metadata = obj["metadata"]
    paused = (metadata.get("annotations") or {}).get(PAUSED) == "true"
    return not paused and "deletionTimestamp" not in metadata
