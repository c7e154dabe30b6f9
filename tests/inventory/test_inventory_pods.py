"""GPUs that pods hold, counted as the scheduler counts them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwise.inventory import gpu_request, held_gpus, is_finished

Json = dict[str, Any]


def container(gpus: object = None, section: str = "limits", **more: Any) -> Json:
    return {"resources": {} if gpus is None else {section: {"nvidia.com/gpu": gpus}}, **more}


def a_pod(*containers: Json, init: list[Json] | None = None, node: str = "n", phase: str = "Running") -> Json:
    spec: Json = {"nodeName": node, "containers": list(containers)}
    return {"spec": spec | ({} if init is None else {"initContainers": init}), "status": {"phase": phase}}


COUNTED: dict[str, tuple[Json, int]] = {
    "none": (a_pod(container()), 0),
    "one container": (a_pod(container("8")), 8),
    "a number": (a_pod(container(8)), 8),
    "requests alone": (a_pod(container("2", "requests")), 2),
    "two containers add up": (a_pod(container("1"), container("2")), 3),
    "an init container is given back": (a_pod(container("1"), init=[container("1")]), 1),
    "a larger init container counts": (a_pod(container("1"), init=[container("4")]), 4),
    "the largest of them": (a_pod(container("1"), init=[container("2"), container("3")]), 3),
    "a sidecar adds up": (a_pod(container("1"), init=[container("2", restartPolicy="Always")]), 3),
    "a sidecar beside an init container": (
        a_pod(container("1"), init=[container("2", restartPolicy="Always"), container("3")]),
        5,
    ),
    "a MIG slice is none": (a_pod({"resources": {"limits": {"nvidia.com/mig-1g.10gb": "1"}}}), 0),
    "another vendor's": (a_pod({"resources": {"limits": {"amd.com/gpu": "1"}}}), 1),
    "no GPU of any vendor": (a_pod({"resources": {"limits": {"cpu": "1", "habana.ai/gaudi": "8"}}}), 0),
    "nonsense": (a_pod(container("many")), 0),
    "no resources": (a_pod({"resources": None}), 0),
    "no spec": ({}, 0),
    "null lists": ({"spec": {"containers": None, "initContainers": None}}, 0),
}


@pytest.mark.parametrize(("pod", "gpus"), COUNTED.values(), ids=COUNTED)
def test_a_pod_asks_for_so_many(pod: Json, gpus: int) -> None:
    assert gpu_request(pod) == gpus


@pytest.mark.parametrize(
    ("phase", "finished"),
    [("Pending", False), ("Running", False), ("Unknown", False), ("Succeeded", True), ("Failed", True)],
)
def test_a_pod_that_ended_holds_nothing(phase: str, finished: bool) -> None:
    """One on a node nobody hears of may still run."""
    pod = a_pod(container("8"), phase=phase)
    assert is_finished(pod) is finished
    assert held_gpus([pod])["n"] == (0 if finished else 8)


def test_only_bound_pods_hold_gpus() -> None:
    """The others hold them through their plan."""
    assert held_gpus([a_pod(container("8"), node="")]) == {}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), max_size=8))
def test_what_is_held_adds_up_by_node(drawn: list[tuple[str, int]]) -> None:
    held = held_gpus([a_pod(container(str(gpus)), node=node) for node, gpus in drawn])
    assert held.total() == sum(gpus for _, gpus in drawn)
    assert all(held[node] == sum(gpus for one, gpus in drawn if one == node) for node in "abc")


@pytest.mark.parametrize(
    ("labels", "gpus"),
    [
        pytest.param({"shardwise.dev/gpus": "8"}, 8, id="as many as the label says"),
        pytest.param({"shardwise.dev/gpus": "many"}, 0, id="a label that is no number"),
        pytest.param({}, 0, id="no label"),
    ],
)
def test_a_pod_that_holds_gpus_by_claims_says_how_many(labels: dict[str, str], gpus: int) -> None:
    """A claim names no number that the pod shows."""
    assert gpu_request({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "engine"}]}}) == gpus
