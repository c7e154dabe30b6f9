"""What a real cluster does to an operator: it refuses, its nodes die, its scheduler and others are faster."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.cluster.installed import MODELS, Running
from tests.cluster.processes import LIMIT
from tests.cluster.reached import fleet
from tests.support.operating import a_large_model, a_model

from shardwise.inventory import gpu_request
from shardwise_sandbox.demo import fleet_documents

Json = dict[str, Any]

H100 = {"products": ["NVIDIA-H100-80GB-HBM3"]}


def condition(running: Running, name: str, reason: str) -> Json:
    """Give why an object is Reconciling, if it is for this reason."""
    found = running.condition(name, "Reconciling")
    return found if (found.get("reason"), found.get("status")) == (reason, "True") else {}


def refused_pods(running: Running) -> list[str]:
    """List the pods that the API server refused to make for the operator."""
    made = (
        call for call in running.calls() if call["verb"] == "create" and call["objectRef"].get("resource") == "pods"
    )
    return [str(call["responseStatus"].get("message")) for call in made if call["responseStatus"]["code"] in (403, 422)]


def a_quota(gpus: int) -> Json:
    hard = {"requests.nvidia.com/gpu": str(gpus)}
    metadata = {"name": "gpus", "namespace": MODELS}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}


def overcommitted(running: Running) -> dict[str, int]:
    """Give the nodes whose pods ask for more GPUs than they have."""
    held: Counter[str] = Counter()
    for pod in json.loads(running.plane.kubectl("get", "pods", "-A", "-o", "json"))["items"]:
        held[pod["spec"].get("nodeName", "")] += gpu_request(pod)
    there = {node["metadata"]["name"]: node["status"]["allocatable"] for node in running.get("nodes")["items"]}
    return {node: gpus for node, gpus in held.items() if node and gpus > int(there[node].get("nvidia.com/gpu") or 0)}


def test_a_quota_that_is_used_up_is_told_to_the_user_and_waited_for(running: Running) -> None:
    """Before a pod is made: none is refused, and no GPU is held meanwhile."""
    kubectl = running.plane.kubectl
    kubectl("create", "-f", "-", given=a_quota(0))
    running.until(lambda: "status" in running.get("resourcequota", "gpus"), "the quota counted")
    running.apply(a_model("many"))
    told = running.until(lambda: condition(running, "many", "QuotaShort"), "many told of the quota")
    assert "ResourceQuota `gpus` (`requests.nvidia.com/gpu`) allows 0 GPUs in the namespace" in told["message"]
    running.until(lambda: "QuotaShort" in {event["reason"] for event in running.events("many")}, "the Event")
    assert running.status("many")["groups"] == []
    assert refused_pods(running) == []
    kubectl("delete", "resourcequota", "gpus", "-n", MODELS)
    running.ready("many")


POLICY = "admissionregistration.k8s.io/v1"


@contextlib.contextmanager
def policy_against(running: Running, model: str) -> Iterator[None]:
    """Let a policy of the cluster refuse the second pods of a model's groups for as long as the block lasts."""
    labels = {"shardwise.dev/model": model, "shardwise.dev/index": "1"}
    second = " && ".join(f"object.metadata.?labels[?'{key}'].orValue('') == '{value}'" for key, value in labels.items())
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"!({second})", "message": "no second pod here"}],
    }
    policy = {"apiVersion": POLICY, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": model}, "spec": spec}
    bound = {"policyName": model, "validationActions": ["Deny"]}
    binding = {
        "apiVersion": POLICY,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": model},
        "spec": bound,
    }
    kubectl = running.plane.kubectl
    for document in (policy, binding):
        kubectl("create", "-f", "-", given=document)
    try:
        running.until(lambda: _denied(running, model), "the policy in force")
        yield
    finally:
        kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", model)


def _denied(running: Running, model: str) -> bool:
    labels = {"shardwise.dev/model": model, "shardwise.dev/index": "1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": MODELS, "labels": labels}}
    pod["spec"] = {"containers": [{"name": "c", "image": "i"}]}
    try:
        running.plane.kubectl("create", "--dry-run=server", "-f", "-", given=pod)
    except Exception:  # noqa: BLE001 - whatever kubectl says when it is refused
        return True
    return False


