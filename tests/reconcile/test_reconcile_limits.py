"""What a namespace may hold, by quotas or by the configuration: no more is planned, and no queue is waited in."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, a_demand

from shardwise.domain.allowed import Allowed
from shardwise.domain.demand import Objective
from shardwise.domain.fleet import AMD, Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import LaunchSite
from shardwise.reconcile.limits import limit_of
from shardwise.reconcile.records import State
from shardwise.reconcile.status_data import holdings, wants_place

NVIDIA_GPUS, AMD_GPUS = "requests.nvidia.com/gpu", "requests.amd.com/gpu"
CLAIMS = "gpu.nvidia.com.deviceclass.resource.k8s.io/devices"


def a_limit(hard: int, used: int = 0, resource: str = NVIDIA_GPUS) -> GpuLimit:
    return GpuLimit(f"ResourceQuota `q` (`{resource}`)", resource, hard, used)


def replicas(count: int, *limits: GpuLimit, fleet: Fleet | None = None, **changes: object) -> World:
    """Give an object of one GPU a replica."""
    demand = a_demand(LLAMA_8B, budget=count, replicas=count)
    return World(wants(replace(demand, **changes)), fleet or a_fleet(h100s(3)), quotas=limits)  # type: ignore[arg-type]


def held(world: World) -> int:
    return sum(len(group["nodes"]) * group["gpusPerPod"] for group in world.status["groups"] if group.get("nodes"))


def test_no_more_gpus_are_planned_than_are_left() -> None:
    """The rest waits in no queue: free GPUs would not help it. It says which limit it is, with its numbers."""
    world = replicas(5, a_limit(8, used=5))
    world.run()
    assert (held(world), world.status["readyReplicas"]) == (3, 3)
    assert world.standing() == "Reconciling/QuotaShort"
    assert "waitingSince" not in world.status
    assert world.status["message"] == (
        "3 of 5 replicas serve; waiting for quota; nearest TP1×PP1 on NVIDIA-H100-80GB-HBM3: 4 GPUs needed, "
        "ResourceQuota `q` (`requests.nvidia.com/gpu`) allows 8 GPUs in the namespace, others hold 5"
    )


def test_an_object_of_which_nothing_may_run_holds_nothing() -> None:
    """Not for a minute, and however many replicas it asks for."""
    world = replicas(20, a_limit(0))
    world.settle()
    assert (world.pods, holdings(world.status)) == ({}, {})
    assert world.standing() == "Reconciling/QuotaShort"
    assert (world.condition("Planned")["status"], world.condition("Planned")["reason"]) == ("False", "QuotaShort")
    assert world.told() == ["QuotaShort"]
    assert wants_place({"spec": {"replicas": 20}, "status": world.status}), "it is looked at when a quota changes"


def test_a_quota_that_is_raised_lets_the_rest_begin() -> None:
    world = replicas(5, a_limit(2))
    world.run()
    world.quotas = (a_limit(8),)
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_quota_that_is_lowered_takes_nothing_away() -> None:
    """As for pods: what runs stays."""
    world = replicas(3)
    world.run()
    world.quotas = (a_limit(1),)
    world.settle()
    assert (world.status["readyReplicas"], world.standing()) == (3, "Ready/AllReplicasReady")


def test_a_smaller_layout_that_the_quota_allows_is_planned() -> None:
    """The fewest that fit the model, where more would be the goal."""
    demand = a_demand(LLAMA_70B, budget=8)
    free = World(wants(replace(demand, objective=Objective.LATENCY)), a_fleet(h100s(1)))
    free.settle()
    world = World(wants(replace(demand, objective=Objective.LATENCY)), a_fleet(h100s(1)), quotas=(a_limit(4),))
    world.settle()
    assert (held(free), held(world)) == (8, 4)
    assert world.standing() == "Reconciling/GroupsStarting"


def test_as_many_replicas_begin_as_the_quota_allows() -> None:
    """With fewer GPUs each, where they would be faster with more."""
    demand = a_demand(LLAMA_8B, budget=8, replicas=4)
    world = World(wants(replace(demand, objective=Objective.LATENCY)), a_fleet(h100s(1)))
    world.settle()
    assert (len(world.nodes()), held(world)) == (4, 8)
    for left in (4, 3):
        world = World(wants(replace(demand, objective=Objective.LATENCY)), a_fleet(h100s(1)), quotas=(a_limit(left),))
        world.settle()
        assert (len(world.nodes()), held(world)) == (left, left)


def test_an_object_too_large_for_its_quota_is_in_no_queue() -> None:
    """Even where no GPU is free."""
    world = World(two_nodes_wide(), a_fleet(h100s(2, free=[0, 0])), quotas=(a_limit(8),))
    world.settle()
    assert world.standing() == "Reconciling/QuotaShort"
    assert "waitingSince" not in world.status
    assert "12 GPUs needed" in world.status["message"]


def test_an_object_that_fits_its_quota_waits_for_gpus_in_the_queue() -> None:
    world = World(two_nodes_wide(), a_fleet(h100s(2, free=[0, 0])), quotas=(a_limit(16),))
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"
    assert "waitingSince" in world.status


def test_a_demand_that_can_never_be_met_says_so_whatever_the_quota() -> None:
    world = World(wants(a_demand(LLAMA_405B, budget=1)), quotas=(a_limit(0),))
    world.settle()
    assert world.standing().startswith("Stalled/")


def test_an_update_that_finds_no_quota_beside_goes_in_place() -> None:
    """Without a refused call: the new pods take what the old ones give."""
    world = replicas(1, a_limit(1))
    world.run()
    world.demand(gpu_budget=2)
    world.run()
    world.launch(args=("--seed=7",))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert list(world.pods) == ["llama-0-1-0"]


def test_the_configuration_bounds_what_the_objects_of_a_namespace_hold_together() -> None:
    """Quota or not; the message names the field."""
    site = LaunchSite(allowed=Allowed(gpus=4))
    world = replicas(5)
    world.wanted = replace(world.wanted, site=site)
    world.gpus_of_others = 2
    world.settle()
    assert held(world) == 2
    assert world.status["message"].endswith(
        "`allow.gpus` of the operator's configuration allows 4 GPUs in the namespace, others hold 2"
    )


def test_a_try_after_a_refusal_keeps_to_the_quota_that_is_known_by_then() -> None:
    world = replicas(1)
    world.denies = lambda _: "exceeded quota"
    world.step()
    world.now += 60
    world.settle()
    world.quotas = (a_limit(0),)
    world.now += 10
    calls = world.calls
    world.settle()
    assert (world.calls, world.standing()) == (calls, "Reconciling/QuotaShort")
    world.quotas, world.denies = (a_limit(1),), lambda _: ""
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


AMD_NODES = tuple(node._replace(resource=AMD) for node in h100s(1))
LIMITS: dict[str, tuple[tuple[GpuLimit, ...], Fleet, LaunchSite, int | None]] = {
    "none": ((), a_fleet(h100s(1)), LaunchSite(), None),
    "the tightest of two": ((a_limit(8, 2), a_limit(9, 4)), a_fleet(h100s(1)), LaunchSite(), 5),
    "never below nothing": ((a_limit(2, 9),), a_fleet(h100s(1)), LaunchSite(), 0),
    "of another vendor": ((a_limit(0, resource=AMD_GPUS),), a_fleet(h100s(1)), LaunchSite(), None),
    "of one of two vendors": ((a_limit(0),), a_fleet(h100s(1), AMD_NODES), LaunchSite(), None),
    "of both vendors: the one that leaves most": (
        (a_limit(1), a_limit(3, resource=AMD_GPUS)),
        a_fleet(h100s(1), AMD_NODES),
        LaunchSite(),
        3,
    ),
    "of all GPUs": ((a_limit(0, resource=""), a_limit(8)), a_fleet(h100s(1)), LaunchSite(), 0),
    "of requests, and GPUs come by claims": (
        (a_limit(0),),
        a_fleet(h100s(1)),
        LaunchSite(gpu_device_class="gpu.nvidia.com"),
        None,
    ),
    "of claims": (
        (a_limit(0), a_limit(5, resource=CLAIMS)),
        a_fleet(h100s(1)),
        LaunchSite(gpu_device_class="gpu.nvidia.com"),
        5,
    ),
    "the configuration": ((), a_fleet(h100s(1)), LaunchSite(allowed=Allowed(gpus=7)), 6),
    "the configuration of its namespace": (
        (),
        a_fleet(h100s(1)),
        LaunchSite(allowed_by_namespace=(("default", Allowed(gpus=2)),)),
        1,
    ),
    "the configuration of another": (
        (),
        a_fleet(h100s(1)),
        LaunchSite(allowed_by_namespace=(("other", Allowed(gpus=2)),)),
        None,
    ),
    "no nodes": ((a_limit(3),), Fleet(()), LaunchSite(), None),
}


@pytest.mark.parametrize(("quotas", "fleet", "site", "left"), LIMITS.values(), ids=LIMITS)
def test_the_limit_that_counts(quotas: tuple[GpuLimit, ...], fleet: Fleet, site: LaunchSite, left: int | None) -> None:
    world = World(replace(wants(), site=site), fleet, quotas=quotas, gpus_of_others=1)
    observed = world.observe()
    found = limit_of(world.wanted, observed.fleet, observed.quotas, observed.gpus_of_others)
    assert (None if found is None else found.left) == left


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 12), st.integers(1, 16))
def test_whatever_is_asked_no_more_is_held_than_is_left(hard: int, used: int, count: int, budget: int) -> None:
    """And as much as fits is held."""
    world = World(wants(a_demand(LLAMA_8B, budget=budget, replicas=count)), quotas=(a_limit(hard, used),))
    world.settle()
    assert held(world) == min(max(0, hard - used), count, budget)
    assert {group["state"] for group in world.status["groups"]} <= {State.PENDING, State.STARTING}
