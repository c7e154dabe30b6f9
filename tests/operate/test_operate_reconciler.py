"""The reconciler: what is decided is held at once, the status is written first, and nothing is done twice."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from pytest_mock import MockerFixture
from tests.controller.scene import NOW, PINNED, Scene
from tests.controller.support import KEY, Json, a_model, a_node, a_plan, a_pod, at, free, gpus_of

from shardwise.api import InvalidObject, Problem
from shardwise.api.base import API_VERSION
from shardwise.cluster import Refused, Retryable
from shardwise.cluster.spam import BURST
from shardwise.observe import Key
from shardwise.observe.kinds import BUDGET, POD, SERVICE
from shardwise.operate.reconciler import FIRST_REFUSED_SECONDS, LOOK_AGAIN_SECONDS, SIDE_BY_SIDE, Reconciler
from shardwise.reconcile.status_data import holdings


@pytest.fixture
def scene(mocker: MockerFixture) -> Scene:
    return Scene(mocker)


async def settled(scene: Scene) -> None:
    """Reconcile until nothing is asked any more, then forget the calls."""
    for _ in range(5):
        await scene.reconcile()
        if not scene.calls():
            return
    raise AssertionError("not settled after 5 rounds")


async def test_the_status_is_written_before_anything_is_done(scene: Scene) -> None:
    """A crash in between is seen by the next decision."""
    scene.add()
    await scene.reconcile()
    assert scene.calls() == [
        "apply_status",
        "apply Service llama",
        "apply Service llama-0-0",
        "apply Pod llama-0-0-0",
        "record Planned",
    ]


async def test_only_the_status_of_the_object_is_written(scene: Scene) -> None:
    """Its own name and kind, and no word of spec or metadata besides."""
    scene.add()
    await scene.reconcile()
    (manifest,) = scene.cluster.apply_status.call_args.args
    assert {name: value for name, value in manifest.items() if name != "status"} == {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {"name": "llama", "namespace": "default", "resourceVersion": "100"},
    }
    assert manifest["status"]["groups"][0]["nodes"] == ["h100-1"]


async def test_nothing_is_done_when_the_status_cannot_be_written(scene: Scene) -> None:
    """But the GPUs stay held: the write may have arrived, its answer lost."""
    key = scene.add(**PINNED)
    scene.cluster.apply_status.side_effect = Retryable("no answer")
    with pytest.raises(Retryable, match="no answer"):
        await scene.reconcile()
    assert scene.calls() == ["apply_status"]
    assert key in scene.store.plans
    assert free(scene.store) == {"h100-1": 0}


async def test_a_decision_on_what_is_no_longer_so_is_not_written(scene: Scene) -> None:
    """Somebody edited the object meanwhile, or another leader decided: it is read again, and decided anew."""
    key = scene.add()
    scene.cluster.apply_status.side_effect = Retryable("modified", 409)
    newer = at(next(scene.versions), scene.store.sharded_models.objects[key])
    scene.cluster.get.return_value = newer
    with pytest.raises(Retryable):
        await scene.reconcile()
    assert scene.calls() == ["apply_status", "get"]
    assert scene.store.sharded_models.objects[key] == newer


async def test_those_behind_are_looked_at_when_one_begins_to_wait_or_no_longer_does(scene: Scene) -> None:
    """Their position is another; and what was kept for it may be theirs now."""
    key = scene.add(**PINNED)
    scene.store.pods.put(a_pod("training", gpus=1))
    woken: list[Key] = []
    scene.reconciler.when_turns_change = woken.append
    await scene.reconcile()
    assert "waitingSince" in scene.status(key)
    await scene.reconcile()
    assert woken == [key]
    scene.store.pods.remove(("default", "training"), 9)
    await scene.reconcile()
    assert "waitingSince" not in scene.status(key)
    assert woken == [key, key]


async def test_the_rest_is_done_later_when_one_action_fails(scene: Scene) -> None:
    """The next decision sees what is there, and goes on from it."""
    scene.add()
    scene.cluster.apply.side_effect = [await scene.take({"kind": "Service", **a_model()}), Retryable("no answer")]
    with pytest.raises(Retryable):
        await scene.reconcile()
    assert scene.calls()[-2:] == ["apply Service llama-0-0", "record Planned"]
    scene.cluster.apply.side_effect = scene.take
    await scene.reconcile()
    assert "apply Pod llama-0-0-0" in scene.calls()


async def test_what_is_alike_is_made_side_by_side_and_pods_after_all_services(scene: Scene) -> None:
    """Calls that wait for the same server wait together; a pod resolves the names its Service gives."""
    scene.add(replicas=3, gpuBudget={"total": 3}, parallelism={"tensor": 1})
    under_way: list[str] = []
    together: list[list[str]] = []

    async def slow(manifest: Mapping[str, Any]) -> Json:
        under_way.append(f"{manifest['kind']} {manifest['metadata']['name']}")
        await asyncio.sleep(0)
        together.append(sorted(under_way))
        under_way.clear()
        return await scene.take(manifest)

    scene.cluster.apply.side_effect = slow
    await scene.reconcile()
    assert [one for one in together if one] == [
        ["PodDisruptionBudget llama"],
        ["Service llama", "Service llama-0-0", "Service llama-1-0", "Service llama-2-0"],
        ["Pod llama-0-0-0", "Pod llama-1-0-0", "Pod llama-2-0-0"],
    ]


async def test_no_more_calls_than_so_many_are_refused_at_once(scene: Scene) -> None:
    """Those beside the one that fails are carried out to their end; what would come after them is not begun."""
    scene.store.nodes.put(a_node("h100-2"))
    scene.add(replicas=12, gpuBudget={"total": 12}, parallelism={"tensor": 1})

    async def refuse_pods(manifest: Mapping[str, Any]) -> Json:
        if manifest["kind"] == "Pod":
            raise Refused(f"{QUOTA} {manifest['metadata']['name']}", 403)
        return await scene.take(manifest)

    scene.cluster.apply.side_effect = refuse_pods
    await scene.reconcile()
    pods = [call for call in scene.calls() if call.startswith("apply Pod ")]
    assert len(pods) == SIDE_BY_SIDE == 8
    assert scene.store.refused[KEY].endswith("llama-0-0-0"), "the first of them is told"


async def test_nothing_is_written_when_nothing_changed(scene: Scene) -> None:
    """Whatever woke it, and however late."""
    scene.add()
    await settled(scene)
    before = scene.status()
    scene.now += 3600
    for _ in range(3):
        assert await scene.reconcile() is None
    assert scene.calls() == []
    assert scene.status() is before


async def test_answers_are_taken_in_without_waiting_for_a_watch(scene: Scene) -> None:
    """Or the next decision would make again what was just made."""
    key = scene.add()
    await scene.reconcile()
    assert set(scene.store.pods.objects) == {("default", "llama-0-0-0")}
    assert set(scene.store.services.objects) == {("default", "llama"), ("default", "llama-0-0")}
    assert holdings(scene.status(key)) == scene.store.plans[key]


async def test_a_plan_is_held_before_the_first_wait_after_it_is_decided(scene: Scene) -> None:
    """The write of the status is where others get to decide."""
    key = scene.add(**PINNED)
    held: list[dict[Key, Any]] = []

    async def look(manifest: Mapping[str, Any]) -> Json:
        held.append(dict(scene.store.plans))
        assert free(scene.store) == {"h100-1": 0}
        return await scene.take_status(manifest)

    scene.cluster.apply_status.side_effect = look
    await scene.reconcile()
    assert [set(one) for one in held] == [{key}]


async def test_two_objects_decided_at_once_never_get_the_same_gpus(scene: Scene) -> None:
    """One is planned, the other waits."""
    keys = [scene.add(name, **PINNED) for name in ("a", "b")]
    await asyncio.gather(*map(scene.reconcile, keys))
    assert len(scene.store.plans) == 1
    reasons = sorted(scene.status(key)["conditions"][1]["reason"] for key in keys)
    assert "CapacityShort" in reasons
    assert sum("plan" in scene.status(key) for key in keys) == 1


async def test_an_object_that_may_hold_less_gives_its_gpus_back(scene: Scene) -> None:
    """A budget is kept, also where nothing smaller can be begun."""
    key = scene.add(**PINNED)
    await settled(scene)
    scene.edit(key, gpuBudget={"total": 4}, parallelism={"tensor": 3})
    await scene.reconcile()
    assert scene.store.plans == {}
    assert "delete Pod llama-0-0-0" in scene.calls()


async def test_an_object_that_asks_for_what_there_is_not_holds_what_it_has(scene: Scene) -> None:
    """What serves is given up for a place, not for a wish."""
    key = scene.add(**PINNED)
    await settled(scene)
    scene.edit(key, gpuBudget={"total": 16}, parallelism={"tensor": 16})
    await scene.reconcile()
    assert key in scene.store.plans
    assert scene.calls() == ["apply_status", f"record {scene.condition('Ready')[1]}"]


@pytest.mark.parametrize("known", [True, False], ids=["being deleted", "gone"])
async def test_a_deleted_object_is_let_go(scene: Scene, known: bool) -> None:
    """Its plan holds nothing any more; what it had, the garbage collector takes."""
    if known:
        key = scene.add()
        scene.store.sharded_models.objects[key]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    scene.store.hold(KEY, gpus_of(a_plan(("h100-1", 8))))
    assert await scene.reconcile() is None
    assert scene.store.plans == {}
    assert scene.calls() == []
    assert not scene.facts.called


WRONG: dict[str, tuple[Json, Exception | None, str]] = {
    "a field out of range": ({"gpuBudget": {"total": 0}}, None, "spec.gpuBudget.total"),
    "an unknown field": ({"nonsense": 1}, None, "spec.nonsense"),
    "a contradiction": ({"engine": {"args": ["--port=1"]}}, None, "spec.engine.args.0"),
    "a model that is none": ({}, InvalidObject((Problem("spec.model.name", "no such model"),)), "spec.model.name"),
    "a context too long": ({"model": {"name": "meta-llama/Llama-3.1-8B", "contextLength": 999_999}}, None, "131072"),
}


@pytest.mark.parametrize(("spec", "error", "words"), WRONG.values(), ids=WRONG)
async def test_a_wrong_object_is_told_once_and_left_alone(
    scene: Scene, spec: Json, error: Exception | None, words: str
) -> None:
    """Until somebody changes it."""
    scene.add(**spec)
    if error is not None:
        scene.facts.side_effect = error
    assert await scene.reconcile() is None
    assert scene.calls() == ["apply_status", "record InvalidSpec"]
    assert scene.condition("Stalled") == ("True", "InvalidSpec")
    assert words in scene.status()["message"]
    assert await scene.reconcile() is None
    assert scene.calls() == []


@pytest.mark.parametrize(("status", "told"), [(422, True), (403, False), (404, False)])
async def test_a_wrong_object_that_takes_no_status_is_told_by_an_event_and_others_are_tried_again(
    scene: Scene, status: int, told: bool
) -> None:
    """422: its own shape is in the way, for good. A server that is just starting forbids what it will allow."""
    scene.add(gpuBudget={"total": 0})
    scene.cluster.apply_status.side_effect = Refused("cannot apply", status)
    if told:
        assert await scene.reconcile() is None
    else:
        with pytest.raises(Refused):
            await scene.reconcile()
    assert ("record InvalidSpec" in scene.calls()) is told


QUOTA = "cannot apply Pod default/llama-0-0-0: exceeded quota"


async def test_what_is_refused_is_told_once_and_taken_back_when_it_is_not(scene: Scene) -> None:
    """A quota, a webhook, a right that is missing: the user sees it, and not the operator's log alone."""
    scene.add()
    take = scene.cluster.apply.side_effect
    scene.cluster.apply.side_effect = [await take(a_pod()), await take(a_pod()), Refused(QUOTA, 403)]
    assert await scene.reconcile() == FIRST_REFUSED_SECONDS
    assert scene.calls()[-2:] == ["apply Pod llama-0-0-0", "record Planned"], "the Event is not lost"
    scene.cluster.apply.side_effect = Refused(QUOTA, 403)
    for told in ([True], [False], [False]):
        await scene.reconcile()
        assert ["record WriteRefused" in scene.calls()] == told
    assert scene.condition("Ready") == ("False", "WriteRefused")
    assert scene.status()["message"].endswith(QUOTA)
    scene.cluster.apply.side_effect = take
    assert await scene.reconcile() == LOOK_AGAIN_SECONDS, "to take it back"
    await scene.reconcile()
    assert scene.condition("Ready") == ("False", "GroupsStarting")


