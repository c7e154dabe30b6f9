"""Drains, as `kubectl drain` makes them: cordoned first, then evicted through the disruption budget."""

import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.cluster.installed import MODELS, Running
from tests.cluster.reached import fleet
from tests.support.operating import a_model

from shardwise.cli.demo import fleet_documents

Json = dict[str, Any]

POOL: Final = "drained"
PAIRS: Final = ("pair-0", "pair-1", "pair-2", "pair-3", "pair-4", "pair-5")


@pytest.fixture(scope="module", autouse=True)
def small_nodes(plane: Any) -> Iterator[None]:
    """Give six nodes of two GPUs each: a group of four takes two of them."""
    (like,) = [one for one in fleet_documents() if one["metadata"]["name"] == "h100-1"]
    labels = {**like["metadata"]["labels"], "nvidia.com/gpu.count": "2", "pool": POOL}
    allocatable = {**like["status"]["allocatable"], "nvidia.com/gpu": "2"}
    made = [
        like | {"metadata": {"name": name, "labels": {**labels, "kubernetes.io/hostname": name}}}
        | {"status": like["status"] | {"allocatable": allocatable, "capacity": allocatable}}
        for name in PAIRS
    ]  # fmt: skip
    fleet(plane, made)
    yield
    plane.kubectl("delete", "nodes", *PAIRS)


def pairs(name: str, **spec: Any) -> Json:
    """Make a model of groups of two pods on two of the small nodes."""
    return a_model(name, gpus=8, replicas=2, parallelism={"tensor": 2, "pipeline": 2},
                   placement={"nodeSelector": {"pool": POOL}}, **spec)  # fmt: skip


def drain(running: Running, *nodes: str) -> None:
    """Drain nodes at once, as one administrator for each; wait until all are done, and let pods on them again."""
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=50s", "--pod-selector=shardwise.dev/model")
    command = running.plane.command("drain", *options)
    try:
        drains = [subprocess.Popen([*command, node], stdout=subprocess.PIPE, text=True) for node in nodes]  # noqa: S603 - kubectl
        assert [(one.communicate(timeout=60)[0], one.returncode)[1] for one in drains] == [0] * len(nodes)
    finally:
        running.plane.kubectl("uncordon", *nodes)


def on(running: Running, name: str, *nodes: str) -> list[str]:
    """Name the pods of a model on nodes."""
    return [pod["metadata"]["name"] for pod in running.pods(name) if pod["spec"].get("nodeName") in nodes]


def fewest_served(running: Running, name: str) -> int:
    """Count, from the history of its status, the fewest replicas that served since it was ready first."""
    return min(count for count in running.history(name))


def test_every_replica_of_a_drained_node_is_moved_one_after_another(running: Running) -> None:
    """Three replicas on one node, room on another: never are fewer than two served, and none is left behind."""
    running.apply(a_model("moved", gpus=6, replicas=3, budget={"products": ["NVIDIA-H100-80GB-HBM3"]},
                          parallelism={"tensor": 2}, placement={"nodeSelector": {"kubernetes.io/hostname": ""}}
                          if False else {}))  # fmt: skip
    running.ready("moved")
