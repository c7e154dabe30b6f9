"""Objects far back in the queue: they are told a round number, and a change before them does not write them anew."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reconcile.support import START, World, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.reconcile.far_back import TOLD_EXACTLY, place_told
from shardwise.reconcile.turns import Turn, Waiter

TOLD: dict[int, str] = {
    1: "position 1 of 9999 in the queue",
    2: "position 2 of 9999 in the queue, after `ns/first`",
    10: "position 10 of 9999 in the queue, after `ns/first`",
    11: "10 or more objects are before it in the queue",
    20: "10 or more objects are before it in the queue",
    21: "20 or more objects are before it in the queue",
    51: "50 or more objects are before it in the queue",
    100: "50 or more objects are before it in the queue",
    101: "100 or more objects are before it in the queue",
    9999: "5000 or more objects are before it in the queue",
}


@pytest.mark.parametrize(("position", "words"), TOLD.items(), ids=str)
def test_the_first_are_told_their_position_and_the_others_a_round_number(position: int, words: str) -> None:
    assert place_told(Turn(position, 9999, "ns/first" if position > 1 else "")) == words


def test_without_a_queue_nothing_is_told() -> None:
    assert place_told(Turn()) == ""


def test_when_one_leaves_a_long_queue_few_are_told_another_place() -> None:
    """Fault: each of ten thousand was written anew."""
    told = [place_told(Turn(position, 10_000, "ns/first")) for position in range(1, 10_001)]
    moved = [now != before for now, before in zip(told[TOLD_EXACTLY:-1], told[TOLD_EXACTLY + 1 :], strict=True)]
    assert sum(moved) <= 9


@given(st.integers(TOLD_EXACTLY, 10**7))
def test_the_number_is_never_more_than_there_are_and_more_than_a_third_of_it(ahead: int) -> None:
    number = int(place_told(Turn(ahead + 1, ahead + 1, "x")).split()[0])
    assert number <= ahead < 3 * number


def queue(ahead: int) -> tuple[Waiter, ...]:
    return tuple(Waiter(f"ns/{number:03}", 0, START - 1000 + number, START) for number in range(ahead))


def waiting(ahead: int) -> World:
    """Give an object that needs a whole node, behind others, while a node has three free GPUs."""
    world = World(wants(a_demand(LLAMA_8B, budget=8, pins=replace(a_demand().pins, tensor=8))))
    world.fleet, world.ahead = a_fleet(h100s(2, free=[3, 0])), queue(ahead)
    world.settle()
    assert "waitingSince" in world.status
    return world


@pytest.mark.parametrize(("ahead", "kept"), [(3, False), (TOLD_EXACTLY - 1, False), (TOLD_EXACTLY, True), (30, True)])
def test_numbers_of_free_gpus_are_renewed_at_the_front_only(ahead: int, kept: bool) -> None:
    """A pod that comes or goes changes them; thousands of objects would be written for it."""
    world = waiting(ahead)
    before = world.status
    world.fleet = a_fleet(h100s(2, free=[5, 0]))
    world.settle()
    assert (world.status == before) is kept
    assert ("5 free GPUs" in world.status["message"]) is not kept


def test_an_object_that_comes_to_the_front_says_the_numbers_as_they_are() -> None:
    world = waiting(TOLD_EXACTLY)
    world.fleet, world.ahead = a_fleet(h100s(2, free=[5, 0])), queue(TOLD_EXACTLY - 1)
    world.settle()
    assert "5 free GPUs" in world.status["message"]
    assert "position 10 of 10 in the queue, after `ns/000`" in world.status["message"]


def test_an_object_far_back_says_every_change_that_is_more_than_a_number() -> None:
    """An edit, a replica that serves, another reason, another round number of objects before it."""
    world = waiting(30)
    before = world.status
    world.edit()
    world.settle()
    assert world.status["observedGeneration"] == before["observedGeneration"] + 1
    world.ahead = queue(60)
    world.settle()
    assert "50 or more objects are before it" in world.status["message"]
    world.fleet = a_fleet(h100s(2, free=[8, 0]))
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"


def test_an_object_far_back_is_told_of_no_plan_in_the_numbers_of_today_once_its_reason_changes() -> None:
    world = waiting(30)
    world.fleet = a_fleet(h100s(0))
    world.settle()
    assert world.standing() == "Reconciling/NoMatchingNodes"
