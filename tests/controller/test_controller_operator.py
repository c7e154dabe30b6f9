"""The whole operator, as it runs in a cluster, against the in-memory API."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.operating import Operating, a_large_model, a_model, operating

from shardwise.operate import queue
from shardwise_sandbox import Fault, RequestInfo, h100_node

Json = dict[str, Any]


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operating]:
    async with operating(tmp_path) as running:
        yield running


def held_gpus(running: Operating) -> Counter[str]:
    held: Counter[str] = Counter()
    for pod in running.cluster.list("pods"):
        gpus = pod["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"]
        held[pod["spec"].get("nodeName", "")] += int(gpus)
    return held


async def test_an_applied_object_is_planned_launched_and_ready(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    status = await operator.ready("large")
    assert (status["plan"]["tensor"], status["plan"]["pipeline"]) == (8, 2)
    assert operator.nodes_of("large") == ["h100-1", "h100-2"]
    assert held_gpus(operator) == {"h100-1": 8, "h100-2": 8}
    assert status["readyReplicas"] == status["replicas"] == 1
    assert operator.condition_of("large", "Stalled")["status"] == "False"
    assert operator.condition_of("large", "Reconciling")["status"] == "False"


async def test_the_operator_writes_nothing_onto_the_object_but_its_status(operator: Operating) -> None:
    created = operator.cluster.create(a_model())
    await operator.ready("llama")
    found = operator.cluster.get("ShardedModel", "default", "llama")
    assert found["spec"] == created["spec"]
    assert "finalizers" not in found["metadata"]
    assert "annotations" not in found["metadata"]
    assert operator.writes_to("/shardedmodels/llama") == operator.writes_to("/shardedmodels/llama/status")


async def test_a_settled_object_is_not_written_again(operator: Operating) -> None:
    operator.cluster.create(a_model())
    await operator.ready("llama")
    operator.cluster.create(a_model("other"))
    await operator.ready("other")
    before = operator.writes_to("llama")
    operator.cluster.patch("Node", "", "h100-1", {"metadata": {"annotations": {"beat": "1"}}})
    operator.cluster.delete("ShardedModel", "default", "other")
    await operator.until(lambda: not operator.pods("other"), "other gone")
    assert operator.writes_to("llama") == before


async def test_an_operator_that_restarts_touches_no_healthy_group(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    before = {pod["metadata"]["uid"] for pod in operator.pods("large")}
    await operator.stop()
    await operator.start()
    operator.cluster.create(a_model())
    await operator.ready("llama")
    assert {pod["metadata"]["uid"] for pod in operator.pods("large")} == before
    assert operator.status("large")["restarts"] == 0


@pytest.mark.parametrize("kills_after", range(8))
async def test_an_operator_that_dies_after_any_write_is_followed_by_one_that_finishes(
    operator: Operating, kills_after: int
) -> None:
    writes = 0

    def cut_off(request: RequestInfo) -> Fault | None:
        nonlocal writes
        writes += request.is_write
        return Fault.answer(503) if request.is_write and writes > kills_after else None

    operator.cluster.faults = cut_off
    operator.cluster.create(a_large_model())
    await operator.until(lambda: writes > kills_after, f"write {kills_after + 1}")
    await operator.stop()
    operator.cluster.faults = None
    await operator.start()
    await operator.ready("large")
    assert operator.pod_names("large") == ["large-0-0-0", "large-0-0-1"]
    assert held_gpus(operator) == {"h100-1": 8, "h100-2": 8}


async def test_a_lost_answer_makes_nothing_twice(operator: Operating) -> None:
    lost: list[str] = []

    def lose_first_pod(request: RequestInfo) -> Fault | None:
        if request.is_write and request.resource == "pods" and not lost:
            lost.append(request.path)
            return Fault.lose_answer()
        return None

    operator.cluster.faults = lose_first_pod
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    assert lost
    assert operator.pod_names("large") == ["large-0-0-0", "large-0-0-1"]


async def test_a_lost_rank_starts_the_whole_group_again(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    operator.cluster.kubelet.fail("default", "large-0-0-1", exit_code=1, message="CUDA error")
    status = await operator.ready("large", restarts=1)
    assert operator.pod_names("large") == ["large-0-1-0", "large-0-1-1"]
    assert status["groups"][0]["attempt"] == 1
    assert "GroupRestarted" in operator.events("large")


async def test_a_deleted_pod_starts_the_whole_group_again(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    operator.cluster.delete("Pod", "default", "large-0-0-0")
    await operator.ready("large", restarts=1)
    assert operator.pod_names("large") == ["large-0-1-0", "large-0-1-1"]


async def test_an_evicted_pod_starts_the_whole_group_again(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    operator.cluster.kubelet.evict("default", "large-0-0-1")
    await operator.ready("large", restarts=1)
    assert operator.pod_names("large") == ["large-0-1-0", "large-0-1-1"]


async def test_a_deleted_object_leaves_nothing_behind_also_without_the_operator(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    await operator.stop()
    operator.cluster.delete("ShardedModel", "default", "large")
    await operator.until(lambda: not operator.cluster.list("pods"), "no pods")
    assert operator.cluster.names("services") == []


async def test_a_changed_spec_starts_the_group_anew_with_what_is_asked_now(operator: Operating) -> None:
    operator.cluster.create(a_model())
    await operator.ready("llama")
    operator.cluster.patch("ShardedModel", "default", "llama", {"spec": {"engine": {"args": ["--seed=7"]}}})
    await operator.ready("llama", restarts=1)
    (pod,) = operator.pods("llama")
    assert "--seed=7" in pod["spec"]["containers"][0]["args"]


async def test_a_changed_demand_is_planned_anew(operator: Operating) -> None:
    operator.cluster.create(a_model(gpus=8))
    await operator.ready("llama")
    assert operator.status("llama")["plan"]["product"] == "NVIDIA-L40S"
    change = {"spec": {"gpuBudget": {"products": ["NVIDIA-GB200"]}, "parallelism": {"tensor": 2}}}
    operator.cluster.patch("ShardedModel", "default", "llama", change)
    await operator.ready("llama")
    plan = operator.status("llama")["plan"]
    assert (plan["product"], plan["tensor"], plan["rule"]) == ("NVIDIA-GB200", 2, "pinned")
    (group,) = operator.status("llama")["groups"]
    await operator.until(lambda: held_gpus(operator) == {group["nodes"][0]: 2}, "the old pod gone")


async def test_a_deleted_node_is_planned_around(tmp_path: Path) -> None:
    nodes = [h100_node(f"h100-{number}") for number in (1, 2, 3)]
    async with operating(tmp_path, nodes=nodes) as operator:
        operator.cluster.create(a_large_model())
        await operator.ready("large")
        assert operator.nodes_of("large") == ["h100-1", "h100-2"]
        operator.cluster.delete("Node", "", "h100-2")
        await operator.ready("large", restarts=1)
        assert operator.nodes_of("large") == ["h100-1", "h100-3"]


async def test_a_group_whose_node_is_gone_and_has_no_other_waits_and_says_so(operator: Operating) -> None:
    operator.cluster.create(a_large_model(parallelism={"tensor": 8}))
    await operator.ready("large")
    operator.cluster.delete("Node", "", "h100-2")
    condition = await operator.condition("large", "Planned", "False")
    assert "no layout fits on 8 free GPUs" in condition["message"]
    await operator.until(lambda: operator.pods("large") == [], "no pods of a group that cannot run")
    operator.cluster.create(h100_node("h100-9"))
    await operator.ready("large")
    assert operator.nodes_of("large") == ["h100-1", "h100-9"]


async def test_an_object_that_waits_for_gpus_gets_them_when_another_goes(operator: Operating) -> None:
    operator.cluster.create(a_large_model("first"))
    await operator.ready("first")
    operator.cluster.create(a_large_model("second"))
    waiting = await operator.condition("second", "Reconciling", reason="CapacityShort")
    assert waiting["message"].startswith("waiting for GPUs")
    assert operator.condition_of("second", "Stalled")["status"] == "False"
    operator.cluster.delete("ShardedModel", "default", "first")
    await operator.ready("second")
    assert held_gpus(operator) == {"h100-1": 8, "h100-2": 8}


async def test_objects_applied_at_once_never_share_a_gpu(operator: Operating) -> None:
    names = [f"m{number}" for number in range(6)]
    for name in names:
        operator.cluster.create(a_model(name, "meta-llama/Llama-3.1-70B", 8, model_contextLength=8192))
    for name in names:
        await operator.ready(name)
    capacity = {
        node["metadata"]["name"]: int(node["status"]["allocatable"]["nvidia.com/gpu"])
        for node in operator.cluster.list("nodes")
    }
    assert all(gpus <= capacity[node] for node, gpus in held_gpus(operator).items())


async def test_a_service_of_somebody_else_is_not_taken_over(operator: Operating) -> None:
    """It would get our ports and be deleted with the model. The model waits, says why, and begins when it is gone."""
    spec = {"ports": [{"port": 443, "protocol": "TCP"}], "selector": {"app": "theirs"}}
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "llama", "namespace": "default"}}
    before = operator.cluster.create(theirs | {"spec": spec})
    operator.cluster.create(a_model())
    told = await operator.condition("llama", "Reconciling", reason="WriteRefused")
    assert "Service default/llama" in told["message"]
    await operator.until(lambda: "WriteRefused" in operator.events("llama"), "the Event")
    assert operator.cluster.get("Service", "default", "llama") == before
    assert operator.pods("llama") == []
    operator.cluster.delete("Service", "default", "llama")
    await operator.ready("llama")


async def test_gpus_of_strangers_count_as_taken(operator: Operating) -> None:
    stranger = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "training", "namespace": "default"},
        "spec": {
            "nodeName": "h100-2",
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}},
                }
            ],
        },
    }
    await operator.stop()
    operator.cluster.create(stranger)
    await operator.start()
    operator.cluster.create(a_large_model(parallelism={"tensor": 8}))
    await operator.condition("large", "Reconciling", reason="CapacityShort")
    operator.cluster.delete("Pod", "default", "training")
    await operator.ready("large")


WRONG = {
    "tp that does not divide the heads": ({"parallelism": {"tensor": 6}}, "Planned", "IllegalLayout", "divisible by 6"),
    "an argument that contradicts the plan": (
        {"engine": {"args": ["--tensor-parallel-size=4"]}},
        "Stalled",
        "InvalidSpec",
        "`spec.parallelism.tensor`",
    ),
    "a release that is too old": (
        {"engine": {"name": "sglang", "version": "0.4.10"}},
        "Stalled",
        "InvalidSpec",
        "0.5.0 or later",
    ),
    "a folder of the nodes that nobody allowed": (
        {"model": {"name": "meta-llama/Llama-3.1-8B", "source": {"hostPath": {"path": "/etc"}}}},
        "Stalled",
        "InvalidSpec",
        "`launch.hostPaths`",
    ),
    "a model whose config lacks a field": (
        {"model": {"name": "x/y", "config": {"hidden_size": 8}}},
        "Stalled",
        "InvalidSpec",
        "num_hidden_layers",
    ),
    "a context longer than the model's": (
        {"model": {"name": "meta-llama/Llama-3.1-8B", "contextLength": 999999}},
        "Stalled",
        "InvalidSpec",
        "131072",
    ),
    "more parallelism than budget": (
        {"parallelism": {"tensor": 8, "pipeline": 2}},
        "Stalled",
        "InvalidSpec",
        "need 16 GPUs",
    ),
    "two sources": (
        {
            "model": {
                "name": "meta-llama/Llama-3.1-8B",
                "source": {"hostPath": {"path": "/x"}, "image": {"reference": "y"}},
            }
        },
        "Stalled",
        "InvalidSpec",
        "`hostPath` and `image`",
    ),
}


@pytest.mark.parametrize(("change", "kind", "reason", "words"), WRONG.values(), ids=WRONG)
async def test_a_wrong_object_gets_one_clear_message_and_others_are_served(
    operator: Operating, change: Json, kind: str, reason: str, words: str
) -> None:
    wrong = a_model("wrong", gpus=8)
    wrong["spec"] |= change
    operator.cluster.create(wrong)
    found = await operator.condition("wrong", kind, "False" if kind == "Planned" else "True", reason)
    assert words in found["message"]
    assert operator.condition_of("wrong", "Stalled")["status"] == "True"
    assert operator.condition_of("wrong", "Reconciling")["status"] == "False"
    operator.cluster.create(a_model())
    await operator.ready("llama")
    assert operator.pods("wrong") == []


async def test_an_edit_that_is_wrong_leaves_what_runs_alone(operator: Operating) -> None:
    operator.cluster.create(a_model(gpus=8))
    await operator.ready("llama")
    before = {pod["metadata"]["uid"] for pod in operator.pods("llama")}
    operator.cluster.patch("ShardedModel", "default", "llama", {"spec": {"engine": {"args": ["--port=1"]}}})
    await operator.condition("llama", "Stalled", reason="InvalidSpec")
    assert {pod["metadata"]["uid"] for pod in operator.pods("llama")} == before
    operator.cluster.patch("ShardedModel", "default", "llama", {"spec": {"engine": {"args": []}}})
    await operator.ready("llama", restarts=0)


async def test_scaling_up_keeps_the_group_that_is_there(operator: Operating) -> None:
    operator.cluster.create(a_model(gpus=3))
    await operator.ready("llama")
    before = operator.pods("llama")[0]["metadata"]["uid"]
    operator.cluster.patch("ShardedModel", "default", "llama", {"spec": {"replicas": 3}})
    status = await operator.ready("llama")
    assert status["readyReplicas"] == 3
    assert operator.pod_names("llama") == ["llama-0-0-0", "llama-1-0-0", "llama-2-0-0"]
    assert operator.pods("llama")[0]["metadata"]["uid"] == before
    assert status["restarts"] == 0


async def test_scaling_down_removes_the_last_groups_and_their_services(operator: Operating) -> None:
    operator.cluster.create(a_model(gpus=3, replicas=3))
    await operator.ready("llama")
    operator.cluster.patch("ShardedModel", "default", "llama", {"spec": {"replicas": 1}})
    await operator.until(lambda: operator.pod_names("llama") == ["llama-0-0-0"], "one pod")
    await operator.until(lambda: operator.cluster.names("services") == ["llama", "llama-0-0"], "two Services")
    assert (await operator.ready("llama"))["readyReplicas"] == 1


async def test_scaled_to_zero_is_ready_and_holds_nothing(operator: Operating) -> None:
    operator.cluster.create(a_model())
    await operator.ready("llama")
    operator.cluster.patch("ShardedModel", "default", "llama", {"spec": {"replicas": 0}})
    await operator.until(lambda: operator.pods("llama") == [], "no pods")
    status = await operator.ready("llama")
    assert status["message"] == "scaled to 0 replicas"


async def test_a_paused_object_is_left_alone_until_it_is_resumed(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    pause = {"metadata": {"annotations": {"shardwise.dev/paused": "true"}}}
    operator.cluster.patch("ShardedModel", "default", "large", pause)
    await operator.condition("large", "Reconciling", reason="Paused")
    operator.cluster.delete("Pod", "default", "large-0-0-0")
    operator.cluster.create(a_model())
    await operator.ready("llama")
    assert operator.pod_names("large") == ["large-0-0-1"]
    resume = {"metadata": {"annotations": {"shardwise.dev/paused": None}}}
    operator.cluster.patch("ShardedModel", "default", "large", resume)
    await operator.ready("large", restarts=1)


async def test_a_deleted_service_comes_back(operator: Operating) -> None:
    operator.cluster.create(a_model())
    await operator.ready("llama")
    operator.cluster.delete("Service", "default", "llama")
    await operator.until(lambda: "llama" in operator.cluster.names("services"), "the Service")
    assert operator.status("llama")["restarts"] == 0


async def test_dropped_and_expired_watches_lose_nothing(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    operator.cluster.drop_watches()
    operator.cluster.kubelet.fail("default", "large-0-0-1", exit_code=1, message="CUDA error")
    operator.cluster.compact()
    await operator.ready("large", restarts=1)


async def test_an_api_server_that_errs_for_a_while_only_delays(
    operator: Operating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "FIRST_BACKOFF", 0.01)
    answers = iter([500, 409, 503, 429])

    def err(request: RequestInfo) -> Fault | None:
        status = next(answers, None) if request.is_write else None
        return Fault.answer(status) if status is not None else None

    operator.cluster.faults = err
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    assert operator.pod_names("large") == ["large-0-0-0", "large-0-0-1"]


async def test_a_group_that_fails_before_it_is_ready_backs_off_and_is_held_at_last(operator: Operating) -> None:
    operator.cluster.kubelet.is_ready = lambda _pod: False
    operator.cluster.create(a_model(restartPolicy={"maxRestarts": 1}))
    await operator.until(lambda: operator.status("llama").get("groups", [{}])[0].get("state") == "Starting", "Starting")
    operator.cluster.kubelet.fail("default", "llama-0-0-0", exit_code=1, message="out of memory")
    await operator.condition("llama", "Reconciling", reason="GroupBackoff")
    operator.clock[0] += 3600
    operator.cluster.patch("ShardedModel", "default", "llama", {"metadata": {"labels": {"nudge": "1"}}})
    await operator.until(lambda: operator.pod_names("llama") == ["llama-0-1-0"], "attempt 1")
    await operator.until(lambda: operator.status("llama")["groups"][0]["state"] == "Starting", "Starting again")
    operator.cluster.kubelet.fail("default", "llama-0-1-0", exit_code=1, message="out of memory")
    stalled = await operator.condition("llama", "Stalled", reason="RestartsExhausted")
    assert "exited 1" in stalled["message"]
    assert "out of memory" in stalled["message"]
    assert operator.pod_names("llama") == ["llama-0-1-0"], "the last attempt is left to be looked at"
