"""An object whose pods the API server refuses holds no GPUs for them, repeats the server's words, and tries again."""

import pytest
from tests.reconcile.support import START, Json, World, applied, name_of, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.reconcile.records import Record, State, format_time
from shardwise.reconcile.refused import next_to_try, tried, until_next_try
from shardwise.reconcile.standing import standing_of
from shardwise.reconcile.status_data import holdings, read_records, wants_place
from shardwise.reconcile.views import GroupView

WAITS = (10, 20, 40, 80, 160, *[300] * 5)
"""Seconds between one refused try and the next."""


def words(pod: Json) -> str:
    return f"cannot apply Pod default/{name_of(pod)}: exceeded quota: gpus"


def refused(replicas: int = 1) -> World:
    """Give an object of one GPU a replica, none of whose pods is admitted, after its minute."""
    demand = a_demand(LLAMA_8B, budget=replicas + 1, replicas=replicas)
    world = World(wants(demand), denies=words)
    world.step()
    world.now += 60
    world.settle()
    return world


def quota_of(world: World, most: int) -> None:
    """Admit so many pods at a time."""
    world.denies = lambda pod: "" if len(world.pods) < most else words(pod)


def tries(world: World, until: float) -> list[float]:
    """Let time pass, and give the times at which a pod is refused."""
    found = []
    while True:
        calls = world.calls
        decision = world.settle()
        if world.calls > calls:
            found.append(world.now - START)
        if decision.retry_after is None or world.now + decision.retry_after > until:
            return found
        world.now += decision.retry_after


def test_the_gpus_are_held_for_a_minute_and_then_given_back() -> None:
    world = World(two_nodes_wide(), denies=words)
    world.step()
    world.now += 59
    decision = world.step()
    assert (world.states(), decision.retry_after) == (["Pending 0"], 1)
    world.now += 1
    world.settle()
    assert (world.states(), world.nodes(), holdings(world.status)) == (["Refused 0"], [[]], {})
    assert sorted(world.services) == ["llama"]


def test_a_group_of_which_a_part_was_admitted_gives_all_back() -> None:
    """The pod that runs on 8 GPUs as well as the 8 of the pod that is refused."""
    world = World(two_nodes_wide())
    quota_of(world, 1)
    world.step()
    world.start()
    world.now += 60
    world.settle()
    assert (world.pods, holdings(world.status)) == ({}, {})
    assert world.states() == ["Refused 1"]
    assert world.status["restarts"] == 1


def test_the_status_says_the_refusal_in_the_servers_words_and_the_next_try() -> None:
    world = refused(replicas=3)
    said = "cannot apply Pod default/llama-0-0-0: exceeded quota: gpus"
    told = f"{said}; 3 replicas without GPUs, next try at {format_time(START + 70)}"
    assert world.standing() == "Reconciling/PodsRefused"
    assert world.status["message"] == f"0 of 3 replicas serve; {told}"
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"], planned["message"]) == ("False", "PodsRefused", told)
    assert [event.message for event in world.events if event.reason == "PodsRefused"] == [
        f"3 replicas gave back 3 GPUs: {said}"
    ]
    assert [group.get("message", "") for group in world.status["groups"]] == [said, "", ""]


def test_the_wait_doubles_up_to_five_minutes() -> None:
    """A wait of its own for each try, as after failures; and each try holds its GPUs for that try alone."""
    world = refused()
    before = world.calls
    found = tries(world, START + 2000)
    assert found == [60 + sum(WAITS[: count + 1]) for count in range(len(found))]
    assert len(found) == world.calls - before == 10
    assert holdings(world.status) == {}


def test_the_words_are_told_once_however_often_they_are_heard() -> None:
    world = refused()
    tries(world, START + 2000)
    assert world.told().count("PodsRefused") == 1
    world.denies = lambda _: "cannot apply Pod: admission webhook said no"
    tries(world, START + 3000)
    assert world.told().count("PodsRefused") == 2
    assert "webhook said no" in world.status["message"]


def test_one_group_is_tried_for_all() -> None:
    """A try is a single pod, of however many replicas."""
    world = refused(replicas=8)
    world.now += 10
    assert applied(world.step(), "Pod") == ["llama-0-0-0"]
    assert len(read_records(world.status)) == 8
    assert sum(record.held_gpus for record in read_records(world.status).values()) == 1


