"""Nodes of a test's own, beside the fleet: as many, and as small, as it needs."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.cluster.reached import Reached, fleet
from tests.support.operating import a_model

from shardwise_sandbox.demo import fleet_documents

Json = dict[str, Any]


@contextlib.contextmanager
def pool(cluster: Reached, name: str, count: int, gpus: int) -> Iterator[list[str]]:
    """Give nodes of H100s with so many GPUs each, labelled ``pool``."""
    (like,) = [document for document in fleet_documents() if document["metadata"]["name"] == "h100-1"]
    names = [f"{name}-{number}" for number in range(count)]
    fleet(cluster, [_like(like, node, name, gpus) for node in names])
    try:
        yield names
    finally:
        cluster.kubectl("delete", "nodes", *names)


def _like(node: Json, name: str, pool_name: str, gpus: int) -> Json:
    labels = {**node["metadata"]["labels"], "nvidia.com/gpu.count": str(gpus), "kubernetes.io/hostname": name}
    allocatable = {**node["status"]["allocatable"], "nvidia.com/gpu": str(gpus)}
    metadata = {**node["metadata"], "name": name, "labels": {**labels, "pool": pool_name}}
    return {**node, "metadata": metadata, "status": {**node["status"], "allocatable": allocatable}}


def in_pool(pool_name: str, name: str, tensor: int, pipeline: int = 1, replicas: int = 1, **spec: Any) -> Json:
    """Make a model of groups of one pod a stage, on a pool's nodes."""
    return a_model(
        name,
        gpus=tensor * pipeline * max(2, replicas),
        replicas=replicas,
        parallelism={"tensor": tensor, "pipeline": pipeline},
        placement={"nodeSelector": {"pool": pool_name}},
        model_contextLength=8192,
        **spec,
    )
