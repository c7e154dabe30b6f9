"""What is kept of the objects of a large cluster: the fields that are read, and texts that objects repeat once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.support import Json, a_model, a_node, a_plan, a_pod, changed

from shardwise.inventory import read_node, use
from shardwise.inventory.nodes import NodeReader
from shardwise.observe import Shelf, key_of, owner_of, slim, slim_model, slim_node, slim_pod, version_of
from shardwise.reconcile.observed import see_pod
from shardwise_sandbox.sample_nodes import gb200_tray, h100_node


def test_of_a_strangers_pod_only_its_node_and_its_requests_are_kept() -> None:
    """A cluster has many such pods. The kept part holds the same as the whole pod."""
    pod = a_pod(gpus=2)
    pod["metadata"] |= {"labels": {"a": "b"}, "annotations": {"big": "x"}, "managedFields": [{}]}
    first, *_ = pod["spec"]["containers"]
    first["resources"]["requests"] = {"cpu": "1500m", "memory": "1Gi"}
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"limits": {"cpu": "1"}}}
    pod["spec"] |= {"initContainers": [sidecar], "volumes": [{}] * 9}
    kept = slim_pod(pod)
    assert use(kept) == use(pod)
    assert (kept["metadata"].keys() & {"labels", "annotations", "managedFields"}, set(kept["spec"])) == (
        set(),
        {"containers", "nodeName"},
    )
    assert (key_of(kept), version_of(kept)) == (key_of(pod), version_of(pod))
    assert slim_pod(kept) == kept


SEEN: dict[str, Json] = {
    "a node of GPUs": h100_node("n", labels={"rack": "r1"}),
    "a tray of a rack": gb200_tray("n", clique="c.1"),
    "a node with an IPv6 address": h100_node("n")
    | {"status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "fd00::1"}]}},
    "a node with ranges for its pods": {
        "metadata": {"name": "n"},
        "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["fd00::/64"]},
    },
    "a node that is cordoned and tainted": {
        "metadata": {"name": "n"},
        "spec": {
            "unschedulable": True,
            "taints": [{"key": "k", "value": "v", "effect": "NoSchedule", "timeAdded": "x"}],
        },
    },
    "a node with conditions": {
        "metadata": {"name": "n"},
        "status": {"conditions": [{"type": "Ready", "status": "False", "message": "m"}, {"type": "GpuMemWatch"}]},
    },
    "a node shared by HAMi": {"metadata": {"name": "n", "annotations": {"hami.io/node-nvidia-register": "GPU-0"}}},
    "a node that says nothing": {"metadata": {"name": "n"}},
    "a node with nothing in its parts": {"metadata": {"name": "n"}, "spec": None, "status": None},
}


@pytest.mark.parametrize("node", SEEN.values(), ids=SEEN)
def test_a_node_keeps_the_fields_that_are_read(node: Json) -> None:
    kept = slim_node(node)
    assert read_node(kept, 0) == read_node(node, 0)
    assert (key_of(kept), version_of(kept)) == (key_of(node), version_of(node))
    assert slim_node(kept) == kept


def test_texts_that_nodes_repeat_are_kept_once() -> None:
    """Each list and each watch brings texts of its own."""
    first, second = (slim_node(json.loads(json.dumps(h100_node(name)))) for name in ("a", "b"))
    for name, value in first["metadata"]["labels"].items():
        other = second["metadata"]["labels"]
        assert next(key for key in other if key == name) is name
        assert other[name] is value or name == "kubernetes.io/hostname"
    reader = NodeReader()
    mine, theirs = reader.read(first), reader.read(second)
    assert mine.allocatable is theirs.allocatable
    shared = [pair for pair in mine.labels if any(pair is other for other in theirs.labels)]
    assert len(shared) >= len(mine.labels) - 1


def test_a_shelf_gives_the_object_that_it_has_for_the_same_version() -> None:
    """So that a list makes no second copy of it, and slims only news."""
    shelf = Shelf()
    kept = slim_node(a_node("a", version=3))
    shelf.put(kept)
    assert shelf.slimmed(a_node("a", version=3), slim_node) is kept
    assert shelf.slimmed(a_node("a", version=4), slim_node) == slim_node(a_node("a", version=4))
    assert shelf.slimmed(a_node("b", version=3), slim_node) == slim_node(a_node("b", version=3))


@given(st.booleans(), st.sampled_from(["Running", "Pending", "Failed"]))
def test_of_our_pods_the_fields_that_are_read_are_kept(bound: bool, phase: str) -> None:
    """The command line of an engine alone is longer than all that is kept."""
    pod = a_pod(owner="llama", node="h100-1" if bound else "", phase=phase)
    requests = {"resources": {"requests": {"cpu": "1"}}, "restartPolicy": "Always"}
    pod["spec"] |= {
        "initContainers": [{"name": "fetch-weights", "args": ["--long"]} | requests],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": wants("h100-1")}},
        "schedulingGates": [{"name": "g"}],
        "schedulingGroup": {"podGroupName": "llama-0-0"},
        "volumes": [{"name": "big"}],
    }
    pod["spec"]["containers"][0] |= {"args": ["--long"], "env": [{"name": "A"}]}
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "CUDA error"}}
    shown = {"name": "c", "image": "i", "restartCount": 1, "state": ended, "lastState": ended}
    unbound = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}
    pod["status"] |= {
        "podIP": "10.0.0.1",
        "reason": "Evicted",
        "message": "m",
        "conditions": [unbound | {"lastTransitionTime": "2026-11-30T00:00:00Z", "lastProbeTime": None}],
        "containerStatuses": [shown],
        "initContainerStatuses": [shown | {"name": "fetch-weights"}],
    }
    pod["metadata"] |= {"deletionTimestamp": "t", "deletionGracePeriodSeconds": 30, "managedFields": [{"manager": "m"}]}
    kept = slim_pod(pod)
    assert see_pod(kept) == see_pod(pod)
    assert see_pod(kept).grouped
    assert (use(kept), owner_of(kept), key_of(kept), version_of(kept)) == (
        use(pod),
        owner_of(pod),
        key_of(pod),
        version_of(pod),
    )
    assert slim_pod(kept) == kept
    assert len(json.dumps(kept)) < len(json.dumps(pod))
    assert not {"volumes", "managedFields", "args", "env", "image"} & set(json.dumps(kept).split('"'))


def wants(node: str) -> Json:
    """Give the term by which our pods want a node."""
    named = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"nodeSelectorTerms": [{"matchFields": [named]}]}


def test_a_sharded_model_keeps_all_but_the_record_of_its_writers() -> None:
    model = a_model("llama", plan=a_plan(("n1", 8)))
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    whole = changed(
        model, lambda obj: obj["metadata"].update(managedFields=[{}], annotations={applied: "{}", "a": "b"})
    )
    kept = slim_model(whole)
    assert kept == changed(model, lambda obj: obj["metadata"].update(annotations={"a": "b"}))
    assert slim_model(kept) == kept
    assert slim_model(model) == model


def test_a_config_may_be_nested_to_any_depth() -> None:
    """The API server takes 10,000 levels."""
    config: Json = {}
    for _ in range(5000):
        config = {"a": config}
    kept = slim_model(a_model("llama") | {"spec": config})
    assert kept["spec"]["a"]["a"].keys() == {"a"}


def test_nothing_of_a_node_is_kept_that_nobody_reads() -> None:
    node = h100_node("n")
    node["metadata"] |= {"annotations": {"big": "x"}, "managedFields": [{}], "uid": "u", "creationTimestamp": "t"}
    node["status"] |= {"images": [{}], "nodeInfo": {"a": "b"}, "capacity": {"cpu": "1"}, "volumesInUse": ["v"]}
    kept = slim_node(node)
    assert set(kept) == {"metadata", "spec", "status"}
    assert set(kept["metadata"]) <= {"name", "resourceVersion", "labels"}
    assert set(kept["status"]) == {"allocatable", "conditions", "addresses"}


def test_what_fills_a_cluster_and_nobody_reads_is_dropped() -> None:
    """And the object given is left as it is: others read it, too."""
    obj = {
        "kind": "Node",
        "metadata": {"name": "n", "labels": {"a": "b"}, "annotations": {"big": "x"}, "managedFields": [{}]},
        "spec": {"taints": []},
        "status": {"images": [{}], "allocatable": {"cpu": "1"}},
    }
    assert slim(obj) == {
        "kind": "Node",
        "metadata": {"name": "n", "labels": {"a": "b"}},
        "spec": {"taints": []},
        "status": {"allocatable": {"cpu": "1"}},
    }
    assert obj["status"] == {"images": [{}], "allocatable": {"cpu": "1"}}
    assert slim({"metadata": {"name": "n"}})["status"] == {}
