"""The toy kubelets: the life of a pod, of a group, and of a pod on a node that is lost."""

import pytest
from tests.sandbox.support import Clock, Json, pod

from shardwise_sandbox import Delays, DeleteOptions, Sandbox, sample_fleet


def status(cluster: Sandbox, name: str) -> Json:
    found: Json = cluster.get("pod", "default", name)["status"]
    return found


def ready(cluster: Sandbox, name: str) -> bool:
    conditions = {item["type"]: item["status"] for item in status(cluster, name).get("conditions", [])}
    return conditions.get("Ready") == "True"


def states(cluster: Sandbox, name: str) -> list[tuple[str, str, bool]]:
    """Return the states of a pod: phase, state of its container, readiness."""
    found = []
    for change in cluster.store.log.since(("", "pods"), 0):
        if change.obj["metadata"]["name"] != name:
            continue
        now = change.obj["status"]
        container = (now.get("containerStatuses") or [{}])[0]
        state = next(iter(container.get("state") or {"none": {}}))
        is_ready = any(item["type"] == "Ready" and item["status"] == "True" for item in now.get("conditions", []))
        found.append((now["phase"], state, is_ready))
    return list(dict.fromkeys(found))


def test_a_pod_goes_through_the_states_of_a_real_one(fleet: Sandbox) -> None:
    fleet.create(pod("p", 8))
    fleet.settle()
    assert states(fleet, "p") == [
        ("Pending", "none", False),
        ("Pending", "waiting", False),
        ("Running", "running", False),
        ("Running", "running", True),
    ]
    now = status(fleet, "p")
    assert now["podIP"].startswith("10.244.")
    assert now["hostIP"].startswith("10.0.")
    assert now["startTime"] == "2025-06-01T12:00:00Z"
    assert now["containerStatuses"][0] == {
        "name": "main",
        "image": "engine:1",
        "imageID": "",
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": "2025-06-01T12:00:00Z"}},
        "lastState": {},
    }


def test_pods_have_addresses_of_their_own(fleet: Sandbox) -> None:
    for name in "abcd":
        fleet.create(pod(name))
    fleet.settle()
    assert len({status(fleet, name)["podIP"] for name in "abcd"}) == 4


def test_a_leader_is_ready_only_when_its_whole_group_runs(fleet: Sandbox) -> None:
    fleet.create(pod("leader", 8, group="g", probe=True))
    fleet.create(pod("worker", 16, group="g"))
    fleet.create(pod("stranger", group="other", probe=True))
    fleet.settle()
    assert (ready(fleet, "leader"), ready(fleet, "stranger")) == (False, True)
    fleet.delete("pod", "default", "worker")
    fleet.create(pod("worker", 8, group="g"))
    fleet.settle()
    assert (ready(fleet, "leader"), ready(fleet, "worker")) == (True, True)


@pytest.mark.parametrize("place", ["labels", "annotations"])
def test_a_group_that_says_its_size_is_not_complete_with_fewer(fleet: Sandbox, place: str) -> None:
    leader = pod("leader", 8, group="g", probe=True)
    leader["metadata"].setdefault(place, {})["shardwise.dev/group-size"] = "2"
    fleet.create(leader)
    fleet.settle()
    assert not ready(fleet, "leader")
    fleet.create(pod("worker", group="g"))
    fleet.settle()
    assert ready(fleet, "leader")


def test_a_leader_is_unready_again_when_a_member_fails_until_that_is_back(fleet: Sandbox) -> None:
    fleet.create(pod("leader", group="g", probe=True))
    fleet.create(pod("worker", group="g"))
    fleet.settle()
    fleet.kubelet.may_start = lambda member: member["metadata"]["name"] != "worker"
    fleet.kubelet.fail("default", "worker")
    fleet.settle()
    assert not ready(fleet, "leader")
    fleet.kubelet.may_start = lambda _: True
    fleet.kubelet.recheck()
    fleet.settle()
    assert ready(fleet, "leader")


