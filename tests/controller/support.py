"""The controller's parts in a test's hand: a loop whose clock stands still, and what an API server would show."""

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from shardwise.observe import Key, Store
from shardwise_sandbox import h100_node

Json = dict[str, Any]

KEY: Key = ("default", "llama")
NOBODY: Key = ("default", "nobody")
_ROUNDS = 20
"""Rounds of the loop after which everything that can happen at this time has happened."""


class Clock:
    """The running loop's time: it passes only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now, raising=False)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and let happen what then happens."""
        self.now += seconds
        await settle()


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)


def at(version: int, obj: Mapping[str, Any]) -> Json:
    """Give an object as it was at a resourceVersion."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def a_node(name: str = "h100-1", version: int = 1, gpus: int = 8) -> Json:
    return at(version, h100_node(name, gpus))


def changed(obj: Mapping[str, Any], change: Callable[[Json], None]) -> Json:
    """Give a copy with a change made."""
    made = copy.deepcopy(dict(obj))
    change(made)
    return made


def a_plan(*pods: tuple[str, int], replicas: int = 1) -> Json:
    """Give what holds GPUs of a plan document: in each group, these nodes with these GPUs."""
    group = [{"index": index, "node": node, "gpus": gpus} for index, (node, gpus) in enumerate(pods)]
    return {"groups": [{"replica": replica, "pods": group} for replica in range(replicas)]}


def gpus_of(plan: Json) -> dict[str, int]:
    """Count the GPUs of such a plan on each node."""
    gpus: Counter[str] = Counter()
    for group in plan["groups"]:
        for pod in group["pods"]:
            gpus[pod["node"]] += pod["gpus"]
    return dict(gpus)


def a_model(name: str = "llama", version: int = 1, *, plan: Json | None = None, **spec: Any) -> Json:
    """Give a ShardedModel as a watch shows it; with a plan, one whose status holds it."""
    fields: Json = {"model": {"name": "meta-llama/Llama-3.1-8B"}, "gpuBudget": {"total": 1}, **spec}
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1}
    return at(version, {"metadata": metadata, "spec": fields, "status": {} if plan is None else a_status(plan)})


def a_status(plan: Json) -> Json:
    """Give what a status says of groups that hold what a plan document says."""
    groups = [_a_group(group["replica"], group["pods"]) for group in plan["groups"]]
    return {"plan": {"tensor": 8, "pipeline": 1}, "groups": groups}


def _a_group(replica: int, pods: list[Json]) -> Json:
    where = {"nodes": [pod["node"] for pod in pods], "gpusPerPod": pods[0]["gpus"] if pods else 0}
    return {"replica": replica, "attempt": 0, "state": "Ready", **where}


def a_pod(name: str = "llama-0-0-0", version: int = 1, *, node: str = "h100-1", gpus: int = 8, **more: Any) -> Json:
    """Give a running pod; ``owner`` makes it ours, ``phase`` and ``namespace`` change the rest."""
    owner = more.get("owner")
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}} if gpus else {"name": "c"}
    metadata: Json = {"name": name, "namespace": more.get("namespace", "default"), "uid": f"uid-{name}"}
    if owner is not None:
        metadata |= owned(owner)
        metadata["labels"] |= {"shardwise.dev/replica": "0", "shardwise.dev/attempt": "0", "shardwise.dev/index": "0"}
    spec = {"containers": [container], **({"nodeName": node} if node else {})}
    status = {"phase": more.get("phase", "Running")}
    return at(version, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status})


def a_service(name: str = "llama", version: int = 1, *, owner: str | None = "llama", revision: str = "r1") -> Json:
    metadata: Json = {"name": name, "namespace": "default"}
    if owner is not None:
        metadata |= owned(owner)
        metadata["labels"]["shardwise.dev/revision"] = revision
    return at(version, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}})


def owned(owner: str) -> Json:
    """Give the metadata that says whose something is."""
    return {
        "labels": {"app.kubernetes.io/managed-by": "shardwise", "shardwise.dev/model": owner},
        "ownerReferences": [{"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel", "name": owner}],
    }


def a_store(*objects: Json, nodes: tuple[Json, ...] = ()) -> Store:
    """Give a store that has seen pods and Services, models and nodes."""
    store = Store()
    for node in nodes:
        store.nodes.put(node)
    for obj in objects:
        shelf = {"Pod": store.pods, "Service": store.services}.get(obj.get("kind", ""), store.sharded_models)
        shelf.put(obj)
    return store


def free(store: Store, without: Key = NOBODY) -> dict[str, int]:
    """Give the free GPUs of each node, as if one object held nothing."""
    return {node.name: node.free for node in store.fleet(without=without).nodes}
