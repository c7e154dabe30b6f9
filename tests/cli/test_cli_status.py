"""``shardwise status``: the state of an object in a few lines, once, or until it is Ready or Stalled."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import completed, finished, process
from tests.support.operating import LIMIT, Operating, a_large_model, a_model, operating
from tests.support.statuses import FULL

from shardwise.cli.following import _Printed
from shardwise.cli.status_view import status_view
from shardwise.reconcile.records import format_time
from shardwise.reconcile.status_data import write_status

Json = dict[str, Any]
NOW = 1_800_000_000.0


def an_object(condition: str = "Reconciling", reason: str = "GroupsStarting", **status: Any) -> Json:
    conditions = [
        {"type": kind, "status": "True" if kind == condition else "False", "reason": reason, "message": ""}
        for kind in ("Ready", "Reconciling", "Stalled")
    ]
    found = {"observedGeneration": 3, "conditions": conditions, **status}
    return {"metadata": {"name": "llama", "namespace": "team", "generation": 3}, "status": found}


def a_group(replica: int, state: str, ready: int, nodes: int = 2, **fields: Any) -> Json:
    placed = {"nodes": [f"h100-{index}" for index in range(nodes)], "gpusPerPod": 8} if nodes else {}
    since = format_time(NOW - 65)
    return {"replica": replica, "attempt": 1, "state": state, "since": since, "readyPods": ready, **placed, **fields}


def a_pod(index: int, *, ready: bool = False, node: str = "", waiting: str = "") -> Json:
    labels = {"replica": "0", "attempt": "1", "index": str(index), "group-size": "2"}
    engine = {"name": "engine", "restartCount": 0, "state": {"waiting": {"reason": waiting}} if waiting else {}}
    status = {"conditions": [{"type": "Ready", "status": str(ready)}], "containerStatuses": [engine]}
    metadata = {
        "name": f"llama-0-1-{index}",
        "labels": {f"shardwise.dev/{key}": value for key, value in labels.items()},
    }
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": status}


def lines(obj: Json, *pods: Json) -> list[str]:
    return status_view(obj, pods, NOW).text.splitlines()


def test_ranks_that_come_up_are_shown_pod_by_pod() -> None:
    shown = lines(
        an_object(groups=[a_group(0, "Starting", 1, loadedPods=1)], message="0 of 1 replicas serve"),
        a_pod(1, node="h100-1", waiting="ContainerCreating"),
        a_pod(0, node="h100-0", ready=True),
    )
    assert shown == [
        "team/llama is Reconciling: GroupsStarting",
        "0 of 1 replicas serve",
        "replica 0  Starting attempt 1  ■□ 1 of 2 pods ready, weights on 1  for 1 min 5 s",
        "  pod 0 (ranks 0–7) on h100-0: ready",
        "  pod 1 (ranks 8–15) on h100-1: ContainerCreating",
    ]


def test_a_replica_that_serves_is_a_line() -> None:
    shown = lines(an_object("Ready", "AllReplicasReady", groups=[a_group(0, "Ready", 2)]), a_pod(0, ready=True))
    assert shown == [
        "team/llama is Ready: AllReplicasReady",
        "replica 0  Ready    attempt 1  ■■ 2 of 2 pods ready  for 1 min 5 s",
    ]


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (98_000, "KV cache of 98000 tokens, 4.0 % fewer than the 102083 planned"),
        (110_000, "KV cache of 110000 tokens, 7.8 % more than the 102083 planned"),
        (102_083, "KV cache of 102083 tokens, as planned"),
    ],
    ids=["fewer", "more", "as planned"],
)
def test_the_cache_that_the_engine_measures_stands_beside_the_plan(measured: int, said: str) -> None:
    cache = {"planned": 102_083, "measured": measured}
    told, untold = a_group(0, "Ready", 2, kvCacheTokens=cache), a_group(1, "Ready", 2)
    assert lines(an_object("Ready", "AllReplicasReady", groups=[told, untold]))[1:] == [
        "replica 0  Ready    attempt 1  ■■ 2 of 2 pods ready  for 1 min 5 s",
        f"  {said}",
        "replica 1  Ready    attempt 1  ■■ 2 of 2 pods ready  for 1 min 5 s",
    ]


def a_role(name: str, wanted: int, ready: int, **plan: Any) -> Json:
    (full,) = write_status(FULL)["roles"]
    made = {**full["plan"], "product": "NVIDIA-L40S", "tensor": 1, "pipeline": 1, "data": 1, "context": 1, **plan}
    return {"name": name, "wantedReplicas": wanted, "replicas": wanted, "readyReplicas": ready, "plan": made}


TRANSFERS: dict[str, tuple[Json, str]] = {
    "by default": ({}, "transfer: KV caches go from prefill to decode by nixl"),
    "as written": (
        {"transfer": {"connector": "mooncake", "within": "rack"}},
        "transfer: KV caches go from prefill to decode by mooncake; all groups have the same `rack`",
    ),
}


@pytest.mark.parametrize(("spec", "said"), TRANSFERS.values(), ids=TRANSFERS)
def test_each_role_is_shown_with_its_groups_and_the_transfer(spec: Json, said: str) -> None:
    """Groups have numbers over both roles; each role has its own layout, and counts the GPUs of its own groups."""
    groups = [
        a_group(0, "Ready", 1, nodes=1, gpusPerPod=1, role="decode"),
        a_group(1, "Starting", 0, nodes=1, gpusPerPod=2, role="prefill"),
        a_group(2, "Waiting", 0, nodes=0, role="decode", message="no free GPU"),
    ]
    obj = an_object(groups=groups, roles=[a_role("decode", 2, 1), a_role("prefill", 1, 0, tensor=2)])
    obj["spec"] = {"roles": [{"name": "prefill"}, {"name": "decode"}], **spec}
    assert lines(obj)[1:] == [
        "decode: 1 of 2 replicas ready, TP1×PP1 on NVIDIA-L40S, 1 GPU held",
        "replica 0  Ready    attempt 1  ■ 1 of 1 pods ready  for 1 min 5 s",
        "replica 2  Waiting  attempt 1  no free GPU  for 1 min 5 s",
        "prefill: 0 of 1 replica ready, TP2×PP1 on NVIDIA-L40S, 2 GPUs held",
        "replica 1  Starting attempt 1  □ 0 of 1 pods ready  for 1 min 5 s",
        said,
    ]


def test_a_role_without_a_plan_is_shown_as_that() -> None:
    role = {"name": "decode", "wantedReplicas": 1, "replicas": 0, "readyReplicas": 0}
    obj = an_object(reason="CapacityShort", roles=[role, {**role, "name": "prefill"}])
    obj["spec"] = {"roles": [{"name": "prefill"}, {"name": "decode"}]}
    assert lines(obj)[1:] == [
        "decode: 0 of 1 replica ready, 0 GPUs held, no plan",
        "prefill: 0 of 1 replica ready, 0 GPUs held, no plan",
        "transfer: KV caches go from prefill to decode by nixl",
    ]


def test_a_replica_without_a_place_says_why() -> None:
    shown = lines(an_object(groups=[a_group(0, "Waiting", 0, nodes=0, message="h100-1 is gone")]))
    assert shown[-1] == "replica 0  Waiting  attempt 1  h100-1 is gone  for 1 min 5 s"


def test_a_wait_for_gpus_is_told_with_its_duration_and_its_place_in_the_queue() -> None:
    message = "no node has 8 free GPUs; position 2 of 5 in the queue"
    shown = lines(an_object(reason="CapacityShort", message=message, waitingSince=format_time(NOW - 7500)))
    assert shown[1:] == [message, "has waited for GPUs for 2 h 5 min"]


def test_an_edit_that_the_operator_has_not_seen_is_not_taken_for_ready() -> None:
    """The status is that of the spec before."""
    obj = an_object("Ready", "AllReplicasReady")
    obj["metadata"]["generation"] = 4
    view = status_view(obj, (), NOW)
    assert not view.settled
    assert view.text == "team/llama waits for the operator to look at generation 4"


def test_an_object_without_a_status_and_a_pod_of_a_stranger_are_shown_as_they_are() -> None:
    view = status_view({"metadata": {"name": "a", "namespace": "b", "generation": 1}}, [{"metadata": {}}], NOW)
    assert (view.text, view.pods) == ("b/a waits for the operator to look at generation 1", ())


@pytest.mark.parametrize(
    ("condition", "colour", "settled"),
    [("Ready", "green", True), ("Stalled", "red", True), ("Reconciling", "yellow", False)],
)
def test_the_condition_gives_the_colour_and_the_end(condition: str, colour: str, settled: bool) -> None:
    view = status_view(an_object(condition), (), NOW)
    assert (view.colour, view.settled) == (colour, settled)


def test_in_a_pipe_a_state_is_printed_only_if_more_than_time_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    view = status_view(an_object(waitingSince=format_time(NOW - 5)), (), NOW)
    printed = _Printed()
    other = status_view(an_object("Ready", "AllReplicasReady"), (), NOW)
    for shown in (view, replace(view, now=NOW + 9), other):
        printed.show(shown)
    assert capsys.readouterr().out.splitlines() == [*view.text.splitlines(), "", *other.text.splitlines()]


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operating]:
    async with operating(tmp_path) as running:
        yield running


async def ran(operator: Operating, *args: str) -> tuple[int, str, str]:
    command = process("status", *args, "--kubeconfig", operator.kubeconfig)
    found = await asyncio.to_thread(finished, command, LIMIT)
    return found.status, found.out, found.err


async def test_the_state_of_an_object_of_the_cluster_is_shown(operator: Operating) -> None:
    operator.cluster.create(a_large_model())
    await operator.ready("large")
    status, out, err = await ran(operator, "large")
    assert (status, err) == (0, "")
    assert out.startswith("default/large is Ready: AllReplicasReady\n1 of 1 replicas serve: TP8×PP2")
    assert "\nplan: TP8×PP2 on NVIDIA-H100-80GB-HBM3, 16 GPUs held\n" in out
    assert "\nreplica 0  Ready    attempt 0  ■■ 2 of 2 pods ready" in out


async def test_watching_ends_when_the_object_is_ready(operator: Operating) -> None:
    """It begins before there is an operator that could do anything."""
    await operator.stop()
    operator.cluster.create(a_model())
    command = process("status", "llama", "--watch", "--interval", "0.1", "--kubeconfig", operator.kubeconfig)
    reads = "/apis/shardwise.dev/v1alpha1/namespaces/default/shardedmodels/llama"
    await operator.until(lambda: sum(request.path == reads for request in operator.cluster.requests) >= 2, "two looks")
    await operator.start()
    found = await asyncio.to_thread(finished, command, LIMIT)
    assert (found.status, found.err) == (0, "")
    first, *_, last = found.out.split("\n\n")
    assert first == "default/llama waits for the operator to look at generation 1"
    assert last.startswith("default/llama is Ready: AllReplicasReady")


async def test_watching_ends_with_1_when_the_object_is_stalled(operator: Operating) -> None:
    operator.cluster.create(a_model("huge", "meta-llama/Llama-3.1-405B", gpus=1))
    status, out, _ = await ran(operator, "huge", "-w", "--interval", "0.1")
    assert status == 1
    assert "default/huge is Stalled: " in out


async def test_an_object_that_is_not_there_is_said(operator: Operating) -> None:
    status, out, err = await ran(operator, "none", "-n", "team")
    assert (status, out) == (2, "")
    assert err.startswith("error: no ShardedModel `none`: cannot get ShardedModel team/none: ")


async def test_a_shell_completes_the_names_of_the_namespace(operator: Operating) -> None:
    for name in ("llama-8b", "llama-70b", "qwen"):
        operator.cluster.create(a_model(name))
    for command in ("status", "explain"):
        words = f"shardwise {command} --kubeconfig {operator.kubeconfig} -n default lla"
        assert await asyncio.to_thread(completed, words, 6) == ["llama-70b", "llama-8b"]


def test_a_shell_without_a_cluster_completes_no_name_and_shows_no_error(tmp_path: Path) -> None:
    assert completed(f"shardwise status --kubeconfig {tmp_path / 'nowhere'} lla", 4) == []
