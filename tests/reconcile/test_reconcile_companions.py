"""What pods need beside them: made before them, shared by attempts, gone with the last that needs it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import a_plan
from tests.reconcile.support import NAME, World, deleted, name_of, two_nodes_wide, wants
from tests.support.fleets import a_fleet, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand, pinned

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import GangScheduler, GangSystem, LaunchSite, NodeNvlink, Owner, Source, Wanted
from shardwise.domain.layout import Layout
from shardwise.reconcile.actions import Apply, Delete, Emit, MakeKeys, Reach
from shardwise.reconcile.observed import companion_of
from shardwise.render.bundle import group
from shardwise.render.companions import is_named_by_us

TENSORRT_LLM = EngineName.TENSORRT_LLM
KEYS = "llama-ssh-c41c7c22"
DOMAIN = ("ComputeDomain", "llama-0-nvlink-2")


def over_mpi(**changes: Any) -> Wanted:
    """Give an object that TensorRT-LLM serves on two whole H100 nodes."""
    demand = a_demand(LLAMA_405B, budget=16, engine=TENSORRT_LLM)
    return wants(demand, model=LLAMA_405B, served_name=LLAMA_405B, **changes)


def over_trays(**changes: Any) -> Wanted:
    """Give an object whose layers are shared over two trays of a rack."""
    return wants(a_demand(LLAMA_405B, budget=8), **changes)


def a_rack(wanted: Wanted | None = None, **changes: Any) -> World:
    return World(wanted or over_trays(), a_fleet(gb200_rack(4)), **changes)


def kinds(world: World) -> list[str]:
    """Name what the last decision did, in order."""
    assert world.last is not None
    found = []
    for action in world.last.actions:
        match action:
            case Apply(manifest):
                found.append(f"apply {manifest['kind']}")
            case MakeKeys():
                found.append("make keys")
            case Delete(kind):
                found.append(f"delete {kind}")
            case Emit() | Reach():
                pass
    return found


def test_files_and_keys_are_there_before_the_pods_that_mount_them() -> None:
    """Else the kubelet would wait for them, and so would everybody."""
    world = World(over_mpi())
    world.step()
    assert kinds(world) == [
        "apply Service",
        "apply Service",
        "apply ConfigMap",
        "make keys",
        "apply Pod",
        "apply Pod",
    ]


def test_a_group_that_needs_nothing_beside_it_has_nothing() -> None:
    """VLLM on whole nodes."""
    world = World(two_nodes_wide())
    world.run()
    assert (world.companions, world.secrets) == ({}, {})


def test_a_group_that_is_up_is_left_alone() -> None:
    """Nothing is applied again, no key is made again."""
    world = World(over_mpi())
    world.run()
    assert world.settle().actions == ()
    assert [kind for kind, _ in world.companions] == ["ConfigMap"]


def test_keys_are_kept_from_attempt_to_attempt_and_shared_by_replicas() -> None:
    """One Secret an object, whatever happens to its groups."""
    demand = a_demand(LLAMA_405B, budget=32, engine=TENSORRT_LLM, replicas=2)
    world = World(wants(demand, model=LLAMA_405B, served_name=LLAMA_405B), a_fleet(h100s(5)))
    world.run()
    first = dict(world.secrets)
    world.crash("llama-0-0-1")
    world.run()
    assert world.states() == ["Ready 1", "Ready 0"]
    assert (list(world.secrets), world.secrets) == ([KEYS], first)
    assert name_of(first[KEYS]) == KEYS


def test_keys_that_somebody_deleted_are_made_anew_for_the_next_attempt() -> None:
    """All pods of it get the same."""
    world = World(over_mpi())
    world.run()
    before = world.secrets.pop(KEYS)
    world.crash("llama-0-0-0")
    world.run()
    assert world.secrets[KEYS]["data"] != before["data"]


def test_an_object_of_the_same_name_has_keys_of_its_own() -> None:
    """The Secret of a deleted one is still to be collected."""
    other = over_mpi()
    other = replace(other, launch=replace(other.launch, owner=replace(other.launch.owner, uid="uid-2")))
    world = World(other)
    world.run()
    assert list(world.secrets) != [KEYS]


def test_what_an_attempt_shares_with_the_next_survives_it() -> None:
    """A restart changes no file and no ComputeDomain: they are neither deleted nor made anew."""
    world = a_rack()
    world.run()
    made = dict(world.companions)
    assert list(made) == [DOMAIN]
    world.crash("llama-0-0-1")
    world.run()
    assert world.states() == ["Ready 1"]
    assert world.companions == made
    assert list(world.services) == [NAME, "llama-0-1"]


def test_other_files_take_the_place_of_those_nobody_needs_any_more() -> None:
    """Before the Service that remembers them goes."""
    world = World(over_mpi())
    world.run()
    ((_, before),) = world.companions
    world.launch(options={"print_iter_log": True})
    world.step()
    assert kinds(world).index("delete ConfigMap") < kinds(world).index(
        "delete Service", kinds(world).index("delete Pod")
    )
    world.run()
    ((_, after),) = world.companions
    assert before != after


def test_a_deletion_that_is_lost_is_made_up_for() -> None:
    """The operator dies after any action; nothing is left behind in the end."""
    for cut in range(1, 9):
        world = World(over_mpi())
        world.run()
        world.launch(options={"print_iter_log": True})
        world.step(keep=lambda position, cut=cut: position < cut)  # type: ignore[misc]
        world.run()
        assert len(world.companions) == 1, cut
        assert len(world.services) == 2, cut


@pytest.mark.parametrize(
    "name",
    [
        "kube-root-ca.crt",
        "other-files-00000000",
        "llama-files-0000000g",
        "llama-0-files-00000000",
        "llama-files-000000000",
    ],
)
def test_a_label_somebody_changed_gets_nothing_of_others_deleted(name: str) -> None:
    """Who may label a Service may not have ConfigMaps deleted by us: only names we give are taken at their word."""
    world = World(over_mpi())
    world.run()
    world.companions["ConfigMap", name] = {}
    world.services["llama-0-0"]["metadata"]["labels"]["shardwise.dev/config-map"] = name
    world.launch(options={"print_iter_log": True})
    world.run()
    assert ("ConfigMap", name) in world.companions


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True), st.integers(0, 3), st.sampled_from([2, 4]))
def test_whatever_an_object_is_called_its_companions_are_known_for_its_own(name: str, replica: int, pods: int) -> None:
    """And for no other object's, unless that has the very same name."""
    wanted = over_mpi(owner=Owner(name, "default", "uid"))
    gangs = (GangScheduler(GangSystem.NATIVE),)
    wanted = replace(wanted, site=LaunchSite(gpu_device_class="gpu.nvidia.com", gangs=gangs, gang=GangSystem.NATIVE))
    plan = a_plan(Layout(8 * pods, 1), *(8,) * pods, replicas=replica + 1, engine=TENSORRT_LLM)
    made = group(wanted, plan, replica, 0).companions
    assert len(made) == 4
    assert all(is_named_by_us(name, *companion_of(manifest)) for manifest in made)
    assert not any(is_named_by_us(f"{name[:40]}-x", *companion_of(manifest)) for manifest in made)
    assert not is_named_by_us(name, "v1", "ConfigMap", name_of(made[-1])), "only groups have the name of a group"


