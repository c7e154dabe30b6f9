"""Updates that meet something else: another edit, another count of replicas, a failure, a fault; and every strategy."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reconcile.support import World, applied, deleted, node_wanted, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.domain.launch import UpdateStrategy
from shardwise.reconcile.status_data import read_records

A: tuple[str, ...] = ()
B, C = ("--seed=2",), ("--seed=3",)


def serving(replicas: int = 3, budget: int = 3, **changes: Any) -> World:
    """Give replicas of one GPU that all serve."""
    world = World(wants(a_demand(LLAMA_8B, budget=budget, replicas=replicas), **changes))
    world.run()
    return world


def content_of(world: World) -> dict[str, str]:
    """Give each pod's edit, by name: the letter of its arguments."""
    args = {name: pod["spec"]["containers"][0]["args"] for name, pod in world.pods.items()}
    return {name: "C" if C[0] in one else "B" if B[0] in one else "A" for name, one in sorted(args.items())}


def count(world: World, letter: str) -> int:
    return list(content_of(world).values()).count(letter)


def finish(world: World) -> None:
    for _ in range(14):
        world.run()


@pytest.mark.parametrize("surge", [0, 1, 2])
@pytest.mark.parametrize("unavailable", [1, 2, 3])
@pytest.mark.parametrize("budget", [3, 4, 8])
def test_a_rollout_keeps_to_its_strategy_in_every_decision(surge: int, unavailable: int, budget: int) -> None:
    """Beside while surge and budget allow: then all serve all the time. Else in place: as many down as allowed."""
    world = serving(budget=budget, max_surge=surge, max_unavailable=unavailable)
    world.launch(args=B)
    beside = surge > 0 and budget > 3
    for _ in range(14):
        world.settle()
        assert world.status["readyReplicas"] >= (3 if beside else 3 - unavailable)
        assert len(world.pods) <= min(budget, 3 + surge)
        world.start()
    assert (world.standing(), count(world, "B"), len(world.pods)) == ("Ready/AllReplicasReady", 3, 3)


@pytest.mark.parametrize("budget", [3, 8], ids=["in place", "beside"])
@pytest.mark.parametrize("last", [A, C], ids=["and taken back", "and edited again"])
def test_an_edit_while_another_is_rolled_out_wins_and_the_one_between_is_forgotten(
    budget: int, last: tuple[str, ...]
) -> None:
    """What has begun with the content between is replaced first; it serves nobody yet."""
    world = serving(budget=budget)
    world.launch(args=B)
    world.settle()
    assert count(world, "B") == 1
    world.launch(args=last)
    world.settle()
    assert count(world, "B") == 0
    assert world.status["readyReplicas"] >= 2
    finish(world)
    assert (world.standing(), len(world.pods)) == ("Ready/AllReplicasReady", 3)
    assert set(content_of(world).values()) == {"C" if last else "A"}


def test_an_edit_taken_back_when_half_was_rolled_out_rolls_only_that_half_back() -> None:
    world = serving(budget=3)
    world.launch(args=B)
    world.settle()
    world.start()
    assert (count(world, "A"), count(world, "B")) == (2, 1)
    untouched = {name for name, letter in content_of(world).items() if letter == "A"}
    world.launch(args=A)
    finish(world)
    assert untouched <= set(world.pods)
    assert content_of(world) == {"llama-0-2-0": "A", "llama-1-0-0": "A", "llama-2-0-0": "A"}


def halted(budget: int = 3) -> World:
    """Give a rollout that stopped: the first of the new content has failed and waits."""
    world = serving(budget=budget, max_restarts=5)
    world.launch(args=B)
    world.settle()
    (trial,) = [name for name, letter in content_of(world).items() if letter == "B"]
    world.crash(trial)
    world.settle()
    return world


@pytest.mark.parametrize("budget", [3, 8], ids=["in place", "beside"])
def test_a_rollout_goes_on_by_itself_once_the_new_content_serves(budget: int) -> None:
    """The failure was chance."""
    world = halted(budget)
    assert world.condition("Degraded")["reason"] == "UpdateHalted"
    world.now += 10
    finish(world)
    assert (world.standing(), count(world, "B")) == ("Ready/AllReplicasReady", 3)
    assert world.told().count("UpdateHalted") == 1


def test_a_rollout_that_stopped_ends_by_taking_the_edit_back() -> None:
    world = halted()
    world.launch(args=A)
    finish(world)
    assert (world.standing(), count(world, "A")) == ("Ready/AllReplicasReady", 3)
    assert {"llama-1-0-0", "llama-2-0-0"} <= set(world.pods)


def test_a_rollout_that_stopped_still_heals_old_groups_as_what_is_wanted_now() -> None:
    """Their old content is not known any more; those that serve are kept."""
    world = halted()
    world.crash("llama-2-0-0")
    world.settle()
    assert "llama-1-0-0" in world.pods
    assert content_of(world)["llama-1-0-0"] == "A"
    assert world.status["readyReplicas"] == 1
    assert content_of(world)["llama-2-1-0"] == "B"


