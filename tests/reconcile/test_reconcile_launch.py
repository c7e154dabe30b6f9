"""From an object to a group that serves: what is made in which order, and what is never made twice."""

import pytest
from tests.reconcile.support import NAME, START, World, applied, deleted, gpus_of, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins
from shardwise.reconcile.actions import Apply, Emit


def test_a_new_object_gets_its_services_and_pods() -> None:
    """In one decision, the Service that pods resolve names by before the pods."""
    world = World(two_nodes_wide())
    decision = world.step()
    assert applied(decision, "Service") == ["llama", "llama-0-0"]
    assert applied(decision, "Pod") == ["llama-0-0-0", "llama-0-0-1"]
    kinds = [type(action).__name__ for action in decision.actions]
    assert kinds == ["Apply", "Apply", "Apply", "Apply", "Emit"]


def test_all_services_of_the_groups_that_begin_come_before_any_pod() -> None:
    """What is alike follows one another, in order of replicas: it may be made side by side."""
    world = World(wants(a_demand(LLAMA_8B, replicas=3, budget=3, pins=Pins(1, 1, None))))
    kinds = [action.manifest["kind"] for action in world.step().actions if isinstance(action, Apply)]
    assert kinds == ["PodDisruptionBudget", "Service", "Service", "Service", "Service", "Pod", "Pod", "Pod"]


def test_the_plan_is_written_down_before_anything_is_made() -> None:
    """So that an operator that dies in between goes on with the same plan."""
    world = World(two_nodes_wide())
    status = world.decide().written
    assert status["groups"][0]["nodes"] == ["h100-00", "h100-01"]
    assert status["groups"][0]["attempt"] == 0
    assert status["groups"][0]["state"] == "Pending"


def test_an_object_goes_from_planned_to_ready() -> None:
    world = World(two_nodes_wide())
    world.settle()
    assert world.standing() == "Reconciling/GroupsStarting"
    assert world.states() == ["Starting 0"]
    assert world.condition("Launched")["status"] == "True"
    world.start(["llama-0-0-0"])
    world.settle()
    assert world.status["message"] == (
        "0 of 1 replicas serve; replica 0, attempt 0: 1 of 2 pods ready; pod 1: not started"
    )
    world.start()
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.states() == ["Ready 0"]
    assert (world.status["readyReplicas"], world.status["replicas"]) == (1, 1)
    assert world.told() == ["Planned", "GroupReady"]


def test_a_settled_object_needs_nothing() -> None:
    """The same facts give the same status, whenever they are looked at."""
    world = World(two_nodes_wide())
    before = world.run()
    world.now += 86400
    decision = world.decide()
    assert (decision.written, decision.actions, decision.retry_after) == (before, (), None)


@pytest.mark.parametrize("lost", range(5))
def test_any_one_action_may_be_lost(lost: int) -> None:
    """The next decision makes what is missing, under the same names."""
    world = World(two_nodes_wide())
    world.step(keep=lambda position: position != lost)
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-0-0-1"]
    assert sorted(world.services) == ["llama", "llama-0-0"]
    assert world.status["restarts"] == 0


@pytest.mark.parametrize("kept", range(5))
def test_an_operator_may_die_after_any_action(kept: int) -> None:
    """What its follower finds is enough to finish."""
    world = World(two_nodes_wide())
    world.step(keep=lambda position: position < kept)
    world.settle()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-0-0-1"]
    assert world.status["restarts"] == 0


@pytest.mark.parametrize("kept", range(5))
def test_a_status_that_was_not_written_makes_no_second_group(kept: int) -> None:
    """Whole groups are found again by their pods; what is half made is left behind by the next attempt."""
    world = World(two_nodes_wide())
    world.step(keep=lambda position: position < kept)
    world.status = {}
    world.settle()
    assert [gpus_of(pod) for pod in world.pods.values()] == [8, 8]


def test_an_attempt_that_is_ahead_of_the_status_is_taken_up() -> None:
    """The status of the second attempt was lost with the operator; its pods were not."""
    world = World(two_nodes_wide())
    old = world.run()
    world.crash("llama-0-0-1")
    world.step()
    world.settle()
    world.start()
    assert sorted(world.pods) == ["llama-0-1-0", "llama-0-1-1"]
    world.status = old
    world.settle()
    assert sorted(world.pods) == ["llama-0-1-0", "llama-0-1-1"]
    assert world.states() == ["Ready 1"]


def test_a_deleted_service_is_made_again() -> None:
    """Without touching the pods."""
    world = World(two_nodes_wide())
    world.run()
    del world.services["llama-0-0"], world.services["llama"]
    decision = world.step()
    assert applied(decision, "Service") == ["llama", "llama-0-0"]
    assert applied(decision, "Pod") == []


def test_a_service_with_other_content_is_put_right() -> None:
    """As when the port in the object changes: nothing else does."""
    world = World(wants())
    world.run()
    world.launch(port=9000)
    decision = world.step()
    assert applied(decision, "Service") == ["llama"]
    assert (applied(decision, "Pod"), deleted(decision, "Pod")) == ([], [])
    assert world.services["llama"]["spec"]["ports"][0]["port"] == 9000
    assert world.status["endpoint"] == "http://llama.default.svc:9000/v1"


