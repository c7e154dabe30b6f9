"""The toy scheduler: its choice of nodes, its order, and its reasons why no node fits."""

from typing import Any

import pytest
from tests.sandbox.support import Clock, Json, pod

from shardwise_sandbox import Sandbox, h100_node, node
from shardwise_sandbox.quantities import quantity, requests
from shardwise_sandbox.scheduler import tolerates


def required(*terms: Json) -> Json:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}}


def labels(key: str, operator: str, *values: str) -> Json:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def named(name: str) -> Json:
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}


def node_of(cluster: Sandbox, name: str) -> Any:
    return cluster.get("pod", "default", name)["spec"].get("nodeName")


def why(cluster: Sandbox, name: str) -> tuple[str, str]:
    conditions = cluster.get("pod", "default", name)["status"].get("conditions", [])
    found = next(item for item in conditions if item["type"] == "PodScheduled")
    return found.get("reason", ""), found.get("message", "")


PLACED: dict[str, tuple[int, Json, str | None]] = {
    "the first node by name that has the GPUs": (8, {}, "h100-1"),
    "any node, without GPUs": (0, {}, "gb200-r1-t1"),
    "a node by selector": (4, {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L40S"}}, "l40s-1"),
    "a node by name": (4, required(named("gb200-r1-t3")), "gb200-r1-t3"),
    "a node by host name": (4, required(labels("kubernetes.io/hostname", "In", "h100-2")), "h100-2"),
    "a node without a label": (4, required(labels("nvidia.com/gpu.clique", "DoesNotExist")), "h100-1"),
    "a node with a label": (1, required(labels("nvidia.com/gpu.clique", "Exists")), "gb200-r1-t1"),
    "a node with not that value": (4, required(labels("kubernetes.io/arch", "NotIn", "arm64")), "h100-1"),
    "a node with more memory": (1, required(labels("nvidia.com/gpu.memory", "Gt", "100000")), "gb200-r1-t1"),
    "a node with less memory": (1, required(labels("nvidia.com/gpu.memory", "Lt", "50000")), "l40s-1"),
    "either term": (1, required(named("nowhere"), named("l40s-1")), "l40s-1"),
    "no empty term": (1, required({}), None),
    "nothing with too many GPUs": (9, {}, None),
    "nothing behind a gate": (1, {"schedulingGates": [{"name": "g"}]}, None),
    "nothing for another scheduler": (1, {"schedulerName": "volcano"}, None),
}


@pytest.mark.parametrize(("gpus", "spec", "expected"), PLACED.values(), ids=PLACED)
def test_a_pod_gets(fleet: Sandbox, gpus: int, spec: Json, expected: str | None) -> None:
    fleet.create(pod("p", gpus, **spec))
    fleet.settle()
    assert node_of(fleet, "p") == expected


TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
TOLERATIONS: dict[str, tuple[Json, bool]] = {
    "key, value and effect": ({"key": "gpu", "value": "yes", "effect": "NoSchedule"}, True),
    "equality is the default operator": ({"key": "gpu", "operator": "Equal", "value": "yes"}, True),
    "another value": ({"key": "gpu", "value": "no"}, False),
    "another effect": ({"key": "gpu", "value": "yes", "effect": "NoExecute"}, False),
    "another key": ({"key": "cpu", "operator": "Exists"}, False),
    "existence": ({"key": "gpu", "operator": "Exists"}, True),
    "everything": ({"operator": "Exists"}, True),
    "no key and no operator": ({}, False),
}


@pytest.mark.parametrize(("toleration", "expected"), TOLERATIONS.values(), ids=TOLERATIONS)
def test_a_toleration_covers_a_taint(toleration: Json, expected: bool) -> None:
    assert tolerates(toleration, TAINT) is expected


@pytest.mark.parametrize(("tolerated", "expected"), [(True, "tainted"), (False, None)])
def test_a_tainted_node_takes_only_pods_that_tolerate_it(clock: Clock, tolerated: bool, expected: str | None) -> None:
    cluster = Sandbox(now=clock, objects=[node("tainted", taints=[TAINT])])
    cluster.create(pod("p", tolerations=[{"key": "gpu", "operator": "Exists"}] if tolerated else []))
    cluster.settle()
    assert node_of(cluster, "p") == expected


def test_a_soft_taint_keeps_nobody_away(clock: Clock) -> None:
    cluster = Sandbox(now=clock, objects=[node("n", taints=[{"key": "x", "effect": "PreferNoSchedule"}])])
    cluster.create(pod("p"))
    cluster.settle()
    assert node_of(cluster, "p") == "n"


def test_the_reason_counts_the_nodes_by_what_is_wrong_with_them(clock: Clock) -> None:
    cordoned, lost = h100_node("cordoned"), h100_node("lost")
    cordoned["spec"]["unschedulable"] = True
    nodes = [cordoned, lost, h100_node("other", labels={"zone": "b"}), node("small"), node("tainted", taints=[TAINT])]
    cluster = Sandbox(now=clock, objects=nodes)
    cluster.kubelet.set_node_ready("lost", False)
    cluster.patch("node", "", "lost", {"spec": {"taints": None}})
    cluster.create(pod("p", 8, **required(labels("zone", "DoesNotExist"))))
    cluster.settle()
    reason, message = why(cluster, "p")
    assert reason == "Unschedulable"
    assert message == (
        "0/5 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were not ready, 1 node(s) were unschedulable."
    )


def test_without_nodes_the_reason_says_so(still: Sandbox) -> None:
    still.create(pod("p"))
    still.settle()
    assert why(still, "p")[1] == "0/0 nodes are available: no nodes registered."


def test_the_same_reason_is_not_written_twice(fleet: Sandbox) -> None:
    fleet.create(pod("p", 9))
    fleet.settle()
    version = fleet.store.version
    fleet.patch("node", "", "h100-1", {"metadata": {"labels": {"x": "y"}}})
    fleet.settle()
    assert fleet.store.version == version + 1


def test_gpus_are_given_out_once(fleet: Sandbox) -> None:
    for name in "abc":
        fleet.create(pod(name, 8))
    fleet.settle()
    assert [node_of(fleet, name) for name in "abc"] == ["h100-1", "h100-2", None]


FREED: dict[str, Any] = {
    "a deletion": lambda cluster: cluster.delete("pod", "default", "a"),
    "an eviction": lambda cluster: cluster.kubelet.evict("default", "a"),
    "a new node": lambda cluster: cluster.create(h100_node("h100-3")),
    "the label it was missing": lambda cluster: cluster.patch(
        "node", "", "l40s-1", {"status": {"allocatable": {"nvidia.com/gpu": "8"}}}, "status"
    ),
}


@pytest.mark.parametrize("free", FREED.values(), ids=FREED)
def test_a_waiting_pod_is_tried_again_after(fleet: Sandbox, free: Any) -> None:
    for name in "abc":
        fleet.create(pod(name, 8))
    fleet.settle()
    free(fleet)
    fleet.settle()
    assert node_of(fleet, "c") is not None


def test_a_heartbeat_of_a_node_is_no_reason_to_try_again(fleet: Sandbox) -> None:
    fleet.create(pod("p", 9))
    fleet.settle()
    fleet.patch("node", "", "h100-1", {"status": {"images": [{"names": ["x"]}]}}, "status")
    assert not fleet.scheduler.pending


def test_a_gate_that_is_removed_lets_the_pod_in(fleet: Sandbox) -> None:
    fleet.create(pod("p", 8, schedulingGates=[{"name": "g"}]))
    fleet.settle()
    fleet.patch("pod", "default", "p", {"spec": {"schedulingGates": None}})
    fleet.settle()
    assert node_of(fleet, "p") == "h100-1"


def test_a_pod_that_is_deleted_while_it_waits_is_forgotten(fleet: Sandbox) -> None:
    fleet.create(pod("p", 9))
    fleet.settle()
    fleet.delete("pod", "default", "p")
    fleet.create(h100_node("h100-3", gpus=16))
    fleet.settle()
    assert fleet.names("pods") == []


def test_the_order_is_that_of_names_whatever_the_order_of_creation(fleet: Sandbox) -> None:
    for name in ("b", "a"):
        fleet.create(pod(name, 8))
    fleet.settle()
    assert [node_of(fleet, name) for name in ("a", "b")] == ["h100-1", "h100-2"]


QUANTITIES = {"1": 1, "500m": 0.5, "2k": 2000, "1Ki": 1024, "1.5Gi": 1.5 * 1024**3, "1e3": 1000, "3n": 3e-9}


@pytest.mark.parametrize(("text", "expected"), QUANTITIES.items(), ids=QUANTITIES)
def test_a_quantity_is_read_exactly(text: str, expected: float) -> None:
    assert float(quantity(text)) == expected


@pytest.mark.parametrize("text", ["", "x", "1Zi", "1 2"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a resource quantity"):
        quantity(text)


def test_a_pod_requests_the_sum_of_its_containers_or_its_largest_init_container() -> None:
    def container(cpu: str, gpus: str = "0") -> Json:
        return {"resources": {"requests": {"cpu": cpu, "nvidia.com/gpu": gpus}}}

    spec = {"containers": [container("500m", "1"), container("1", "2")], "initContainers": [container("4")]}
    assert requests({"spec": spec}) == {"cpu": 4, "nvidia.com/gpu": 3, "pods": 1}
