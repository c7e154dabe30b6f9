"""Drains, as `kubectl drain` makes them: cordoned first, then evicted through the disruption budget."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
from tests.cluster.history import History, recorded, serving
from tests.cluster.installed import MODELS, Running
from tests.cluster.pool import in_pool, pool
from tests.cluster.reached import Reached

POOL: Final = "drained"


@pytest.fixture(scope="module")
def nodes(plane: Reached) -> Iterator[list[str]]:
    """Give six nodes of two GPUs each: a group of TP2×PP2 takes two of them."""
    with pool(plane, POOL, 6, 2) as names:
        yield names


@pytest.fixture
def history(running: Running) -> Iterator[History]:
    with recorded(running.plane, MODELS) as found:
        yield found


def drain(running: Running, *nodes: str) -> str:
    """Drain nodes at once, each as by an administrator of its own; wait until all say so. Gives what was said."""
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=50s", "--pod-selector=shardwise.dev/model")
    with ThreadPoolExecutor() as at_once:
        said = list(at_once.map(lambda node: running.plane.kubectl("drain", node, *options), nodes))
    return "".join(said)


def nodes_of(running: Running, name: str) -> list[str]:
    return [pod["spec"]["nodeName"] for pod in running.pods(name)]


def fewest(history: History, name: str, replicas: int) -> int:
    """Give the fewest replicas that served since all did."""
    served = [serving(pods, name) for pods in history.instants()]
    return min(served[served.index(replicas) :])


def test_every_replica_of_a_drained_node_is_moved(running: Running, nodes: list[str], history: History) -> None:
    """Two on one node: one after the other, while the other serves."""
    running.apply(in_pool(POOL, "emptied", 1, replicas=2))
    running.ready("emptied")
    (node,) = set(nodes_of(running, "emptied"))
    assert node in nodes
    try:
        assert drain(running, node).count("evicted") == 2
        running.ready("emptied")
        assert node not in nodes_of(running, "emptied")
        running.until(lambda: serving(list(history.instants())[-1], "emptied") == 2, "the history of it")
        assert fewest(history, "emptied", 2) == 1
        reasons = [event["message"] for event in running.events("emptied") if event["reason"] == "GroupRestarted"]
        assert len(reasons) == 2
        # The fake node lets a pod go at once, so the operator may see its end only.
        seen = (f"on {node} is being deleted", f"on {node} is gone")
        assert all(any(words in reason for words in seen) for reason in reasons)
    finally:
        running.plane.kubectl("uncordon", node)


def test_groups_of_several_nodes_are_drained_one_after_the_other(
    running: Running, nodes: list[str], history: History
) -> None:
    """The leader of one and a follower of the other, at once: evicting either ends its group, so the other waits."""
    running.apply(in_pool(POOL, "pairs", 2, 2, replicas=2))
    running.ready("pairs")
    placed = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in running.pods("pairs")}
    assert set(placed.values()) <= set(nodes)
    leaving = placed["pairs-0-0-0"], placed["pairs-1-0-1"]
    try:
        drain(running, *leaving)
        running.ready("pairs")
        assert not set(leaving) & set(nodes_of(running, "pairs"))
        running.until(lambda: serving(list(history.instants())[-1], "pairs") == 2, "the history of it")
        assert fewest(history, "pairs", 2) == 1
    finally:
        running.plane.kubectl("uncordon", *leaving)


def test_a_drain_with_nowhere_to_go_ends_all_the_same(running: Running, nodes: list[str]) -> None:
    """The last replicas are evicted as well, and none is left on a node that is called drained; then they wait."""
    running.apply(in_pool(POOL, "nowhere", 1, replicas=2))
    running.ready("nowhere")
    try:
        drain(running, *nodes)
        running.until(lambda: running.pods("nowhere") == [], "no pods")
        told = running.condition("nowhere", "Reconciling")
        assert told["status"] == "True"
    finally:
        running.plane.kubectl("uncordon", *nodes)
    running.ready("nowhere")
