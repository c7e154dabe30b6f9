"""Objects are read beside the loop if they may be long, and the log names each of them."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture
from tests.checkpoint.support import BASE
from tests.controller.scene import Scene

from shardwise.api import parse, to_wanted
from shardwise.domain.model import ModelFacts
from shardwise.hub import model_facts
from shardwise.operate import reconciler

LONG: dict[str, Any] = {"name": "org/model", "config": BASE}
WRONG: dict[str, Any] = {"name": "org/model", "config": BASE | {"hidden_size": "many"}}


@pytest.fixture
def scene(mocker: MockerFixture) -> Scene:
    return Scene(mocker)


def threads_of(mocker: MockerFixture, name: str, work: Callable[..., Any]) -> list[threading.Thread]:
    """Note the threads in which a step of the reading runs."""
    seen: list[threading.Thread] = []

    def noting(*given: Any) -> Any:
        seen.append(threading.current_thread())
        return work(*given)

    mocker.patch.object(reconciler, name, noting)
    return seen


@pytest.mark.parametrize(
    ("model", "beside"),
    [(LONG, True), ({"name": "meta-llama/Llama-3.1-8B"}, False)],
    ids=["with a config", "without a config"],
)
async def test_an_object_that_may_be_long_is_read_beside_the_loop(
    scene: Scene, mocker: MockerFixture, model: dict[str, Any], beside: bool
) -> None:
    """Parsing a megabyte takes a while, and a thread costs more than a short object."""
    parsed, wanted = threads_of(mocker, "parse", parse), threads_of(mocker, "to_wanted", to_wanted)
    await scene.reconcile(scene.add(model=model))
    for threads in (parsed, wanted):
        assert [thread is not threading.main_thread() for thread in threads] == [beside]


async def test_the_log_names_an_object_before_it_is_read(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """So that an object that ends the process can be found."""
    caplog.set_level(logging.DEBUG, "shardwise.operate")
    before: list[str] = []

    def facts(obj: Any) -> ModelFacts:
        before.extend(record.getMessage() for record in caplog.records)
        found = model_facts(obj)
        assert isinstance(found, ModelFacts)
        return found

    scene.facts.side_effect = facts
    await scene.reconcile(scene.add())
    assert "default/llama: reading generation 1" in before


async def test_an_object_that_is_slow_to_read_is_named(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def slow(obj: Any) -> Any:
        scene.now += 2.5
        return model_facts(obj)

    scene.facts.side_effect = slow
    await scene.reconcile(scene.add(model=LONG))
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["default/llama: took 2.5 s to read"]


async def test_an_object_that_is_refused_is_named_with_the_reason(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.reconcile(scene.add(model=WRONG))
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said.startswith("default/llama: InvalidSpec: spec.model.config: config of `org/model` has `hidden_size: '")


@pytest.mark.parametrize("levels", [40, 250, 900])
async def test_a_config_that_is_nested_too_deeply_is_refused(scene: Scene, levels: int) -> None:
    """Also where Python's own comparison or serialisation would give up."""
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    key = scene.add(model={"name": "org/model", "config": BASE | {"x": deep}})
    for _ in range(2):
        await scene.reconcile(key)
    assert scene.condition("Stalled") == ("True", "InvalidSpec")
    assert "levels deep" in scene.status()["message"]


async def test_a_config_that_is_refused_is_read_again_only_when_it_is_edited(scene: Scene) -> None:
    """A wrong config may be as long to read as a right one, and objects are looked at again and again."""
    key = scene.add(model=WRONG)
    for _ in range(3):
        await scene.reconcile(key)
    assert scene.facts.call_count == 1
    assert scene.condition("Stalled") == ("True", "InvalidSpec")
    scene.edit(key, model=LONG)
    await scene.reconcile(key)
    assert scene.facts.call_count == 2
    assert scene.condition("Stalled")[0] == "False"