async def test_refused_calls_are_few_however_many_replicas_there_are(scene: Scene) -> None:
    """In the first minute and in any later minute; the GPUs are free for others all the time after it."""
    for number in range(2, 102):
        scene.store.nodes.put(a_node(f"h100-{number}"))
    key = scene.add(replicas=800, gpuBudget={"total": 800}, parallelism={"tensor": 1})
    refused: list[float] = []

    async def refuse_pods(manifest: Mapping[str, Any]) -> Json:
        if manifest["kind"] == "Pod":
            refused.append(scene.now - NOW)
            raise Refused(QUOTA, 403)
        return await scene.take(manifest)

    scene.cluster.apply.side_effect = refuse_pods
    held: dict[float, int] = {}
    while scene.now < NOW + 1800:
        seconds = await scene.reconcile()
        held[scene.now - NOW] = sum(scene.store.plans.get(key, {}).values())
        assert seconds is not None
        assert seconds > 0
        scene.now += seconds
    assert [at for at in refused if at < 60].count(0) == SIDE_BY_SIDE
    minutes = Counter(int(at // 60) for at in refused)
    assert max(minutes.values()) <= 20
    assert all(count <= 4 for minute, count in minutes.items() if minute), minutes
    assert max(gpus for at, gpus in held.items() if at > 60) <= 1
    assert held[0] == 800


async def test_a_refusal_that_lasts_gives_the_gpus_back_after_just_a_minute(scene: Scene) -> None:
    """Whatever the wait between two tries is at that time; an operator that starts again has not forgotten it."""
    key = scene.add(**PINNED)
    scene.cluster.apply.side_effect = Refused(QUOTA, 403)
    while scene.now < NOW + 60:
        assert free(scene.store) == {"h100-1": 0} or scene.now == NOW
        scene.now += await scene.reconcile() or 0
    assert scene.now == NOW + 60
    again = Reconciler(scene.cluster, scene.store, scene.facts, lambda: scene.now)
    scene.store.refused.clear()
    await again.reconcile(key)
    await again.reconcile(key)
    assert (scene.store.plans, free(scene.store)) == ({}, {"h100-1": 8})
    assert scene.condition("Reconciling") == ("True", "PodsRefused")


async def test_a_new_chance_is_taken_once(scene: Scene) -> None:
    """By the decision that takes it, or when the object is gone."""
    key = scene.add()
    scene.store.excused.add(key)
    await scene.reconcile()
    assert scene.store.excused == set()
    scene.store.excused.add(key)
    scene.store.sharded_models.remove(key, next(scene.versions))
    await scene.reconcile()
    assert scene.store.excused == set()


async def test_a_pod_that_is_there_already_and_runs_is_looked_at_again(scene: Scene) -> None:
    """An earlier object of the name left it behind: nothing more may happen to it, so no event would wake anybody."""
    scene.add()

    async def running(manifest: Mapping[str, Any]) -> Json:
        return at(next(scene.versions), {**manifest, "status": a_pod()["status"]})

    scene.cluster.apply.side_effect = running
    assert await scene.reconcile() == LOOK_AGAIN_SECONDS
    assert await scene.reconcile() is None


async def test_a_write_that_may_work_later_is_not_told(scene: Scene) -> None:
    """A conflict, no answer: the next try will do."""
    scene.add()
    scene.cluster.apply.side_effect = Retryable("cannot apply", 409)
    for _ in range(2):
        with pytest.raises(Retryable):
            await scene.reconcile()
    assert scene.condition("Ready") == ("False", "GroupsStarting")


async def test_an_event_that_is_refused_is_no_reason_to_call_the_object_refused(scene: Scene) -> None:
    scene.add()
    scene.cluster.record.side_effect = Refused("cannot record Planned", 403)
    with pytest.raises(Refused):
        await scene.reconcile()
    await scene.reconcile()
    assert scene.condition("Ready") == ("False", "GroupsStarting")


async def test_what_was_refused_for_an_object_is_forgotten_with_it(scene: Scene) -> None:
    key = scene.add()
    scene.cluster.apply.side_effect = Refused(QUOTA, 403)
    await scene.reconcile()
    assert scene.store.refused == {key: QUOTA}
    scene.store.sharded_models.remove(key, next(scene.versions))
    await scene.reconcile()
    assert scene.store.refused == {}


async def test_a_wrong_edit_leaves_what_runs_and_what_it_holds(scene: Scene) -> None:
    """The mistake may be the last edit's alone."""
    key = scene.add(**PINNED)
    await settled(scene)
    plan = scene.store.plans[key]
    scene.edit(key, engine={"args": ["--port=1"]})
    await scene.reconcile()
    assert scene.calls() == ["apply_status", "record InvalidSpec"]
    assert scene.store.plans == {key: plan}
    assert holdings(scene.status()) == plan
    assert scene.status()["observedGeneration"] == 2


async def test_an_object_with_a_class_that_it_may_not_have_is_in_no_queue(scene: Scene) -> None:
    """Nobody waits behind it, and no GPU is kept for it: neither its name nor its class counts."""
    scene.store.priorities.put(at(1, {"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}))
    scene.store.pods.put(a_pod("training", gpus=1))
    hostile = scene.add("hostile", **PINNED, placement={"priorityClassName": "system-node-critical"})
    honest = scene.add("honest", **PINNED)
    for key in (hostile, honest, hostile):
        await scene.reconcile(key)
    assert "waitingSince" not in scene.status(hostile)
    assert "waitingSince" in scene.status(honest)
    assert scene.store.observe(honest, scene.now).turn.position == 1
    assert (
        next(condition["reason"] for condition in scene.status(hostile)["conditions"] if condition["status"] == "True")
        == "InvalidSpec"
    )
    assert hostile not in scene.store.plans


async def test_what_is_too_much_is_deleted_by_its_uid(scene: Scene) -> None:
    """A pod made again under the name, by whoever, is another one; a Service is known by its name."""
    key = scene.add(gpuBudget={"total": 2}, replicas=2, parallelism={"tensor": 1})
    await settled(scene)
    pod = next(one for name, one in scene.store.pods.objects.items() if name[1] == "llama-1-0-0")
    scene.store.pods.put(at(next(scene.versions), {**pod, "metadata": pod["metadata"] | {"uid": "u-7"}}))
    scene.edit(key, replicas=1)
    await scene.reconcile()
    scene.store.pods.remove(("default", "llama-1-0-0"), next(scene.versions))
    await scene.reconcile()
    deleted = [call.args for call in scene.cluster.delete.call_args_list]
    assert deleted == [
        (POD, "default", "llama-1-0-0", "u-7", 1),
        (BUDGET, "default", "llama", "", None),
        (SERVICE, "default", "llama-1-0", "", None),
    ]


async def test_an_event_is_about_the_object_with_its_kind(scene: Scene) -> None:
    """With its uid: `kubectl describe` finds Events by that."""
    scene.add()
    await scene.reconcile()
    about, event = scene.cluster.record.call_args.args
    assert (about["apiVersion"], about["kind"]) == (API_VERSION, "ShardedModel")
    assert (about["metadata"]["uid"], event.reason) == ("uid-llama", "Planned")


async def test_an_object_in_a_loop_fills_no_event_store(scene: Scene) -> None:
    """What is done for it is done all the same, and logged."""
    key = scene.add(engine={"args": ["--port=1"]})
    for number in range(BURST + 10):
        scene.edit(key, engine={"args": [f"--port={number}"]})
        await scene.reconcile()
    assert scene.cluster.record.call_count == BURST
    assert scene.cluster.apply_status.call_count == BURST + 10


async def test_a_stranger_on_the_only_node_is_planned_around(scene: Scene) -> None:
    """The fleet that is decided on is the store's."""
    scene.store.pods.put(a_pod("training", gpus=1))
    scene.add(**PINNED)
    await scene.reconcile()
    assert scene.condition("Reconciling") == ("True", "CapacityShort")
    assert scene.store.plans == {}


async def test_the_time_to_look_again_is_the_decisions(scene: Scene) -> None:
    """A group that failed starts again when its wait is over."""
    scene.add()
    await settled(scene)
    pod = scene.store.pods.objects["default", "llama-0-0-0"]
    broken = {"phase": "Failed", "reason": "Error", "message": "x"}
    scene.store.pods.put(at(next(scene.versions), {**pod, "status": broken}))
    wait = await scene.reconcile()
    assert wait is not None
    assert 0 < wait < 60
    assert scene.status()["groups"][0]["state"] == "Backoff"
    scene.now += wait / 2
    assert await scene.reconcile() == wait / 2
