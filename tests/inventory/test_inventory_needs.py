"""The resources besides GPUs that nodes offer and that pods hold: read as the scheduler reads them, and added up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwise.domain.needs import CHANNEL, Amounts, added
from shardwise.inventory import Ledger, other_requests, read_fleet, read_node, use

Json = dict[str, Any]
LABELS = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}


def a_node(name: str = "n", gpus: int = 8, **allocatable: str) -> Json:
    offered = {"nvidia.com/gpu": str(gpus), **allocatable}
    return {"metadata": {"name": name, "labels": LABELS if gpus else {}}, "status": {"allocatable": offered}}


def container(limits: Json | None = None, **more: Any) -> Json:
    requests = more.pop("requests", None)
    return {"resources": {"limits": limits, "requests": requests}, **more}


def a_pod(*containers: Json, init: list[Json] | None = None, node: str = "n", **spec: Any) -> Json:
    return {"spec": {"nodeName": node, "containers": list(containers), "initContainers": init, **spec}}


PODS: dict[str, tuple[Json, dict[str, int]]] = {
    "a pod that asks for nothing": (a_pod(container()), {}),
    "requests": (a_pod(container(requests={"cpu": "500m", "memory": "1Gi"})), {"cpu": 500, "memory": 1000 << 30}),
    "a limit without a request": (a_pod(container({"cpu": "2"})), {"cpu": 2000}),
    "a request wins over the limit": (a_pod(container({"cpu": "2"}, requests={"cpu": "1"})), {"cpu": 1000}),
    "devices": (a_pod(container({"rdma/ib": "8", "nvidia.com/gpu": "8", "amd.com/gpu": "1"})), {"rdma/ib": 8000}),
    "containers add up": (a_pod(container({"cpu": "1"}), container({"cpu": "2"})), {"cpu": 3000}),
    "an init container is given back": (a_pod(container({"cpu": "3"}), init=[container({"cpu": "2"})]), {"cpu": 3000}),
    "a larger init container counts": (a_pod(container({"cpu": "1"}), init=[container({"cpu": "2"})]), {"cpu": 2000}),
    "a sidecar adds up": (
        a_pod(
            container({"cpu": "1"}),
            init=[container({"cpu": "2"}, restartPolicy="Always"), container({"cpu": "4"})],
        ),
        {"cpu": 6000},
    ),
    "requests of the whole pod": (
        a_pod(container({"cpu": "1", "memory": "1Gi"}), resources={"requests": {"cpu": "8"}}),
        {"cpu": 8000, "memory": 1000 << 30},
    ),
    "the overhead of its runtime": (a_pod(container({"cpu": "1"}), overhead={"cpu": "250m"}), {"cpu": 1250}),
    "a channel": (a_pod(container(), resourceClaims=[{"name": "nvlink"}]), {CHANNEL: 1000}),
    "another claim": (a_pod(container(), resourceClaims=[{"name": "gpus"}]), {}),
    "nonsense": (a_pod(container({"cpu": "many", "memory": None})), {}),
    "nothing at all": ({}, {}),
}


@pytest.mark.parametrize(("pod", "asked"), PODS.values(), ids=PODS)
def test_a_pod_asks_for_so_much(pod: Json, asked: dict[str, int]) -> None:
    """Every pod is itself a pod of its node."""
    assert dict(other_requests(pod)) == asked | {"pods": 1000}


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_ended_or_is_not_bound_holds_nothing(phase: str) -> None:
    assert use({**a_pod(container({"cpu": "1"})), "status": {"phase": phase}}) is None
    assert use(a_pod(container({"cpu": "1"}), node="")) is None


def test_a_node_offers_what_is_allocatable_except_gpus() -> None:
    node = read_node(a_node("n", 8, **{"cpu": "3920m", "rdma/ib": "8", "odd": "many"}), 0)
    assert node.allocatable == (("cpu", 3920), ("rdma/ib", 8000))
    assert node.taken == ()


def test_a_fleet_shows_what_pods_have_taken() -> None:
    pods = [a_pod(container({"cpu": "2", "nvidia.com/gpu": "1"})), a_pod(container({"cpu": "1"}))]
    (node,) = read_fleet([a_node(cpu="8")], pods).nodes
    assert (node.free, node.taken) == (7, (("cpu", 3000), ("pods", 2000)))


def test_pods_matter_to_nobody_on_a_node_without_gpus() -> None:
    """Clusters have many such nodes, and their pods come and go all the time."""
    ledger: Ledger[str] = Ledger()
    ledger.put(a_node(gpus=0, cpu="8"))
    before = ledger.fleet(), ledger.mark
    ledger.bind("", "n", 0, (("cpu", 1000),))
    assert (ledger.fleet(), ledger.mark) == before
    assert ledger.fleet() is before[0]


CPU: Amounts = (("cpu", 1000),)


def taken(ledger: Ledger[str], without: str | None = None) -> dict[str, int]:
    (node,) = ledger.fleet(without).nodes
    return dict(node.taken)


def a_ledger() -> Ledger[str]:
    ledger: Ledger[str] = Ledger()
    ledger.put(a_node(cpu="8"))
    return ledger


def test_of_bound_pods_and_a_plan_the_larger_count_is_taken() -> None:
    ledger = a_ledger()
    ledger.plan("x", {"n": 2}, {"n": (("cpu", 4000), ("rdma/ib", 8000))})
    assert taken(ledger) == {"cpu": 4000, "rdma/ib": 8000}
    ledger.bind("x", "n", 2, (("cpu", 5000),))
    assert taken(ledger) == {"cpu": 5000, "rdma/ib": 8000}
    ledger.plan("x", {})
    assert taken(ledger) == {"cpu": 5000}
    ledger.bind("x", "n", -2, (("cpu", -5000),))
    assert taken(ledger) == {}


def test_a_holder_sees_the_resources_of_others_alone() -> None:
    ledger = a_ledger()
    ledger.bind("x", "n", 1, CPU)
    ledger.bind("", "n", 0, CPU)
    assert (taken(ledger), taken(ledger, "x"), taken(ledger, "")) == ({"cpu": 2000}, {"cpu": 1000}, {"cpu": 1000})
    ledger.release("x")
    assert taken(ledger) == {"cpu": 1000}


def test_resources_that_become_free_are_a_gain() -> None:
    ledger = a_ledger()
    ledger.bind("", "n", 0, CPU)
    mark = ledger.mark
    ledger.bind("", "n", 0, CPU)
    assert not ledger.gained(mark, lambda _: True), "more is taken"
    ledger.bind("", "n", 0, (("cpu", -2000),))
    assert ledger.gained(mark, lambda _: True)
    assert not ledger.gained(mark, lambda _: False)


holders = st.sampled_from(["x", "y", ""])
steps = st.lists(st.tuples(holders, st.sampled_from(["cpu", "memory"]), st.integers(1, 5)), max_size=12)


@given(steps, st.dictionaries(holders, st.integers(1, 9)))
def test_whatever_the_order_of_events_the_counts_add_up(
    bound: list[tuple[str, str, int]], plans: dict[str, int]
) -> None:
    ledger = a_ledger()
    for holder, resource, amount in bound:
        ledger.bind(holder, "n", 0, ((resource, amount),))
    for holder, amount in plans.items():
        ledger.plan(holder, {}, {"n": (("cpu", amount),)})
    for without in (None, "x", "y", ""):
        whole: dict[str, int] = {}
        for holder in {"x", "y", ""} - {without}:
            own = added(*([(resource, amount)] for owner, resource, amount in bound if owner == holder))
            if holder in plans:
                own["cpu"] = max(own.get("cpu", 0), plans[holder])
            whole = added(whole.items(), own.items())
        assert taken(ledger, without) == whole
