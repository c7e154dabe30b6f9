"""Who waits, in which order, and who is looked at again when somebody no longer does."""

from typing import Any

import pytest
from tests.controller.support import KEY, Json, a_model, a_store, at
from tests.support.models import LLAMA_8B, a_demand

from shardwise.observe import Key, Store, Waiting, waits


def model(name: str, *, created: int = 0, since: int | None = 0, priority: str | None = None, **more: Any) -> Json:
    made = a_model(name, placement={} if priority is None else {"priorityClassName": priority})
    made["metadata"]["creationTimestamp"] = f"2027-01-15T08:00:{created:02}Z"
    made["metadata"] |= more
    made["status"] = {} if since is None else {"waitingSince": f"2027-01-15T08:30:{since:02}Z"}
    return made


def a_class(name: str, value: int, *, default: bool = False, version: int = 1) -> Json:
    obj = {"kind": "PriorityClass", "metadata": {"name": name}, "value": value}
    return at(version, obj | ({"globalDefault": True} if default else {}))


def waiting(*models: Json, classes: tuple[Json, ...] = ()) -> Waiting:
    store: Store = a_store(*models)
    for one in classes:
        store.priorities.put(one)
    return store.waiting


def ahead(line: Waiting, key: Key = KEY) -> list[str]:
    return [one.key for one in line.turn(key).ahead]


def test_the_older_stand_before_the_younger() -> None:
    line = waiting(model("llama", created=5), model("older", created=4), model("younger", created=6))
    assert ahead(line) == ["default/older"]
    assert (line.turn(KEY).position, line.turn(KEY).length) == (2, 3)


def test_a_higher_priority_stands_before_age() -> None:
    """By the value of the class that is named; of the cluster's default class, where none is.

    One that a file holds without a value is made with 0.
    """
    unsaid = at(1, {"kind": "PriorityClass", "metadata": {"name": "unsaid"}})
    classes = (a_class("high", 100), a_class("plain", 10, default=True), a_class("low", -5), unsaid)
    models = (
        model("llama", created=5),
        model("high", created=9, priority="high"),
        model("low", created=1, priority="low"),
        model("unknown", created=2, priority="nobody-made-it"),
        model("plain", created=6, priority="plain"),
        model("unsaid", created=7, priority="unsaid"),
    )
    assert ahead(waiting(*models, classes=classes)) == ["default/high"]
    assert ahead(waiting(*models)) == ["default/low", "default/unknown"]


@pytest.mark.parametrize(
    ("one", "does"),
    [
        (model("m"), True),
        (model("m", since=None), False),
        (model("m", annotations={"shardwise.dev/paused": "true"}), False),
        (model("m", annotations={"shardwise.dev/paused": "false"}), True),
        (model("m", deletionTimestamp="2027-01-15T08:00:00Z"), False),
    ],
    ids=["waits", "placed", "paused", "not paused", "being deleted"],
)
def test_who_cannot_begin_holds_up_nobody(one: Json, does: bool) -> None:
    assert waits(one) is does
    assert ahead(waiting(one, model("llama", created=5))) == ["default/m"] * does


def test_an_object_that_does_not_wait_yet_has_a_place_all_the_same() -> None:
    """Its place is asked for before its wait is written."""
    line = waiting(model("older", created=4), model("younger", created=6), model("llama", created=5, since=None))
    turn = line.turn(KEY)
    assert (turn.names, turn.length) == ((("default", "older"),), 3)


def test_one_stands_in_the_queue_with_what_it_asks_for_once_it_was_read() -> None:
    """Right after a start its status says that it waits, and since when; no more is known."""
    line = waiting(model("llama", created=5), model("older", created=4, since=7))
    (older,) = line.turn(KEY).ahead
    assert (older.demand, older.since) == (None, 1_800_001_807.0)
    line.demands["default", "older"] = a_demand(LLAMA_8B)
    (older,) = line.turn(KEY).ahead
    assert older.demand == a_demand(LLAMA_8B)


def test_objects_are_looked_at_in_turn() -> None:
    line = waiting(model("a", created=3), model("b", created=1), model("c", created=2))
    keys = [("default", name) for name in "abc"]
    assert line.in_turn(keys) == [("default", "b"), ("default", "c"), ("default", "a")]


@pytest.mark.parametrize("spec", [{"placement": None}, {"placement": 3}, {}], ids=str)
def test_an_object_of_any_shape_has_a_place(spec: Json) -> None:
    """An older CRD may have let it in."""
    odd = model("llama")
    odd["spec"] = spec
    assert waiting(odd).turn(KEY).position == 1