def test_a_failed_container_waits_in_crash_loop_and_is_restarted(fleet: Sandbox) -> None:
    fleet.create(pod("p"))
    fleet.settle()
    failed = fleet.kubelet.fail("default", "p", exit_code=137, message="CUDA out of memory")["status"]
    container = failed["containerStatuses"][0]
    assert (failed["phase"], container["ready"], container["restartCount"]) == ("Running", False, 1)
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    last = container["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (137, "Error", "CUDA out of memory")
    fleet.settle()
    assert ready(fleet, "p")
    again = status(fleet, "p")["containerStatuses"][0]
    assert ("running" in again["state"], again["lastState"]["terminated"]["exitCode"]) == (True, 137)


ENDS: dict[str, tuple[str, int, str]] = {
    "never restarted, failed": ("Never", 1, "Failed"),
    "never restarted, done": ("Never", 0, "Succeeded"),
    "restarted on failure": ("OnFailure", 1, "Running"),
    "not restarted when done": ("OnFailure", 0, "Succeeded"),
    "always restarted": ("Always", 0, "Running"),
}


@pytest.mark.parametrize(("policy", "code", "phase"), ENDS.values(), ids=ENDS)
def test_a_container_that_ends_is(fleet: Sandbox, policy: str, code: int, phase: str) -> None:
    fleet.create(pod("p", restartPolicy=policy))
    fleet.settle()
    fleet.kubelet.fail("default", "p", exit_code=code)
    fleet.settle()
    assert (status(fleet, "p")["phase"], ready(fleet, "p")) == (phase, phase == "Running")


def test_one_container_of_two_can_fail_alone(fleet: Sandbox) -> None:
    containers = [{"name": name, "image": "i:1"} for name in ("a", "b")]
    fleet.create(pod("p", containers=containers))
    fleet.settle()
    failed = fleet.kubelet.fail("default", "p", container="b")["status"]["containerStatuses"]
    assert [container["restartCount"] for container in failed] == [0, 1]
    fleet.settle()
    assert ready(fleet, "p")


def test_an_evicted_pod_is_failed_and_stays(fleet: Sandbox) -> None:
    fleet.create(pod("p", 8))
    fleet.settle()
    now = fleet.kubelet.evict("default", "p")["status"]
    assert (now["phase"], now["reason"]) == ("Failed", "Evicted")
    disrupted = [item for item in now["conditions"] if item["type"] == "DisruptionTarget"]
    assert [item["reason"] for item in disrupted] == ["TerminationByKubelet"]
    fleet.settle()
    assert fleet.names("pods") == ["p"]


def test_a_deleted_pod_goes_as_soon_as_its_kubelet_sees_it(fleet: Sandbox) -> None:
    fleet.create(pod("p"))
    fleet.settle()
    fleet.delete("pod", "default", "p")
    assert fleet.names("pods") == ["p"]
    fleet.settle()
    assert fleet.names("pods") == []


def test_a_pod_on_a_lost_node_is_unready_and_cannot_go_until_it_is_forced(fleet: Sandbox) -> None:
    fleet.create(pod("p", 8))
    fleet.settle()
    fleet.kubelet.set_node_ready("h100-1", False)
    assert not ready(fleet, "p")
    assert status(fleet, "p")["phase"] == "Running"
    fleet.delete("pod", "default", "p")
    fleet.settle()
    assert fleet.names("pods") == ["p"]
    fleet.delete("pod", "default", "p", DeleteOptions(grace=0))
    assert fleet.names("pods") == []


def test_a_pod_being_deleted_on_a_lost_node_goes_when_the_node_is_back_or_deleted(fleet: Sandbox) -> None:
    for name in "ab":
        fleet.create(pod(name, 8))
    fleet.settle()
    for number, name in enumerate("ab", start=1):
        fleet.kubelet.set_node_ready(f"h100-{number}", False)
        fleet.delete("pod", "default", name)
    fleet.settle()
    assert fleet.names("pods") == ["a", "b"]
    fleet.kubelet.set_node_ready("h100-1", True)
    fleet.settle()
    assert fleet.names("pods") == ["b"]
    fleet.delete("node", "", "h100-2")
    fleet.settle()
    assert fleet.names("pods") == []


def test_a_lost_node_is_tainted_and_a_node_that_is_back_is_not(fleet: Sandbox) -> None:
    fleet.kubelet.set_node_ready("h100-1", False)
    lost = fleet.get("node", "", "h100-1")
    assert {taint["effect"] for taint in lost["spec"]["taints"]} == {"NoSchedule", "NoExecute"}
    assert [item["status"] for item in lost["status"]["conditions"]] == ["Unknown"]
    fleet.kubelet.set_node_ready("h100-1", True)
    back = fleet.get("node", "", "h100-1")
    assert "taints" not in back["spec"]
    assert [item["status"] for item in back["status"]["conditions"]] == ["True"]


def test_a_pod_of_a_node_that_is_back_is_ready_again(fleet: Sandbox) -> None:
    fleet.create(pod("p", 8))
    fleet.settle()
    fleet.kubelet.set_node_ready("h100-1", False)
    fleet.settle()
    fleet.kubelet.set_node_ready("h100-1", True)
    fleet.settle()
    assert ready(fleet, "p")


def test_a_pod_that_may_not_start_stays_in_container_creating(fleet: Sandbox) -> None:
    fleet.kubelet.may_start = lambda _: False
    fleet.create(pod("p"))
    fleet.settle()
    now = status(fleet, "p")
    assert (now["phase"], now["containerStatuses"][0]["state"]["waiting"]["reason"]) == ("Pending", "ContainerCreating")


def test_readiness_can_be_a_tests_own(fleet: Sandbox) -> None:
    answer = [False]
    fleet.kubelet.is_ready = lambda _: answer[0]
    fleet.create(pod("p", probe=True))
    fleet.create(pod("free"))
    fleet.settle()
    assert (ready(fleet, "p"), ready(fleet, "free")) == (False, True)
    answer[0] = True
    fleet.kubelet.recheck()
    fleet.settle()
    assert ready(fleet, "p")


async def test_steps_can_take_time(clock: Clock) -> None:
    delays = Delays(prepare=0.001, start=0.001, ready=0.001, restart=0.001)
    async with Sandbox(now=clock, delays=delays, objects=sample_fleet()) as cluster:
        cluster.create(pod("p"))
        await cluster.wait_for(lambda: ready(cluster, "p"), what="readiness after the delays")
        cluster.kubelet.fail("default", "p")
        assert not ready(cluster, "p")
        await cluster.wait_for(lambda: ready(cluster, "p"), what="readiness after the restart")


async def test_a_timed_step_dies_with_its_pod(clock: Clock) -> None:
    async with Sandbox(now=clock, delays=Delays(start=3600), objects=sample_fleet()) as cluster:
        cluster.create(pod("p"))
        await cluster.wait_for(lambda: "containerStatuses" in status(cluster, "p"), what="the container's creation")
        await cluster.wait_for(lambda: cluster.kubelet.timed == 1, what="the start to be timed")
        cluster.delete("pod", "default", "p")
        await cluster.wait_for(lambda: not cluster.names("pods"), what="the pod to go")
        assert cluster.kubelet.timed == 0


async def test_a_timed_step_is_replaced_by_the_one_that_became_due(clock: Clock) -> None:
    async with Sandbox(now=clock, delays=Delays(ready=3600, restart=0.001), objects=sample_fleet()) as cluster:
        cluster.create(pod("p"))
        await cluster.wait_for(lambda: cluster.kubelet.timed == 1, what="readiness to be timed")
        cluster.kubelet.fail("default", "p")
        await cluster.wait_for(
            lambda: status(cluster, "p")["containerStatuses"][0]["state"].get("running"), what="the restart"
        )
        assert status(cluster, "p")["containerStatuses"][0]["restartCount"] == 1


async def test_a_timed_step_on_a_node_that_is_lost_waits_for_the_node(clock: Clock) -> None:
    async with Sandbox(now=clock, delays=Delays(start=0.001), objects=sample_fleet()) as cluster:
        cluster.create(pod("p", 8))
        await cluster.wait_for(lambda: cluster.kubelet.timed == 1, what="the start to be timed")
        cluster.kubelet.set_node_ready("h100-1", False)
        cluster.kubelet.set_node_ready("h100-1", True)
        await cluster.wait_for(lambda: ready(cluster, "p"), what="readiness once the node is back")
