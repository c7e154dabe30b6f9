"""What only a real control plane knows: disruption budgets, evictions by taint, the Lease, and kills at any moment."""

import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.installed import MODELS, Installed, Running
from tests.support.operating import a_large_model, a_model

Json = dict[str, Any]

ELECTED = ("--leader-elect", "--lease", "shardwise/test")
KILLS = 8
SEED = 8


@pytest.fixture
def two(installed: Installed, running: Running) -> Iterator[tuple[Running, Running]]:
    """Give two operators of one Lease in place of the one."""
    running.stop()
    first, second = (Running(installed.plane, running.kubeconfig, ELECTED, f"operator-{one}") for one in range(2))
    first.start()
    running.until(lambda: holder(running), "a leader")
    second.start()
    yield first, second
    for one in (first, second):
        one.stop()
    running.start()


def holder(running: Running) -> str:
    """Name who holds the Lease; empty where nobody does."""
    leases = ("get", "lease", "test", "-n", "shardwise", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
    return str(running.plane.kubectl(*leases))


def uids(running: Running, name: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in running.pods(name)}


def test_of_two_operators_one_acts_and_the_other_follows_one_that_is_killed(two: tuple[Running, Running]) -> None:
    """Within 15 seconds, and nothing that serves is touched."""
    first, second = two
    first.apply(a_model("led"))
    first.ready("led")
    before, leader = uids(first, "led"), holder(first)
    began = time.monotonic()
    first.stop(signal.SIGKILL)
    second.until(lambda: holder(second) not in ("", leader), "the other leads")
    assert time.monotonic() - began < 15
    second.apply(a_model("followed"))
    second.ready("followed")
    assert uids(second, "led") == before
    assert second.status("led")["restarts"] == 0


def test_one_that_ends_gives_the_lease_up(two: tuple[Running, Running]) -> None:
    first, second = two
    leader = holder(first)
    first.stop()
    second.until(lambda: holder(second) not in ("", leader), "the other leads")


def allowed(running: Running, name: str) -> Json:
    """Give the budget's status once it allows a disruption.

    The controller learns of kinds every half a minute, and the CRD is a few seconds old here: it is made to look again.
    """
    running.plane.kubectl("annotate", "pdb", name, "-n", MODELS, f"looked={time.monotonic()}", "--overwrite")
    status: Json = running.get("pdb", name)["status"]
    return status if status.get("disruptionsAllowed") else {}


def test_a_budget_counts_replicas(running: Running) -> None:
    """The disruption controller reads the replicas off the scale subresource."""
    running.apply(a_model("drained", gpus=2, replicas=2))
    running.ready("drained")
    budget = running.until(lambda: allowed(running, "drained"), "a disruption allowed")
    assert (budget["disruptionsAllowed"], budget["expectedPods"]) == (1, 2)


def test_a_taint_that_evicts_moves_the_group_to_another_node(running: Running) -> None:
    """By the real eviction; the planner stays away from the taint as well."""
    running.apply(a_model("evicted"))
    running.ready("evicted")
    (pod,) = running.pods("evicted")
    node, kubectl = pod["spec"]["nodeName"], running.plane.kubectl
    kubectl("taint", "node", node, "maintenance=now:NoExecute")
    try:
        running.until(lambda: running.status("evicted")["restarts"] == 1, "a restart")
        running.ready("evicted")
        assert running.pods("evicted")[0]["spec"]["nodeName"] != node
        assert running.status("evicted")["groups"][0].get("failures", 0) == 0
    finally:
        kubectl("taint", "node", node, "maintenance-")


def test_an_operator_killed_again_and_again_while_objects_come_and_change(running: Running) -> None:
    """At moments nobody chose; in the end all serve, and no node is given more GPUs than it has."""
    chance = random.Random(SEED)  # noqa: S311 - moments, no secrets
    for number in range(KILLS):
        running.apply(a_model(f"k{number}", gpus=2))
        if number:
            changed = a_model(f"k{number - 1}", gpus=2, engine={"args": [f"--seed={number}"]})
            running.apply(changed)
        time.sleep(chance.uniform(0.2, 3.0))
        running.stop(signal.SIGKILL)
        running.start()
    for number in range(KILLS):
        running.ready(f"k{number}")
        (pod,) = running.pods(f"k{number}")
        args = pod["spec"]["containers"][0]["args"]
        assert (f"--seed={number + 1}" in args) is (number < KILLS - 1)


def test_a_large_group_waits_for_its_turn_and_says_so(running: Running) -> None:
    """Two want what there is for one; the position is in the message."""
    running.apply(a_large_model("first"))
    running.ready("first")
    running.apply(a_large_model("second"), a_large_model("third"))
    for name in ("second", "third"):
        running.until(lambda name=name: "waitingSince" in running.status(name), f"{name} waits")
    running.until(lambda: "of 2 in the queue" in running.status("third")["message"], "a position")
    running.plane.kubectl("delete", "shardedmodel", "first", "-n", MODELS)
    running.ready("second")
