"""Nodes that die: their heartbeats stop, and the cluster's own controllers do the rest.

The node lifecycle controller finds them out, taints them, and evicts by the tolerations of our pods; with no kubelet to
confirm it, the pods stay in Terminating. All of it takes about 50 s, so that it happens once, to several objects.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest
from tests.cluster.installed import MODELS, Running
from tests.cluster.pool import in_pool, pool
from tests.cluster.processes import LIMIT
from tests.cluster.reached import Reached

Json = dict[str, Any]

POOL: Final = "mortal"
UNREACHABLE: Final = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


@pytest.fixture(scope="module")
def nodes(plane: Reached) -> Iterator[list[str]]:
    """Give eight nodes of two GPUs each."""
    with pool(plane, POOL, 8, 2) as names:
        yield names


@dataclass
class Dead:
    """Nodes without a heartbeat."""

    running: Running
    names: list[str]

    def come_back(self) -> None:
        """Let kubelets run on them again."""
        self.running.plane.kubectl("label", "nodes", *self.names, "type=kwok", "--overwrite")
        self.running.until(lambda: not any(map(self._is_tainted, self.names)), "the taints gone")

    def die(self) -> None:
        """Let the kubelets be gone, and wait until the cluster has found out."""
        self.running.plane.kubectl("label", "nodes", *self.names, "type-")
        self.running.until(lambda: all(map(self._is_tainted, self.names)), "the taints")

    def _is_tainted(self, name: str) -> bool:
        taints = self.running.get("node", name)["spec"].get("taints") or ()
        return any(UNREACHABLE.items() <= taint.items() for taint in taints)


def all_pods(running: Running, name: str) -> dict[str, Json]:
    """Give the pods of a model by name, those that are going included."""
    pods = running.get("pods", "-l", f"shardwise.dev/model={name}")["items"]
    return {pod["metadata"]["name"]: pod for pod in pods}


def lingering(running: Running, name: str) -> list[str]:
    """Name the pods of a model that are going, and do not go."""
    return [pod for pod, found in all_pods(running, name).items() if "deletionTimestamp" in found["metadata"]]


def nodes_of(running: Running, name: str) -> list[str]:
    return [pod["spec"]["nodeName"] for pod in running.pods(name)]


def keep(running: Running, pod: str, *, kept: bool) -> None:
    """Let a pod stay in Terminating also where a kubelet would confirm its end."""
    finalizers = ["test.dev/hold"] if kept else None
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    running.plane.kubectl("patch", "pod", pod, "-n", MODELS, "--type=merge", "-p", patch)


def moved(running: Running, name: str, dead: list[str]) -> bool:
    """Tell whether all pods that stay are elsewhere, and serve."""
    ready = running.condition(name, "Ready").get("status") == "True"
    pods = running.pods(name)
    return ready and bool(pods) and all(pod["spec"].get("nodeName") not in (None, "", *dead) for pod in pods)


def test_nodes_that_die_keep_nobody_from_going_on(running: Running, nodes: list[str]) -> None:
    """Groups begin again elsewhere under new names; scaling down, deleting and making anew do not wait for the dead.

    The GPUs there are held until the pods are gone, also once the node is back, and are free from then on.
    """
    running.apply(in_pool(POOL, "pair", 2, 2), in_pool(POOL, "both", 2, replicas=2), in_pool(POOL, "one", 2))
    for name in ("pair", "both", "one"):
        running.ready(name)
    hit = [nodes_of(running, "pair")[1], nodes_of(running, "both")[0], nodes_of(running, "one")[0]]
    assert set(hit) <= set(nodes)
    survivor = running.pod_names("both")[1]
    dead = Dead(running, hit)
    keep(running, "pair-0-0-1", kept=True)  # what is going already takes none
    dead.die()
    try:
        groups_begin_again_elsewhere(running, hit)
        assert survivor in running.pod_names("both")
        nobody_waits_for_the_dead(running)
        dead.come_back()
        gpus_are_held_until_the_pods_are_gone(running, hit[0])
    finally:
        if lingering(running, "pair"):
            keep(running, "pair-0-0-1", kept=False)
        dead.come_back()


def groups_begin_again_elsewhere(running: Running, dead: list[str]) -> None:
    for name in ("pair", "both", "one"):
        running.until(partial(moved, running, name, dead), f"{name} served elsewhere", 3 * LIMIT)
    assert running.pod_names("pair") == ["pair-0-1-0", "pair-0-1-1"]
    assert running.pod_names("one") == ["one-0-1-0"]
    assert lingering(running, "pair") == ["pair-0-0-1"]  # the other rank's kubelet has confirmed
    assert lingering(running, "both") == ["both-0-0-0"]
    assert lingering(running, "one") == ["one-0-0-0"]
    for name in ("pair", "both", "one"):
        assert running.status(name)["groups"][0].get("failures", 0) == 0  # nobody's fault


def nobody_waits_for_the_dead(running: Running) -> None:
    kubectl = running.plane.kubectl
    kubectl("scale", "shardedmodel/both", "--replicas=1", "-n", MODELS)
    assert running.ready("both")["replicas"] == 1
    running.until(lambda: len(running.pods("both")) == 1, "one replica")
    kubectl("delete", "shardedmodel", "one", "-n", MODELS, "--wait", "--timeout=20s")
    running.until(lambda: running.pods("one") == [], "its other pods gone")
    assert lingering(running, "one") == ["one-0-0-0"]
    running.apply(in_pool(POOL, "one", 2))
    running.ready("one")
    assert lingering(running, "one") == ["one-0-0-0"]


def gpus_are_held_until_the_pods_are_gone(running: Running, held: str) -> None:
    """Eight nodes: four in use, three that came back, one of them with a pod that does not go."""
    running.until(lambda: not lingering(running, "both") and not lingering(running, "one"), "the others gone")
    assert lingering(running, "pair") == ["pair-0-0-1"]
    running.apply(in_pool(POOL, "more", 2, replicas=4))
    running.until(lambda: running.status("more").get("readyReplicas") == 3, "three of four")
    assert running.condition("more", "Reconciling")["reason"] == "CapacityShort"
    assert held not in nodes_of(running, "more")
    keep(running, "pair-0-0-1", kept=False)
    running.ready("more")
    assert held in nodes_of(running, "more")