def test_groups_are_tried_in_turn() -> None:
    """What is refused for a reason of its own keeps no other from starting."""
    world = refused(replicas=3)
    world.denies = lambda pod: words(pod) if name_of(pod).startswith("llama-0-") else ""
    tries(world, START + 400)
    assert [group["state"] for group in world.status["groups"]] == ["Refused", "Starting", "Starting"]
    world.start()
    world.settle()
    assert world.status["readyReplicas"] == 2
    assert world.status["message"].startswith("2 of 3 replicas serve; cannot apply Pod default/llama-0-0-0: exceeded")
    assert (world.condition("Planned")["status"], world.condition("Degraded")["status"]) == ("True", "True")


def test_a_quota_that_is_raised_heals() -> None:
    """At the next try; then all groups begin, one after the other, without another wait."""
    world = refused(replicas=8)
    tries(world, START + 150)
    world.denies = lambda _: ""
    world.now = START + 210
    world.settle(40)
    assert {group["state"] for group in world.status["groups"]} == {"Starting"}
    world.start()
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    assert [group for group in world.status["groups"] if "refused" in group] == []


def test_what_a_quota_admits_serves_and_the_rest_holds_nothing() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=8, replicas=5)))
    quota_of(world, 3)
    for _ in range(4):
        world.step()
        world.start()
    world.now += 60
    world.settle()
    assert [group["state"] for group in world.status["groups"]] == ["Ready"] * 3 + ["Refused"] * 2
    assert sum(record.held_gpus for record in read_records(world.status).values()) == 3
    found = tries(world, START + 2000)
    assert (len(world.pods), world.status["readyReplicas"]) == (3, 3)
    assert len(found) == 10


def test_an_edit_is_tried_at_once() -> None:
    """Whatever it changes; its waits begin anew."""
    world = refused()
    tries(world, START + 1000)
    world.now += 10
    world.launch(port=80)
    world.step()
    assert world.states() == ["Pending 0"]
    world.settle()
    assert world.states() == ["Refused 0"]
    edited = world.now - START
    assert tries(world, world.now + 70) == [edited + 20, edited + 60]
    world.denies = lambda _: ""
    world.now += 10
    world.edit()
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_another_quota_is_tried_like_an_edit() -> None:
    world = refused()
    tries(world, START + 1000)
    world.now += 10
    world.denies, world.excused = lambda _: "", True
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


@pytest.mark.parametrize("seconds", [1, 7, 50])
def test_edits_again_and_again_hold_gpus_for_no_longer(seconds: int) -> None:
    """Of all replicas for a minute, and then of one for a moment, and never two moments within ten seconds."""
    world = World(wants(a_demand(LLAMA_8B, budget=8, replicas=8)), denies=words)
    world.step()
    held: dict[float, int] = {}
    edits = 0
    while world.now < START + 600:
        world.now += seconds
        edits += 1
        world.launch(args=(f"--seed={edits}",))
        for _ in range(2):
            world.step()
            held[world.now - START] = sum(record.held_gpus for record in read_records(world.status).values())
    assert max(held.values()) == 8
    assert max(gpus for at, gpus in held.items() if at >= 60 + seconds) == 0
    assert world.calls <= 2 * min(edits, 60 / seconds + 1) + 600 / 10 + 2


def test_an_operator_that_starts_again_keeps_the_wait() -> None:
    """All of it stands in the status."""
    world = refused()
    tries(world, START + 200)
    again = World(world.wanted, denies=words, now=world.now, status=world.status, services=dict(world.services))
    decision = again.settle()
    assert again.calls == 0
    assert decision.retry_after == START + 60 + 10 + 20 + 40 + 80 - world.now
    assert again.status == world.status


def test_the_gpus_are_given_back_at_once_where_pods_were_refused_for_long_before_a_restart() -> None:
    world = World(wants(), denies=words)
    world.step()
    world.now += 3600
    again = World(world.wanted, denies=words, now=world.now, status=world.status, services=dict(world.services))
    again.step()
    assert again.states() == ["Pending 0"]
    again.step()
    assert again.states() == ["Refused 0"]


