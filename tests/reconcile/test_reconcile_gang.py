"""Groups that a gang scheduler binds: what is made for them, and what is said where a part of the cluster lacks it."""

from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, deleted, name_of, two_nodes_wide
from tests.support.fleets import a_fleet, h100s

from shardwise.domain.launch import GangScheduler, GangSystem, LaunchSite
from shardwise.queues import GANGS, Phase, QueuedGroup
from shardwise.reconcile.actions import Apply
from shardwise.reconcile.observed import GangSeen

NATIVE, VOLCANO = GangSystem.NATIVE, GangSystem.VOLCANO
WAITS = "waiting for minCount pods from a gang to be scheduled"
HELD = GangSeen({NATIVE: "scheduling.k8s.io/v1alpha2"})
BOUND = QueuedGroup(Phase.ADMITTED, "bound", "u")


class Ganged(World):
    """A cluster that keeps ``spec.schedulingGroup``, and on which the scheduler says that it has bound groups."""

    def observe(self) -> Any:
        served = self.gang.served.values()
        there = {name: BOUND for kind, name in self.companions if kind == "PodGroup"} if any(served) else {}
        return replace(super().observe(), gang=replace(self.gang, groups={**there, **self.gang.groups}))


NO_NATIVE = (
    "the cluster serves no PodGroup of `scheduling.k8s.io/v1beta1` and no `scheduling.k8s.io/v1alpha2`; serve that "
    "API, with the feature gate `GenericWorkload`"
)


def ganged(system: GangSystem = NATIVE, gang: GangSeen = HELD, **changes: Any) -> Ganged:
    site = LaunchSite(gangs=(GangScheduler(system, queue="team"),))
    return Ganged(two_nodes_wide(gang=system, site=site, **changes), a_fleet(h100s(4)), gang=gang)


def groups(world: World) -> list[str]:
    return sorted(name for kind, name in world.companions if kind == "PodGroup")


def test_the_group_is_made_before_its_pods_and_ends_with_its_attempt() -> None:
    """Pods whose group is missing are not bound, and nobody says why."""
    world = ganged()
    kinds = [action.manifest["kind"] for action in world.step().actions if isinstance(action, Apply)]
    assert kinds.index("PodGroup") < kinds.index("Pod")
    world.settle()
    assert groups(world) == ["llama-0-0"]
    assert world.companions["PodGroup", "llama-0-0"]["spec"]["schedulingPolicy"] == {"gang": {"minCount": 2}}
    world.start()
    world.settle()
    world.crash("llama-0-0-1")
    decisions = [world.step() for _ in range(3)]
    assert (groups(world), world.states()) == (["llama-0-1"], ["Starting 1"])
    assert [name for decision in decisions for name in deleted(decision, "PodGroup")] == ["llama-0-0"]


def test_a_group_that_somebody_deletes_is_made_again_for_pods_that_are_not_bound() -> None:
    """Such pods would wait for ever. Pods that are bound need it no more, and no scheduler would say anything of it."""
    world = ganged()
    world.settle()
    del world.companions["PodGroup", "llama-0-0"]
    world.settle()
    assert groups(world) == ["llama-0-0"]
    world.start()
    world.settle()
    del world.companions["PodGroup", "llama-0-0"]
    world.settle()
    world.relisted = True
    world.settle()
    assert (groups(world), world.condition("Degraded")["status"]) == ([], "False")


def test_nothing_is_written_once_all_is_there() -> None:
    """Also after everything was listed anew: the groups of gangs are read, as other companions are not."""
    world = ganged()
    world.run()
    world.relisted = True
    assert [action for action in world.step().actions if isinstance(action, Apply)] == []


def test_groups_are_made_in_the_version_that_is_served() -> None:
    world = ganged(gang=GangSeen({NATIVE: "scheduling.k8s.io/v1beta1"}))
    world.settle()
    made = world.companions["PodGroup", "llama-0-0"]
    assert (made["apiVersion"], made["spec"]["disruptionMode"]) == ("scheduling.k8s.io/v1beta1", {"all": {}})
    assert world.services["llama-0-0"]["metadata"]["labels"]["shardwise.dev/pod-group.scheduling.k8s.io.v1beta1"]


