"""The same as for groups that the operator starts by itself, where Kueue admits them: any call may be the last.

Killed while its groups are gated, admitted or evicted, the operator reaches the same end, and nothing is held twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.driven import Driven, Harm
from tests.support.operating import a_model

from shardwise_sandbox import h100_node

GPUS = 16
GROUP: dict[str, Any] = {"parallelism": {"tensor": 8, "pipeline": 2}, "model_contextLength": 8192}
HIGH = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 100}


def obj(name: str, **placement: Any) -> dict[str, Any]:
    """Make an object whose groups span two nodes, in the queue ``team``."""
    made = a_model(name, gpus=GPUS, **GROUP)
    made["spec"]["placement"] = {"queue": {"kueue": {"localQueue": "team"}}, **placement}
    made["metadata"]["creationTimestamp"] = f"2027-01-15T07:00:0{ord(name) % 10}Z"
    return made


def create_open(driven: Driven) -> None:
    driven.sandbox.create(obj("m", owner="scheduler"))


def nothing(_: Driven) -> None:
    """Begin with an empty cluster."""


def create(driven: Driven) -> None:
    driven.sandbox.create(obj("m"))


def another(driven: Driven) -> None:
    driven.sandbox.create(obj("n"))


def both(driven: Driven) -> None:
    create(driven)
    another(driven)


def preempt(driven: Driven) -> None:
    driven.sandbox.create(obj("p", priorityClassName="high"))


def delete_waiting(driven: Driven) -> None:
    driven.sandbox.delete("ShardedModel", "default", "n")


def delete_running(driven: Driven) -> None:
    driven.sandbox.delete("ShardedModel", "default", "m")


def edit_waiting(driven: Driven) -> None:
    driven.patch("n", engine={"args": ["--seed=7"]})


def edit_running(driven: Driven) -> None:
    driven.patch("m", engine={"args": ["--seed=7"]})


def crash(driven: Driven) -> None:
    driven.sandbox.kubelet.fail("default", "m-0-0-1", exit_code=1, message="CUDA error")


@dataclass(frozen=True)
class Scenario:
    """What is there, what happens, and the states of the groups in the end. The quota is for one group."""

    before: Callable[[Driven], None]
    event: Callable[[Driven], None]
    states: dict[str, str]
    nodes: int = 2


SCENARIOS = {
    "enter": Scenario(nothing, create, {"m": "Ready"}),
    "enter without nodes": Scenario(nothing, create_open, {"m": "Ready"}),
    "wait": Scenario(create, another, {"m": "Ready", "n": "Queued"}),
    "wait on free nodes": Scenario(create, another, {"m": "Ready", "n": "Queued"}, nodes=4),
    "preempt": Scenario(both, preempt, {"m": "Queued", "n": "Queued", "p": "Ready"}),
    "delete while gated": Scenario(both, delete_waiting, {"m": "Ready"}),
    "hand over": Scenario(both, delete_running, {"n": "Ready"}),
    "edit while gated": Scenario(both, edit_waiting, {"m": "Ready", "n": "Queued"}),
    "edit while admitted": Scenario(create, edit_running, {"m": "Ready"}),
    "fail while admitted": Scenario(create, crash, {"m": "Ready"}),
}


async def played(scenario: Scenario, at: int = -1, harm: Harm = Harm.DIES_AFTER) -> Driven:
    """Play a scenario, with one call harmed. The queue has quota for one group."""
    driven = Driven([h100_node(f"h100-{number}") for number in range(1, scenario.nodes + 1)], quota=GPUS)
    driven.sandbox.create(HIGH)
    scenario.before(driven)
    await driven.settle()
    driven.arm(at, harm)
    scenario.event(driven)
    await driven.settle()
    return driven


def states(driven: Driven) -> dict[str, str]:
    return {
        model["metadata"]["name"]: model["status"]["groups"][0]["state"]
        for model in driven.sandbox.list("ShardedModel")
    }


def check_nothing_left(driven: Driven) -> None:
    """Every pod, Service and Workload is that of a present attempt: nothing hangs behind a gate or a finalizer."""
    groups = {
        f"{model['metadata']['name']}-{group['replica']}-{group['attempt']}"
        for model in driven.sandbox.list("ShardedModel")
        for group in model["status"]["groups"]
    }
    assert set(driven.sandbox.names("workloads")) == groups
    assert {pod["metadata"]["labels"]["shardwise.dev/group"] for pod in driven.sandbox.list("pods")} == groups
    services = {name for name in driven.sandbox.names("services") if name not in driven.sandbox.names("ShardedModel")}
    assert services == groups


@pytest.mark.parametrize("name", SCENARIOS)
async def test_whatever_happens_to_any_call_the_queue_and_the_operator_agree(name: str) -> None:
    """The same pods on the same nodes, bound or gated; one group holds the quota, and nothing is left over."""
    scenario = SCENARIOS[name]
    plain = await played(scenario)
    assert states(plain) == scenario.states
    check_nothing_left(plain)
    calls = list(plain.wire.calls)
    assert calls or name == "hand over"
    for harm in Harm:
        for at in range(len(calls)):
            driven = await played(scenario, at, harm)
            assert driven.wire.fired, (harm, at)
            assert driven.graph() == plain.graph(), f"{harm}: {calls[at]}; then {driven.wire.calls}"
            check_nothing_left(driven)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_in_steady_state_nothing_is_called(name: str) -> None:
    """Also while groups wait: not a single call, after a look at every object."""
    driven = await played(SCENARIOS[name])
    driven.wire.calls.clear()
    for model in driven.sandbox.names("ShardedModel"):
        driven.operator.keys.add(("default", model))
    await driven.settle()
    assert driven.wire.calls == []


async def test_why_a_queue_admits_nobody_is_told_and_its_counts_wake_nobody() -> None:
    """The Workload says only that the ClusterQueue is inactive; the counts in the status change with every group."""
    driven = await played(SCENARIOS["wait"])
    before = driven.status("n")["message"]
    stopped = {"type": "Active", "status": "False", "message": "Can't admit new workloads: is stopped."}
    for status, said in (
        ({"conditions": [stopped]}, f"{before} (Can't admit new workloads: is stopped)"),
        ({"conditions": [stopped | {"status": "True"}]}, before),
    ):
        driven.sandbox.patch("ClusterQueue", "", "team", {"status": status})
        await driven.settle()
        assert driven.status("n")["message"] == said
    driven.wire.calls.clear()
    driven.sandbox.patch("ClusterQueue", "", "team", {"status": {"pendingWorkloads": 7}})
    await driven.settle()
    assert driven.wire.calls == []


async def test_an_eviction_is_told_in_the_words_of_the_queue_and_is_no_restart() -> None:
    """Nor is any node avoided for it: the group waits for the same nodes again."""
    driven = await played(SCENARIOS["preempt"])
    status = driven.sandbox.get("ShardedModel", "default", "m")["status"]
    assert "Preempted to accommodate a workload" in status["groups"][0]["message"]
    assert status["message"].startswith(
        "0 of 1 replicas serve; replica 0, attempt 1, waits in the queue `team` of Kueue"
    )
    assert (status["restarts"], status.get("shunnedNodes"), status["groups"][0].get("failures")) == (0, None, None)


GONE = {
    "the LocalQueue": ("LocalQueue", "default"),
    "the ClusterQueue": ("ClusterQueue", ""),
    "the flavour": ("ResourceFlavor", ""),
}


@pytest.mark.parametrize(("kind", "namespace"), GONE.values(), ids=GONE)
async def test_an_object_waits_for_the_missing_part_of_its_queue_and_begins_on_the_nodes_of_its_flavour(
    kind: str, namespace: str
) -> None:
    """The other nodes come first by name, and the first attempt would lie there."""
    nodes = [h100_node(f"h100-{number}") for number in range(1, 5)]
    for node in nodes[2:]:
        node["metadata"]["labels"]["pool"] = "serving"
    driven = Driven(nodes, quota=GPUS)
    driven.sandbox.patch("ResourceFlavor", "", "team", {"spec": {"nodeLabels": {"pool": "serving"}}})
    part = driven.sandbox.get(kind, namespace, "team")
    driven.sandbox.delete(kind, namespace, "team")
    create(driven)
    await driven.settle()
    assert driven.status("m")["message"].startswith(f"the {kind} `team` of Kueue does not exist")
    assert (driven.sandbox.names("pods"), driven.sandbox.names("workloads")) == ([], [])
    driven.sandbox.create({**part, "metadata": {"name": "team", **({"namespace": namespace} if namespace else {})}})
    await driven.settle()
    group = driven.status("m")["groups"][0]
    assert (group["state"], group["attempt"], group["nodes"]) == ("Ready", 0, ["h100-3", "h100-4"])
