"""Drift on a real API server: what others change of our objects is put right, and a steady state has no writes."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from tests.cluster.installed import MODELS, Running
from tests.support.operating import a_model

from shardwise.inventory import gpu_request

Json = dict[str, Any]
Field = Callable[[Json], object]

WRITES: Final = {"create", "update", "patch", "delete"}


def spec(*names: str) -> Field:
    return lambda obj: [obj["spec"].get(name) for name in names]


def ports(obj: Json) -> object:
    return [(port["name"], port["port"], port["protocol"], port["targetPort"]) for port in obj["spec"]["ports"]]


def labels(obj: Json) -> object:
    return obj["metadata"]["labels"]


def owners(obj: Json) -> object:
    return obj["metadata"].get("ownerReferences")


LOST: Final = {"app.kubernetes.io/managed-by": None, "shardwise.dev/model": None, "shardwise.dev/revision": "0"}
CHANGES: dict[str, tuple[str, Json, Field]] = {
    "selector": ("service/pair", {"spec": {"selector": {"shardwise.dev/role": "nobody"}}}, spec("selector")),
    "no selector": ("service/pair", {"spec": {"selector": None}}, spec("selector")),
    "port": ("service/pair", {"spec": {"ports": [{"name": "http", "port": 81}]}}, ports),
    "target": ("service/pair", {"spec": {"ports": [{"name": "http", "port": 8000, "targetPort": 22}]}}, ports),
    "protocol": ("service/pair", {"spec": {"ports": [{"name": "http", "port": 8000, "protocol": "UDP"}]}}, ports),
    "type": ("service/pair", {"spec": {"type": "NodePort"}}, spec("type")),
    "a name elsewhere": (
        "service/pair",
        {"spec": {"type": "ExternalName", "externalName": "x.example", "clusterIP": None, "clusterIPs": None}},
        spec("type", "selector"),
    ),
    "labels": ("service/pair", {"metadata": {"labels": LOST}}, labels),
    "owner": ("service/pair", {"metadata": {"ownerReferences": None}}, owners),
    "a group's selector": ("service/pair-0-0", {"spec": {"selector": {"a": "b"}}}, spec("selector")),
    "a group's addresses": (
        "service/pair-0-0",
        {"spec": {"publishNotReadyAddresses": False}},
        spec("publishNotReadyAddresses", "clusterIP"),
    ),
    "a group's port": ("service/pair-0-0", {"spec": {"ports": [{"name": "http", "port": 1}]}}, ports),
    "a group's Service with a name elsewhere": (
        "service/pair-0-0",
        {"spec": {"type": "ExternalName", "externalName": "x.example", "clusterIP": None, "clusterIPs": None}},
        spec("type", "clusterIP", "externalName"),
    ),
    "a budget": ("pdb/pair", {"spec": {"minAvailable": 0}}, spec("minAvailable")),
    "a budget by the other number": (
        "pdb/pair",
        {"spec": {"minAvailable": None, "maxUnavailable": "100%"}},
        spec("minAvailable", "maxUnavailable"),
    ),
    "a budget's selector": ("pdb/pair", {"spec": {"selector": {"matchLabels": {"a": "b"}}}}, spec("selector")),
}


@pytest.fixture(scope="module")
def pair(installed: Any) -> Iterator[Running]:
    """Give a model of two replicas that serves, for all changes in turn."""
    with installed.running() as running:
        running.apply(a_model("pair", gpus=2, replicas=2))
        running.ready("pair")
        yield running


def patch(running: Running, name: str, change: Json) -> None:
    running.plane.kubectl("patch", name, "-n", MODELS, "--type=merge", "-p", json.dumps(change))


def writes(running: Running, name: str) -> list[str]:
    """Name the operator's writes to the objects of a model."""
    said = (f"{call['verb']} {call['requestURI']}" for call in running.calls() if call["verb"] in WRITES)
    return [words for words in said if f"/{name}" in words]


