"""GPUs that come free go to the first who waits, also while that one is being worked on."""

import asyncio
import threading

import pytest
from pytest_mock import MockerFixture
from tests.controller.scene import PINNED, Scene
from tests.controller.support import KEY

from shardwise.api import ShardedModel
from shardwise.domain.model import ModelFacts
from shardwise.hub import model_facts
from shardwise.observe import Key
from shardwise.operate.reconciler import LOOK_AGAIN_SECONDS

FIRST: Key = ("default", "first")


@pytest.fixture
async def scene(mocker: MockerFixture) -> Scene:
    """Give two objects that wait for the one node, which somebody has until now."""
    scene = Scene(mocker)
    scene.store.hold(("default", "holder"), {"h100-1": 8})
    for key in (scene.add("first", **PINNED), scene.add(KEY[1], **PINNED)):
        await scene.reconcile(key)
        assert "waitingSince" in scene.status(key)
    scene.store.hold(("default", "holder"), {})
    return scene


async def test_who_waits_behind_one_that_is_still_to_be_looked_at_lets_it_go_first(scene: Scene) -> None:
    scene.reconciler.due_ahead = lambda key: [] if key == FIRST else [FIRST]
    assert await scene.reconcile(KEY) == LOOK_AGAIN_SECONDS
    assert "waitingSince" in scene.status(KEY)
    scene.reconciler.due_ahead = lambda _: []
    await scene.reconcile(FIRST)
    assert "waitingSince" not in scene.status(FIRST)
    await scene.reconcile(KEY)
    assert "waitingSince" in scene.status(KEY)


async def test_the_first_lets_nobody_go_first(scene: Scene) -> None:
    """Nor does one that does not wait: what serves is mended at once."""
    scene.reconciler.due_ahead = lambda key: [] if key == FIRST else [FIRST]
    await scene.reconcile(FIRST)
    assert "waitingSince" not in scene.status(FIRST)
    await scene.reconcile(FIRST)
    assert scene.status(FIRST)["observedGeneration"] == 1


async def test_nobody_waits_for_one_whose_model_is_being_looked_up(scene: Scene) -> None:
    """A Hub that does not answer would hold up the whole queue."""
    answer, asked = threading.Event(), threading.Event()

    def slow(obj: ShardedModel) -> ModelFacts:
        asked.set()
        answer.wait()
        return model_facts(obj)

    scene.edit(FIRST, model={"name": "meta-llama/Llama-3.1-8B", "concurrency": 2})
    scene.reconciler.due_ahead = lambda key: [] if key == FIRST else [FIRST]
    scene.facts.side_effect = slow
    first = asyncio.create_task(scene.reconcile(FIRST))
    await asyncio.to_thread(asked.wait)
    scene.facts.side_effect = model_facts
    await scene.reconcile(KEY)
    answer.set()
    await first
    assert "waitingSince" not in scene.status(KEY)
