"""The same as for pods that are bound one by one, where groups are gangs: any call may be the last.

Whatever happens to any call, each group has its object before its pods, and none is left over.
"""

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.driven import Driven, Harm
from tests.support.operating import a_model

from shardwise.domain.launch import GangScheduler, GangSystem, LaunchSite
from shardwise.domain.site import Site
from shardwise_sandbox import h100_node

SITE = Site(launch=LaunchSite(gangs=(GangScheduler(GangSystem.NATIVE),)))
GROUP: dict[str, Any] = {
    "parallelism": {"tensor": 8, "pipeline": 2},
    "model_contextLength": 8192,
    "placement": {"gang": "native"},
}


def nothing(_: Driven) -> None:
    """Begin with an empty cluster."""


def create(driven: Driven) -> None:
    driven.sandbox.create(a_model("m", gpus=16, **GROUP))


def edit(driven: Driven) -> None:
    driven.patch("m", engine={"args": ["--seed=7"]})


def crash(driven: Driven) -> None:
    driven.sandbox.kubelet.fail("default", "m-0-0-1", exit_code=1, message="CUDA error")


def lose_the_group(driven: Driven) -> None:
    driven.sandbox.delete("PodGroup", "default", "m-0-0")


def give_up_gangs(driven: Driven) -> None:
    driven.patch("m", placement={"gang": "none"})


def delete(driven: Driven) -> None:
    driven.sandbox.delete("ShardedModel", "default", "m")


Step = Callable[[Driven], None]
SCENARIOS: dict[str, tuple[Step, Step, list[str]]] = {
    "begin": (nothing, create, ["m-0-0"]),
    "fail": (create, crash, ["m-0-1"]),
    "edit": (create, edit, ["m-0-1"]),
    "lose the group": (create, lose_the_group, []),
    "give up gangs": (create, give_up_gangs, []),
    "delete": (create, delete, []),
}
"""What is there, what happens, and the groups in the end."""


async def played(name: str, at: int = -1, harm: Harm = Harm.DIES_AFTER) -> Driven:
    before, event, _ = SCENARIOS[name]
    driven = Driven([h100_node(f"h100-{number}") for number in range(1, 5)], SITE)
    before(driven)
    await driven.settle()
    driven.arm(at, harm)
    event(driven)
    await driven.settle()
    return driven


def groups(driven: Driven) -> list[str]:
    return sorted(driven.sandbox.names("podgroups"))


@pytest.mark.parametrize("name", SCENARIOS)
async def test_whatever_happens_to_any_call_each_group_has_its_object_and_no_other_is_left(name: str) -> None:
    plain = await played(name)
    assert groups(plain) == SCENARIOS[name][2]
    calls = list(plain.wire.calls)
    assert calls or name in ("delete", "lose the group")
    for harm in Harm:
        for at in range(len(calls)):
            driven = await played(name, at, harm)
            assert driven.wire.fired, (harm, at)
            assert driven.graph() == plain.graph(), f"{harm}: {calls[at]}; then {driven.wire.calls}"
            assert groups(driven) == groups(plain), f"{harm}: {calls[at]}"


@pytest.mark.parametrize("name", SCENARIOS)
async def test_in_steady_state_nothing_is_called(name: str) -> None:
    driven = await played(name)
    driven.wire.calls.clear()
    for model in driven.sandbox.names("ShardedModel"):
        driven.operator.keys.add(("default", model))
    await driven.settle()
    assert driven.wire.calls == []
