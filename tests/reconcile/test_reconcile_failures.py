"""What happens to groups that run, and what is done about it."""

import pytest
from tests.reconcile.support import START, World, applied, deleted, node_wanted, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Exclusion

SECOND = ["llama-0-1-0", "llama-0-1-1"]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("harm", ["crash", "evict", "deleting", "lose"])
def test_a_serving_group_that_loses_a_pod_is_started_again_whole(harm: str, index: int) -> None:
    """At once, under new names: the ranks that are left hang in a collective and never come back by themselves."""
    world = World(two_nodes_wide())
    world.run()
    getattr(world, harm)(f"llama-0-0-{index}")
    world.settle()
    world.gone()
    assert sorted(world.pods) == SECOND
    assert "llama-0-0" not in world.services
    assert world.status["restarts"] == 1
    world.start()
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.states() == ["Ready 1"]
    assert world.status["groups"][0].get("failures", 0) == (harm in ("crash", "evict"))
    assert world.told() == ["Planned", "GroupReady", "GroupRestarted", "GroupReady"]


def test_the_reason_of_a_restart_is_told_with_pod_node_and_exit() -> None:
    world = World(two_nodes_wide())
    world.run()
    world.crash("llama-0-0-1", "first line\nCUDA error: an illegal memory access was encountered\n", code=134)
    world.settle()
    (event,) = [event for event in world.events if event.reason == "GroupRestarted"]
    assert event.warning
    assert event.message == (
        "replica 0: pod 1 (ranks 8–15) on h100-01: engine exited 134 (Error): CUDA error: an illegal memory access was "
        "encountered; starting attempt 1"
    )


def test_new_pods_do_not_wait_for_old_ones_to_go() -> None:
    """The kubelet may take a minute to end a hung engine; the scheduler keeps the order on the node."""
    world = World(two_nodes_wide())
    world.run()
    world.deleting("llama-0-0-0")
    decision = world.step()
    assert applied(decision, "Pod") == SECOND
    assert deleted(decision, "Pod") == ["llama-0-0-1"]


def test_only_the_group_that_failed_is_started_again() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=3, replicas=3)))
    world.run()
    uids = {name: pod["metadata"]["uid"] for name, pod in world.pods.items()}
    world.crash("llama-1-0-0")
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-1-0", "llama-2-0-0"]
    assert world.pods["llama-0-0-0"]["metadata"]["uid"] == uids["llama-0-0-0"]
    assert world.status["readyReplicas"] == 2


def test_a_group_that_fails_before_it_served_waits_ever_longer_and_is_held() -> None:
    """Its last pods are left: somebody will want their logs."""
    world = World(wants(max_restarts=2))
    world.settle()
    for attempt, wait in enumerate((10.0, 20.0)):
        world.start([])
        world.crash(f"llama-0-{attempt}-0", "out of memory")
        decision = world.step()
        assert world.states() == [f"Backoff {attempt}"]
        assert decision.retry_after == wait
        assert world.standing() == "Reconciling/GroupBackoff"
        world.now += wait
        world.settle()
        assert world.states() == [f"Starting {attempt + 1}"]
        assert sorted(world.pods) == [f"llama-0-{attempt + 1}-0"]
    world.crash("llama-0-2-0", "out of memory")
    decision = world.step()
    assert decision.retry_after is None
    assert world.standing() == "Stalled/RestartsExhausted"
    assert world.status["message"] == (
        "replica 0 is held after 3 failures in a row: pod 0 (rank 0): engine exited 1 (Error): out of memory; "
        "raise `spec.model.gpuMemoryReserve`, or allow more GPUs by `spec.gpuBudget.total`"
    )
    assert sorted(world.pods) == ["llama-0-2-0"]
    assert world.told() == ["Planned", *["GroupFailed", "GroupRestarted"] * 2, "GroupHeld"]


def test_while_a_group_waits_its_failed_pods_are_left_to_be_looked_at() -> None:
    world = World(wants())
    world.settle()
    world.crash("llama-0-0-0")
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0"]
    assert world.status["message"] == (
        "0 of 1 replicas serve; replica 0 starts again at 2027-01-15T08:00:10Z: pod 0 (rank 0): engine exited 1 "
        "(Error): CUDA error"
    )


def test_an_operator_that_restarts_while_a_group_waits_goes_on_waiting() -> None:
    """All it needs stands in the status."""
    world = World(wants())
    world.settle()
    world.crash("llama-0-0-0")
    world.step()
    world.now += 4
    assert world.decide().retry_after == 6.0