@pytest.mark.parametrize(
    ("system", "lacking"),
    [
        (NATIVE, NO_NATIVE),
        (VOLCANO, "the cluster serves no PodGroup of `scheduling.volcano.sh/v1beta1`; install Volcano"),
        (GangSystem.KAI, "the cluster serves no PodGroup of `scheduling.run.ai/v2alpha2`; install KAI"),
        (
            GangSystem.COSCHEDULING,
            "the cluster serves no PodGroup of `scheduling.x-k8s.io/v1alpha1`; install scheduler-plugins",
        ),
    ],
)
def test_the_missing_api_is_named(system: GangSystem, lacking: str) -> None:
    world = ganged(system, GangSeen({system: ""}))
    world.settle()
    assert (world.standing(), world.pods) == ("Reconciling/GangMissing", {})
    assert world.status["message"] == (
        f"`spec.placement.gang` is `{system.value}`, and {lacking}, or set `spec.placement.gang` to `none`"
    )


def say_unschedulable(world: World, words: dict[str, str]) -> None:
    for name, message in words.items():
        world.unscheduled(name)
        world.pods[name]["status"]["conditions"][0]["message"] = message


def test_no_node_is_blamed_for_a_pod_that_waits_for_its_gang() -> None:
    """Each pod of a gang says that it is Unschedulable when another has no node."""
    world = ganged()
    world.settle()
    say_unschedulable(world, {"llama-0-0-0": WAITS, "llama-0-0-1": "0/4 nodes are available: Insufficient cpu"})
    world.now += 61
    world.step()
    assert [shun["node"] for shun in world.status["shunnedNodes"]] == ["h100-01"]
    assert world.status["groups"][0]["message"].startswith("pod 1 found no place on h100-01: not scheduled: 0/4 nodes")


def serving(**spec: Any) -> Ganged:
    world = ganged()
    world.settle()
    for pod in world.pods.values():
        pod["spec"] |= spec
    world.start()
    world.settle()
    return world


def test_a_gate_that_is_off_is_told_and_the_replica_serves_all_the_same() -> None:
    """An API server without the gate drops the field in silence."""
    world = serving()
    assert (world.standing(), world.condition("Degraded")["status"]) == ("Ready/AllReplicasReady", "False")
    for pod in world.pods.values():
        del pod["spec"]["schedulingGroup"]
    world.settle()
    degraded = world.condition("Degraded")
    assert (world.standing(), degraded["reason"]) == ("Ready/AllReplicasReady", "GangIgnored")
    assert degraded["message"] == (
        "replica 0: the API server has dropped `spec.schedulingGroup` of the pods: its feature gate `GenericWorkload` "
        "is off, and the pods are bound one by one"
    )
    assert "GangIgnored" in world.told()


def test_a_scheduler_that_says_nothing_of_a_group_that_it_has_bound_is_told() -> None:
    world = serving()
    world.gang = replace(world.gang, groups={"llama-0-0": QueuedGroup(Phase.WAITING)})
    world.settle()
    assert (
        "the scheduler has bound the pods and says nothing of their PodGroup" in world.condition("Degraded")["message"]
    )


def test_objects_that_name_none_take_the_gang_scheduler_of_the_configuration() -> None:
    site = LaunchSite(gangs=(GangScheduler(VOLCANO, queue="team"),), gang=VOLCANO)
    world = Ganged(two_nodes_wide(site=site), a_fleet(h100s(2)), gang=GangSeen({VOLCANO: GANGS[VOLCANO].SERVED_BY[0]}))
    world.settle()
    assert {pod["spec"]["schedulerName"] for pod in world.pods.values()} == {"volcano"}
    assert world.companions["PodGroup", "llama-0-0"]["spec"]["queue"] == "team"
    world.launch(gang=GangSystem.NONE)
    world.settle()
    assert ({name_of(pod) for pod in world.pods.values()}, groups(world)) == ({"llama-0-1-0", "llama-0-1-1"}, [])
