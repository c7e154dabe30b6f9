"""Nodes and pods that nobody should write and somebody will: read all the same, or left out, and never an exception."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.domain.platforms import Level
from shardwise.domain.site import FleetSite
from shardwise.domain.units import MIB
from shardwise.inventory import gpu_request, held_gpus, read_fleet
from shardwise.inventory.nodes import read_node

Json = dict[str, Any]

SAMPLES: list[Json] = yaml.safe_load((Path(__file__).parent.parent / "data" / "node-labels.yaml").read_text())[
    "samples"
]
STATES: dict[str, Json] = {
    f"{sample['name']} {number}": labels
    for sample in SAMPLES
    for number, labels in enumerate(sample.get("states") or [sample.get("labels")])
}
H100 = {
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.replicas": "1",
}
LONGEST = "9" * 63
"""The largest number a label can hold: a value has at most 63 characters."""


def a_node(labels: Json | None = None, *, name: str = "n", gpus: object = "8", **fields: Any) -> Json:
    status = {"allocatable": {"nvidia.com/gpu": gpus}, "conditions": fields.pop("conditions", [])}
    return {"metadata": {"name": name, "labels": H100 | (labels or {})}, "spec": fields, "status": status}


def a_pod(*gpus: object, node: str = "n", init: list[Json] | None = None, **status: Any) -> Json:
    containers = [a_container(count) for count in gpus]
    return {"spec": {"nodeName": node, "containers": containers, "initContainers": init}, "status": status}


def a_container(gpus: object, **more: Any) -> Json:
    return {"resources": {"requests": {"nvidia.com/gpu": gpus}, "limits": {"nvidia.com/gpu": gpus}}, **more}


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample["name"] for sample in SAMPLES])
def test_every_sample_says_where_it_was_found(sample: Json) -> None:
    """A label set nobody can trace is an invention."""
    assert sample.get("source") or sample.get("derivation")
    assert sample["kind"].partition("-")[0] in {"verbatim", "test", "derived"}


UNUSABLE = {
    "dgx-a100-heterogeneous-flapping 0": ("NVIDIA-DGX-Display", Exclusion.MIXED),
    "dgx-a100-heterogeneous-flapping 1": ("NVIDIA-A100-SXM4-80GB", Exclusion.SHARED),
    "oci-oke-rdma-topology 0": ("", Exclusion.NO_PRODUCT),
    "oci-oke-gb200-host 0": ("", Exclusion.NO_PRODUCT),
    "amd-instinct-mi210 0": ("", Exclusion.NO_PRODUCT),
    "a100-pcie-40gb-supermicro-mig-mixed 0": ("A100-PCIE-40GB", Exclusion.PARTITIONED),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_sample_that_lacks_what_is_needed_is_left_out(name: str) -> None:
    """Another vendor's, another feature's labels alone, labels that flap, partitions that only their profiles tell."""
    labels = {key: str(value) for key, value in STATES[name].items()}
    read = read_node({"metadata": {"labels": labels}, "status": {"allocatable": {"nvidia.com/gpu": "4"}}}, 0)
    assert (read.product, read.exclusion) == UNUSABLE[name]
    assert read.free == 0


LABELLED: dict[str, tuple[Json, int, int, Exclusion | None]] = {
    "a negative count": ({"nvidia.com/gpu.count": "-8"}, 8, 81559, None),
    "a count with a unit": ({"nvidia.com/gpu.count": "8 GPUs"}, 8, 81559, None),
    "a count of none": ({"nvidia.com/gpu.count": "0"}, 0, 81559, Exclusion.MIXED),
    "a huge count": ({"nvidia.com/gpu.count": LONGEST}, 8, 81559, None),
    "a negative memory": ({"nvidia.com/gpu.memory": "-81559"}, 8, 0, Exclusion.NO_MEMORY),
    "a memory in words": ({"nvidia.com/gpu.memory": "much"}, 8, 0, Exclusion.NO_MEMORY),
    "a memory with a fraction": ({"nvidia.com/gpu.memory": "81559.5"}, 8, 0, Exclusion.NO_MEMORY),
    "a huge memory": ({"nvidia.com/gpu.memory": LONGEST}, 8, int(LONGEST), None),
    "replicas in words": ({"nvidia.com/gpu.replicas": "two"}, 8, 81559, None),
    "negative replicas": ({"nvidia.com/gpu.replicas": "-2"}, 8, 81559, None),
    "huge replicas": ({"nvidia.com/gpu.replicas": LONGEST}, 8, 81559, Exclusion.SHARED),
    "an empty product": ({"nvidia.com/gpu.product": ""}, 8, 81559, Exclusion.NO_PRODUCT),
    "no strategy of sharing": ({"nvidia.com/gpu.sharing-strategy": ""}, 8, 81559, None),
    "MIG switched off": ({"nvidia.com/mig.config": "all-disabled"}, 8, 81559, None),
    "MIG single, in the name": (
        {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb-SHARED"},
        8,
        81559,
        Exclusion.PARTITIONED,
    ),
}


@pytest.mark.parametrize(("labels", "gpus", "memory", "exclusion"), LABELLED.values(), ids=LABELLED)
def test_a_label_that_is_wrong_is_no_number(labels: Json, gpus: int, memory: int, exclusion: Exclusion | None) -> None:
    """What the device plugin offers is then believed; without a memory the node is left out."""
    read = read_node(a_node(labels), 0)
    assert (read.gpus, read.memory, read.exclusion) == (gpus, memory * MIB, exclusion)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (({"nvidia.com/mig.config": "all-1g.10gb"}, {"unschedulable": True}), Exclusion.PARTITIONED),
        (({"nvidia.com/gpu.replicas": "2"}, {"unschedulable": True}), Exclusion.SHARED),
        (({}, {"gpus": "0", "unschedulable": True}), Exclusion.OFFERS_NONE),
        (({}, {"unschedulable": True, "conditions": [{"type": "Ready", "status": "False"}]}), Exclusion.NOT_READY),
        (({}, {"unschedulable": True, "conditions": [{"type": "GpuMemWatch", "status": "True"}]}), Exclusion.CORDONED),
    ],
)
def test_of_several_reasons_the_lasting_one_is_told(first: tuple[Json, Json], then: Exclusion) -> None:
    """Uncordoning a node in MIG mode would not help."""
    labels, fields = first
    assert read_node(a_node(labels, **fields), 0).exclusion is then


texts = st.text(max_size=63)
numbers = st.sampled_from(["0", "1", "8", "-1", LONGEST, "8.5", "0x8", "٨", " 8", "1e3", ""])
some_labels = st.dictionaries(
    st.sampled_from([*H100, "nvidia.com/gpu.clique", "nvidia.com/mig.config"]), texts | numbers
)
some_conditions = st.lists(st.fixed_dictionaries({"type": texts, "status": texts}) | st.just({}), max_size=3)
some_taints = st.lists(st.fixed_dictionaries({"key": texts}, optional={"value": texts | st.none(), "effect": texts}))
json_values = st.none() | st.booleans() | st.integers() | st.floats() | texts | numbers
nodes = st.builds(
    a_node,
    some_labels,
    name=st.sampled_from("abcd"),
    gpus=json_values,
    conditions=some_conditions,
    taints=some_taints,
    unschedulable=json_values,
)
pods = st.builds(a_pod, json_values, json_values, node=st.sampled_from(["a", "b", "gone", ""]), phase=texts)


@given(st.lists(nodes, max_size=4), st.lists(pods, max_size=4), st.randoms(use_true_random=False))
def test_any_cluster_is_read_the_same_in_any_order(found: list[Json], running: list[Json], random: Any) -> None:
    """Never an exception, never less than nothing, and the order of a list says nothing."""
    found = list({node["metadata"]["name"]: node for node in found}.values())
    fleet = read_fleet(found, running)
    assert [node.name for node in fleet.nodes] == sorted(node["metadata"]["name"] for node in found)
    for node in fleet.nodes:
        assert 0 <= node.free <= node.gpus
        assert node.exclusion is None or node.free == 0
        assert node.exclusion is not None or (node.product and node.memory > 0 and node.gpus > 0)
    random.shuffle(found)
    random.shuffle(running)
    assert read_fleet(found, running) == fleet


def test_an_empty_cluster_is_an_empty_fleet_with_its_levels() -> None:
    levels = (Level("rack", ("example.com/rack",)), Level("zone", ("topology.kubernetes.io/zone",)))
    assert read_fleet([], [], site=FleetSite(levels=levels)) == Fleet((), ("rack", "zone"))


ASKED: dict[str, tuple[Json, int]] = {
    "a fraction": (a_pod("0.5"), 0),
    "less than none": (a_pod("-4"), 0),
    "a number less than none": (a_pod(-4), 0),
    "a truth": (a_pod(True), 0),
    "one wrong, one right": (a_pod("many", "2"), 2),
    "the request is what is held": ({"spec": {"containers": [{"resources": {"requests": {"nvidia.com/gpu": 2}}}]}}, 2),
    "a null request, and a limit": (
        {
            "spec": {
                "containers": [{"resources": {"requests": {"nvidia.com/gpu": None}, "limits": {"nvidia.com/gpu": "3"}}}]
            }
        },
        3,
    ),
    "null sections": ({"spec": {"containers": [{"resources": {"requests": None, "limits": None}}]}}, 0),
    "a container of nothing": ({"spec": {"containers": [{}]}}, 0),
    "MIG slices beside a GPU": (
        {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/mig-3g.40gb": "2", "nvidia.com/gpu": "1"}}}]}},
        1,
    ),
    "a shared GPU is another resource": (
        {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu.shared": "4"}}}]}},
        0,
    ),
}


@pytest.mark.parametrize(("pod", "gpus"), ASKED.values(), ids=ASKED)
def test_a_pod_that_asks_oddly_is_counted(pod: Json, gpus: int) -> None:
    assert gpu_request(pod) == gpus


counts = st.lists(st.integers(0, 8), max_size=4)


@given(counts, counts, counts)
def test_what_is_asked_is_the_most_that_runs_at_once(running: list[int], sidecars: list[int], steps: list[int]) -> None:
    """Played through: sidecars start and stay, then each step alone, then all containers. Numbers and texts agree."""
    moments = [sum(sidecars) + step for step in steps] + [sum(sidecars) + sum(running)]
    for written in (int, str):
        init = [a_container(written(count), restartPolicy="Always") for count in sidecars]
        init += [a_container(written(count)) for count in steps]
        assert gpu_request(a_pod(*map(written, running), init=init)) == max(moments)


@pytest.mark.parametrize("status", [{"phase": "Succeeded"}, {"phase": "Failed"}])
def test_a_finished_pod_frees_its_gpus_and_a_deleted_one_does_not(status: Json) -> None:
    """Until it has ended it runs: also with a deletion timestamp."""
    deleting = a_pod("4", phase="Running") | {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert held_gpus([a_pod("8", **status), deleting]) == {"n": 4}


def test_what_is_held_on_a_node_that_is_gone_is_nobodys() -> None:
    fleet = read_fleet([a_node()], [a_pod("2", node="gone")], held=[("gone", 3), ("n", 1), ("n", 2)])
    assert [(node.name, node.free) for node in fleet.nodes] == [("n", 5)]


def test_more_held_than_there_is_leaves_none() -> None:
    """By pods and plans together, while one makes way for the other."""
    (read,) = read_fleet([a_node()], [a_pod("8")], held=[("n", 8)]).nodes
    assert (read.gpus, read.free, read.exclusion) == (8, 0, None)
