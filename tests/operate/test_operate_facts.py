"""Models are looked up beside the loop, once, and what changes meanwhile is not lost."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture
from tests.controller.scene import Scene
from tests.controller.support import settle
from tests.support.models import config

from shardwise.api import ShardedModel
from shardwise.domain.model import ModelFacts
from shardwise.domain.site import HubSite
from shardwise.hub import HubError, HubFacts, HubQuestion, known_facts, model_facts
from shardwise.observe import Key
from shardwise.operate.lookups import FIRST_WAIT_SECONDS, Lookups
from shardwise.operate.reconciler import Reconciler


@pytest.fixture
def scene(mocker: MockerFixture) -> Scene:
    return Scene(mocker)


async def test_facts_are_looked_up_once_for_what_an_object_says_of_its_model(scene: Scene) -> None:
    """The Hub is far away; and other fields do not change what a model is."""
    key = scene.add()
    for _ in range(3):
        await scene.reconcile()
    scene.edit(key, replicas=2, gpuBudget={"total": 2})
    await scene.reconcile()
    assert scene.facts.call_count == 1
    scene.edit(key, model={"name": "meta-llama/Llama-3.1-8B", "contextLength": 8192})
    await scene.reconcile()
    await scene.reconcile()
    assert scene.facts.call_count == 2


async def test_each_object_has_its_own_facts(scene: Scene) -> None:
    """Two may mean different files by one name: a revision, a source of their own."""
    for key in (scene.add("a"), scene.add("b"), ("default", "a")):
        await scene.reconcile(key)
    assert [call.args[0].metadata.name for call in scene.facts.call_args_list] == ["a", "b"]


async def test_of_an_object_only_the_latest_facts_are_kept(scene: Scene) -> None:
    """One that is edited for years fills no memory."""
    key = scene.add()
    for length in (4096, 8192, 4096):
        scene.edit(key, model={"name": "meta-llama/Llama-3.1-8B", "contextLength": length})
        await scene.reconcile()
    assert scene.facts.call_count == 3
    assert len(scene.reconciler._known) == 1


async def test_facts_are_looked_up_beside_the_loop(scene: Scene) -> None:
    """A slow Hub must not stop the watches."""
    threads: list[threading.Thread] = []

    def look(obj: Any) -> Any:
        threads.append(threading.current_thread())
        return model_facts(obj)

    scene.facts.side_effect = look
    scene.add()
    await scene.reconcile()
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


UNKNOWN: Any = {"model": {"name": "nobody/unknown"}}


def known(obj: ShardedModel) -> ModelFacts | HubQuestion:
    return known_facts(obj, HubSite())


class Hub:
    """A Hub that answers when a test says so."""

    def __init__(self, scene: Scene) -> None:
        self.outcome: HubFacts | HubError = HubFacts(config("meta-llama/Llama-3.1-8B"), None)
        self.asked: list[HubQuestion] = []
        self.gate = asyncio.Event()
        scene.facts.side_effect = known
        scene.reconciler._lookups = self.lookups = Lookups(self.ask, lambda: scene.now, self.in_thread)
        self.woken: list[Key] = []
        self.lookups.wake = self.woken.append

    def ask(self, question: HubQuestion) -> HubFacts:
        self.asked.append(question)
        if isinstance(self.outcome, HubError):
            raise self.outcome
        return self.outcome

    async def in_thread(self, call: Callable[[], HubFacts]) -> HubFacts:
        await self.gate.wait()
        return call()

    async def answers(self) -> None:
        self.gate.set()
        await settle()
        self.gate.clear()


async def test_an_object_whose_model_only_the_hub_knows_is_parked_and_goes_on_when_the_answer_comes(
    scene: Scene,
) -> None:
    """No worker waits for the Hub: a reconcile ends at once."""
    key, hub = scene.add(**UNKNOWN), Hub(scene)
    assert await scene.reconcile() is None
    assert scene.calls() == ["apply_status"]
    assert scene.status()["message"] == "`nobody/unknown` is being looked up in the Hub"
    assert scene.condition("Reconciling") == ("True", "ModelFactsUnavailable")
    assert await scene.reconcile() is None
    assert scene.calls() == []
    await hub.answers()
    assert hub.woken == [key]
    assert await scene.reconcile() is None
    assert "apply Pod llama-0-0-0" in scene.calls()
    assert hub.asked == [HubQuestion("nobody/unknown")]


async def test_a_hub_that_cannot_be_reached_is_asked_again(scene: Scene) -> None:
    """Meanwhile the object says so, is not Stalled, and nothing is done; nor is the failure kept."""
    scene.add(**UNKNOWN)
    hub = Hub(scene)
    hub.outcome = HubError("no route to the Hub", retryable=True)
    await scene.reconcile()
    await hub.answers()
    scene.calls()
    assert await scene.reconcile() == FIRST_WAIT_SECONDS
    assert scene.calls() == ["apply_status"]
    assert scene.status()["message"].startswith("no route to the Hub; `spec.model.config`")
    assert scene.condition("Reconciling") == ("True", "ModelFactsUnavailable")
    assert scene.condition("Stalled")[0] == "False"
    assert await scene.reconcile() == FIRST_WAIT_SECONDS
    assert scene.calls() == []
    hub.outcome = HubFacts(config("meta-llama/Llama-3.1-8B"), None)
    scene.now += FIRST_WAIT_SECONDS
    await scene.reconcile()
    await hub.answers()
    await scene.reconcile()
    assert "apply Pod llama-0-0-0" in scene.calls()
    assert len(hub.asked) == 2


async def test_an_object_that_serves_keeps_its_status_while_a_new_operator_looks_its_model_up(scene: Scene) -> None:
    """Otherwise every restart of the operator would make it not Ready for a moment, and take its place in a queue."""
    key, hub = scene.add(**UNKNOWN), Hub(scene)
    await scene.reconcile()
    await hub.answers()
    await scene.reconcile()
    before = scene.status()
    scene.reconciler = Reconciler(scene.cluster, scene.store, scene.facts, lambda: scene.now)
    Hub(scene)
    scene.calls()
    assert await scene.reconcile() is None
    assert (scene.calls(), scene.status()) == ([], before)
    scene.edit(key, model={"name": "nobody/other"})
    await scene.reconcile()
    assert scene.status()["message"] == "`nobody/other` is being looked up in the Hub"


async def test_a_hub_that_is_turned_off_is_told_with_the_way_around(scene: Scene) -> None:
    scene.add(**UNKNOWN)
    scene.facts.side_effect = lambda obj: known_facts(obj, HubSite(enabled=False))
    assert await scene.reconcile() is None
    assert scene.condition("Stalled") == ("True", "InvalidSpec")
    assert scene.status()["message"] == (
        "spec.model.name: `nobody/unknown` is not in the catalog, and the operator configuration turns the Hub off "
        "(`hub.enabled`); set `spec.model.config` to the model's config.json"
    )


async def test_an_object_that_is_deleted_asks_the_hub_no_longer(scene: Scene) -> None:
    key, hub = scene.add(**UNKNOWN), Hub(scene)
    await scene.reconcile()
    del scene.store.sharded_models.objects[key]
    await scene.reconcile()
    await hub.answers()
    assert hub.woken == []


async def test_an_object_that_is_edited_while_its_model_is_looked_up_is_read_again(scene: Scene) -> None:
    """What was asked for before would be launched, and replaced at once."""
    key = scene.add()

    def edited_meanwhile(obj: ShardedModel) -> ModelFacts:
        if scene.facts.call_count == 1:
            scene.edit(key, engine={"args": ["--enforce-eager"]})
        return model_facts(obj)

    scene.facts.side_effect = edited_meanwhile
    await scene.reconcile()
    assert scene.status(key)["observedGeneration"] == 2
    (pod,) = (call.args[0] for call in scene.cluster.apply.mock_calls if call.args[0]["kind"] == "Pod")
    assert "--enforce-eager" in str(pod["spec"]["containers"][0])


async def test_an_object_deleted_while_its_model_is_looked_up_is_let_go(scene: Scene) -> None:
    """Asking the Hub takes a while."""
    key = scene.add()

    def delete(obj: Any) -> Any:
        del scene.store.sharded_models.objects[key]
        return model_facts(obj)

    scene.facts.side_effect = delete
    assert await scene.reconcile() is None
    assert scene.calls() == []
