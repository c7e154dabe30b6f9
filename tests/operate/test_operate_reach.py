"""Leaders of broken groups leave the Service for clients before their object is read, whatever becomes of it."""

from typing import Any

import pytest
from pytest_mock import MockerFixture
from tests.controller.scene import PINNED, Scene
from tests.controller.support import KEY, Json, a_pod, at

from shardwise.cluster import Refused, Retryable
from shardwise.observe import Key
from shardwise.reconcile.observed import see_pod

TWO_NODES: Json = {"gpuBudget": {"total": 2}, "parallelism": {"tensor": 1, "pipeline": 2}}


@pytest.fixture
def scene(mocker: MockerFixture) -> Scene:
    return Scene(mocker)


def up(scene: Scene, key: Key = KEY) -> None:
    """Let all pods of an object be ready."""
    for name, pod in list(scene.store.pods.objects.items()):
        if name[0] == key[0]:
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            spec = {**pod["spec"], "nodeName": "h100-1"}
            scene.store.pods.put(at(next(scene.versions), {**pod, "spec": spec, "status": status}))


async def serving(scene: Scene, **spec: Any) -> str:
    """Let an object serve, and give the name of its leader."""
    scene.add(**(PINNED | spec))
    for _ in range(3):
        await scene.reconcile()
        up(scene)
    (leader,) = [name for (_, name), pod in scene.store.pods.objects.items() if see_pod(pod).reached]
    scene.calls()
    return leader


def fail(scene: Scene, name: str) -> None:
    """Let the engine of a pod exit, while its probe goes on to succeed."""
    pod = scene.store.pods.objects["default", name]
    ended = [{"name": "engine", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]
    status = {**pod["status"], "phase": "Succeeded", "containerStatuses": ended}
    scene.store.pods.put(at(next(scene.versions), {**pod, "status": status}))


async def test_a_leader_is_labelled_once_when_its_group_serves(scene: Scene) -> None:
    leader = await serving(scene)
    await scene.reconcile()
    assert scene.calls() == []
    assert leader == "llama-0-0-0"


async def test_a_label_with_another_value_is_put_right(scene: Scene) -> None:
    leader = await serving(scene)
    pod = scene.store.pods.objects["default", leader]
    labels = pod["metadata"]["labels"] | {"shardwise.dev/serves": "false"}
    scene.store.pods.put(at(next(scene.versions), {**pod, "metadata": pod["metadata"] | {"labels": labels}}))
    await scene.reconcile()
    assert scene.calls() == [f"serve {leader}"]


async def test_the_leader_leaves_before_the_status_is_written(scene: Scene) -> None:
    leader = await serving(scene)
    fail(scene, leader)
    await scene.reconcile()
    assert scene.calls()[:3] == [f"leave {leader}", "apply_status", f"delete Pod {leader}"]


async def test_a_leader_leaves_although_its_object_is_paused_or_its_model_is_looked_up(scene: Scene) -> None:
    leader = await serving(scene)
    fail(scene, leader)
    scene.facts.side_effect = RuntimeError("the Hub is away")
    scene.edit(KEY, model={"name": "another/model"})
    with pytest.raises(RuntimeError, match="the Hub is away"):
        await scene.reconcile()
    assert scene.calls() == [f"leave {leader}"]


async def test_a_group_is_healed_although_a_webhook_refuses_to_take_its_leader_out(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    leader = await serving(scene)
    fail(scene, leader)
    scene.cluster.merge.side_effect = Refused("cannot apply Pod: labels are fixed", 403)
    await scene.reconcile()
    assert f"delete Pod {leader}" in scene.calls()
    assert f"{leader} stays in its Service although its group is broken: cannot apply Pod: labels" in caplog.text


async def test_a_leader_that_is_gone_needs_no_label(scene: Scene) -> None:
    leader = await serving(scene)
    fail(scene, leader)
    scene.cluster.merge.side_effect = Refused("cannot apply Pod: not found", 404)
    await scene.reconcile()
    assert f"delete Pod {leader}" in scene.calls()


async def test_nothing_else_is_done_while_the_api_server_does_not_answer(scene: Scene) -> None:
    """The queue tries again soon."""
    leader = await serving(scene)
    fail(scene, leader)
    scene.cluster.merge.side_effect = Retryable("no answer")
    with pytest.raises(Retryable):
        await scene.reconcile()
    assert scene.calls() == [f"leave {leader}"]


async def test_a_leader_that_may_not_be_labelled_is_told(scene: Scene) -> None:
    """Its Service reaches nobody, so the object is not Ready."""
    scene.add(**PINNED)
    await scene.reconcile()
    up(scene)
    scene.cluster.merge.side_effect = Refused("cannot apply Pod: labels are fixed", 403)
    await scene.reconcile()
    await scene.reconcile()
    assert scene.condition("Reconciling") == ("True", "WriteRefused")


async def test_pods_of_strangers_and_of_objects_that_are_gone_are_left_alone(scene: Scene) -> None:
    scene.store.pods.put(at(next(scene.versions), a_pod()))
    await scene.reconcile()
    assert scene.calls() == []


async def test_the_pods_of_an_attempt_that_is_over_get_a_second(scene: Scene) -> None:
    leader = await serving(scene)
    fail(scene, leader)
    await scene.reconcile()
    assert [call.args[1:] for call in scene.cluster.delete.call_args_list][:1] == [
        ("default", leader, scene.store.pods.objects["default", leader]["metadata"].get("uid", ""), 1)
    ]


async def test_the_pods_of_an_object_that_is_gone_are_hastened_once(scene: Scene) -> None:
    """If no rank of theirs can finish a request."""
    leader = await serving(scene)
    pod = scene.store.pods.objects["default", leader]
    status = {**pod["status"], "conditions": [{"type": "Ready", "status": "False"}]}
    for grace in (60, 1):
        going = {"deletionTimestamp": "2027-01-15T08:00:00Z", "deletionGracePeriodSeconds": grace}
        scene.store.pods.put(at(next(scene.versions), {**pod, "metadata": pod["metadata"] | going, "status": status}))
        scene.store.sharded_models.remove(KEY, next(scene.versions))
        await scene.reconcile()
        assert scene.calls() == ([f"delete Pod {leader}"] if grace == 60 else [])
