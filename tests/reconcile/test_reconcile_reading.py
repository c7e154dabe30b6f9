"""Reading back: pods as the API server shows them, and what a status remembers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwise.reconcile.observed import see_companions, see_pod
from shardwise.reconcile.records import Record, State, format_time, parse_time
from shardwise.reconcile.status_data import holdings, read_records, write_record

Json = dict[str, Any]

LABELS = {
    "shardwise.dev/replica": "2",
    "shardwise.dev/attempt": "3",
    "shardwise.dev/index": "1",
    "shardwise.dev/revision": "abc",
}


def a_pod(status: Json | None = None, **metadata: Any) -> Json:
    pod: Json = {"metadata": {"name": "m-2-3-1", "uid": "u", "labels": LABELS, **metadata}}
    return pod if status is None else pod | {"status": status}


def engine(**status: Any) -> Json:
    return {"phase": "Running", "containerStatuses": [{"name": "engine", "restartCount": 0, **status}]}


def disrupted(reason: str, status: str = "True") -> Json:
    return {"type": "DisruptionTarget", "status": status, "reason": reason}


ENDED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


def test_a_pod_is_read_off_its_labels() -> None:
    """They are ours: a name can be cut, a label is whole."""
    seen = see_pod(a_pod())
    assert (seen.name, seen.uid, seen.replica, seen.attempt, seen.index, seen.revision) == (
        "m-2-3-1",
        "u",
        2,
        3,
        1,
        "abc",
    )
    assert (seen.node, seen.ready, seen.deleting, seen.failure, seen.waiting) == ("", False, False, "", "not started")


def test_where_a_pod_runs_and_that_it_goes() -> None:
    pod = a_pod(deletionTimestamp="2027-01-15T08:00:00Z") | {"spec": {"nodeName": "n1"}}
    assert (see_pod(pod).node, see_pod(pod).deleting) == ("n1", True)


@pytest.mark.parametrize("label", LABELS)
def test_a_pod_without_our_labels_is_refused(label: str) -> None:
    """All but the revision, which a pod of an older version may lack."""
    pod = a_pod(labels={name: value for name, value in LABELS.items() if name != label})
    if label.endswith("revision"):
        assert see_pod(pod).revision == ""
    else:
        with pytest.raises(KeyError, match=label):
            see_pod(pod)


BLAMELESS: dict[str, tuple[Json, bool]] = {
    "shut down with its node": ({"reason": "Terminated", "conditions": [disrupted("TerminationByKubelet")]}, True),
    "made room for a critical pod": ({"reason": "Preempting", "conditions": [disrupted("TerminationByKubelet")]}, True),
    "evicted for what it took": ({"reason": "Evicted", "conditions": [disrupted("TerminationByKubelet")]}, False),
    "was to go, and was not taken": ({"conditions": [disrupted("PreemptionByScheduler", "False")]}, False),
    "its engine exited": (engine(state=ENDED), False),
}


@pytest.mark.parametrize(("status", "blameless"), BLAMELESS.values(), ids=BLAMELESS)
def test_a_pod_that_had_to_go_is_told_from_one_that_failed(status: Json, blameless: bool) -> None:
    """A spot node that is taken back ends its pods as failed; it must not use up the restarts of a group."""
    assert see_pod(a_pod(status={"phase": "Failed", **status})).blameless is blameless


def initial_failure() -> Json:
    """Give the status of a pod whose weights cannot be had."""
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "Traceback\n401 Client Error: Unauthorized\n"}}
    initial = [{"name": "istio-init", "state": {"terminated": {"exitCode": 0}}}, {"name": "weights", "state": ended}]
    waiting = [{"name": "engine", "state": {"waiting": {"reason": "PodInitializing"}}}]
    return {"phase": "Failed", "initContainerStatuses": initial, "containerStatuses": waiting}


FAILURES: dict[str, tuple[Json, str]] = {
    "nothing yet": ({}, ""),
    "running": (engine(state={"running": {}}), ""),
    "evicted": ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Evicted: low on memory"),
    "failed without a word": ({"phase": "Failed"}, "pod ended: Failed"),
    "failed with an exit": (
        {**engine(state=ENDED), "phase": "Failed"},
        "engine was killed because memory ran out (OOMKilled)",
    ),
    "failed before its engine began": (
        initial_failure(),
        "init container `weights` exited 1 (Error): 401 Client Error: Unauthorized",
    ),
    "ended well, which an engine never does": ({"phase": "Succeeded"}, "pod ended: Succeeded"),
    "ended, not started again yet": (engine(state=ENDED), "engine was killed because memory ran out (OOMKilled)"),
    "started again": (
        engine(restartCount=1, state={"running": {}}, lastState=ENDED),
        "engine was killed because memory ran out (OOMKilled)",
    ),
    "waits to be started again": (
        engine(restartCount=3, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ENDED),
        "engine was killed because memory ran out (OOMKilled)",
    ),
    "the last line that says why": (
        engine(state={"terminated": {"exitCode": 1, "message": "an error\nanother error\nbye\n"}}),
        "engine exited 1 (Error): another error",
    ),
    "no line that says why": (
        engine(state={"terminated": {"exitCode": 1, "message": "a\nb\n"}}),
        "engine exited 1 (Error)",
    ),
    "killed": (
        engine(state={"terminated": {"exitCode": 137, "reason": "Error", "message": "an error of long ago"}}),
        "engine was killed (exit code 137)",
    ),
    "a rank that ends when another is lost": (
        engine(state={"terminated": {"exitCode": 0, "reason": "Completed"}}) | {"phase": "Succeeded"},
        "engine ended by itself (exit code 0)",
    ),
    "a long message is cut": (
        engine(state={"terminated": {"exitCode": 1, "message": "Error" + "x" * 999}}),
        f"engine exited 1 (Error): Error{'x' * 195}",
    ),
    "an empty message": (engine(state={"terminated": {"exitCode": 1, "message": " \n"}}), "engine exited 1 (Error)"),
    "null lists": ({"phase": "Running", "containerStatuses": None, "conditions": None}, ""),
}


@pytest.mark.parametrize(("status", "failure"), FAILURES.values(), ids=FAILURES)
def test_how_a_pod_failed(status: Json, failure: str) -> None:
    assert see_pod(a_pod(status)).failure == failure


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
DONE: Json = {"state": {"terminated": {"exitCode": 0}}}


def initial(*statuses: Json) -> Json:
    """Give the status of a pod whose engine is not started yet."""
    waiting = {"state": {"waiting": {"reason": "PodInitializing"}}}
    return {"phase": "Pending", "initContainerStatuses": list(statuses), "containerStatuses": [waiting]}


WAITS: dict[str, tuple[Json, str]] = {
    "not seen by a kubelet": ({"phase": "Pending"}, "not started"),
    "not scheduled": ({"phase": "Pending", "conditions": [UNSCHEDULED]}, "not scheduled: 0/1 nodes"),
    "not scheduled, without a message": (
        {"conditions": [UNSCHEDULED | {"message": ""}]},
        "not scheduled: Unschedulable",
    ),
    "pulling": (engine(state={"waiting": {"reason": "ContainerCreating"}}), "ContainerCreating"),
    "no Secret": (
        engine(state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "hf-token" not found'}}),
        'CreateContainerConfigError: secret "hf-token" not found',
    ),
    "no Secret for the weights": (
        initial(
            {
                "name": "weights",
                "state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}},
            }
        ),
        'weights being fetched: CreateContainerConfigError: secret "s" not found',
    ),
    "an init container first": (
        initial({"name": "wait-for-leader", "state": {"waiting": {"reason": "ImagePullBackOff"}}}),
        "waiting for the leader: ImagePullBackOff",
    ),
    "the leader": (initial({"name": "wait-for-leader", "state": {"running": {}}}), "waiting for the leader"),
    "the followers": (initial({"name": "wait-for-followers", "state": {"running": {}}}), "waiting for the followers"),
    "weights, then the leader": (
        initial(DONE | {"name": "weights"}, {"name": "wait-for-leader", "state": {"running": {}}}),
        "waiting for the leader",
    ),
    "weights": (
        initial(
            {"name": "weights", "state": {"running": {}}},
            {"name": "wait-for-leader", "state": {"waiting": {"reason": "PodInitializing"}}},
        ),
        "weights being fetched",
    ),
    "weights that cannot be had": (
        initial(
            {
                "name": "weights",
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1, "message": "Traceback\n401 Client Error: Unauthorized\n"}},
            }
        ),
        "weights being fetched, failed with exit code 1: 401 Client Error: Unauthorized",
    ),
    "an init container of somebody else's": (
        initial({"name": "istio-init", "state": {"terminated": {"exitCode": 3}}}),
        "istio-init, failed with exit code 3",
    ),
    "a sidecar that runs beside them": (
        initial(
            {"name": "istio-proxy", "state": {"running": {}}}, {"name": "wait-for-leader", "state": {"running": {}}}
        ),
        "waiting for the leader",
    ),
    "a sidecar that runs, and all else ended": (
        initial({"name": "istio-proxy", "state": {"running": {}}}, DONE | {"name": "weights"}),
        "PodInitializing",
    ),
    "all init containers ended": (initial(DONE | {"name": "weights"}), "PodInitializing"),
    "loading": (engine(state={"running": {}}), "engine starting"),
}


@pytest.mark.parametrize(("status", "waiting"), WAITS.values(), ids=WAITS)
def test_what_a_pod_waits_for(status: Json, waiting: str) -> None:
    assert see_pod(a_pod(status)).waiting == waiting


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), ("Unknown", False)])
def test_ready_is_the_kubelets_word(status: str, ready: bool) -> None:
    assert see_pod(a_pod({"conditions": [{"type": "Ready", "status": status}]})).ready is ready


GROUP = {
    "replica": 1,
    "attempt": 2,
    "state": "Backoff",
    "since": "2027-01-15T08:00:00Z",
    "failures": 3,
    "served": "2027-01-15T08:00:01Z",
    "retryAt": "2027-01-15T08:00:02Z",
    "nodes": ["a", "b"],
    "gpusPerPod": 4,
    "content": "c0ffee",
    "message": "m",
    "refused": 5,
}
RECORD = Record(
    1, 2, State.BACKOFF, 1_800_000_000.0, 3, 1_800_000_001.0, 1_800_000_002.0, ("a", "b"), 4, "c0ffee", "m", refused=5
)


def test_a_group_is_read_back_as_it_was_written() -> None:
    """All but its message, which says more while its pods are there."""
    assert read_records({"groups": [GROUP]}) == {1: RECORD}
    assert write_record(RECORD) == {name: value for name, value in GROUP.items() if name != "message"}


def test_what_a_group_has_not_is_not_written() -> None:
    """Twenty of them share a status."""
    assert write_record(Record(0, since=1_800_000_000.0)) == {
        "replica": 0,
        "attempt": 0,
        "state": "Pending",
        "since": "2027-01-15T08:00:00Z",
    }


def test_what_groups_hold_is_read_off_a_status() -> None:
    """Also by an operator that has just started: nobody else may plan on it."""
    waiting = {"replica": 2, "attempt": 0, "state": "Waiting"}
    beside = GROUP | {"replica": 3, "nodes": ["b"], "gpusPerPod": 1}
    assert holdings({"groups": [GROUP, waiting, beside]}) == {"a": 4, "b": 5}
    assert holdings({}) == {}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"groups": None},
        {"groups": []},
        {"groups": [{}]},
        {"groups": [GROUP | {"state": "Dancing"}]},
        {"groups": [GROUP | {"attempt": None}]},
        {"groups": [GROUP | {"replica": "x"}]},
        {"groups": [3]},
        {"groups": [GROUP | {"nodes": 3}]},
        {"groups": [GROUP | {"since": 3}]},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_left_out(status: Json) -> None:
    """Its group is found again from its pods."""
    assert read_records(status) == {}


def test_one_group_that_cannot_be_read_does_not_hide_the_others() -> None:
    assert list(read_records({"groups": [{}, GROUP]})) == [1]


@pytest.mark.parametrize("text", ["", "yesterday", "2027-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_the_epoch(text: str) -> None:
    """Long ago: whatever waited has waited long enough."""
    assert parse_time(text) == 0.0


@given(st.integers(0, 4_000_000_000))
def test_times_come_back_to_the_second(seconds: int) -> None:
    assert parse_time(format_time(float(seconds))) == seconds


WEIGHTS = {"initContainers": [{"name": "weights"}, {"name": "wait-for-leader"}]}


@pytest.mark.parametrize(
    ("spec", "statuses", "loaded"),
    [
        pytest.param({}, (), None, id="a pod that fetches as it goes"),
        pytest.param({"initContainers": [{"name": "wait-for-leader"}]}, (), None, id="one that only waits"),
        pytest.param(WEIGHTS, (), False, id="not begun"),
        pytest.param(WEIGHTS, ({"name": "weights", "state": {"running": {}}},), False, id="at it"),
        pytest.param(WEIGHTS, ({"name": "weights", "state": {"terminated": {"exitCode": 1}}},), False, id="failed"),
        pytest.param(WEIGHTS, (DONE | {"name": "weights"},), True, id="done"),
        pytest.param(WEIGHTS, (DONE | {"name": "wait-for-leader"},), False, id="another one done"),
    ],
)
def test_whether_a_pod_has_its_weights(spec: Json, statuses: tuple[Json, ...], loaded: bool | None) -> None:
    """``None`` where they are not fetched before the ranks start."""
    assert see_pod(a_pod(initial(*statuses)) | {"spec": spec}).loaded is loaded


def test_what_a_groups_pods_need_is_read_off_its_service() -> None:
    """Each by its label; other labels and Services without any say nothing."""
    labels = {
        "shardwise.dev/config-map": "llama-files-1",
        "shardwise.dev/compute-domain": "llama-0-nvlink-2",
        "shardwise.dev/claim-template": "llama-gpus-1",
        "team": "a",
    }
    assert see_companions({"metadata": {"labels": labels}}) == {
        ("v1", "ConfigMap", "llama-files-1"),
        ("resource.nvidia.com/v1beta1", "ComputeDomain", "llama-0-nvlink-2"),
        ("resource.k8s.io/v1", "ResourceClaimTemplate", "llama-gpus-1"),
    }
    assert see_companions({"metadata": {}}) == frozenset()
