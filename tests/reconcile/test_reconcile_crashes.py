"""Any call may be the last before a crash, fail, or be lost: the end is the same, and no GPU is ever held twice.

Every scenario is run once undisturbed, and then once for each of its calls and each harm. The count of these points is
printed, and kept in tests/data/crash-points.json.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.driven import START, Driven, Harm
from tests.support.operating import a_model

from shardwise_sandbox import Question, Reply, h100_node

Json = dict[str, Any]

COUNTS = Path(__file__).parents[1] / "data" / "crash-points.json"

ONE_NODE = {"parallelism": {"tensor": 4, "pipeline": 1}}
TWO_NODES = {"parallelism": {"tensor": 8, "pipeline": 2}}
OVER_MPI = TWO_NODES | {"engine": {"name": "tensorrt-llm"}}
"""Needs a file and keys beside its pods."""

GPUS = {"one node": 4, "two nodes": 16, "over mpi": 16}
SHAPES: dict[str, dict[str, Any]] = {"one node": ONE_NODE, "two nodes": TWO_NODES, "over mpi": OVER_MPI}
LAST = {"one node": 0, "two nodes": 1, "over mpi": 1}
"""The last pod of a group."""

OTHER: dict[str, dict[str, Any]] = {
    "one node": {"args": ["--seed=7"]},
    "two nodes": {"args": ["--seed=7"]},
    "over mpi": {"options": {"print_iter_log": True}},
}
"""Other content of the engine: of one over MPI, another file."""


def obj(shape: str, budget: int = 1, **spec: Any) -> dict[str, Any]:
    """Make an object whose groups span one node or two; ``budget`` counts groups."""
    return a_model("m", gpus=GPUS[shape] * budget, model_contextLength=8192, **(SHAPES[shape] | spec))


def nothing(_: Driven, __: str) -> None:
    """Begin with an empty cluster."""


def serving(driven: Driven, shape: str) -> None:
    driven.sandbox.create(obj(shape))


def with_room(driven: Driven, shape: str) -> None:
    driven.sandbox.create(obj(shape, budget=2))


def two_serving(driven: Driven, shape: str) -> None:
    driven.sandbox.create(obj(shape, budget=2, replicas=2))


def create(driven: Driven, shape: str) -> None:
    driven.sandbox.create(obj(shape))


def crash(driven: Driven, _: str) -> None:
    last = driven.sandbox.names("pods")[-1]
    driven.sandbox.kubelet.fail("default", last, exit_code=1, message="CUDA error")


def drain(driven: Driven, _: str) -> None:
    pod = driven.sandbox.list("pods")[-1]
    driven.sandbox.patch("Node", "", pod["spec"]["nodeName"], {"spec": {"unschedulable": True}})
    driven.sandbox.delete("Pod", "default", pod["metadata"]["name"])


def lose_node(driven: Driven, _: str) -> None:
    driven.sandbox.delete("Node", "", driven.sandbox.list("pods")[-1]["spec"]["nodeName"])


def node_unreachable(driven: Driven, _: str) -> None:
    """Its pods are evicted, and stay in Terminating: no kubelet is there to end them."""
    pod = driven.sandbox.list("pods")[-1]
    driven.sandbox.kubelet.set_node_ready(pod["spec"]["nodeName"], False)
    driven.sandbox.delete("Pod", "default", pod["metadata"]["name"])


def edit(driven: Driven, shape: str) -> None:
    driven.patch("m", engine=OTHER[shape])


def scale_up(driven: Driven, _: str) -> None:
    driven.patch("m", replicas=2)


def scale_down(driven: Driven, _: str) -> None:
    driven.patch("m", replicas=1)


def delete(driven: Driven, _: str) -> None:
    """Needs no call of ours: the count of its points is 0."""
    driven.sandbox.delete("ShardedModel", "default", "m")


def make_again(driven: Driven, shape: str) -> None:
    """Delete an object, and make another of its name before anybody has seen that it was gone."""
    driven.sandbox.delete("ShardedModel", "default", "m")
    driven.sandbox.create(obj(shape, budget=2, engine=SHAPES[shape].get("engine", {}) | OTHER[shape]))


def others(driven: Driven, shape: str) -> None:
    """Let three objects want the GPUs of two."""
    for name in ("m", "n", "o"):
        made = obj(shape)
        made["metadata"] |= {"name": name, "creationTimestamp": f"2027-01-15T07:00:0{'mno'.index(name)}Z"}
        driven.sandbox.create(made)


def refuse_pods(driven: Driven, shape: str) -> None:
    """Let a quota refuse the last pod of the object for long, and then admit it."""
    driven.wire.refuses = lambda words: driven.now < START + 65 and words == f"apply Pod m-0-0-{LAST[shape]}"
    create(driven, shape)


FIGURES = {
    "one node": 'vllm:cache_config_info{kv_cache_size_tokens="9000"} 1.0',
    "two nodes": 'vllm:cache_config_info{kv_cache_size_tokens="9000"} 1.0',
    "over mpi": '[{"kvCacheStats": {"maxNumBlocks": 100, "tokensPerBlock": 32}}]',
}
"""What the engines answer: fewer tokens than planned."""


def measure(driven: Driven, shape: str) -> None:
    """Let the engines say the sizes of their caches when they serve."""
    engine = SHAPES[shape].get("engine", {})
    driven.sandbox.engines.answers = lambda _pod, _question: Reply(200, FIGURES[shape])
    driven.sandbox.create(obj(shape, engine=engine | ({"options": {"enable_iter_perf_stats": True}} if engine else {})))


def hang(driven: Driven, shape: str) -> None:
    """Let a rank of each first attempt hang: its engine says that it is idle, and gives no token."""

    def answer(pod: Json, question: Question) -> Reply | None:
        if question.body:
            return None if pod["metadata"]["labels"]["shardwise.dev/attempt"] == "0" else Reply(200, "{}")
        return Reply(200, "vllm:num_requests_running 0.0\nvllm:num_requests_waiting 0.0\n")

    driven.sandbox.engines.answers = answer
    driven.until = driven.now + 200.0
    allowed: Json = {} if shape == "over mpi" else {"health": {"idleRequestInterval": "90s"}}
    driven.sandbox.create(obj(shape, **allowed))


Step = Callable[[Driven, str], None]


@dataclass(frozen=True)
class Scenario:
    """What is there, and what happens. ``scarce``: there are GPUs for two groups, no more."""

    before: Step
    event: Step
    scarce: bool = False


SCENARIOS = {
    "create": Scenario(nothing, create),
    "restart": Scenario(serving, crash),
    "drain": Scenario(serving, drain),
    "replan": Scenario(serving, lose_node),
    "unreachable": Scenario(serving, node_unreachable),
    "roll in place": Scenario(serving, edit),
    "roll beside": Scenario(with_room, edit),
    "scale up": Scenario(with_room, scale_up),
    "scale down": Scenario(two_serving, scale_down),
    "delete": Scenario(serving, delete),
    "make again": Scenario(serving, make_again),
    "hand over": Scenario(others, delete, scarce=True),
    "refuse": Scenario(nothing, refuse_pods),
    "measure": Scenario(nothing, measure),
    "hang": Scenario(nothing, hang),
    "create in want": Scenario(nothing, others, scarce=True),
}


async def played(scenario: Scenario, shape: str, at: int = -1, harm: Harm = Harm.DIES_AFTER) -> Driven:
    """Play a scenario, with one call harmed."""
    nodes = GPUS[shape] * 2 // 8 if scenario.scarce else 4
    driven = Driven([h100_node(f"h100-{number}") for number in range(1, nodes + 1)])
    scenario.before(driven, shape)
    await driven.settle()
    driven.arm(at, harm)
    scenario.event(driven, shape)
    await driven.settle()
    return driven


def check_nothing_orphaned(driven: Driven) -> None:
    """Every pod and Service belongs to a group of its object, or goes with a node that cannot be reached.

    Every file belongs to a Service, and the keys to an object.
    """
    groups: set[str] = set()
    for model in driven.sandbox.list("ShardedModel"):
        name = model["metadata"]["name"]
        groups |= {f"{name}-{group['replica']}-{group['attempt']}" for group in model["status"]["groups"]} | {name}
    assert {name for name in driven.sandbox.names("services") if name not in groups} == set()
    for pod in driven.sandbox.list("pods"):
        ours = pod["metadata"]["labels"]["shardwise.dev/group"] in groups
        assert ours or "deletionTimestamp" in pod["metadata"], pod["metadata"]["name"]
    needed = {one["metadata"]["labels"].get("shardwise.dev/config-map") for one in driven.sandbox.list("services")}
    assert set(driven.sandbox.names("configmaps")) == needed - {None}
    assert len(driven.sandbox.names("secrets")) <= len(driven.sandbox.names("ShardedModel"))


ASKED = ("measure", "hang")
"""The scenarios in which engines are asked: each engine is asked in its own way."""

POINTS = [(name, shape) for name in SCENARIOS for shape in SHAPES if shape != "two nodes" or name in ASKED]
"""Groups of two nodes are left out elsewhere: groups over MPI make the same calls, and more."""


@pytest.mark.parametrize(("name", "shape"), POINTS)
async def test_whatever_happens_to_any_call_the_end_is_the_same(name: str, shape: str) -> None:
    """The same pods on the same nodes, the same Services, the same standing; nothing is left over."""
    scenario = SCENARIOS[name]
    plain = await played(scenario, shape)
    check_nothing_orphaned(plain)
    calls = list(plain.wire.calls)
    for harm in Harm:
        for at in range(len(calls)):
            driven = await played(scenario, shape, at, harm)
            assert driven.wire.fired, (harm, at)
            assert driven.graph() == plain.graph(), f"{harm}: {calls[at]}; then {driven.wire.calls}"
            check_nothing_orphaned(driven)
    points = len(calls) * len(Harm)
    # Shown by `pytest -s`.
    print(f"{name}, {shape}: {len(calls)} calls, {points} points")  # noqa: T201 - the count is asked for
    assert json.loads(COUNTS.read_text())[f"{name}, {shape}"] == points


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ASKED])
async def test_groups_over_mpi_make_every_call_of_groups_of_two_nodes(name: str) -> None:
    """They make them in the same order: no point of a group of two nodes is left out."""
    over_mpi = iter((await played(SCENARIOS[name], "over mpi")).wire.calls)
    assert all(call in over_mpi for call in (await played(SCENARIOS[name], "two nodes")).wire.calls)


def test_every_write_of_every_scenario_is_among_the_points() -> None:
    """The counts of all scenarios, and no others, are kept."""
    counts = json.loads(COUNTS.read_text())
    assert set(counts) == {f"{name}, {shape}" for name, shape in POINTS} | {"in all"}
    assert counts["in all"] == sum(points for name, points in counts.items() if name != "in all")
