"""Queues that are missing, stopped or empty, and Workloads deleted by hand: plain words, and all goes on afterwards."""

import contextlib
import json
from collections.abc import Iterator

import pytest
from tests.cluster.installed import Running
from tests.cluster_queue.kueue import a_cluster_queue, a_flavor, a_local_queue
from tests.cluster_queue.support import in_queue, message, reason, waits


@contextlib.contextmanager
def stopped(operator: Running, policy: str) -> Iterator[None]:
    """Stop the ClusterQueue ``team``."""

    def put(value: str) -> None:
        patch = json.dumps({"spec": {"stopPolicy": value}})
        operator.plane.kubectl("patch", "clusterqueues.kueue.x-k8s.io", "team", "--type=merge", "-p", patch)

    put(policy)
    try:
        yield
    finally:
        put("None")


def names_missing(operator: Running, name: str, missing: str) -> bool:
    """Tell whether a model waits without pods for a part of its queue, and names that part."""
    named = message(operator, name).startswith(f"the {missing} of Kueue does not exist")
    return reason(operator, name) == "QueueMissing" and named and not operator.pods(name)


def test_a_queue_that_is_missing_is_named_and_entered_once_it_is_made(operator: Running) -> None:
    """The first attempt lies on nodes of the queue's flavour, which nobody knew before."""
    operator.apply(in_queue("early", queue="later"))
    operator.until(lambda: names_missing(operator, "early", "LocalQueue `later`"), "the missing queue named")
    operator.apply(a_local_queue("later"))
    (group,) = operator.ready("early")["groups"]
    assert (group["attempt"], "h100-0" in group["nodes"]) == (0, False)


def test_a_queue_on_hold_says_so_and_those_that_run_go_on(operator: Running) -> None:
    operator.apply(in_queue("running", gpus=8))
    operator.ready("running")
    with stopped(operator, "Hold"):
        operator.apply(in_queue("held", gpus=8))
        operator.until(lambda: waits(operator, "held", "is stopped"), "the stopped queue told")
        assert operator.status("running")["readyReplicas"] == 1
    operator.ready("held")
    assert operator.status("running")["restarts"] == 0


def test_a_queue_that_is_drained_takes_the_gpus_and_it_is_no_failure(operator: Running) -> None:
    operator.apply(in_queue("drained"))
    operator.ready("drained")
    with stopped(operator, "HoldAndDrain"):
        operator.until(lambda: waits(operator, "drained", "is stopped"), "the stopped queue told")
        assert "evicted from the queue: The ClusterQueue is stopped" in message(operator, "drained")
    assert operator.ready("drained")["restarts"] == 0


def test_flavours_that_no_node_has_are_named_and_a_node_with_their_labels_is_taken(operator: Running) -> None:
    """The user has asked for no label: the labels are those of the administrator's flavour."""
    operator.apply(a_flavor("empty"), a_cluster_queue("empty", 16, "empty"), a_local_queue("empty", "empty"))
    operator.apply(in_queue("nowhere", gpus=8, queue="empty"))
    operator.until(lambda: reason(operator, "nowhere") == "NoMatchingNodes", "no node of the flavour")
    assert "4 are in no flavour of the queue `empty` (`pool=empty`)" in message(operator, "nowhere")
    operator.plane.kubectl("label", "node", "h100-0", "pool=empty")
    try:
        operator.ready("nowhere")
        assert [pod["spec"]["nodeName"] for pod in operator.pods("nowhere")] == ["h100-0"]
    finally:
        operator.plane.kubectl("label", "node", "h100-0", "pool-")


def test_a_queue_whose_flavour_does_not_exist_says_which(operator: Running) -> None:
    operator.apply(a_cluster_queue("broken", 16, "gone"), a_local_queue("broken", "broken"))
    operator.apply(in_queue("lost", gpus=8, queue="broken"))
    operator.until(lambda: names_missing(operator, "lost", "ResourceFlavor `gone`"), "the missing flavour named")
    operator.apply(a_flavor("gone"))
    operator.until(lambda: reason(operator, "lost") == "NoMatchingNodes", "the flavour is there, and no node has it")


@pytest.mark.parametrize("waiting", [False, True], ids=["while it runs", "while it waits"])
def test_a_workload_that_is_deleted_by_hand_is_replaced_and_nothing_has_started_again(
    operator: Running, *, waiting: bool
) -> None:
    """Kueue deletes the pods with it: pods behind their gates vanish at once. Others enter the queue anew."""
    if waiting:
        operator.apply(in_queue("holder"))
        operator.ready("holder")
    operator.apply(in_queue("other"))
    operator.until(lambda: waits(operator, "other") if waiting else operator.ready("other"), "it waits, or runs")
    before = {pod["metadata"]["uid"] for pod in operator.pods("other")}
    operator.plane.kubectl("delete", "workloads.kueue.x-k8s.io", "other-0-0", "-n", "default", "--wait=false")
    operator.until(lambda: _others(operator, before) == 2, "other pods")
    operator.until(lambda: waits(operator, "other") if waiting else operator.ready("other"), "as before")
    status = operator.status("other")
    assert (status["restarts"], status.get("shunnedNodes"), len(operator.pods("other"))) == (0, None, 2)


def _others(operator: Running, before: set[str]) -> int:
    """Count the pods that were made since; none while an earlier pod is left."""
    now = {pod["metadata"]["uid"] for pod in operator.pods("other")}
    return len(now) if now.isdisjoint(before) else 0