def test_a_replica_that_goes_takes_what_only_it_needed() -> None:
    """Its ComputeDomain; the other's stays."""
    demand = a_demand(LLAMA_405B, budget=16, replicas=2)
    world = World(wants(demand), a_fleet(gb200_rack(4)))
    world.run()
    assert sorted(world.companions) == [DOMAIN, ("ComputeDomain", "llama-1-nvlink-2")]
    world.demand(replicas=1)
    world.run()
    assert list(world.companions) == [DOMAIN]


def test_an_object_that_moves_off_the_rack_leaves_no_compute_domain() -> None:
    """Its layers are then shared inside nodes."""
    world = a_rack()
    world.run()
    world.fleet = a_fleet(h100s(3))
    world.pods.clear()
    world.demand(gpu_budget=16)
    world.run()
    assert world.companions == {}


def test_claims_of_gpus_are_made_where_they_are_configured() -> None:
    """One template for all pods: each holds as many."""
    site = LaunchSite(gpu_device_class="gpu.nvidia.com")
    world = World(replace(two_nodes_wide(), site=site))
    world.run()
    ((kind, name),) = world.companions
    assert kind == "ResourceClaimTemplate"
    named = {pod["spec"]["resourceClaims"][0]["resourceClaimTemplateName"] for pod in world.pods.values()}
    assert named == {name}


MISSING = (
    "TP8×PP1 shares each layer over 2 nodes by NVLink, which takes a ComputeDomain, and the cluster serves no "
    "`resource.nvidia.com/v1beta1`; install NVIDIA's DRA driver, or pin `spec.parallelism.tensor` to 4"
)


def test_a_plan_over_nvlink_between_nodes_is_not_begun_where_no_compute_domain_can_be_had() -> None:
    """It says why and what would help, once, and holds no GPU meanwhile."""
    world = a_rack(compute_domains=False)
    world.step()
    assert (world.standing(), world.status["message"]) == ("Reconciling/ComputeDomainsMissing", MISSING)
    assert (world.pods, world.status.get("plan")) == ({}, None)
    world.step()
    assert [(event.reason, event.message) for event in world.events] == [("ComputeDomainsMissing", MISSING)]


def test_it_is_begun_once_the_driver_is_there() -> None:
    world = a_rack(compute_domains=False)
    world.step()
    world.compute_domains = True
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_pin_that_would_not_help_is_not_named() -> None:
    """The driver alone would: here the user's own pin of the stages leaves no other way."""
    world = a_rack(over_trays(), compute_domains=False)
    world.demand(pins=pinned(8, 1))
    world.step()
    assert world.status["message"] == MISSING.partition(", or pin")[0]