@pytest.mark.parametrize(("name", "change", "field"), CHANGES.values(), ids=CHANGES)
def test_what_somebody_changed_is_put_right_at_once(pair: Running, name: str, change: Json, field: Field) -> None:
    """On the watch event, long before a relist; annotations and labels of others stay."""
    kind, _, bare = name.partition("/")
    patch(pair, name, {"metadata": {"annotations": {"theirs": "stays"}, "labels": {"team": "serving"}}})
    before = pair.get(kind, bare)
    patch(pair, name, change)
    pair.until(lambda: field(pair.get(kind, bare)) == field(before), f"{name} put right")
    made_anew = name == "service/pair-0-0" and "ExternalName" in str(change)
    after = pair.get(kind, bare)
    if not made_anew:
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["metadata"]["annotations"]["theirs"] == "stays"
        assert after["metadata"]["labels"]["team"] == "serving"
    assert pair.condition("pair", "Ready")["status"] == "True"


def test_a_steady_state_has_no_writes(pair: Running) -> None:
    """After all those changes, while another model is launched and goes."""
    pair.apply(a_model("first"))
    pair.ready("first")
    pair.count_anew()
    pair.apply(a_model("second"))
    pair.ready("second")
    pair.plane.kubectl("delete", "shardedmodel", "first", "-n", MODELS, "--wait")
    pair.until(lambda: not pair.pods("first"), "first gone")
    assert writes(pair, "pair") == []


POLICY: Final = "shardwise-test-meddles"


def meddling() -> list[Json]:
    """Give a mutating policy that changes the type of one Service in every write."""
    api, name = "admissionregistration.k8s.io/v1", {"name": POLICY}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["services"]}
    mutation = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": 'Object{spec: Object.spec{type: "NodePort"}}'},
    }
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "one", "expression": 'object.metadata.name == "pair"'}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [mutation],
    }
    return [
        {"apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": name, "spec": policy},
        {"apiVersion": api, "kind": "MutatingAdmissionPolicyBinding", "metadata": name, "spec": {"policyName": POLICY}},
    ]


def test_a_policy_that_changes_a_field_in_every_write_is_named_and_not_fought(pair: Running) -> None:
    kubectl = pair.plane.kubectl
    pair.apply(*meddling())
    try:

        def meddled() -> bool:
            patch(pair, "service/pair", {"metadata": {"annotations": {"touched": str(len(list(pair.calls())))}}})
            return bool(pair.get("service", "pair")["spec"]["type"] == "NodePort")

        pair.until(meddled, "the policy at work")
        told = pair.until(
            lambda: [one for one in [pair.condition("pair", "Degraded")] if one["reason"] == "FieldsContested"], "told"
        )
        assert 'Service `pair`: `spec.type` is `"NodePort"`, not `"ClusterIP"`' in told[0]["message"]
        pair.count_anew()
        pair.apply(a_model("third"))
        pair.ready("third")
        assert len(writes(pair, "pair")) <= 2
    finally:
        kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", POLICY, "--ignore-not-found")


def test_a_node_that_lost_a_gpu_under_a_group_is_told_and_the_group_serves_on(pair: Running) -> None:
    pair.apply(a_model("whole", gpus=8, budget={"products": ["NVIDIA-H100-80GB-HBM3"]}, parallelism={"tensor": 8}))
    pair.ready("whole")
    (pod,) = pair.pods("whole")
    node, uid = pod["spec"]["nodeName"], pod["metadata"]["uid"]
    assert gpu_request(pod) == 8

    def offer(count: str) -> None:
        status = {"status": {"capacity": {"nvidia.com/gpu": count}, "allocatable": {"nvidia.com/gpu": count}}}
        pair.plane.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", json.dumps(status))

    offer("7")
    try:
        pair.until(lambda: pair.condition("whole", "Degraded").get("reason") == "NodeChanged", "told of the node")
        assert f"`{node}` had 8 GPUs and has 7" in pair.condition("whole", "Degraded")["message"]
        assert pair.pods("whole")[0]["metadata"]["uid"] == uid
    finally:
        offer("8")
    pair.until(lambda: pair.condition("whole", "Degraded")["reason"] == "AsPlanned", "as planned again")
    pair.plane.kubectl("delete", "shardedmodel", "whole", "-n", MODELS, "--wait")
