"""Objects that wait rest until something could help them; and whatever could help them ends their rest."""

import asyncio
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pytest_mock import MockerFixture
from tests.controller.scene import PINNED, Scene
from tests.controller.support import KEY, a_node, a_pod, at, changed

from shardwise.api import parse, to_wanted
from shardwise.domain.fleet import Node
from shardwise.domain.model import ModelFacts
from shardwise.domain.site import HubSite
from shardwise.hub import known_facts
from shardwise.inventory import ledger as inventory_ledger
from shardwise.inventory.ledger import Ledger
from shardwise.observe import Key
from shardwise.operate import deciding
from shardwise.operate.resting import LONGEST_SECONDS
from shardwise.reconcile.actions import Decision
from shardwise.reconcile.decide import decide

HOLDER: Key = ("other", "holder")


@pytest.fixture
async def scene(mocker: MockerFixture) -> Scene:
    """Give an object that waits for a whole node, of which another holds all, and that has said so."""
    scene = Scene(mocker)
    scene.store.nodes.put(a_node("h100-2"))
    scene.store.hold(HOLDER, {"h100-1": 8, "h100-2": 1})
    scene.add(**PINNED)
    await scene.reconcile()
    assert "waitingSince" in scene.status()
    scene.calls()
    return scene


@pytest.fixture
def decisions(mocker: MockerFixture) -> Any:
    return mocker.spy(deciding, "decide")


async def test_an_object_that_waits_is_not_decided_on_while_nothing_could_help_it(scene: Scene, decisions: Any) -> None:
    """Fault: one freed GPU was a plan for each of a thousand objects, and so was every list."""
    for _ in range(3):
        assert await scene.reconcile() == LONGEST_SECONDS
    assert (decisions.call_count, scene.calls()) == (0, [])


def freed_and_taken(scene: Scene) -> None:
    scene.store.hold(HOLDER, {"h100-1": 7, "h100-2": 1})
    scene.store.hold(("other", "quick"), {"h100-1": 1})


NEUTRAL: dict[str, Callable[[Scene], Any]] = {
    "a GPU was freed and taken again": freed_and_taken,
    "fewer GPUs are free": lambda scene: scene.store.pods.put(a_pod("training", node="h100-2", gpus=2)),
    "a heartbeat": lambda scene: scene.store.nodes.put(a_node("h100-2", version=9)),
    "time passes": lambda scene: setattr(scene, "now", scene.now + LONGEST_SECONDS - 1),
}


@pytest.mark.parametrize("event", NEUTRAL.values(), ids=NEUTRAL)
async def test_what_cannot_help_ends_no_rest(scene: Scene, decisions: Any, event: Callable[[Scene], Any]) -> None:
    event(scene)
    await scene.reconcile()
    assert decisions.call_count == 0


HELPFUL: dict[str, Callable[[Scene], Any]] = {
    "GPUs are freed": lambda scene: scene.store.hold(HOLDER, {"h100-1": 8}),
    "a new node": lambda scene: scene.store.nodes.put(a_node("h100-3", version=9)),
    "a node is gone": lambda scene: scene.store.nodes.remove(("", "h100-1"), 9),
    "a node changes": lambda scene: scene.store.nodes.put(
        at(9, changed(a_node("h100-1"), lambda node: node["spec"].update(unschedulable=True)))
    ),
    "an edit": lambda scene: scene.edit(KEY, replicas=2),
    "a pod of its own": lambda scene: scene.store.pods.put(a_pod("llama-0-0-0", owner="llama", gpus=0)),
    "a limit that is new": lambda scene: scene.store.excused.add(KEY),
    "less planned in its namespace": lambda scene: scene.store.hold(("default", "beside"), {}),
    "another place in the queue": lambda scene: one_waits_before(scene),  # noqa: PLW0108 - it is defined below
    "half an hour": lambda scene: setattr(scene, "now", scene.now + LONGEST_SECONDS),
}


def one_waits_before(scene: Scene) -> None:
    """Let another object wait before it."""
    scene.add("older", **PINNED)
    other = changed(scene.store.sharded_models.objects["default", "older"], _waits_longer)
    scene.store.sharded_models.put(at(next(scene.versions), other))


def _waits_longer(model: Any) -> None:
    model["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z"
    model["status"] = {"waitingSince": "2027-01-15T08:00:00Z"}


@pytest.mark.parametrize("event", HELPFUL.values(), ids=HELPFUL)
async def test_what_could_help_or_has_to_be_said_ends_a_rest(
    mocker: MockerFixture, event: Callable[[Scene], Any]
) -> None:
    scene = Scene(mocker)
    scene.store.nodes.put(a_node("h100-2"))
    scene.store.hold(HOLDER, {"h100-1": 8, "h100-2": 1})
    scene.store.hold(("default", "beside"), {"h100-2": 1})
    scene.add(**PINNED)
    for _ in range(2):
        await scene.reconcile()
    decisions = mocker.spy(deciding, "decide")
    await scene.reconcile()
    assert decisions.call_count == 0
    event(scene)
    await scene.reconcile()
    assert decisions.call_count >= 1


async def test_an_object_rests_no_longer_than_its_decision_says(scene: Scene) -> None:
    """A node that it avoids is forgiven."""
    assert scene.reconciler._deciding.resting.seconds_left(KEY) == LONGEST_SECONDS
    scene.now += 100
    assert scene.reconciler._deciding.resting.seconds_left(KEY) == LONGEST_SECONDS - 100


async def test_an_object_that_is_gone_is_forgotten(scene: Scene) -> None:
    scene.store.sharded_models.remove(KEY, next(scene.versions))
    assert await scene.reconcile() is None
    assert scene.reconciler._deciding.resting._rests == {}


EVENTS = st.one_of(
    st.tuples(st.just("hold"), st.sampled_from(["h100-1", "h100-2"]), st.integers(0, 8)),
    st.tuples(st.just("pod"), st.sampled_from(["h100-1", "h100-2"]), st.integers(0, 8)),
    st.tuples(st.just("node"), st.sampled_from(["h100-1", "h100-2", "h100-3"]), st.sampled_from([0, 4, 8])),
    st.tuples(st.just("look"), st.sampled_from(["whole", "half", "one"]), st.just(0)),
)
NEEDS = {"whole": 8, "half": 4, "one": 1}


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=14))
def test_no_object_rests_that_has_a_place(events: list[tuple[str, str, int]]) -> None:
    """Whatever happens to the fleet, and whoever is looked at in between: a decision on it would place nothing."""
    asyncio.run(_histories(events))