def test_the_hint_is_true() -> None:
    """Pinned so, nothing spans nodes."""
    world = a_rack(over_trays(), compute_domains=False)
    world.demand(pins=pinned(4))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_where_channels_are_provided_no_compute_domain_is_asked_for() -> None:
    site = LaunchSite(node_nvlink=NodeNvlink.PROVIDED)
    world = a_rack(replace(over_trays(), site=site), compute_domains=False)
    world.run()
    assert (world.standing(), world.companions) == ("Ready/AllReplicasReady", {})


def test_what_runs_is_left_alone_when_the_driver_goes() -> None:
    """Whatever it was, the group still serves."""
    world = a_rack()
    world.run()
    world.compute_domains = False
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    assert deleted(world.step(), "Pod") == []


def fetching(world: World, name: str, state: dict[str, Any]) -> None:
    """Let a pod fetch its weights."""
    world.bind(name)
    world.pods[name]["status"] = {
        "phase": "Pending",
        "initContainerStatuses": [
            {"name": "weights", "state": state},
            {"name": "wait-for-leader", "state": {"waiting": {"reason": "PodInitializing"}}},
        ],
    }


def test_the_status_tells_how_far_the_weights_have_come() -> None:
    """On how many pods they are, while they are fetched; nothing of it for those that fetch as they go."""
    world = World(two_nodes_wide(source=Source(pre_pull=True)))
    world.settle()
    assert world.status["groups"][0]["loadedPods"] == 0
    fetching(world, "llama-0-0-0", {"terminated": {"exitCode": 0}})
    fetching(world, "llama-0-0-1", {"running": {}})
    world.step()
    assert world.status["groups"][0]["loadedPods"] == 1
    assert world.status["message"] == (
        "0 of 1 replicas serve; replica 0, attempt 0: 0 of 2 pods ready, weights on 1 of 2; "
        "pod 0: waiting for the leader"
    )
    plain = World(two_nodes_wide())
    plain.settle()
    assert "loadedPods" not in plain.status["groups"][0]


def test_all_weights_arrived_is_no_longer_worth_a_word() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=1), source=Source(pre_pull=True)))
    world.settle()
    fetching(world, "llama-0-0-0", {"terminated": {"exitCode": 0}})
    world.step()
    assert world.status["groups"][0]["loadedPods"] == 1
    assert "weights on" not in world.status["message"]


@pytest.mark.parametrize("engine", list(EngineName))
def test_every_engine_lives_and_heals_by_the_same_rules(engine: EngineName) -> None:
    """Up, a rank lost, up again, gone to nothing."""
    demand = a_demand(LLAMA_405B, budget=16, engine=engine)
    world = World(wants(demand, model=LLAMA_405B, served_name=LLAMA_405B))
    world.run()
    world.crash("llama-0-0-1")
    world.run()
    assert (world.standing(), world.states()) == ("Ready/AllReplicasReady", ["Ready 1"])
    world.demand(replicas=0)
    world.settle()
    assert (world.pods, list(world.services), world.companions) == ({}, [NAME], {})


LOSSES: dict[str, tuple[World, list[str]]] = {
    "files and keys": (World(over_mpi()), ["apply ConfigMap", "make keys"]),
    "a ComputeDomain": (a_rack(), ["apply ComputeDomain"]),
    "a ComputeDomain where none is served any more": (a_rack(), []),
    "nothing beside the pods": (World(two_nodes_wide()), []),
}


@pytest.mark.parametrize("case", LOSSES)
def test_after_a_relist_the_companions_of_a_group_that_is_up_are_applied_again(case: str) -> None:
    """The operator may not read them: who is deleted comes back by it, and it costs nothing else."""
    world, expected = LOSSES[case]
    world.run()
    world.compute_domains = "any more" not in case
    before = (dict(world.companions), sorted(world.secrets))
    world.companions.clear()
    world.secrets.clear()
    world.step()
    assert kinds(world) == []
    world.relisted = True
    world.step()
    assert kinds(world) == expected
    assert not expected or (world.companions, sorted(world.secrets)) == before
    assert world.standing() == "Ready/AllReplicasReady"


def test_after_a_relist_no_companion_is_made_that_the_pods_do_not_know() -> None:
    """Another version of the operator may name files otherwise."""
    world = World(over_mpi())
    world.run()
    labels = world.services["llama-0-0"]["metadata"]["labels"]
    labels["shardwise.dev/config-map"] = "llama-files-0badcafe"
    world.relisted = True
    world.step()
    assert kinds(world) == ["make keys"]


def test_companions_that_somebody_struck_out_of_a_service_are_recorded_again() -> None:
    """By its labels they are found when the group goes; a change of the labels alone is seen at the next relist."""
    world = World(over_mpi())
    world.run()
    labels = world.services["llama-0-0"]["metadata"]["labels"]
    before = labels.pop("shardwise.dev/config-map")
    world.relisted = True
    world.step()
    assert kinds(world) == ["apply Service", "make keys"]
    assert world.services["llama-0-0"]["metadata"]["labels"]["shardwise.dev/config-map"] == before