def test_a_failure_of_an_old_group_stops_no_rollout() -> None:
    """It says nothing about what is wanted now."""
    world = serving(budget=8)
    world.crash("llama-1-0-0")
    world.run()
    world.launch(args=B)
    finish(world)
    assert "UpdateHalted" not in world.told()
    assert count(world, "B") == 3


@pytest.mark.parametrize(("replicas", "budget"), [(5, 5), (5, 8), (1, 3), (1, 8), (0, 8)])
def test_replicas_that_change_during_a_rollout_come_to_the_new_count_of_the_new_content(
    replicas: int, budget: int
) -> None:
    """New ones are made of the new content at once; of those that go, the old ones go first."""
    world = serving(budget=budget)
    world.launch(args=B)
    world.settle()
    world.demand(replicas=replicas)
    world.settle()
    assert count(world, "A") <= min(3, max(replicas, 1))
    finish(world)
    assert (count(world, "A"), count(world, "B")) == (0, replicas)
    assert world.standing() == ("Ready/AllReplicasReady" if replicas else "Ready/ScaledToZero")


def test_what_does_not_serve_is_replaced_at_once_whatever_may_be_down() -> None:
    """Three that start, one may be down: all get the new content now."""
    world = World(wants(a_demand(LLAMA_8B, budget=3, replicas=3)))
    world.settle()
    world.launch(args=B)
    decision = world.step()
    assert applied(decision, "Pod") == ["llama-0-1-0", "llama-1-1-0", "llama-2-1-0"]
    assert deleted(decision, "Pod") == ["llama-0-0-0", "llama-1-0-0", "llama-2-0-0"]


def test_an_edit_reaches_a_group_whose_probe_fails_where_nothing_can_start_beside() -> None:
    """It may be the very edit that mends it; waiting for it to serve would be waiting for ever."""
    world = serving(replicas=1, budget=1)
    world.unready("llama-0-0-0")
    world.settle()
    world.launch(args=B)
    world.settle()
    assert content_of(world) == {"llama-0-1-0": "B"}


def test_groups_whose_probe_fails_are_replaced_as_many_at_a_time_as_may_be_down_and_first() -> None:
    world = serving(budget=3)
    world.unready("llama-1-0-0")
    world.unready("llama-2-0-0")
    world.settle()
    world.launch(args=B)
    world.settle()
    assert content_of(world) == {"llama-0-0-0": "A", "llama-1-1-0": "B", "llama-2-0-0": "A"}
    world.start(["llama-1-1-0"])
    world.settle()
    assert content_of(world) == {"llama-0-0-0": "A", "llama-1-1-0": "B", "llama-2-1-0": "B"}


def test_a_strategy_that_becomes_recreate_keeps_the_successor_that_has_begun() -> None:
    """Its pods load already; one more attempt in the old place would be for nothing."""
    world = serving(replicas=1, budget=2)
    world.launch(args=B)
    world.settle()
    world.edit(update=UpdateStrategy(recreate=True))
    decision = world.step()
    assert (applied(decision, "Pod"), deleted(decision, "Pod")) == ([], ["llama-0-0-0"])
    world.run()
    assert content_of(world) == {"llama-1-0-0": "B"}


def test_recreate_waits_for_no_trial_and_begins_no_more_than_is_wanted() -> None:
    world = serving(budget=8, recreate=True)
    world.launch(args=B)
    world.settle()
    assert (world.status["readyReplicas"], len(world.pods)) == (0, 3)
    assert count(world, "B") == 3


def faulty(*names: str) -> Fleet:
    nodes = (node._replace(exclusion=Exclusion.FAULTY, free=0) if node.name in names else node for node in h100s(3))
    return a_fleet(nodes)


def test_replicas_on_faulty_nodes_leave_one_after_the_other_though_their_content_is_wanted() -> None:
    """Two of three nodes go bad under two groups; both come to stand on the third, and one always serves."""
    world = serving(replicas=2, budget=2)
    world.fleet = faulty("h100-00", "h100-01")
    for _ in range(6):
        world.settle()
        assert world.status["readyReplicas"] >= 1
        world.start()
    assert world.nodes() == [["h100-02"], ["h100-02"]]
    assert world.condition("Degraded")["reason"] == "AsPlanned"


def test_groups_whose_probe_fails_leave_faulty_nodes_as_many_at_a_time_as_may_be_down() -> None:
    """As for an edit: another may come to serve again where it is."""
    world = serving(replicas=2, budget=2)
    world.unready("llama-0-0-0")
    world.unready("llama-1-0-0")
    world.fleet = faulty("h100-00", "h100-01")
    world.settle()
    assert world.states() == ["Starting 1", "Unready 0"]