def test_a_group_that_served_for_the_window_has_its_failures_forgotten() -> None:
    """Until then they count: one that serves for a minute an hour is not well."""
    world = World(wants(window=600.0))
    world.settle()
    world.crash("llama-0-0-0")
    world.step()
    world.now += 10
    world.run()
    assert world.states() == ["Ready 1"]
    world.now += 599
    world.crash("llama-0-1-0")
    world.settle()
    assert (world.states(), world.status["groups"][0]["failures"]) == (["Backoff 1"], 2)
    world.now += 10
    world.run()
    world.now += 600
    world.crash("llama-0-2-0")
    world.settle()
    assert (world.states(), world.status["groups"][0]["failures"]) == (["Starting 3"], 1)


def test_a_held_group_gets_a_new_chance_by_an_edit() -> None:
    world = World(wants(max_restarts=0))
    world.settle()
    world.crash("llama-0-0-0")
    world.settle()
    assert world.standing() == "Stalled/RestartsExhausted"
    world.launch(args=("--enforce-eager",))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert sorted(world.pods) == ["llama-0-1-0"]


def test_a_group_whose_node_is_gone_moves() -> None:
    world = World(two_nodes_wide())
    world.run()
    world.lose_node("h100-01")
    world.run()
    assert [node_wanted(world.pods[name]) for name in SECOND] == ["h100-00", "h100-02"]
    assert world.status["restarts"] == 1
    assert world.told() == ["Planned", "GroupReady", "Planned", "GroupRestarted", "GroupReady"]


def test_a_group_whose_node_is_gone_and_has_no_other_gives_its_gpus_back() -> None:
    """And waits: the node may come back."""
    world = World(two_nodes_wide(pins=Pins(8)), a_fleet(h100s(2)))
    world.run()
    world.lose_node("h100-01")
    world.settle()
    assert world.pods == {}
    assert world.standing() == "Reconciling/CapacityShort"
    world.fleet = a_fleet(h100s(3, free=[8, 4, 4]))
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"
    world.fleet = a_fleet(h100s(2))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_the_other_replicas_stay_where_they_are_when_a_node_goes() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)), a_fleet(h100s(3, free=[1, 1, 1])))
    world.run()
    kept = world.pods["llama-0-0-0"]["metadata"]["uid"]
    world.lose_node(node_wanted(world.pods["llama-1-0-0"]))
    world.run()
    assert world.pods["llama-0-0-0"]["metadata"]["uid"] == kept
    assert sorted(map(node_wanted, world.pods.values())) == ["h100-00", "h100-02"]
    assert world.status["readyReplicas"] == 2


def test_what_cannot_be_replaced_leaves_the_others_serving() -> None:
    """And the object says why it is short of a replica."""
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)), a_fleet(h100s(2, free=[1, 1])))
    world.run()
    world.lose_node("h100-01")
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0"]
    assert world.standing() == "Reconciling/CapacityShort"
    assert world.condition("Planned")["status"] == "True"
    assert world.status["readyReplicas"] == 1


def test_a_node_that_is_cordoned_ends_nothing_that_runs() -> None:
    """Cordoning keeps new pods away; draining deletes the old ones."""
    world = World(two_nodes_wide())
    world.run()
    world.exclude("h100-01", Exclusion.CORDONED)
    assert world.step().actions == ()


def test_a_probe_that_fails_for_a_while_ends_nothing() -> None:
    world = World(two_nodes_wide())
    world.run()
    for pod in world.pods.values():
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    world.settle()
    assert world.standing() == "Reconciling/GroupsStarting"
    assert world.states() == ["Unready 0"]
    world.start()
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.status["restarts"] == 0


def test_the_time_a_state_began_is_written_down() -> None:
    world = World(two_nodes_wide())
    world.now = START + 0.9
    world.settle()
    assert world.status["groups"][0]["since"] == "2027-01-15T08:00:00Z"


def test_a_pod_nobody_can_place_says_so() -> None:
    """In the scheduler's own words: they name the node and the resource."""
    world = World(wants())
    world.settle()
    for pod in world.pods.values():
        unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient nvidia.com/gpu"}
        pod["status"] = {"phase": "Pending", "conditions": [unscheduled]}
    world.settle()
    assert world.status["message"].endswith("pod 0: not scheduled: 0/3 nodes: Insufficient nvidia.com/gpu")


def test_an_image_that_cannot_be_pulled_is_said() -> None:
    world = World(wants())
    world.settle()
    for pod in world.pods.values():
        waiting = {"waiting": {"reason": "ImagePullBackOff"}}
        pod["status"] = {"phase": "Pending", "containerStatuses": [{"name": "engine", "state": waiting}]}
    world.settle()
    assert world.status["message"].endswith("pod 0: ImagePullBackOff")
