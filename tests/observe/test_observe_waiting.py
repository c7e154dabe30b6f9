"""Who waits, in which order, and who is looked at again when somebody no longer does."""

from typing import Any

import pytest
from pytest_mock import MockerFixture
from tests.controller.support import KEY, Json, a_model, a_node, a_plan, a_store, at
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.fleet import Fleet
from shardwise.observe import Key, Store, Waiting, waits
from shardwise.observe import waiting as observed_waiting
from shardwise.reconcile.turns import PATIENCE

NO_FLEET = Fleet(())
NOW = 1_800_002_000.0


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
    for priority_class in classes:
        store.priorities.put(priority_class)
    return store.waiting


def ahead(line: Waiting, key: Key = KEY) -> list[str]:
    """Name those before an object, itself asked for its turn as well: both must agree."""
    order = line.order_of(key)
    assert order is not None
    names = [name for *_, name in line.line.places.part(0, line.line.places.before(order))]
    turn = line.turn(key, NO_FLEET, NOW)
    assert (turn.position, turn.first) == (len(names) + 1, names[0] if names else "")
    return names


def test_the_older_stand_before_the_younger() -> None:
    line = waiting(model("llama", created=5), model("older", created=4), model("younger", created=6))
    assert ahead(line) == ["default/older"]
    turn = line.turn(KEY, NO_FLEET, NOW)
    assert (turn.position, turn.length) == (2, 3)


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
    turn = line.turn(KEY, NO_FLEET, NOW)
    assert (turn.first, turn.position, turn.length) == ("default/older", 2, 3)


def test_one_stands_in_the_queue_with_what_it_asks_for_once_it_was_read() -> None:
    """Right after a start its status says that it waits, and since when; no more is known."""
    line = waiting(model("llama", created=5), model("older", created=4, since=7))
    older = line.line.waiter("default/older")
    assert older is not None
    assert (older.demand, older.since) == (None, 1_800_001_807.0)
    line.learn(("default", "older"), a_demand(LLAMA_8B))
    older = line.line.waiter("default/older")
    assert older is not None
    assert older.demand == a_demand(LLAMA_8B)


def test_what_an_object_asked_for_goes_with_it() -> None:
    """Another of its name may ask for something else."""
    store = a_store(model("llama"))
    store.waiting.learn(KEY, a_demand(LLAMA_8B))
    store.sharded_models.remove(KEY, 5)
    assert store.waiting.line.waiter("default/llama") is None
    store.sharded_models.put(at(7, model("llama")))
    anew = store.waiting.line.waiter("default/llama")
    assert anew is not None
    assert anew.demand is None


def test_objects_are_looked_at_in_turn() -> None:
    line = waiting(model("a", created=3), model("b", created=1), model("c", created=2))
    keys = [("default", name) for name in "abc"]
    assert line.in_turn(keys) == [("default", "b"), ("default", "c"), ("default", "a")]


@pytest.mark.parametrize("spec", [{"placement": None}, {"placement": 3}, {}], ids=str)
def test_an_object_of_any_shape_has_a_place(spec: Json) -> None:
    """An older CRD may have let it in."""
    odd = model("llama")
    odd["spec"] = spec
    assert waiting(odd).turn(KEY, NO_FLEET, NOW).position == 1


def test_an_object_that_changes_its_class_or_whose_class_changes_moves() -> None:
    store = a_store(model("llama", created=5), model("older", created=4), model("high", created=9, priority="high"))
    line = store.waiting
    assert ahead(line) == ["default/older"]
    store.priorities.put(a_class("high", 100))
    assert ahead(line) == ["default/high", "default/older"]
    store.priorities.put(a_class("high", -100, version=2))
    assert ahead(line) == ["default/older"]
    store.priorities.put(a_class("all", 7, default=True, version=3))
    assert ahead(line) == ["default/older"]
    store.sharded_models.put(at(9, model("older", created=4, priority="high")))
    assert ahead(line) == []
    store.priorities.remove(("", "high"), 10)
    assert ahead(line) == []
    store.priorities.remove(("", "all"), 10)
    assert ahead(line) == ["default/older"]


def test_an_object_is_read_when_it_changes_and_not_when_another_is_looked_at(mocker: MockerFixture) -> None:
    """Fault: every look read the times of all objects again."""
    store = a_store(*(model(f"m-{number:03}", created=number % 60) for number in range(200)))
    read = mocker.spy(observed_waiting, "parse_time")
    for key in store.sharded_models.objects:
        store.waiting.turn(key, NO_FLEET, NOW)
    assert read.call_count == 0
    store.sharded_models.put(at(5, model("m-007", created=1, since=8)))
    assert 0 < read.call_count <= 6


def test_those_that_lack_a_place_are_known_without_looking_at_all() -> None:
    """In turn, from an object's place on: those that wait, and those that have no plan."""
    placed = a_model("placed", plan=a_plan(("h100-1", 8)))
    store = a_store(model("b", created=1), model("c", created=2), model("a", created=3, since=None), placed)
    assert [name for _, name in store.waiting.lacking_from()] == ["b", "c", "a"]
    assert [name for _, name in store.waiting.lacking_from(("default", "c"))] == ["c", "a"]
    store.sharded_models.put(at(2, {**placed, "metadata": model("c", created=2)["metadata"]}))
    assert [name for _, name in store.waiting.lacking_from()] == ["b", "a"]


def test_a_heartbeat_of_a_node_lets_all_that_is_known_of_kept_nodes_stand(mocker: MockerFixture) -> None:
    """Thousands of nodes say every few seconds that nothing is new."""
    store = a_store(model("llama"), nodes=(a_node(),))
    told = mocker.spy(store.waiting.line, "node_changed")
    store.nodes.put(a_node(version=2))
    assert told.call_count == 0
    store.nodes.put(a_node(version=3, gpus=4))
    store.nodes.remove(("", "h100-1"), 4)
    assert told.call_count == 2


def test_nodes_are_kept_for_one_that_has_waited_long(mocker: MockerFixture) -> None:
    """As they are now, whether they came before the object or after."""
    store = a_store(model("llama", created=5), model("older", created=4), nodes=(a_node("h100-1"),))
    assert store.observe(KEY, NOW).turn.kept == frozenset()
    assert store.observe(KEY, NOW + PATIENCE).turn.kept == {"h100-1"}
    store.nodes.put(a_node("h100-2", 5))
    assert store.observe(KEY, NOW + PATIENCE).turn.kept == {"h100-1", "h100-2"}
    store.waiting.learn(("default", "older"), a_demand(LLAMA_8B, products=("NVIDIA-L40S",)))
    assert store.observe(KEY, NOW + PATIENCE).turn.kept == frozenset()