def test_what_is_refused_waits_in_no_queue_and_is_not_woken_by_free_gpus() -> None:
    """It could not use them; and nobody is kept from using them for its sake."""
    world = refused(replicas=2)
    assert "waitingSince" not in world.status
    assert not wants_place({"spec": {"replicas": 2}, "status": world.status})


def test_a_try_that_finds_no_place_waits_for_gpus_like_any_other() -> None:
    world = refused()
    world.fleet = a_fleet(h100s(1, free=[0]))
    world.now += 10
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"
    assert "waitingSince" in world.status
    world.fleet = a_fleet(h100s(1))
    world.step()
    assert world.states() == ["Pending 0"]
    world.settle()
    assert world.standing() == "Reconciling/PodsRefused"


def test_an_update_whose_new_pods_are_refused_leaves_the_old_serving() -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=2)))
    world.run()
    world.denies = words
    world.launch(args=("--seed=7",))
    world.step()
    world.now += 60
    world.settle()
    assert world.states() == ["Ready 0", "Refused 0"]
    assert world.status["readyReplicas"] == 1
    tries(world, START + 2000)
    assert world.status["readyReplicas"] == 1
    world.denies = lambda _: ""
    world.now += 300
    for _ in range(4):
        world.settle()
        world.start()
    assert world.standing() == "Ready/AllReplicasReady"
    assert list(world.pods) == ["llama-1-0-0"]


def test_a_partly_admitted_group_that_fails_does_not_begin_again_on_all_gpus() -> None:
    world = World(two_nodes_wide())
    quota_of(world, 1)
    world.step()
    world.start()
    world.crash("llama-0-0-0")
    world.now += 5
    world.settle()
    assert (world.states(), holdings(world.status)) == (["Refused 1"], {})


def test_explain_names_the_refusal_as_what_keeps_the_object_from_starting() -> None:
    world = refused()
    standing = standing_of(world.wanted, world.observe(), world.now)
    assert standing.obstacle is not None
    assert standing.obstacle.reason == "PodsRefused"
    assert "exceeded quota" in standing.obstacle.message


def test_a_replica_that_is_no_longer_wanted_is_not_tried() -> None:
    world = refused(replicas=3)
    world.demand(replicas=0)
    world.settle()
    assert (world.status["groups"], world.standing()) == ([], "Ready/ScaledToZero")


def a_group(replica: int, state: State, count: int, retry_at: float = 0.0) -> GroupView:
    return GroupView(Record(replica, state=state, refused=count, retry_at=retry_at), ())


X, W, P, R = State.REFUSED, State.WAITING, State.PENDING, State.READY
TURNS: dict[str, tuple[tuple[GroupView, ...], int | None, float | None]] = {
    "nothing is refused": ((a_group(0, R, 0), a_group(1, W, 0)), None, None),
    "not yet": ((a_group(0, X, 1, 105.0),), None, 5.0),
    "now": ((a_group(0, X, 1, 100.0),), 0, 0.0),
    "the last try counts for all": ((a_group(0, X, 2, 130.0), a_group(1, X, 1, 90.0)), None, 30.0),
    "the least often refused is next": ((a_group(0, X, 2, 99.0), a_group(1, X, 1, 90.0)), 1, 0.0),
    "the lowest number of equals": ((a_group(2, X, 1, 90.0), a_group(1, X, 1, 90.0)), 1, 0.0),
    "another is tried": ((a_group(0, X, 1, 90.0), a_group(1, P, 1)), None, None),
    "another that is tried waits for GPUs": ((a_group(0, X, 1, 90.0), a_group(1, W, 1)), None, None),
}


@pytest.mark.parametrize(("groups", "replica", "left"), TURNS.values(), ids=TURNS)
def test_which_group_is_tried_next_and_when(
    groups: tuple[GroupView, ...], replica: int | None, left: float | None
) -> None:
    found = next_to_try(groups, 100.0)
    assert (None if found is None else found.record.replica) == replica
    assert until_next_try(groups, 100.0) == left
    trial = tried(groups)
    assert trial is None or trial.record.state in (W, P)
