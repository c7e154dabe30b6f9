"""Deciding again on what was just written, with nothing new to see, decides nothing: no other status, no other Event.

Else an operator that is woken twice would write for ever, and tell the same twice.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reconcile.support import START, World, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Exclusion
from shardwise.domain.launch import UpdateStrategy
from shardwise.reconcile.actions import Decision, Emit
from shardwise.reconcile.turns import Waiter

Event = Callable[[World], None]

DEMANDS = {
    "one GPU": a_demand(LLAMA_8B, budget=2),
    "two replicas": a_demand(LLAMA_8B, budget=4, replicas=2),
    "three without room beside": a_demand(LLAMA_8B, budget=3, replicas=3),
    "two nodes": a_demand(LLAMA_405B, budget=16, pins=Pins(8, 2, None)),
}


def emitted(decision: Decision) -> list[Emit]:
    return [action for action in decision.actions if isinstance(action, Emit)]


def said(decision: Decision, world: World) -> object:
    """Give a status, less the GPUs it counts as free: how many that is depends on what it shuns by the decision itself.

    While GPUs are kept for another even what would help does, by what the object gave back; then all its words go.
    """
    if not world.ahead:
        return re.sub(r"\d+ free GPUs", "free GPUs", json.dumps(decision.written))
    conditions = [
        (condition["type"], condition["status"], condition["reason"]) for condition in decision.written["conditions"]
    ]
    return conditions, {name: decision.written.get(name) for name in ("groups", "plan", "restarts", "waitingSince")}


def each(name: str) -> Event:
    """Do something to every pod."""

    def do(world: World) -> None:
        for pod in list(world.pods):
            getattr(world, name)(pod)

    return do


def first(name: str) -> Event:
    """Do something to the first pod, if there is one."""

    def do(world: World) -> None:
        for pod in sorted(world.pods)[:1]:
            getattr(world, name)(pod)

    return do


def last(name: str) -> Event:
    """Do something to the last pod, if there is one."""

    def do(world: World) -> None:
        for pod in sorted(world.pods)[-1:]:
            getattr(world, name)(pod)

    return do


def passes(seconds: float) -> Event:
    def do(world: World) -> None:
        world.now += seconds

    return do


def refuse(world: World) -> None:
    world.refused = "" if world.refused else "cannot apply Pod default/llama-0-0-0: exceeded quota"


def queue(world: World) -> None:
    ahead = Waiter("default/first", 5, START, world.now - 700, DEMANDS["two nodes"])
    world.ahead = () if world.ahead else (ahead,)


def lose_status(world: World) -> None:
    """Lose it while nobody waits: what is held on nodes that are kept is known by the status alone."""
    world.status, world.ahead = {}, ()


EVENTS: dict[str, Event] = {
    "engines start": lambda world: world.start(),
    "the first pod's engine exits": first("crash"),
    "the last pod's engine exits": last("crash"),
    "the last pod is thrown out": last("evict"),
    "somebody deletes the first pod": first("deleting"),
    "the last pod vanishes": last("lose"),
    "all probes fail": each("unready"),
    "nothing can be scheduled": each("unscheduled"),
    "pods that go are gone": lambda world: world.gone(),
    "a node is gone": lambda world: world.lose_node("h100-00"),
    "a node is away": lambda world: world.exclude("h100-00", Exclusion.NOT_READY),
    "a node is faulty": lambda world: world.exclude("h100-01", Exclusion.FAULTY),
    "all nodes are well": lambda world: setattr(world, "fleet", a_fleet(h100s(3))),
    "strangers take all that is free": lambda world: setattr(world, "fleet", a_fleet(h100s(3, free=[0, 0, 0]))),
    "other arguments": lambda world: world.launch(args=("--seed=7",)),
    "the first arguments": lambda world: world.launch(args=()),
    "one replica": lambda world: world.demand(replicas=1),
    "three replicas": lambda world: world.demand(replicas=3),
    "no replica": lambda world: world.demand(replicas=0),
    "a budget of one": lambda world: world.demand(gpu_budget=1),
    "a large budget": lambda world: world.demand(gpu_budget=32),
    "another split": lambda world: world.demand(pins=Pins(2, 1, None), gpu_budget=32),
    "all at once": lambda world: world.edit(update=UpdateStrategy(recreate=True)),
    "no surge": lambda world: world.edit(update=UpdateStrategy(max_surge=0)),
    "more failures are allowed": lambda world: world.edit(restart=replace(world.wanted.restart, max_restarts=10)),
    "no failure is allowed": lambda world: world.edit(restart=replace(world.wanted.restart, max_restarts=0)),
    "a write is refused, or no longer": refuse,
    "another waits before it, or no longer": queue,
    "the status is lost": lose_status,
    "ten seconds": passes(10),
    "a minute": passes(60),
    "an hour": passes(3700),
}


@given(st.sampled_from(sorted(DEMANDS)), st.lists(st.sampled_from(sorted(EVENTS)), max_size=14), st.booleans())
@settings(max_examples=300)
def test_deciding_again_on_what_was_written_decides_nothing_new(name: str, history: list[str], keep: bool) -> None:
    """Before any action of the decision was carried out, as when the operator is woken by its own write."""
    world = World(wants(DEMANDS[name], max_restarts=2, keep_failed=keep))
    for event in ("engines start", *history):
        EVENTS[event](world)
        decision = world.decide()
        written = replace(world, status=decision.written)
        again = written.decide()
        assert said(again, world) == said(decision, world)
        assert emitted(again) == []
        world.step()
