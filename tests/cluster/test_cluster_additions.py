"""Pods with additions on a real API server: admitted as they are made, and as restricted where they are not root."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.installed import ACCOUNT, MODELS, Installed, Running
from tests.support.operating import a_model

Json = dict[str, Any]

ADDITIONS: Json = {
    "volumes": [
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "settings", "configMap": {"name": "settings", "optional": True}},
        {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ],
    "volumeMounts": [
        {"name": "scratch", "mountPath": "/scratch", "readOnly": True},
        {"name": "settings", "mountPath": "/s"},
    ],
    "envFrom": [
        {"prefix": "A_", "secretRef": {"name": "tokens", "optional": True}},
        {"configMapRef": {"name": "settings", "optional": True}},
    ],
    "sidecars": [
        {
            "name": "proxy",
            "image": "envoy:v1",
            "ports": [{"containerPort": 9000}],
            "volumeMounts": [{"name": "cache", "mountPath": "/cache", "readOnly": True}],
            "resources": {"requests": {"cpu": "100m"}},
        }
    ],
    "initContainers": [{"name": "prepare", "image": "busybox:1", "command": ["sh", "-c", "echo\ntrue"]}],
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "runAsNonRoot": True,
        "fsGroup": 2000,
        "supplementalGroups": [3000],
    },
    "dnsPolicy": "ClusterFirst",
}
"""Everything that a user may add where pods are restricted."""


@pytest.fixture
def restricted(running: Running) -> Iterator[Running]:
    """Hold the pods of the models to the Pod Security Standard restricted."""
    label = "pod-security.kubernetes.io/enforce"
    running.plane.kubectl("label", "namespace", MODELS, f"{label}=restricted", "--overwrite")
    yield running
    running.plane.kubectl("label", "namespace", MODELS, f"{label}-")


def test_a_model_that_is_not_root_serves_where_pods_are_restricted(restricted: Running) -> None:
    """With every addition that users may make; the API server takes each field of the pod as it is."""
    restricted.apply(a_model("added", podTemplate=ADDITIONS))
    restricted.ready("added")
    (pod,) = restricted.pods("added")
    spec = pod["spec"]
    assert [container["name"] for container in spec["initContainers"][:2]] == ["proxy", "prepare"]
    assert spec["initContainers"][0]["restartPolicy"] == "Always"
    (engine,) = spec["containers"]
    assert {"scratch", "settings"} < {mount["name"] for mount in engine["volumeMounts"]}
    assert [source.get("prefix", "") for source in engine["envFrom"]] == ["A_", ""]
    assert spec["securityContext"]["runAsNonRoot"] is True


def test_a_model_that_may_be_root_is_refused_where_pods_are_restricted(restricted: Running) -> None:
    """As a check of the test above; the status says the reason of the admission."""
    restricted.apply(a_model("root"))
    restricted.until(lambda: "PodSecurity" in json.dumps(restricted.status("root")), "the refusal in the status")
    assert restricted.pods("root") == []


ALLOW: Json = {"allow": {"hostNetwork": True, "schedulingGates": ["example.com/*"]}}


def test_the_host_network_and_gates_work_where_the_configuration_allows_them(
    installed: Installed, tmp_path: Path
) -> None:
    """Two replicas on two nodes, by the real scheduler; a pod behind a gate starts when the gate is taken away."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(ALLOW))
    with installed.running(arguments=(f"--config={config}",)) as operator:
        operator.apply(a_model("on-host", gpus=2, replicas=2, podTemplate={"hostNetwork": True}))
        operator.ready("on-host")
        pods = operator.pods("on-host")
        assert {pod["spec"]["hostNetwork"] for pod in pods} == {True}
        assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
        operator.apply(a_model("gated", podTemplate={"schedulingGates": ["example.com/hold"]}))
        (pod,) = operator.until(lambda: operator.pods("gated"), "the pod behind its gate")
        operator.until(lambda: "scheduling gates" in json.dumps(operator.status("gated")), "the gate in the status")
        patch = json.dumps({"spec": {"schedulingGates": []}})
        operator.plane.kubectl("patch", "pod", pod["metadata"]["name"], "-n", MODELS, "--type=merge", "-p", patch)
        operator.ready("gated")
        assert operator.pod_names("gated") == [pod["metadata"]["name"]]


def test_pods_are_made_by_the_account_of_the_operator(running: Running) -> None:
    """So rules of the cluster for the account of a user do not see the user."""
    running.apply(a_model("by-whom"))
    running.ready("by-whom")
    references = ((call["verb"], call.get("objectRef") or {}, call["user"]["username"]) for call in running.calls())
    makers = {user for verb, what, user in references if (verb, what.get("resource")) == ("create", "pods")}
    assert makers == {ACCOUNT}