def test_where_every_node_is_faulty_nothing_that_serves_is_given_up() -> None:
    """Also not for an edit; that waits for a node that may be used."""
    world = serving(replicas=2, budget=2)
    world.fleet = faulty("h100-00", "h100-01", "h100-02")
    before = dict(world.pods)
    world.launch(args=B)
    world.settle()
    assert (world.pods, world.status["readyReplicas"]) == (before, 2)
    assert world.condition("Degraded")["reason"] == "NodeFaulty"
    assert world.standing() == "Reconciling/NoMatchingNodes"
    world.fleet = a_fleet(h100s(3))
    finish(world)
    assert (world.standing(), count(world, "B")) == ("Ready/AllReplicasReady", 2)


@pytest.mark.parametrize(("pins", "shape"), [(Pins(2, 1, None), (2, 1)), (Pins(1, 2, None), (1, 2))])
def test_groups_of_another_shape_take_the_place_of_all_old_ones(pins: Pins, shape: tuple[int, int]) -> None:
    """Within a budget that holds four of the new, no more than it is ever held."""
    world = serving(replicas=3, budget=7)
    world.demand(pins=pins)
    for _ in range(14):
        world.settle()
        assert sum(record.held_gpus for record in read_records(world.status).values()) <= 7
        assert world.status["readyReplicas"] >= 2
        world.start()
    assert world.standing() == "Ready/AllReplicasReady"
    assert (world.status["plan"]["tensor"], world.status["plan"]["pipeline"]) == shape
    assert {group["gpusPerPod"] * group["pods"] for group in world.status["groups"]} == {2}


edits = st.lists(
    st.tuples(st.sampled_from([A, B, C]), st.integers(1, 4), st.sampled_from([4, 6, 9])), min_size=1, max_size=5
)


@given(edits, st.integers(0, 2), st.integers(1, 2), st.booleans())
@settings(max_examples=60)
def test_after_any_edits_the_last_is_what_runs_and_attempts_only_grow(
    history: list[tuple[tuple[str, ...], int, int]], surge: int, unavailable: int, recreate: bool
) -> None:
    """However far the ones before were rolled out; and never are two pods of one name on two nodes."""
    world = serving(budget=9, max_surge=surge, max_unavailable=unavailable, recreate=recreate)
    places: dict[str, set[str]] = {}
    restarts = [0]
    for args, replicas, budget in history:
        world.launch(args=args)
        world.demand(replicas=replicas, gpu_budget=budget)
        world.settle()
        for name, pod in world.pods.items():
            places.setdefault(pod["metadata"]["uid"] + name, set()).add(node_wanted(pod))
        restarts.append(world.status["restarts"])
        world.start()
    finish(world)
    assert (world.standing(), len(world.pods)) == ("Ready/AllReplicasReady", history[-1][1])
    assert set(content_of(world).values()) == {"C" if history[-1][0] == C else "B" if history[-1][0] == B else "A"}
    assert all(one <= two for one, two in pairwise(restarts))
    assert all(len(nodes) == 1 for nodes in places.values())


def test_an_old_group_that_fails_as_it_is_edited_is_no_failure_of_the_new_content() -> None:
    """What is wanted now has not been tried yet: nothing is halted. The node is blamed all the same."""
    world = serving(2, 2, max_surge=0)
    world.launch(args=B)
    world.crash("llama-0-0-0")
    world.settle()
    assert "UpdateHalted" not in world.told()
    assert world.condition("Degraded")["reason"] == "ReplicasMissing"
    assert [node["why"] for node in world.status["shunnedNodes"]] == ["Failed"]
    finish(world)
    assert (world.standing(), count(world, "B")) == ("Ready/AllReplicasReady", 2)


def test_an_edited_group_that_was_held_says_that_it_waits_for_gpus() -> None:
    """Its failures were those of the old content; what is in the way is another thing by now."""
    world = World(wants(max_restarts=0, keep_failed=False), a_fleet(h100s(1)))
    world.run()
    world.crash("llama-0-0-0")
    world.settle()
    assert world.standing() == "Stalled/RestartsExhausted"
    full = world.fleet
    world.fleet = replace(full, nodes=tuple(node._replace(free=0) for node in full.nodes))
    world.launch(args=B)
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"
    world.fleet = full
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_an_update_that_has_room_to_begin_beside_does_not_wait_yet() -> None:
    """Not all of the new shape fits at once; it waits, and says so, once a group finds no place, not before."""
    demand = a_demand(LLAMA_8B, budget=16, replicas=2, pins=Pins(2, 1, None))
    world = World(wants(demand), a_fleet(h100s(2, free=[8, 5])))
    world.run()
    world.demand(pins=Pins(4, 2, None))
    world.step()
    assert (world.states(), world.standing()) == (["Ready 0", "Ready 0", "Pending 0"], "Reconciling/Updating")
    assert "waitingSince" not in world.status
    world.run()
    assert (world.states(), world.standing()) == (["Ready 0", "Ready 0"], "Reconciling/CapacityShort")
