"""Groups that hang: when an idle leader is asked for a token, and what becomes of a group that does not answer."""

from dataclasses import replace

import pytest
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.reconcile.test_reconcile_figures import LEADER, addressed

from shardwise.domain.launch import HealthPolicy, Wanted
from shardwise.reconcile.asks import Heard, TokenAsk

EVERY = 600.0


def asked(wanted: Wanted) -> World:
    """Give an object that serves, allows requests of one token, and whose figures nobody wants to know."""
    world = World(replace(wanted, health=HealthPolicy(EVERY)))
    world.run()
    world.answer((0, 0), None)
    return addressed(world)


def due(world: World) -> list[TokenAsk]:
    return [ask for ask in world.decide().asks if isinstance(ask, TokenAsk)]


def hang(world: World) -> None:
    """Let an idle leader not answer, and the operator hear of it."""
    world.idle[0, world.status["groups"][0]["attempt"]] = Heard(world.now, hangs=True)
    world.settle()


def test_an_idle_leader_is_asked_at_every_interval_since_it_serves_and_nothing_is_written() -> None:
    world = asked(wants())
    before = world.status
    assert due(world) == []
    for _ in range(3):
        assert world.decide().retry_after == EVERY
        world.now += EVERY - 1
        assert due(world) == []
        world.now += 1
        (ask,) = due(world)
        assert (ask.replica, ask.attempt, ask.address, ask.port) == (0, 0, "10.0.0.1", 8000)
        world.idle[0, 0] = Heard(world.now)
        decision = world.step()
        assert (decision.written, decision.actions) == (before, ())


def test_an_operator_that_starts_again_asks_a_group_that_has_served_for_an_interval() -> None:
    """It does not know when another operator asked last."""
    world = asked(wants())
    world.now += EVERY
    world.idle[0, 0] = Heard(world.now)
    assert due(world) == []
    world.idle.clear()
    assert len(due(world)) == 1


def test_nobody_is_asked_unless_the_object_allows_it() -> None:
    world = asked(wants())
    world.edit(health=HealthPolicy())
    world.settle()
    world.now += 10 * EVERY
    assert due(world) == []
    assert world.decide().retry_after is None


def test_a_group_that_does_not_serve_is_not_asked() -> None:
    world = asked(two_nodes_wide())
    world.unready(LEADER)
    world.settle()
    world.now += 10 * EVERY
    assert due(world) == []


def test_a_group_that_hangs_starts_again_at_once_and_clients_no_longer_reach_it() -> None:
    world = asked(two_nodes_wide())
    assert world.reached() == [LEADER]
    hang(world)
    assert world.states() == ["Starting 1"]
    assert world.labelled() == []
    (event,) = [event for event in world.events if event.reason == "GroupRestarted"]
    assert "no answer to a request of one token" in event.message
    world.start()
    world.settle()
    assert (world.states(), world.status["restarts"]) == (["Ready 1"], 1)


def test_a_group_that_hangs_again_and_again_is_held_with_a_remedy() -> None:
    world = asked(wants(max_restarts=0))
    hang(world)
    assert world.status["groups"][0]["failure"] == "Hung"
    assert world.standing() == "Stalled/RestartsExhausted"
    assert "look at GPUs and network" in world.status["message"]


BLAMED = [
    pytest.param(wants(), ["h100-00"], id="a single pod hangs itself"),
    pytest.param(two_nodes_wide(), [], id="which of two pods hangs is not known"),
]


@pytest.mark.parametrize(("wanted", "nodes"), BLAMED)
def test_the_node_of_the_pod_that_hangs_is_blamed_where_it_is_known(wanted: Wanted, nodes: list[str]) -> None:
    world = asked(wanted)
    hang(world)
    assert [shun["node"] for shun in world.status.get("shunnedNodes", [])] == nodes


ENDS = [
    pytest.param("llama-0-0-0", 0, [], id="the leader by itself: any rank may be the cause"),
    pytest.param("llama-0-0-1", 0, ["h100-01"], id="a follower by itself"),
    pytest.param("llama-0-0-0", 1, ["h100-00"], id="the leader with an error"),
]


@pytest.mark.parametrize(("pod", "code", "nodes"), ENDS)
def test_a_leader_that_ends_by_itself_does_not_blame_its_node(pod: str, code: int, nodes: list[str]) -> None:
    """VLLM ends the leader with exit code 0 if a rank in another pod does not answer in time."""
    world = World(two_nodes_wide())
    world.run()
    world.crash(pod, code=code)
    world.settle()
    assert world.states() == ["Starting 1"]
    assert [shun["node"] for shun in world.status.get("shunnedNodes", [])] == nodes


def test_a_hang_of_an_earlier_attempt_says_nothing_of_the_next() -> None:
    world = asked(wants())
    hang(world)
    world.start()
    world.settle()
    assert world.states() == ["Ready 1"]
