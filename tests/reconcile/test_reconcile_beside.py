"""Companions through the life of groups: while they roll, wait, are held, grow and shrink; and what is refused then."""

from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, applied, wants
from tests.support.fleets import a_fleet, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand, pinned

from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Exclusion
from shardwise.domain.launch import LaunchSite
from shardwise.reconcile.actions import Apply, MakeKeys
from shardwise.reconcile.standing import standing_of
from shardwise.reconcile.turns import Waiter
from shardwise.render.manifest import ATTEMPT, REPLICA

OTHER: dict[str, Any] = {"print_iter_log": True}
QUOTA = "cannot apply Pod default/llama-1-0-0: exceeded quota: gpus"


def over_mpi(replicas: int = 1, groups: int | None = None, nodes: int = 4, **changes: Any) -> World:
    """Give replicas that TensorRT-LLM serves on two whole nodes each; the budget is for so many ``groups``."""
    budget = 16 * (replicas if groups is None else groups)
    demand = a_demand(LLAMA_405B, budget=budget, engine=EngineName.TENSORRT_LLM, replicas=replicas)
    world = World(wants(demand, model=LLAMA_405B, served_name=LLAMA_405B, **changes), a_fleet(h100s(nodes)))
    world.run()
    return world


def labels_of(pod: Any) -> dict[str, str]:
    labels: dict[str, str] = pod["metadata"]["labels"]
    return labels


def files(world: World) -> set[str]:
    return {name for kind, name in world.companions if kind == "ConfigMap"}


def needed(world: World) -> set[str]:
    """Name the files that pods of the present groups mount."""
    groups = {(str(group["replica"]), str(group["attempt"])) for group in world.status["groups"]}
    pods = (pod for pod in world.pods.values() if (labels_of(pod)[REPLICA], labels_of(pod)[ATTEMPT]) in groups)
    volumes = (volume for pod in pods for volume in pod["spec"]["volumes"])
    return {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}


def test_old_and_new_files_are_there_while_old_and_new_groups_are() -> None:
    """A pod of the old content may still have to mount its own again."""
    world = over_mpi(groups=2)
    (old,) = files(world)
    world.launch(options=OTHER)
    world.settle()
    assert len(files(world)) == 2
    assert needed(world) == files(world)
    world.run()
    world.run()
    assert len(files(world)) == 1
    assert old not in files(world)


@pytest.mark.parametrize(("groups", "nodes"), [(2, 4), (3, 6)], ids=["in place", "beside"])
def test_replicas_that_roll_never_lack_a_file(groups: int, nodes: int) -> None:
    """At no step, but for those that are being drained; and none is left over in the end."""
    world = over_mpi(replicas=2, groups=groups, nodes=nodes)
    world.launch(options=OTHER)
    for _ in range(8):
        world.step()
        assert needed(world) <= files(world)
        world.start()
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert files(world) == needed(world)
    assert len(files(world)) == 1


def test_an_update_that_halts_keeps_the_files_of_both() -> None:
    """The old groups serve, the new one is tried again."""
    world = over_mpi(groups=2, max_restarts=0)
    world.launch(options=OTHER)
    world.settle()
    newest = max(world.pods)
    world.crash(newest)
    world.settle()
    assert world.status["readyReplicas"] == 1
    assert needed(world) <= files(world)


def test_a_held_group_keeps_its_file_until_it_is_edited() -> None:
    """Its pods are left to be looked at."""
    world = over_mpi(max_restarts=0)
    (old,) = files(world)
    world.crash("llama-0-0-0")
    world.settle()
    assert world.standing() == "Stalled/RestartsExhausted"
    assert files(world) == {old}
    world.launch(options=OTHER)
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert old not in files(world)


def test_a_group_that_gives_its_gpus_back_takes_its_files_along_and_brings_them_again() -> None:
    """Who waits holds nothing but its place in the queue."""
    world = over_mpi(nodes=2)
    before = files(world)
    fleet = world.fleet
    world.lose_node("h100-01")
    world.settle()
    assert (world.standing(), world.pods) == ("Reconciling/CapacityShort", {})
    assert files(world) == set()
    world.fleet = fleet
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert files(world) == before


def test_a_service_stripped_of_its_labels_does_not_cost_those_that_serve_their_file() -> None:
    """It is known what they need: they would be made so now."""
    world = over_mpi(replicas=2)
    labels = world.services["llama-0-0"]["metadata"]["labels"]
    del labels["shardwise.dev/config-map"]
    world.demand(replicas=1)
    for _ in range(3):
        world.step()
    assert needed(world) == files(world)


def test_replicas_that_begin_together_have_their_file_and_keys_made_once() -> None:
    """All is made side by side: the second of the same name would be in the way of the first."""
    demand = a_demand(LLAMA_405B, budget=32, engine=EngineName.TENSORRT_LLM, replicas=2)
    world = World(wants(demand, model=LLAMA_405B, served_name=LLAMA_405B), a_fleet(h100s(4)))
    actions = world.decide().actions
    assert len([action for action in actions if isinstance(action, MakeKeys)]) == 1
    assert (
        len([action for action in actions if isinstance(action, Apply) and action.manifest["kind"] == "ConfigMap"]) == 1
    )


