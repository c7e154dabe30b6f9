"""Nodes with the labels of real clusters, on a real API server: taken as they are, and planned on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.installed import Running
from tests.cluster.reached import Reached, fleet
from tests.support.operating import a_model

from shardwise.inventory import read_fleet

Json = dict[str, Any]

SAMPLES: dict[str, Json] = {
    sample["name"]: {key: str(value) for key, value in sample["labels"].items()}
    for sample in yaml.safe_load((Path(__file__).parent.parent / "data" / "node-labels.yaml").read_text())["samples"]
    if "labels" in sample
}


def a_node(name: str, labels: Json) -> Json:
    gpus = labels.get("nvidia.com/gpu.count", "0")
    metadata = {"name": name, "labels": {**labels, "fleet": "samples"}}
    return {"metadata": metadata, "spec": {}, "status": {"allocatable": {"nvidia.com/gpu": gpus}}}


@pytest.fixture(scope="module")
def samples(plane: Reached) -> Iterator[Reached]:
    """Give the control plane with a node of every sample besides the demo's."""
    fleet(plane, [a_node(name, labels) for name, labels in SAMPLES.items()])
    yield plane
    plane.kubectl("delete", "nodes", *SAMPLES)
    for pod in json.loads(plane.kubectl("get", "pods", "-A", "-o", "json"))["items"]:
        if pod["spec"].get("nodeName") in SAMPLES:  # nobody is left to end it, and the garbage collector takes a minute
            at = pod["metadata"]
            plane.kubectl("delete", "pod", at["name"], "-n", at["namespace"], "--force", "--ignore-not-found")


def test_real_labels_read_the_same_from_a_real_api_server(samples: Reached) -> None:
    """Every label is kept; the fleet is what it is without a server in between."""
    found = json.loads(samples.kubectl("get", "nodes", "-l", "fleet=samples", "-o", "json"))["items"]
    read = {node.name: node for node in read_fleet(found, []).nodes}
    for name, labels in SAMPLES.items():
        (own,) = read_fleet([a_node(name, labels)], []).nodes
        assert (read[name].product, read[name].gpus, read[name].memory) == (own.product, own.gpus, own.memory)
        assert read[name].exclusion == own.exclusion
        assert set(labels.items()) <= set(read[name].labels)


def test_a_model_is_launched_on_a_node_with_the_labels_of_a_real_one(samples: Reached, running: Running) -> None:
    """Chosen by its product alone."""
    running.apply(a_model("on-t4", budget={"products": ["Tesla-T4"]}, gpus=2, model_contextLength=2048))
    status = running.ready("on-t4")
    assert status["plan"]["product"] == "Tesla-T4"
    (pod,) = running.pods("on-t4")
    assert pod["spec"]["nodeName"] in SAMPLES
    assert samples.kubectl("get", "node", pod["spec"]["nodeName"], "-o", "name")
