"""In which order things are made and removed, and that nothing is done twice: each case is one decision's actions."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reconcile.support import World, name_of, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.launch import RestartPolicy
from shardwise.reconcile.actions import Apply, Decision, Delete, Emit, MakeKeys, Reach


def done(decision: Decision) -> list[str]:
    """Say what a decision does, in order: ``+`` makes, ``-`` removes, ``!`` tells."""
    said = []
    for action in decision.actions:
        match action:
            case Apply(manifest) | MakeKeys(manifest):
                said.append(f"+{manifest['kind']} {name_of(manifest)}")
            case Delete(kind, name):
                said.append(f"-{kind} {name}")
            case Reach(name, _, reached):
                said.append(f"{'serve' if reached else 'leave'} {name}")
            case Emit(reason, _, _):
                said.append(f"!{reason}")
    return said


def serving(**changes: Any) -> World:
    world = World(two_nodes_wide(Pins(8, 2, None), **changes))
    world.run()
    return world


def replicas(count: int = 2) -> World:
    world = World(wants(a_demand(LLAMA_8B, budget=count, replicas=count)))
    world.run()
    return world


def test_a_new_group_has_its_services_before_its_pods_and_its_event_last() -> None:
    """Ranks find each other by the Service from their first second on."""
    assert done(World(two_nodes_wide(Pins(8, 2, None))).decide()) == [
        "+Service llama",
        "+Service llama-0-0",
        "+Pod llama-0-0-0",
        "+Pod llama-0-0-1",
        "!Planned",
    ]


def test_pods_of_the_attempt_that_is_over_go_before_those_of_the_next_are_made() -> None:
    """So that their GPUs come back, and the scheduler has a place for the new."""
    world = serving()
    world.crash("llama-0-0-1")
    assert done(world.decide()) == [
        "leave llama-0-0-0",
        "-Pod llama-0-0-0",
        "-Pod llama-0-0-1",
        "-Service llama-0-0",
        "+Service llama-0-1",
        "+Pod llama-0-1-0",
        "+Pod llama-0-1-1",
        "!GroupRestarted",
    ]


def test_pods_of_all_attempts_that_are_over_go_the_oldest_first() -> None:
    """By their numbers, and not by their names."""
    world = replicas()
    for replica in (1, 0):
        for attempt in ("7", "10"):
            pod, name = world.pods[f"llama-{replica}-0-0"], f"llama-{replica}-{attempt}-0"
            labels = pod["metadata"]["labels"] | {"shardwise.dev/attempt": attempt}
            world.pods[name] = pod | {"metadata": pod["metadata"] | {"name": name, "labels": labels, "uid": name}}
        world.status["groups"][replica]["attempt"] = 11
    assert [action for action in done(world.decide()) if action.startswith("-Pod")] == [
        "-Pod llama-0-0-0",
        "-Pod llama-0-7-0",
        "-Pod llama-0-10-0",
        "-Pod llama-1-0-0",
        "-Pod llama-1-7-0",
        "-Pod llama-1-10-0",
    ]


@pytest.mark.parametrize("harm", ["deleting", "crash"])
def test_a_pod_that_is_going_already_is_not_deleted_again(harm: str) -> None:
    """Another call would change nothing, and each costs the API server one."""
    world = serving()
    world.deleting("llama-0-0-0")
    getattr(world, harm)("llama-0-0-1")
    deletions = [action for action in done(world.decide()) if action.startswith("-Pod")]
    assert deletions == ([] if harm == "deleting" else ["-Pod llama-0-0-1"])


def test_pods_are_deleted_by_uid() -> None:
    """One of the same name that came meanwhile is not the one that was seen."""
    world = serving()
    uid = world.pods["llama-0-0-0"]["metadata"]["uid"]
    world.crash("llama-0-0-1")
    found = [action for action in world.decide().actions if isinstance(action, Delete) and action.name == "llama-0-0-0"]
    assert [one.uid for one in found] == [uid]


def test_what_only_an_old_group_needed_goes_before_the_service_that_names_it() -> None:
    """After the Service nobody would know of it; and its pods have both until they are gone."""
    world = World(wants(a_demand(LLAMA_8B, budget=2), args=("--seed=1",)))
    world.run()
    service = world.services["llama-0-0"]
    service["metadata"]["labels"] |= {"shardwise.dev/config-map": "llama-files-0badcafe"}
    world.demand(replicas=0)
    assert done(world.step()) == ["-Pod llama-0-0-0", "!GroupRemoved"]
    assert done(world.step()) == ["-ConfigMap llama-files-0badcafe", "-Service llama-0-0"]


DRAINS: dict[str, tuple[list[str], list[str]]] = {
    "all ranks are with it: the leader first": ([], ["-Pod llama-0-0-0"]),
    "the leader does not serve": (["unready llama-0-0-0"], ["-Pod llama-0-0-0", "-Pod llama-0-0-1"]),
    "a follower is gone": (["lose llama-0-0-1"], ["-Pod llama-0-0-0"]),
    "a follower is going": (["deleting llama-0-0-1"], ["-Pod llama-0-0-0"]),
    "a follower failed": (["crash llama-0-0-1"], ["-Pod llama-0-0-0", "-Pod llama-0-0-1"]),
    "a follower's probe fails: the leader ends what it can": (["unready llama-0-0-1"], ["-Pod llama-0-0-0"]),
    "the leader is going: it has its time": (["deleting llama-0-0-0"], []),
    "the leader is gone": (["lose llama-0-0-0"], ["-Pod llama-0-0-1"]),
    "both are going": (["deleting llama-0-0-0", "deleting llama-0-0-1"], []),
}


@pytest.mark.parametrize(("harms", "pods"), DRAINS.values(), ids=DRAINS)
def test_how_a_replica_that_goes_is_drained(harms: list[str], pods: list[str]) -> None:
    """The leader alone for as long as it can end its requests; then, or where it cannot, all."""
    world = serving()
    world.demand(replicas=0)
    world.status = world.decide().written
    for harm in harms:
        what, name = harm.split()
        getattr(world, what)(name)
    assert [action for action in done(world.decide()) if action.startswith("-Pod")] == pods


@pytest.mark.parametrize("harm", ["lose", "deleting"])
def test_a_replica_that_goes_goes_as_a_whole_once_one_of_many_ranks_is_away(harm: str) -> None:
    """Its leader can end no request any more, and the other ranks would hold their GPUs for nothing."""
    world = World(wants(a_demand(LLAMA_405B, budget=24, pins=Pins(8, 3, None))))
    world.run()
    world.demand(replicas=0)
    world.status = world.decide().written
    getattr(world, harm)("llama-0-0-1")
    assert [action for action in done(world.decide()) if action.startswith("-Pod")] == [
        "-Pod llama-0-0-0",
        "-Pod llama-0-0-2",
    ]


def test_a_replica_that_is_started_again_is_not_drained() -> None:
    """Its next attempt waits for the GPUs, and its leader would wait for ranks that are gone."""
    world = serving()
    world.launch(args=("--seed=7",))
    assert [action for action in done(world.decide()) if action.startswith("-Pod")] == [
        "-Pod llama-0-0-0",
        "-Pod llama-0-0-1",
    ]


def test_a_group_that_waits_to_start_again_has_nothing_made_for_it() -> None:
    world = World(two_nodes_wide(Pins(8, 2, None)))
    world.settle()
    world.crash("llama-0-0-1")
    world.step()
    world.lose("llama-0-0-0")
    del world.services["llama-0-0"]
    assert done(world.decide()) == []


def test_only_the_pods_that_are_missing_are_made() -> None:
    world = World(two_nodes_wide(Pins(8, 2, None)))
    world.step(keep=lambda position: position < 3)
    assert sorted(world.pods) == ["llama-0-0-0"]
    assert done(world.decide()) == ["+Pod llama-0-0-1"]


def held(world: World) -> None:
    world.edit(restart=RestartPolicy(max_restarts=0))
    world.crash("llama-1-0-0")


def nowhere(world: World) -> None:
    world.fleet = a_fleet(h100s(1, free=[1]))
    world.lose("llama-1-0-0")
    world.status["groups"][1]["nodes"] = ["gone"]


BUDGETS: dict[str, tuple[Callable[[World], None], list[str]]] = {
    "nothing happens": (lambda _: None, []),
    "a replica starts again by itself": (lambda world: world.crash("llama-1-0-0"), []),
    "a replica is held": (held, ["+PodDisruptionBudget llama"]),
    "a replica has no place any more": (nowhere, ["+PodDisruptionBudget llama"]),
    "one replica is left": (lambda world: world.demand(replicas=1), ["-PodDisruptionBudget llama"]),
    "somebody deleted it": (lambda world: world.budgets.clear(), ["+PodDisruptionBudget llama"]),
}


@pytest.mark.parametrize(("act", "expected"), BUDGETS.values(), ids=BUDGETS)
def test_a_disruption_budget_is_written_where_its_count_changes_and_goes_with_the_second_replica(
    act: Callable[[World], None], expected: list[str]
) -> None:
    """Never deleted for another reason: an eviction under way would take its pod for gone."""
    world = replicas()
    act(world)
    assert [action for action in done(world.step()) if "Budget llama" in action] == expected
    assert [action for action in done(world.step()) if "Budget llama" in action] == []


harms = st.lists(
    st.tuples(st.sampled_from(["crash", "evict", "deleting", "lose", "unready", "bind"]), st.integers(0, 9)), max_size=6
)


@given(harms, st.integers(0, 3), st.booleans(), st.booleans())
@settings(max_examples=150)
def test_no_decision_does_a_thing_twice_or_makes_what_it_removes(
    happened: list[tuple[str, int]], count: int, edited: bool, status_lost: bool
) -> None:
    """Removals of pods come first, then what they needed and their Services, then what is made; Events at the end."""
    world = replicas(3)
    for harm, number in happened:
        if world.pods:
            getattr(world, harm)(sorted(world.pods)[number % len(world.pods)])
        world.step()
    if edited:
        world.launch(args=("--seed=7",))
    world.demand(replicas=count)
    if status_lost:
        world.status = {}
    said = done(world.decide())
    acts = [action for action in said if action[0] in "+-"]
    assert len(set(acts)) == len(acts)
    assert not {act[1:] for act in acts if act[0] == "+"} & {act[1:] for act in acts if act[0] == "-"}
    phases = [0 if act.startswith("-Pod ") else 1 if act[0] == "-" else 2 for act in acts]
    ordered = [phase for phase, one in zip(phases, acts, strict=True) if "Budget" not in one]
    assert ordered == sorted(ordered)
    assert [action[0] == "!" for action in said] == sorted(action[0] == "!" for action in said)