def test_pods_that_are_refused_hold_no_gpus_against_others(running: Running) -> None:
    """A group of which one pod is admitted gives the GPUs of both back; then another object has them."""
    with policy_against(running, "half"):
        running.apply(a_large_model("half"))
        running.until(lambda: condition(running, "half", "WriteRefused"), "half told of the policy")
        running.apply(a_large_model("patient"))
        running.until(lambda: condition(running, "patient", "CapacityShort"), "patient waits")
        running.until(lambda: running.status("patient").get("readyReplicas") == 1, "patient serves", 3 * LIMIT)
        told = running.until(lambda: condition(running, "half", "PodsRefused"), "half gave its GPUs back")
        assert "no second pod here" in told["message"]
        assert [group["state"] for group in running.status("half")["groups"]] == ["Refused"]
        running.until(lambda: running.pods("half") == [], "no pod of half")
        assert len(refused_pods(running)) <= 12
    running.plane.kubectl("delete", "shardedmodel", "patient", "-n", MODELS, "--wait")
    running.until(lambda: running.status("half").get("readyReplicas") == 1, "half serves", 6 * LIMIT)


def test_a_service_that_is_not_ours_is_left_alone(running: Running) -> None:
    """Whoever made it: the model that has its name says so."""
    ports = {"ports": [{"port": 80}]}
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "theirs", "namespace": MODELS}, "spec": ports}
    running.plane.kubectl("create", "-f", "-", given=theirs)
    before = running.get("service", "theirs")
    running.apply(a_model("theirs"))
    told = running.until(lambda: condition(running, "theirs", "WriteRefused"), "theirs told of the Service")
    assert "Service default/theirs: one of that name is there and belongs to somebody else" in told["message"]
    running.plane.kubectl("delete", "shardedmodel", "theirs", "-n", MODELS, "--wait")
    assert running.get("service", "theirs") == before
    running.plane.kubectl("delete", "service", "theirs", "-n", MODELS)


def test_a_model_with_the_name_of_the_api_servers_service_is_refused(running: Running) -> None:
    """`kubernetes` is how every pod reaches the API server."""
    running.apply(a_model("kubernetes"))
    running.until(lambda: running.condition("kubernetes", "Stalled").get("reason") == "InvalidSpec", "it is refused")
    assert "allow.serviceNames" in running.status("kubernetes")["message"]


def test_a_pod_that_is_not_ours_is_left_alone(running: Running) -> None:
    container = {"name": "theirs", "image": "i"}
    theirs = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "taken-0-0-0", "namespace": MODELS}}
    running.plane.kubectl("create", "-f", "-", given=theirs | {"spec": {"containers": [container]}})
    running.apply(a_model("taken"))
    told = running.until(lambda: condition(running, "taken", "WriteRefused"), "taken told of the pod")
    assert "Pod default/taken-0-0-0" in told["message"]
    running.plane.kubectl("delete", "pod", "taken-0-0-0", "-n", MODELS)
    running.ready("taken")


def test_many_models_at_once_share_what_there_is(running: Running) -> None:
    """Those that fit run, the others wait; no GPU is given twice; and each that goes makes room for one that waits."""
    names = [f"crowd-{number}" for number in range(6)]
    running.apply(*(a_model(name, "meta-llama/Llama-3.1-70B", 8, budget=H100, model_contextLength=8192,
                            parallelism={"tensor": 8}) for name in names))  # fmt: skip
    running.until(lambda: sum(running.status(name).get("readyReplicas") == 1 for name in names) == 2, "two serve")
    waiting = [name for name in names if running.status(name).get("readyReplicas") != 1]
    reasons = {running.condition(name, "Reconciling").get("reason") for name in waiting}
    assert reasons == {"CapacityShort"}
    assert overcommitted(running) == {}
    gone = next(name for name in names if name not in waiting)
    running.plane.kubectl("delete", "shardedmodel", gone, "-n", MODELS, "--wait")
    running.until(lambda: any(running.status(name).get("readyReplicas") == 1 for name in waiting), "another serves")
    assert overcommitted(running) == {}


