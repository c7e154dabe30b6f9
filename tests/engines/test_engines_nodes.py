"""vLLM over several nodes without Ray: what its own executor demands of ranks, nodes, roles and probes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import HOSTS, LEADER, a_plan, options, started, wants
from tests.support.fleets import a_fleet, gb200_rack, h100s, h200s
from tests.support.models import LLAMA_70B, LLAMA_405B, R1, a_demand, pinned
from tests.support.plans import planned

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import EnvVar
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.engines import Probe, launch, problems
from shardwise.engines.launch import Script
from shardwise.engines.meeting import ARRIVE_SCRIPT, GATHER_SCRIPT

SEVERAL = ("--nnodes", "--node-rank", "--master-addr", "--master-port", "--distributed-executor-backend", "--headless")
"""What only a group of several pods hears."""

NEVER = ("--data-parallel-size", "--data-parallel-backend", "--data-parallel-address", "--api-server-count", "ray")
"""Replicas are groups of their own, and there is no Ray."""

spreads = st.tuples(st.sampled_from([2, 3, 4, 8]), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 3]))


def spread(pods: int, tensor: int, stages_a_pod: int) -> Plan:
    """Plan whole tensor groups in each of several pods."""
    return a_plan(Layout(tensor, pods * stages_a_pod), *(tensor * stages_a_pod,) * pods)


@given(spreads)
def test_nodes_and_ranks_are_such_as_vllm_accepts(drawn: tuple[int, int, int]) -> None:
    """World divisible by nodes, ranks 0 to n-1 once each, the same meeting point, and its own executor."""
    plan = spread(*drawn)
    said = [options(pod.args) for pod in started(plan).pods]
    assert [int(options["--node-rank"]) for options in said] == list(range(drawn[0]))
    for one in said:
        world = int(one["--tensor-parallel-size"]) * int(one["--pipeline-parallel-size"])
        assert int(one["--nnodes"]) == drawn[0]
        assert world % int(one["--nnodes"]) == 0
        assert world // int(one["--nnodes"]) == plan.groups[0].pods[0].gpus
        assert (one["--master-addr"], one["--master-port"]) == (LEADER, "29501")
        assert one["--distributed-executor-backend"] == "mp"
        assert not set(NEVER) & {*one, *one.values()}


@given(spreads)
def test_pods_hear_the_same_but_for_their_rank_and_role(drawn: tuple[int, int, int]) -> None:
    """Only the leader serves; all others are headless, and have the same variables."""
    pods = started(spread(*drawn)).pods
    said = [options(pod.args) for pod in pods]
    assert ["--headless" in options for options in said] == [False] + [True] * (len(pods) - 1)
    shared = [
        {key: value for key, value in options.items() if key not in ("--node-rank", "--headless")} for options in said
    ]
    assert shared == [shared[0]] * len(pods)
    assert {pod.env for pod in pods} == {pods[0].env}
    assert {pod.command for pod in pods} == {("vllm", "serve")}


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]))
def test_a_single_pod_hears_of_no_nodes(tensor: int, pipeline: int) -> None:
    """With `--nnodes` 1 the engine chooses its executor by itself."""
    found = started(a_plan(Layout(tensor, pipeline)))
    (pod,) = found.pods
    assert not set(SEVERAL) & set(pod.args)
    assert found.ports == (("http", 8000),)
    assert pod.waits is None


PLANS = [
    pytest.param(a_demand(LLAMA_70B, budget=8, pins=pinned(8, 1)), a_fleet(h100s(1)), (1, 8), id="TP8 on a node"),
    pytest.param(a_demand(LLAMA_70B, budget=8, pins=pinned(4, 2)), a_fleet(h200s(1)), (1, 8), id="TP4xPP2 on a node"),
    pytest.param(a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2)), (2, 8), id="TP8xPP2 on two nodes"),
    pytest.param(
        a_demand(LLAMA_405B, budget=16), a_fleet(h100s(4, free=[4, 4, 4, 4])), (4, 4), id="TP4xPP4 on half nodes"
    ),
    pytest.param(a_demand(LLAMA_405B, budget=8), a_fleet(gb200_rack(4)), (2, 4), id="TP8 on two trays"),
    pytest.param(
        a_demand(LLAMA_405B, budget=16, pins=pinned(16, 1)), a_fleet(gb200_rack(4)), (4, 4), id="TP16 on four trays"
    ),
    pytest.param(
        a_demand(R1, budget=8, pins=pinned(8, 1, expert=True)), a_fleet(gb200_rack(3)), (2, 4), id="experts on trays"
    ),
]


@pytest.mark.parametrize(("demand", "fleet", "shape"), PLANS)
def test_vllm_gives_each_pod_the_ranks_that_were_planned(demand: Demand, fleet: Fleet, shape: tuple[int, int]) -> None:
    """Its rule: global rank is GPUs a node times node rank plus local rank, tensor fastest (multiproc_executor.py)."""
    plan = planned(demand, fleet)
    group = plan.groups[0]
    found = launch(wants(demand), plan, group, HOSTS)
    assert (len(found.pods), group.pods[0].gpus) == shape
    for pod, place in zip(found.pods, group.pods, strict=True):
        said = options(pod.args)
        world = int(said["--tensor-parallel-size"]) * int(said["--pipeline-parallel-size"])
        local_world = world // int(said.get("--nnodes", "1"))
        node_rank = int(said.get("--node-rank", "0"))
        assert tuple(local_world * node_rank + local for local in range(local_world)) == place.ranks


@pytest.mark.parametrize(("demand", "fleet", "shape"), PLANS)
def test_a_tensor_group_leaves_its_node_only_where_nvlink_does(
    demand: Demand, fleet: Fleet, shape: tuple[int, int]
) -> None:
    """Then NCCL must use NVLink between nodes or fail; else it is left to decide."""
    plan = planned(demand, fleet)
    found = launch(wants(demand), plan, plan.groups[0], HOSTS)
    forced = [{variable.name for variable in pod.env if variable.name.startswith("NCCL_")} for pod in found.pods]
    across = plan.layout.tensor > shape[1]
    assert forced == [{"NCCL_MNNVL_ENABLE", "NCCL_CUMEM_ENABLE"} if across else set()] * shape[0]
    if across:
        assert len({place.domain for place in plan.groups[0].pods}) == 1
    else:
        assert plan.groups[0].pods[0].gpus % plan.layout.tensor == 0


def test_only_the_leader_is_probed() -> None:
    """A follower answers no HTTP; while the leader loads, only its startup probe counts: half an hour here."""
    leader, follower = started(a_plan(Layout(8, 2), 8, 8)).pods
    assert leader.startup == Probe("/health", period=2, timeout=5, failures=900)
    assert leader.readiness is not None
    assert replace(leader.readiness, command=()) == Probe("/health", period=10, timeout=10, failures=3)
    assert leader.readiness.command[3:] == ("8000", "/health", "5", "llama-0-0.default.svc", "2")
    assert leader.liveness == Probe("/health", period=10, timeout=10, failures=6)
    assert (follower.startup, follower.readiness, follower.liveness) == (None, None, None)


def test_the_pods_of_a_group_meet_before_any_engine_starts_and_followers_end_quickly() -> None:
    """Then the engines start side by side. A headless one does not end by itself and serves nobody."""
    leader, *followers = started(a_plan(Layout(8, 3), 8, 8, 8)).pods
    assert leader.waits == Script(GATHER_SCRIPT, ("29599", *HOSTS[1:3]))
    assert [pod.waits for pod in followers] == [Script(ARRIVE_SCRIPT, ("29599", LEADER, "29501"))] * 2
    assert [pod.grace for pod in (leader, *followers)] == [60, 2, 2]


def test_the_ports_of_a_group_are_named() -> None:
    """HTTP, and the rendezvous where ranks meet; the others are of the engine's own choice."""
    found = started(a_plan(Layout(8, 2), 8, 8))
    assert (found.http_port, found.ports) == (8000, (("http", 8000), ("rendezvous", 29501)))
    assert options(found.pods[0].args)["--port"] == str(found.http_port)
    assert options(found.pods[0].args)["--host"] == "0.0.0.0"  # noqa: S104 - a pod is reached at its own address


