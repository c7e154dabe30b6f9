"""The same as for groups on nodes of the plan, where the scheduler picks the nodes: any call may be the last.

Whatever happens to any call, no GPU is held twice, and in the end every group holds the nodes of its pods.
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
PLAIN: dict[str, Any] = {"owner": "scheduler"}
GANG = {"owner": "scheduler", "gang": "native"}


def obj(name: str, placement: dict[str, Any]) -> dict[str, Any]:
    layout = {"tensor": 8, "pipeline": 2}
    return a_model(name, gpus=16, model_contextLength=8192, parallelism=layout, placement=placement)


def nothing(_: Driven) -> None:
    """Begin with an empty cluster."""


def create(driven: Driven) -> None:
    driven.sandbox.create(obj("m", PLAIN))


def create_a_gang(driven: Driven) -> None:
    driven.sandbox.create(obj("m", GANG))


def beside_one_that_shardwise_places(driven: Driven) -> None:
    driven.sandbox.create(obj("n", {}))


def edit(driven: Driven) -> None:
    driven.patch("m", engine={"args": ["--seed=7"]})


def crash(driven: Driven) -> None:
    driven.sandbox.kubelet.fail("default", "m-0-0-1", exit_code=1, message="CUDA error")


def give_it_to_shardwise(driven: Driven) -> None:
    driven.patch("m", placement={"owner": "shardwise"})


def delete(driven: Driven) -> None:
    driven.sandbox.delete("ShardedModel", "default", "m")


Step = Callable[[Driven], None]
SCENARIOS: dict[str, tuple[Step, Step]] = {
    "begin": (nothing, create),
    "begin as a gang": (nothing, create_a_gang),
    "another begins": (create, beside_one_that_shardwise_places),
    "fail": (create, crash),
    "edit": (create, edit),
    "change the owner": (create, give_it_to_shardwise),
    "delete": (create, delete),
}


async def played(name: str, at: int = -1, harm: Harm = Harm.DIES_AFTER) -> Driven:
    before, event = SCENARIOS[name]
    driven = Driven([h100_node(f"h100-{number}") for number in range(1, 5)], SITE)
    before(driven)
    await driven.settle()
    driven.arm(at, harm)
    event(driven)
    await driven.settle()
    return driven


def shape(driven: Driven) -> dict[str, Any]:
    """Give all that there is, without the nodes: the scheduler may pick others for pods that come later."""
    graph = driven.graph()
    models = {name: (*found[:3], len(found[3]), *found[4:]) for name, found in graph["models"].items()}
    return graph | {"pods": {name: bool(node) for name, node in graph["pods"].items()}, "models": models}


def check_places(driven: Driven) -> None:
    """Every group that serves says the nodes of its pods, and holds their GPUs."""
    for model in driven.sandbox.list("ShardedModel"):
        for group in model["status"]["groups"]:
            name = f"{model['metadata']['name']}-{group['replica']}-{group['attempt']}"
            pods = [pod for pod in driven.sandbox.list("pods") if pod["spec"]["subdomain"] == name]
            pods.sort(key=lambda pod: str(pod["metadata"]["name"]))
            assert group["nodes"] == [pod["spec"]["nodeName"] for pod in pods]
            opened = model["spec"].get("placement", {}).get("owner") == "scheduler"
            assert ("plannedNodes" in group) is opened
            key = ("default", model["metadata"]["name"])
            assert driven.operator.store.plans[key] == dict.fromkeys(group["nodes"], 8)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_whatever_happens_to_any_call_every_group_holds_the_nodes_of_its_pods(name: str) -> None:
    plain = await played(name)
    check_places(plain)
    calls = list(plain.wire.calls)
    assert calls or name == "delete"
    for harm in Harm:
        for at in range(len(calls)):
            driven = await played(name, at, harm)
            assert driven.wire.fired, (harm, at)
            assert shape(driven) == shape(plain), f"{harm}: {calls[at]}; then {driven.wire.calls}"
            check_places(driven)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_in_steady_state_nothing_is_called(name: str) -> None:
    driven = await played(name)
    driven.wire.calls.clear()
    for model in driven.sandbox.names("ShardedModel"):
        driven.operator.keys.add(("default", model))
    await driven.settle()
    assert driven.wire.calls == []