async def _histories(events: list[tuple[str, str, int]]) -> None:
    scene = Scene(mock)  # type: ignore[arg-type]
    scene.store.nodes.put(a_node("h100-2"))
    scene.store.hold(HOLDER, {"h100-1": 8, "h100-2": 8})
    for name, gpus in NEEDS.items():
        scene.add(name, gpuBudget={"total": gpus}, parallelism={"tensor": gpus})
        await scene.reconcile(("default", name))
    for event in events:
        await _happens(scene, *event)
        for key in scene.store.sharded_models.objects:
            if scene.reconciler._deciding.resting.seconds_left(key) is not None:
                assert not made_anew(scene, key).status.holdings, f"{key} rests and has a place"


async def _happens(scene: Scene, kind: str, name: str, count: int) -> None:
    match kind:
        case "hold":
            scene.store.hold(HOLDER, {**scene.store.plans.get(HOLDER, {}), name: count})
        case "pod":
            scene.store.pods.put(a_pod(f"on-{name}", next(scene.versions), node=name, gpus=count))
        case "node" if count:
            scene.store.nodes.put(a_node(name, next(scene.versions), gpus=count))
        case "node":
            scene.store.nodes.remove(("", name), next(scene.versions))
        case _:
            await scene.reconcile(("default", name))


def made_anew(scene: Scene, key: Key) -> Decision:
    sharded_model = parse(scene.store.sharded_models.objects[key])
    facts = known_facts(sharded_model, HubSite())
    assert isinstance(facts, ModelFacts)
    return decide(to_wanted(sharded_model, facts), scene.store.observe(key, scene.now), scene.now)


class Histories(RuleBasedStateMachine):
    """Holders and nodes come, change and go; a ledger that was asked for gains answers as two looks at the fleet do."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger[str] = Ledger()
        self.before: dict[str, Node] = {}
        self.mark = 0

    @initialize()
    def a_fleet(self) -> None:
        for name in ("a", "b", "c"):
            self.ledger.put(a_node(name))
        self.look()

    @rule()
    def look(self) -> None:
        self.before, self.mark = self.nodes(), self.ledger.mark

    @rule(node=st.sampled_from("abcd"), gpus=st.integers(0, 4), holder=st.sampled_from("xyz"))
    def plan(self, node: str, gpus: int, holder: str) -> None:
        self.ledger.plan(holder, {node: gpus} if gpus else {})

    @rule(node=st.sampled_from("abcd"), cordoned=st.booleans(), gpus=st.sampled_from([4, 8]))
    def put(self, node: str, cordoned: bool, gpus: int) -> None:
        self.ledger.put(changed(a_node(node, gpus=gpus), lambda one: one["spec"].update(unschedulable=cordoned)))

    @rule(node=st.sampled_from("abcd"))
    def drop(self, node: str) -> None:
        self.ledger.drop(node)

    def nodes(self) -> dict[str, Node]:
        return {node.name: node for node in self.ledger.fleet().nodes}

    @invariant()
    def gains_are_those_that_two_looks_show(self) -> None:
        """Compare with the fleet as it was at the last look."""
        now = self.nodes()
        gained = {
            name
            for name in {*now, *self.before}
            if name not in now
            or name not in self.before
            or now[name].free > self.before[name].free
            or (now[name].gpus, now[name].exclusion) != (self.before[name].gpus, self.before[name].exclusion)
        }
        assert self.ledger.gained(self.mark, lambda _: True) == bool(gained)


TestHistories = pytest.mark.filterwarnings("default")(Histories.TestCase)
TestHistories.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_gains_on_nodes_that_do_not_matter_are_none() -> None:
    ledger: Ledger[str] = Ledger()
    for name in ("a", "b"):
        ledger.put(a_node(name))
    ledger.plan("x", {"a": 8, "b": 8})
    mark = ledger.mark
    ledger.plan("x", {"b": 8})
    assert ledger.gained(mark, lambda node: node.name == "a")
    assert not ledger.gained(mark, lambda node: node.name == "b")


def test_a_look_from_long_ago_counts_as_a_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened since is forgotten."""
    monkeypatch.setattr(inventory_ledger, "REMEMBERED", 512)
    ledger: Ledger[str] = Ledger()
    ledger.put(a_node("a"))
    mark = ledger.mark
    for gpus in (1, 2) * 300:
        ledger.plan("x", {"a": gpus})
        assert ledger.fleet().nodes, "or no change would be remembered: nobody has asked"
    assert ledger.gained(mark, lambda _: True)
    assert not ledger.gained(ledger.mark, lambda _: True)