def test_services_that_belong_to_nothing_go() -> None:
    """As those of an attempt before."""
    world = World(wants())
    world.run()
    world.services["llama-0-7"] = world.services["llama-0-0"]
    assert deleted(world.step(), "Service") == ["llama-0-7"]


def test_each_replica_is_a_group_of_its_own() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=3, replicas=3)))
    world.run()
    assert sorted(world.pods) == ["llama-0-0-0", "llama-1-0-0", "llama-2-0-0"]
    assert sorted(world.services) == ["llama", "llama-0-0", "llama-1-0", "llama-2-0"]
    assert world.status["readyReplicas"] == 3
    assert world.told() == ["Planned", "GroupReady", "GroupReady", "GroupReady"]


def test_replicas_become_ready_one_by_one() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=3, replicas=3)))
    world.settle()
    world.start(["llama-1-0-0"])
    world.settle()
    assert world.states() == ["Starting 0", "Ready 0", "Starting 0"]
    assert world.status["readyReplicas"] == 1
    assert world.standing() == "Reconciling/GroupsStarting"
    assert world.status["message"].startswith("1 of 3 replicas serve; replica 0, attempt 0: 0 of 1 pods ready")


def test_nothing_is_made_while_there_is_no_room() -> None:
    """The object waits, and is not at fault."""
    world = World(two_nodes_wide(), a_fleet(h100s(3, free=[8, 0, 0])))
    decision = world.step()
    assert world.standing() == "Reconciling/CapacityShort"
    assert world.condition("Planned")["status"] == "False"
    assert "plan" not in world.status
    assert [type(action) for action in decision.actions] == [Emit]


def test_the_same_refusal_is_told_once() -> None:
    """However often it is decided."""
    world = World(two_nodes_wide(), a_fleet(h100s(2, free=[8, 0])))
    world.settle()
    world.settle()
    assert world.told() == ["CapacityShort"]


def test_a_demand_that_can_never_fit_is_stalled() -> None:
    """Waiting would not help; the message says what would."""
    world = World(wants(a_demand(LLAMA_8B, pins=Pins(6, None, None))))
    world.settle()
    assert world.standing() == "Stalled/IllegalLayout"
    assert world.status["message"].endswith(
        "hint: with `spec.parallelism.tensor: 8`, TP8×PP1 fits on 8 NVIDIA-H100-80GB-HBM3"
    )


def test_room_that_comes_is_used() -> None:
    world = World(two_nodes_wide(), a_fleet(h100s(2, free=[8, 0])))
    world.settle()
    world.fleet = a_fleet(h100s(2))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.told() == ["CapacityShort", "Planned", "GroupReady"]


def test_a_contradiction_with_the_engine_is_stalled_and_told_once() -> None:
    """By the path of the field."""
    world = World(wants(args=("--tensor-parallel-size=4",)))
    world.settle()
    assert world.standing() == "Stalled/InvalidSpec"
    assert world.status["message"].startswith("spec.engine.args.0: `--tensor-parallel-size=4`")
    assert world.told() == ["InvalidSpec"]
    assert world.pods == {}


def test_scaled_to_nothing_is_ready() -> None:
    world = World(wants(a_demand(LLAMA_8B, replicas=0)))
    world.settle()
    assert world.standing() == "Ready/ScaledToZero"
    assert world.pods == {}
    assert (world.status["replicas"], world.status["readyReplicas"]) == (0, 0)


def test_all_conditions_carry_the_generation_and_time() -> None:
    """So that nobody waits on a condition of an older edit."""
    world = World(wants(generation=7))
    world.settle()
    for condition in world.status["conditions"]:
        assert condition["observedGeneration"] == 7
        assert condition["lastTransitionTime"] == "2027-01-15T08:00:00Z"
        assert condition["reason"]
    assert {condition["type"] for condition in world.status["conditions"]} == {
        "Degraded",
        "Ready",
        "Reconciling",
        "Stalled",
        "Planned",
        "Launched",
    }


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    """Only what changed gets a new one."""
    world = World(wants())
    world.settle()
    world.now = START + 60
    world.start()
    world.settle()
    assert world.condition("Ready")["lastTransitionTime"] == "2027-01-15T08:01:00Z"
    assert world.condition("Planned")["lastTransitionTime"] == "2027-01-15T08:00:00Z"


def test_the_scale_subresource_finds_the_leaders() -> None:
    """An autoscaler counts them by this selector."""
    world = World(two_nodes_wide())
    world.settle()
    wanted = dict(one.split("=") for one in world.status["selector"].split(","))
    chosen = [name for name, pod in world.pods.items() if wanted.items() <= pod["metadata"]["labels"].items()]
    assert chosen == ["llama-0-0-0"]
    assert wanted["shardwise.dev/model"] == NAME
