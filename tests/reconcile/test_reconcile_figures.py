"""The engine's own figures: who is asked, how often, and what is said when they differ from the plan."""

from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.engine import EngineName
from shardwise.domain.reasons import Reason
from shardwise.reconcile.asks import Answer, Ask
from shardwise.reconcile.figures import MOST_TRIES, RETRY_SECONDS

LEADER = "llama-0-0-0"


def addressed(world: World) -> World:
    """Give every pod an address, as a kubelet does when it runs."""
    for number, pod in enumerate(world.pods.values()):
        pod["status"]["podIP"] = f"10.0.0.{number + 1}"
    return world


def serving(**changes: Any) -> World:
    world = World(wants(**changes))
    world.run()
    return addressed(world)


def planned(world: World) -> int:
    """Give the tokens that the plan of an object has room for."""
    plan = world.observe().status.plan
    assert plan is not None
    return plan.plan.cache_tokens


def cache(world: World, replica: int = 0) -> dict[str, int] | None:
    found: dict[str, int] | None = world.status["groups"][replica].get("kvCacheTokens")
    return found


def test_the_leader_of_a_group_that_serves_is_asked_at_its_address() -> None:
    world = World(two_nodes_wide())
    world.run()
    (ask,) = addressed(world).decide().asks
    assert isinstance(ask, Ask)
    assert (ask.replica, ask.attempt, ask.address, ask.port, ask.figures.path) == (0, 0, "10.0.0.1", 8000, "/metrics")


def test_nobody_is_asked_before_a_group_serves_or_without_an_address() -> None:
    world = World(wants())
    world.settle()
    assert addressed(world).decide().asks == ()
    world.start()
    assert world.step().asks == ()
    addressed(world).unready(LEADER)
    world.settle()
    assert world.decide().asks == ()


def test_both_figures_stand_side_by_side_and_a_steady_state_writes_nothing() -> None:
    world = serving()
    tokens = planned(world) * 98 // 100
    world.answer((0, 0), tokens)
    world.settle()
    assert cache(world) == {"planned": planned(world), "measured": tokens}
    assert "message" not in world.status["groups"][0]
    assert Reason.CACHE_DIFFERS not in world.told()
    before = world.status
    world.now += 3600
    decision = world.step()
    assert (decision.written, decision.actions, decision.asks, decision.retry_after) == (before, (), (), None)


DIFFERENCES = [
    pytest.param(0.94, True, True, id="6 % fewer: a warning"),
    pytest.param(0.96, False, False, id="4 % fewer"),
    pytest.param(1.04, False, False, id="4 % more"),
    pytest.param(1.06, True, False, id="6 % more"),
]


@pytest.mark.parametrize(("share", "told", "warning"), DIFFERENCES)
def test_a_difference_of_more_than_five_percent_is_said_and_told_once(share: float, told: bool, warning: bool) -> None:
    world = serving()
    world.answer((0, 0), round(planned(world) * share))
    world.settle()
    world.settle()
    events = [event for event in world.events if event.reason is Reason.CACHE_DIFFERS]
    assert [event.warning for event in events] == ([warning] if told else [])
    assert bool(world.status["groups"][0].get("message")) == told
    assert world.standing() == "Ready/AllReplicasReady"
    if told:
        assert f"than the {planned(world)} planned" in events[0].message
        assert world.status["groups"][0]["message"] in events[0].message


def test_an_operator_that_starts_again_does_not_ask_for_figures_that_the_status_holds() -> None:
    world = serving()
    world.answer((0, 0), 1000)
    world.settle()
    world.answers.clear()
    assert world.decide().asks == ()
    assert cache(world) == {"planned": planned(world), "measured": 1000}


def test_each_attempt_is_asked_anew() -> None:
    """The figures of the attempt before say nothing about it, nor does a late answer."""
    world = serving()
    world.answer((0, 0), 1000)
    world.settle()
    world.crash(LEADER)
    world.settle()
    assert cache(world) is None
    world.start()
    world.settle()
    assert cache(world) is None
    (ask,) = addressed(world).decide().asks
    assert ask.attempt == 1


def test_an_engine_that_does_not_tell_is_asked_once_and_not_blamed() -> None:
    world = serving()
    world.answer((0, 0), None)
    before = world.status
    decision = world.step()
    assert (decision.asks, decision.actions, decision.written) == ((), (), before)


def test_an_engine_that_does_not_answer_is_asked_a_few_times() -> None:
    world = serving()
    asked = 0
    while (decision := world.step()).asks or decision.retry_after is not None:
        for ask in decision.asks:
            asked += 1
            world.answers[ask.replica, ask.attempt] = Answer(asked, world.now)
        assert decision.retry_after is not None
        assert 0 < decision.retry_after <= RETRY_SECONDS
        world.now += decision.retry_after
    assert asked == MOST_TRIES
    assert cache(world) is None


def test_a_group_of_old_content_is_not_held_to_the_plan_of_the_new() -> None:
    """Neither asked, nor is an answer that comes late compared."""
    world = serving()
    world.edit(demand=replace(world.wanted.demand, context_length=4096))
    world.answer((0, 0), 1000)
    decision = world.step()
    assert decision.asks == ()
    assert cache(world) is None


@pytest.mark.parametrize("engine", EngineName)
def test_engines_are_asked_at_their_own_port_or_not_at_all(engine: EngineName) -> None:
    world = World(wants(a_demand(LLAMA_8B, budget=8, engine=engine), served_name=LLAMA_8B))
    world.run()
    ports = {EngineName.VLLM: [8000], EngineName.SGLANG: [30000], EngineName.TENSORRT_LLM: []}
    assert [ask.port for ask in addressed(world).decide().asks] == ports[engine]
