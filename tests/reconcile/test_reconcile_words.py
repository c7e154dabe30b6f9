"""What is said of a group from one decision to the next: its own words are kept, what is seen of it is seen anew."""

from collections.abc import Callable

import pytest
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Exclusion
from shardwise.reconcile.records import WORDLESS, State
from shardwise.reconcile.status_data import read_records


def test_how_far_a_group_is_is_seen_anew_with_every_look() -> None:
    """What was said of its pods before is no reason for anything."""
    world = World(two_nodes_wide(Pins(8, 2, None)))
    said = []
    for names in ((), ("llama-0-0-0",), ("llama-0-0-1",)):
        world.start(names)
        world.settle()
        said.append(world.status["groups"][0].get("message"))
    world.unready("llama-0-0-1")
    world.settle()
    said.append(world.status["groups"][0].get("message"))
    assert said == [
        "0 of 2 pods ready; pod 0: not started",
        "1 of 2 pods ready; pod 1: not started",
        None,
        "1 of 2 pods ready; pod 1: engine starting",
    ]
    world.launch(args=("--seed=7",))
    world.step()
    assert world.events[-1].message == "replica 0: other content is wanted; starting attempt 1"


def test_a_long_last_line_and_what_to_do_about_it_stand_in_the_status_for_as_long_as_it_is_held() -> None:
    world = World(two_nodes_wide(Pins(8, 2, None), max_restarts=0))
    world.settle()
    world.crash("llama-0-0-1", f"{'x' * 150} CUDA out of memory")
    first = world.step().written
    assert world.step().written == first
    assert "CUDA out of memory; raise `spec.model.gpuMemoryReserve`" in first["message"]
    assert "CUDA out of memory; held after 1 failures in a row; raise" in world.events[-1].message


def test_the_words_of_a_state_that_has_some_are_read_back_and_no_others() -> None:
    """Those of a group that starts or serves are of its pods, of another moment."""
    groups = [{"replica": at, "attempt": 0, "state": state.value, "message": "said"} for at, state in enumerate(State)]
    read = read_records({"groups": groups})
    assert {record.state for record in read.values() if record.message == ""} == WORDLESS
    assert {record.message for record in read.values() if record.state not in WORDLESS} == {"said"}


def test_a_group_without_a_place_says_why_it_gave_its_own_up_until_it_has_another() -> None:
    """Also in the one line of the object; and nothing of how far its pods were."""
    world = World(wants(a_demand(LLAMA_8B, budget=1)))
    world.settle()
    for node in ("h100-00", "h100-01", "h100-02"):
        world.lose_node(node)
    world.settle()
    world.settle()
    assert "pods ready" not in world.status["message"]


def edited_after_a_failure(world: World) -> None:
    world.crash("llama-0-0-0")
    world.step()
    world.launch(args=("--seed=7",))


BEGUN_ANEW: dict[str, tuple[Callable[[World], None], str]] = {
    "its node is cordoned": (lambda world: world.exclude("h100-00", Exclusion.CORDONED), "h100-00 is cordoned"),
    "its node is faulty": (lambda world: world.exclude("h100-01", Exclusion.FAULTY), "h100-01 reports a GPU fault"),
    "its node is gone": (lambda world: world.lose_node("h100-01"), "h100-01 is gone"),
    "its GPUs are taken": (
        lambda world: setattr(world, "fleet", a_fleet(h100s(3, free=[8, 4, 8]))),
        "its place cannot be used any more",
    ),
    "it is edited": (lambda world: world.launch(args=("--seed=7",)), "other content is wanted"),
    "it is edited after a failure": (edited_after_a_failure, "other content is wanted"),
}


@pytest.mark.parametrize(("happens", "why"), BEGUN_ANEW.values(), ids=BEGUN_ANEW)
def test_a_group_that_begins_anew_before_all_its_pods_are_there_says_why_and_counts_once(
    happens: Callable[[World], None], why: str
) -> None:
    """The last thing that happened, and not what went wrong before it."""
    world = World(two_nodes_wide())
    world.step()
    world.lose("llama-0-0-1")
    happens(world)
    world.step()
    assert world.events[-1].message == f"replica 0: {why}; starting attempt 1"
    assert world.status["restarts"] == 1