def test_the_service_of_a_group_that_is_up_stays_as_it_was_made() -> None:
    """What another version would write there is not what its pods need; the other replica goes meanwhile."""
    world = over_mpi(replicas=2)
    world.services["llama-0-0"]["metadata"]["labels"]["shardwise.dev/revision"] = "before"
    world.demand(replicas=1)
    made = [name for _ in range(4) for name in applied(world.step(), "Service")]
    assert (sorted(world.services), made) == (["llama", "llama-0-0"], [])


def test_a_replica_more_shares_files_and_has_a_compute_domain_of_its_own() -> None:
    world = World(wants(a_demand(LLAMA_405B, budget=16)), a_fleet(gb200_rack(4)))
    world.run()
    world.demand(replicas=2)
    world.run()
    assert [name for _, name in sorted(world.companions)] == ["llama-0-nvlink-2", "llama-1-nvlink-2"]
    shared = over_mpi(groups=2)
    shared.demand(replicas=2)
    shared.run()
    assert len(files(shared)) == 1


def test_what_serves_over_nvlink_grows_whether_or_not_the_driver_is_there_any_more() -> None:
    """It was there when it was begun: a pod that cannot start says so itself."""
    world = World(wants(a_demand(LLAMA_405B, budget=16)), a_fleet(gb200_rack(4)))
    world.run()
    world.compute_domains = False
    world.demand(replicas=2)
    world.settle()
    assert applied(world.step(), "Pod") == []
    assert len(world.pods) == 4


def test_a_group_that_lost_everything_with_its_driver_says_so_and_keeps_its_place() -> None:
    """Nothing is begun that could not start; what it held stays held."""
    world = World(wants(a_demand(LLAMA_405B, budget=8)), a_fleet(gb200_rack(4)))
    world.run()
    before = world.nodes()
    world.compute_domains = False
    world.pods.clear()
    world.settle()
    assert world.standing() == "Reconciling/ComputeDomainsMissing"
    assert (world.pods, world.nodes()) == ({}, before)
    world.compute_domains = True
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_another_configuration_of_the_site_restarts_nothing_and_counts_from_the_next_attempt() -> None:
    """As a new version of the operator does."""
    world = over_mpi()
    world.wanted = replace(world.wanted, site=LaunchSite(env=(("NCCL_DEBUG", "INFO"),)))
    assert world.settle().actions == ()
    world.crash("llama-0-0-1")
    world.run()
    names = {variable["name"] for pod in world.pods.values() for variable in pod["spec"]["containers"][0]["env"]}
    assert world.states() == ["Ready 1"]
    assert "NCCL_DEBUG" in names


def test_what_is_refused_is_told_while_others_serve() -> None:
    """With how many do."""
    world = World(wants(a_demand(LLAMA_8B, budget=2)))
    world.run()
    world.demand(replicas=2)
    world.refused = QUOTA
    world.settle()
    assert world.standing() == "Reconciling/WriteRefused"
    assert world.status["message"] == f"1 of 2 replicas serve; {QUOTA}"
    assert world.condition("Degraded")["reason"] == "ReplicasMissing"


def test_a_place_in_the_queue_is_worth_more_words_than_a_refusal() -> None:
    """The refusal is of something else: nothing can be made of a group that has no place."""
    world = World(wants(a_demand(LLAMA_405B, budget=16)), a_fleet(h100s(2, free=[8, 0])), refused=QUOTA)
    first = Waiter("default/first", 0, 0.0, world.now)
    world.ahead = (first,)
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"
    assert "position 2 of 2 in the queue, after `default/first`" in world.status["message"]
    assert QUOTA not in world.status["message"]


def test_a_paused_object_tells_of_no_refusal_and_changes_nothing() -> None:
    world = World(wants(a_demand(LLAMA_8B)))
    world.run()
    world.edit(paused=True)
    world.refused = QUOTA
    assert world.settle().actions == ()
    assert world.standing() == "Reconciling/Paused"
    assert "WriteRefused" not in world.told()


def test_an_explanation_waits_out_what_the_operator_waits_out() -> None:
    """A group in back-off is explained with its place; the plan stays."""
    world = World(wants(a_demand(LLAMA_8B)))
    world.settle()
    world.crash("llama-0-0-0")
    world.step()
    standing = standing_of(world.wanted, world.observe(), world.now)
    assert (standing.kept, standing.groups[0].state) == (True, "Backoff")


def test_an_explanation_of_replicas_of_which_only_some_have_a_place() -> None:
    """Those are the plan; what the others lack comes next."""
    world = World(wants(a_demand(LLAMA_405B, budget=32, replicas=2, pins=pinned(8, 2))), a_fleet(h100s(3)))
    world.run()
    standing = standing_of(world.wanted, world.observe(), world.now)
    assert standing.planned is not None
    assert [group.replica for group in standing.planned.groups] == [0]
    assert not standing.kept
    assert [group.state for group in standing.groups] == ["Ready"]


def test_an_explanation_of_a_node_away_names_it_before_the_operator_gives_it_up() -> None:
    world = over_mpi()
    (first, *others) = world.fleet.nodes
    world.fleet = a_fleet(first._replace(exclusion=Exclusion.NOT_READY, free=0), others)
    standing = standing_of(world.wanted, world.observe(), world.now)
    assert [name for name, _ in standing.lost] == [first.name]
    assert standing.kept
