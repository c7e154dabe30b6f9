"""Nodes as clusters really label them, and as nobody should: read without a slip, or left out with a reason."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shardwise.domain.fleet import Exclusion, Taint
from shardwise.domain.units import MIB
from shardwise.inventory import read_fleet
from shardwise.inventory.nodes import nvlink_domain, read_count, read_node

Json = dict[str, Any]

SAMPLES = {
    sample["name"]: {key: str(value) for key, value in sample["labels"].items()}
    for sample in yaml.safe_load((Path(__file__).parent.parent / "data" / "node-labels.yaml").read_text())["samples"]
    if "labels" in sample
}
H100 = SAMPLES["h100-sxm-8gpu-vm-lambda"]
TRAY = SAMPLES["gb200-compute-tray-derived"]


def a_node(labels: Json | None = None, *, gpus: object = "8", **fields: Any) -> Json:
    node: Json = {"metadata": {"name": "n", "labels": H100 if labels is None else labels}}
    status = {"allocatable": {"nvidia.com/gpu": gpus}, "conditions": fields.pop("conditions", [])}
    return node | {"status": status, "spec": fields}


READ: dict[str, tuple[str, int, int, str | None, Exclusion | None]] = {
    "h100-sxm-8gpu-vm-lambda": ("NVIDIA-H100-80GB-HBM3", 8, 81559, None, None),
    "h100-sxm-2gpu-vm-lambda": ("NVIDIA-H100-80GB-HBM3", 2, 81559, None, None),
    "h100-sxm-8gpu-dell-xe9680": ("NVIDIA-H100-80GB-HBM3", 8, 81559, None, None),
    "a100-sxm-40gb-mig-mixed-gce": ("NVIDIA-A100-SXM4-40GB", 1, 40960, None, Exclusion.PARTITIONED),
    "a100-sxm-40gb-gce-old-driver": ("A100-SXM4-40GB", 1, 40536, None, None),
    "a100-mig-single-dell-r7525": ("", 16, 4864, None, Exclusion.PARTITIONED),
    "t4-2gpu-dell-r7525": ("Tesla-T4", 2, 15360, None, None),
    "v100-sxm2-1gpu-aws-openshift": ("Tesla-V100-SXM2-16GB", 1, 16384, None, None),
    "k80-16gpu-aws": ("Tesla-K80", 16, 11441, None, None),
    "p100-pcie-2gpu-dell-r730-openshift": ("Tesla-P100-PCIE-12GB", 2, 12198, None, None),
    "t4-1gpu-aks-hci": ("Tesla-T4", 1, 16384, None, None),
    "gb200-compute-tray-derived": ("NVIDIA-GB200", 4, 189471, "00000001-0000-0000-0000-000000000001.2", None),
    "hgx-h100-derived": ("NVIDIA-H100-80GB-HBM3", 8, 81559, None, None),
    "l40s-derived": ("NVIDIA-L40S", 1, 46068, None, None),
}


@pytest.mark.parametrize("name", READ)
def test_a_real_node_is_read(name: str) -> None:
    """Product, GPUs (16 are offered: the label's count is the lower), MiB a GPU, NVLink domain, why it is left out."""
    product, gpus, memory, domain, exclusion = READ[name]
    node = read_node(a_node(SAMPLES[name], gpus="16"), 0)
    assert (node.product, node.gpus, node.memory, node.exclusion) == (product, gpus, memory * MIB, exclusion)
    assert node.domain == (domain or "n")
    assert node.free == (0 if exclusion else gpus)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_read_without_a_slip(name: str) -> None:
    """Whatever it lacks: then it is left out with a reason."""
    node = read_node(a_node(SAMPLES[name]), 0)
    assert node.exclusion is not None or (node.product and node.memory and node.gpus)


EXCLUDED: dict[str, tuple[Json, Exclusion | None]] = {
    "all is well": (a_node(), None),
    "no GPUs offered": (a_node(gpus="0"), Exclusion.NO_GPUS),
    "no labels": (a_node({}), Exclusion.NO_PRODUCT),
    "no product": (a_node({"nvidia.com/gpu.memory": "1"}), Exclusion.NO_PRODUCT),
    "no memory": (a_node({"nvidia.com/gpu.product": "p"}), Exclusion.NO_MEMORY),
    "memory with a unit": (a_node(H100 | {"nvidia.com/gpu.memory": "81559MiB"}), Exclusion.NO_MEMORY),
    "memory of nothing": (a_node(H100 | {"nvidia.com/gpu.memory": "0"}), Exclusion.NO_MEMORY),
    "time-slicing": (a_node(H100 | {"nvidia.com/gpu.replicas": "4"}), Exclusion.SHARED),
    "MPS": (a_node(H100 | {"nvidia.com/gpu.sharing-strategy": "mps"}), Exclusion.SHARED),
    "shared by its name": (a_node(H100 | {"nvidia.com/gpu.product": "NVIDIA-H100-SHARED"}), Exclusion.SHARED),
    "MIG by its name": (a_node(H100 | {"nvidia.com/gpu.product": "NVIDIA-H100-MIG-1g.10gb"}), Exclusion.PARTITIONED),
    "MIG mixed": (a_node(H100 | {"nvidia.com/mig.config": "all-1g.10gb"}), Exclusion.PARTITIONED),
    "MIG and all slices gone": (a_node(H100 | {"nvidia.com/gpu.replicas": "0"}), Exclusion.PARTITIONED),
    "not Ready": (a_node(conditions=[{"type": "Ready", "status": "False"}]), Exclusion.NOT_READY),
    "not heard of": (a_node(conditions=[{"type": "Ready", "status": "Unknown"}]), Exclusion.NOT_READY),
    "cordoned": (a_node(unschedulable=True), Exclusion.CORDONED),
    "a fault": (a_node(conditions=[{"type": "GpuNvlinkWatch", "status": "True"}]), Exclusion.FAULTY),
    "a fault that was mended": (a_node(conditions=[{"type": "GpuNvlinkWatch", "status": "False"}]), None),
    "another condition": (a_node(conditions=[{"type": "DiskPressure", "status": "True"}]), None),
}


@pytest.mark.parametrize(("node", "exclusion"), EXCLUDED.values(), ids=EXCLUDED)
def test_a_node_that_cannot_be_used_has_a_reason_and_nothing_free(node: Json, exclusion: Exclusion | None) -> None:
    read = read_node(node, 0)
    assert read.exclusion is exclusion
    assert read.free == (8 if exclusion is None else 0)


@pytest.mark.parametrize(
    ("clique", "domain"),
    [
        ("", None),
        ("7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1", "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.1"),
        ("7b968a6d-c8aa-45e1-9e07-e1e51be99c31.0", "7b968a6d-c8aa-45e1-9e07-e1e51be99c31.0"),
        ("00000000-0000-0000-0000-000000000000.0", None),
        ("00000000-0000-0000-0000-000000000000.7", None),
        ("nonsense", None),
    ],
)
def test_a_clique_is_compared_whole_and_zeros_are_none(clique: str, domain: str | None) -> None:
    """An all-zero UUID would merge nodes that share nothing."""
    assert nvlink_domain({"nvidia.com/gpu.clique": clique}) == domain


def test_two_cliques_of_one_cluster_are_two_domains() -> None:
    one, other = (read_node(a_node(TRAY | {"nvidia.com/gpu.clique": f"a-b-c.{clique}"}), 0) for clique in (1, 2))
    assert one.domain != other.domain


@pytest.mark.parametrize(("held", "free"), [(0, 8), (3, 5), (8, 0), (9, 0)])
def test_what_is_held_is_not_free(held: int, free: int) -> None:
    """More may be held than there is, after a GPU broke: none is free then."""
    assert read_node(a_node(), held).free == free


def test_fewer_gpus_are_offered_than_are_built_in() -> None:
    """One is broken: the device plugin offers seven."""
    assert read_node(a_node(gpus="7"), 0).gpus == 7


def test_taints_are_read() -> None:
    node = a_node(taints=[{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "c", "effect": "NoExecute"}])
    assert read_node(node, 0).taints == (Taint("a", "b", "NoSchedule"), Taint("c", "", "NoExecute"))


@pytest.mark.parametrize(
    ("value", "count"),
    [("8", 8), (8, 8), ("08", 8), ("", None), ("-1", None), ("8.0", None), (None, None), ("٣", None), ("1k", None)],
)
def test_a_count_is_a_whole_number_or_none(value: object, count: int | None) -> None:
    assert read_count(value) == count


labels = st.dictionaries(st.sampled_from(sorted(H100 | TRAY)), st.text(max_size=20))
json_values = st.none() | st.integers() | st.text(max_size=5)


@given(labels, json_values)
def test_whatever_labels_say_a_node_is_read(drawn: dict[str, str], gpus: object) -> None:
    """Never an exception, never negative, never free and left out at once."""
    node = read_node(a_node(drawn, gpus=gpus), 0)
    assert 0 <= node.free <= node.gpus
    assert node.exclusion is None or node.free == 0


@pytest.mark.parametrize("node", [{}, {"metadata": {}}, {"metadata": None, "spec": None, "status": None}])
def test_a_node_that_says_nothing_is_left_out(node: Json) -> None:
    (read,) = read_fleet([node], []).nodes
    assert read.exclusion is Exclusion.NO_GPUS


def test_nodes_come_in_name_order_with_what_pods_and_plans_hold() -> None:
    nodes = [a_node() | {"metadata": {"name": name, "labels": H100}} for name in ("b", "a")]
    container = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    pods = [{"spec": {"nodeName": "b", "containers": [container]}}]
    assert [(node.name, node.free) for node in read_fleet(nodes, pods, held=[("a", 3)]).nodes] == [("a", 5), ("b", 6)]