def test_the_engine_may_take_as_long_to_start_as_its_probe() -> None:
    """VLLM's own limit of ten minutes would end a large group before the probe does."""
    leader, follower = started(a_plan(Layout(8, 2), 8, 8, weights=100 << 30)).pods
    assert leader.startup is not None
    budget = leader.startup.period * leader.startup.failures
    assert budget == 16_000
    for pod in (leader, follower):
        assert {variable.name: variable.value for variable in pod.env}["VLLM_ENGINE_READY_TIMEOUT_S"] == str(budget)


STEP_SECONDS = [
    pytest.param("0.33.0", (8, 8), None, "60", id="several pods: a minute"),
    pytest.param("0.34.1", (8, 8), None, "60", id="a newer release"),
    pytest.param("0.32.0", (8, 8), None, "120", id="an older release compiles kernels in its first steps"),
    pytest.param("0.11.1", (8, 8), None, "120", id="the oldest release"),
    pytest.param("0.33.0", (8, 8), "900", "900", id="the object's own value wins"),
    pytest.param("0.33.0", (16,), None, None, id="a single pod keeps the engine's default"),
    pytest.param("0.33.0", (16,), "30", "30", id="the object's own value for a single pod"),
]
"""Release, GPUs of each pod, the object's own value, and the value of VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS."""


@pytest.mark.parametrize(("release", "pods", "own", "seconds"), STEP_SECONDS)
def test_a_step_of_several_pods_is_taken_for_hung_after_a_minute(
    release: str, pods: tuple[int, ...], own: str | None, seconds: str | None
) -> None:
    """By the engine itself, on every pod alike; VLLM's own 300 seconds leave clients without an answer for so long."""
    name = "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"
    env = () if own is None else (EnvVar(name, value=own),)
    wanted = wants(version=release, env=env)
    assert problems(wanted) == ()
    found = started(a_plan(Layout(8, 2), *pods), wanted).pods
    assert [{variable.name: variable.value for variable in pod.env}.get(name) for pod in found] == [seconds] * len(pods)
