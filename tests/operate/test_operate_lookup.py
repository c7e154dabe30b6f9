"""Models are looked up beside the loop, once, and what changes meanwhile is not lost."""

import threading
from typing import Any

import pytest
from pytest_mock import MockerFixture
from tests.controller.scene import Scene

from shardwise.api import ShardedModel
from shardwise.domain.model import ModelFacts
from shardwise.hub import FactsUnavailable, model_facts
from shardwise.operate.reconciler import FACTS_RETRY_SECONDS


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


async def test_a_hub_that_cannot_be_reached_is_asked_again(scene: Scene) -> None:
    """Meanwhile the object says so, is not Stalled, and nothing is done; nor is the failure kept."""
    scene.add()
    scene.facts.side_effect = FactsUnavailable("no route to the Hub")
    assert await scene.reconcile() == FACTS_RETRY_SECONDS
    assert scene.calls() == ["apply_status"]
    assert scene.status()["message"] == "no route to the Hub"
    assert scene.condition("Reconciling") == ("True", "ModelFactsUnavailable")
    assert scene.condition("Stalled")[0] == "False"
    assert await scene.reconcile() == FACTS_RETRY_SECONDS
    assert scene.calls() == []
    scene.facts.side_effect = model_facts
    assert await scene.reconcile() is None
    assert "apply Pod llama-0-0-0" in scene.calls()
    assert scene.facts.call_count == 3


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