def test_a_node_that_is_deleted_is_planned_around(running: Running) -> None:
    """And is used again once it is back."""
    running.apply(a_model("moved", gpus=8, budget=H100, parallelism={"tensor": 8}, model_contextLength=8192))
    running.ready("moved")
    (pod,) = running.pods("moved")
    node = pod["spec"]["nodeName"]
    (document,) = [document for document in fleet_documents() if document["metadata"]["name"] == node]
    try:
        running.plane.kubectl("delete", "node", node)

        def elsewhere() -> bool:
            pods = running.pods("moved")
            return len(pods) == 1 and pods[0]["spec"].get("nodeName") not in (None, "", node)

        # The cluster's own garbage collector ends the pod: every 20 s, of nodes that have been gone for 40 s.
        running.until(elsewhere, "the pod on another node", 3 * LIMIT)
        running.ready("moved")
    finally:
        fleet(running.plane, [document])
    running.plane.kubectl("delete", "shardedmodel", "moved", "-n", MODELS, "--wait")
    running.apply(a_large_model("both"))
    running.ready("both")
    assert node in {pod["spec"]["nodeName"] for pod in running.pods("both")}


def test_what_a_deleted_object_left_behind_is_taken_over_by_the_next_of_its_name(running: Running) -> None:
    """Deleted without what it owned, then made again: nothing runs twice, nothing is left over."""
    running.apply(a_model("orphaned"))
    running.ready("orphaned")
    running.plane.kubectl("delete", "shardedmodel", "orphaned", "-n", MODELS, "--cascade=orphan")
    running.until(lambda: not running.pods("orphaned")[0]["metadata"].get("ownerReferences"), "the pod orphaned")
    running.apply(a_model("orphaned"))
    running.ready("orphaned")
    (uid,) = {owner["uid"] for pod in running.pods("orphaned") for owner in pod["metadata"]["ownerReferences"]}
    assert uid == running.get("shardedmodel", "orphaned")["metadata"]["uid"]


def test_pods_that_are_slow_to_go_do_not_stop_the_next_object_of_the_name(running: Running) -> None:
    """A kubelet may take minutes to end an engine; the new pods have other names."""
    running.apply(a_model("slow"))
    running.ready("slow")
    (old,) = running.pod_names("slow")
    kubectl = running.plane.kubectl
    kubectl("patch", "pod", old, "-n", MODELS, "--type=merge", "-p", '{"metadata":{"finalizers":["test.dev/hold"]}}')
    try:
        kubectl("delete", "shardedmodel", "slow", "-n", MODELS, "--wait=false")
        running.until(lambda: not running.status("slow"), "the object gone")
        running.apply(a_model("slow"))
        running.ready("slow")
        assert old not in running.pod_names("slow")
    finally:
        kubectl("patch", "pod", old, "-n", MODELS, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_a_namespace_with_models_in_it_can_be_deleted(running: Running) -> None:
    """No finalizer of ours holds it, also with models that run and models that wait."""
    kubectl = running.plane.kubectl
    kubectl("create", "namespace", "second")
    running.until(lambda: kubectl("get", "serviceaccount", "default", "-n", "second"), "its ServiceAccount")
    for name, gpus in (("runs", 1), ("waits", 99)):
        model = a_model(name, gpus=gpus, parallelism={"tensor": 1} if gpus == 1 else {"tensor": 64})
        model["metadata"]["namespace"] = "second"
        running.apply(model)
    running.until(lambda: kubectl("get", "pods", "-n", "second", "-o", "name"), "a pod in it")
    kubectl("delete", "namespace", "second", "--timeout=60s")
    assert kubectl("get", "shardedmodels", "-A", "-o", "name") == ""
