"""What only a real control plane knows: disruption budgets, evictions by taint, the Lease."""

import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tests.cluster.installed import MODELS, Installed, Running
from tests.support.operating import a_large_model, a_model

from shardwise.cluster.lease import LEASE_SECONDS

Json = dict[str, Any]

ELECTED = ("--leader-elect", "--lease", "shardwise/test")


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


def versions(running: Running, name: str) -> dict[str, str]:
    """Give the versions of an object and of all that it owns: each write makes another."""
    owned = running.get("pods,services,poddisruptionbudgets", "-l", f"shardwise.dev/model={name}")["items"]
    every = [running.get("shardedmodel", name), *owned]
    return {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in every}


def test_of_two_operators_one_acts_and_the_other_follows_one_that_is_killed(two: tuple[Running, Running]) -> None:
    """Within 15 seconds, and without a single write to what serves."""
    first, second = two
    first.apply(a_model("led"))
    first.ready("led")
    before, leader = versions(first, "led"), holder(first)
    began = time.monotonic()
    first.stop(signal.SIGKILL)
    second.until(lambda: holder(second) not in ("", leader), "the other leads")
    assert time.monotonic() - began < 15
    second.apply(a_model("followed"))
    second.ready("followed")
    assert versions(second, "led") == before


def test_one_that_ends_gives_the_lease_up(two: tuple[Running, Running]) -> None:
    """The other need not wait until it has expired."""
    first, second = two
    leader = holder(first)
    began = time.monotonic()
    first.stop()
    second.until(lambda: holder(second) not in ("", leader), "the other leads")
    assert time.monotonic() - began < LEASE_SECONDS


def test_a_budget_holds_from_the_first_second(running: Running) -> None:
    """It is a plain number of pods: nobody has to learn of the CRD's scale first, which takes half a minute."""
    running.apply(a_model("drained", gpus=2, replicas=2))
    running.ready("drained")
    budget = running.until(lambda: allowed(running, "drained"), "a disruption allowed", 5)
    assert (budget["disruptionsAllowed"], budget["expectedPods"], budget["desiredHealthy"]) == (1, 2, 1)


def allowed(running: Running, name: str) -> Json:
    status: Json = running.get("pdb", name).get("status") or {}
    return status if status.get("disruptionsAllowed") else {}


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


def _waits(running: Running, name: str) -> bool:
    return "waitingSince" in running.status(name)


def test_a_large_group_waits_for_its_turn_and_says_so(running: Running) -> None:
    """Two want what there is for one; the position is in the message."""
    running.apply(a_large_model("first"))
    running.ready("first")
    running.apply(a_large_model("second"), a_large_model("third"))
    for name in ("second", "third"):
        running.until(partial(_waits, running, name), f"{name} waits")
    running.until(lambda: "of 2 in the queue" in running.status("third")["message"], "a position")
    running.plane.kubectl("delete", "shardedmodel", "first", "-n", MODELS)
    running.ready("second")
