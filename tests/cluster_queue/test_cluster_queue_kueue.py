"""The operator as a guest of the real Kueue: who waits, who runs, who is evicted, and what is left of them."""

import pytest
from tests.cluster.installed import Running
from tests.cluster_queue.support import in_queue, message, waits


def test_one_runs_and_the_other_waits_and_says_why(operator: Running) -> None:
    """Then the quota is free, and the other runs. Only nodes of the flavour are used."""
    operator.apply(in_queue("first"))
    operator.ready("first")
    operator.apply(in_queue("second"))
    operator.until(lambda: waits(operator, "second"), "the second waits, in Kueue's words")
    said = message(operator, "second")
    assert said.startswith("0 of 1 replicas serve; replica 0, attempt 0, waits in the queue `team` of Kueue")
    (group,) = operator.status("second")["groups"]
    assert group["state"] == "Queued"
    assert {pod["spec"]["nodeName"] for pod in operator.pods("first")} <= {"h100-1", "h100-2", "h100-3"}
    operator.plane.kubectl("delete", "shardedmodel", "first", "-n", "default")
    operator.ready("second")


def test_a_higher_priority_moves_the_gpus_and_both_tell_the_truth(operator: Running) -> None:
    """The evicted object counts no restart, and comes back by itself when the other goes."""
    operator.apply(in_queue("modest", priorityClassName="low"))
    operator.ready("modest")
    operator.apply(in_queue("urgent", priorityClassName="high"))
    operator.ready("urgent")
    operator.until(lambda: waits(operator, "modest"), "the evicted object waits, in Kueue's words")
    status = operator.status("modest")
    assert status["restarts"] == 0
    assert status["groups"][0]["attempt"] >= 1
    assert "evicted from the queue: Preempted to accommodate a workload" in status["groups"][0]["message"]
    assert "GroupEvicted" in {event["reason"] for event in operator.events("modest")}
    operator.plane.kubectl("delete", "shardedmodel", "urgent", "-n", "default")
    operator.ready("modest")
    assert operator.status("modest")["restarts"] == 0


def test_an_object_that_is_deleted_while_it_waits_leaves_nothing_behind(operator: Running) -> None:
    """Its pods would stay behind their gates: the Workload goes with them."""
    operator.apply(in_queue("holder"))
    operator.ready("holder")
    operator.apply(in_queue("waiter"))
    operator.until(lambda: waits(operator, "waiter"), "the waiter waits")
    operator.plane.kubectl("delete", "shardedmodel", "waiter", "-n", "default")
    pods = ("get", "pods", "-n", "default", "-l", "shardwise.dev/model=waiter", "-o", "name")
    operator.until(lambda: operator.plane.kubectl(*pods) == "", "no pod of the waiter")


@pytest.mark.parametrize("waiting", [False, True], ids=["while it runs", "while it waits"])
def test_an_edit_ends_the_old_attempt_before_the_next_enters(operator: Running, *, waiting: bool) -> None:
    """There is quota for one group alone."""
    names = ["edited", "other"]
    for name in reversed(names) if waiting else names[:1]:
        operator.apply(in_queue(name))
        operator.until(lambda name=name: operator.status(name).get("groups"), "a group")  # type: ignore[misc]
        if name == "other" or not waiting:
            operator.ready(name)
    edited = in_queue("edited")
    edited["spec"]["engine"] = {"args": ["--seed=7"]}
    operator.apply(edited)
    operator.until(lambda: operator.status("edited")["groups"][0]["attempt"] == 1, "the next attempt")
    if waiting:
        operator.until(lambda: waits(operator, "edited"), "the next attempt waits")
    else:
        operator.ready("edited")
    operator.until(lambda: {name[:10] for name in operator.pod_names("edited")} == {"edited-0-1"}, "its pods alone")


def test_a_pod_that_fails_ends_its_attempt_and_the_next_is_admitted(operator: Running) -> None:
    """As a group of its own: Kueue would let no pod of another node into the old group."""
    operator.apply(in_queue("failing"))
    operator.ready("failing")
    operator.fail(operator.pod_names("failing")[-1], "CUDA error")
    operator.until(lambda: operator.status("failing")["groups"][0]["attempt"] == 1, "the next attempt")
    operator.ready("failing")
    assert operator.status("failing")["restarts"] == 1
