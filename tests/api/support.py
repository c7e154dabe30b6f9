"""Objects to read: a plain one, and copies of it with one thing changed."""

import copy
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

PLAIN: Json = {
    "apiVersion": "shardwise.dev/v1alpha1",
    "kind": "ShardedModel",
    "metadata": {"name": "llama", "namespace": "default"},
    "spec": {"model": {"name": "meta-llama/Llama-3.1-8B"}, "gpuBudget": {"total": 8}},
}

TARGET: Json = {
    "inputTokens": 2000,
    "outputTokens": 300,
    "timeToFirstToken": "1.5s",
    "timePerToken": "33.3ms",
    "requestsPerSecond": 4,
}
"""A target with every field."""

RIGHT: dict[str, tuple[str, object]] = {
    "all of a model": (
        "spec.model",
        {
            "name": "a/b",
            "servedName": "b",
            "config": {"any": {"thing": [1]}},
            "weightBytes": "15Gi",
            "contextLength": 1,
            "concurrency": 100000,
            "quantization": "nvfp4",
            "kvCacheDtype": "fp8",
            "trustRemoteCode": True,
            "gpuMemoryReserve": "2Gi",
        },
    ),
    "a private model": ("spec.model.source", {"huggingFace": {"revision": "v1", "tokenSecretRef": {"name": "s"}}}),
    "a claim": ("spec.model.source", {"persistentVolumeClaim": {"claimName": "c", "path": "a/b"}}),
    "a host path": ("spec.model.source", {"hostPath": {"path": "/weights"}}),
    "an image": ("spec.model.source", {"image": {"reference": "r.example/x@sha256:0"}}),
    "products": ("spec.gpuBudget.products", ["NVIDIA-H200", "NVIDIA-H100-80GB-HBM3"]),
    "no replica": ("spec.replicas", 0),
    "a rate": ("spec.target", {"inputTokens": 1, "outputTokens": 1, "requestsPerSecond": 0.5}),
    "a whole rate": ("spec.target", {"inputTokens": 1, "outputTokens": 1, "requestsPerSecond": 12}),
    "times": (
        "spec.target",
        {"inputTokens": 2000, "outputTokens": 300, "timeToFirstToken": "1.5s", "timePerToken": "0.5ms"},
    ),
    "pins": ("spec.parallelism", {"tensor": 4, "pipeline": 2, "expert": False}),
    "pins of data ranks": ("spec.parallelism", {"data": 2, "tensor": 4, "context": 2}),
    "an engine": ("spec.engine", {"image": "i:1", "imagePullPolicy": "Never", "args": ["--seed=1"]}),
    "variables": (
        "spec.engine.env",
        [
            {"name": "A", "value": ""},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        ],
    ),
    "a place": (
        "spec.placement",
        {
            "nodeSelector": {"rack": "7", "empty": ""},
            "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute"}],
            "nodeAffinity": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "rack", "operator": "NotIn", "values": ["1", "2"]}]},
                    {
                        "matchExpressions": [
                            {"key": "rack", "operator": "Exists"},
                            {"key": "disks", "operator": "Gt", "values": ["-3"]},
                        ]
                    },
                ]
            },
            "within": "topology.kubernetes.io/zone",
            "priorityClassName": "high",
        },
    ),
    "a template": (
        "spec.podTemplate",
        {
            "labels": {"a": "b"},
            "limits": {"rdma/ib": "8"},
            "requests": {"cpu": "8"},
            "sharedMemory": "16Gi",
            "volumes": [{"name": "a", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}}],
            "volumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "b", "readOnly": True}],
            "envFrom": [{"prefix": "A_", "secretRef": {"name": "a", "optional": True}}],
            "sidecars": [{"name": "b", "image": "c", "args": ["d\ne"], "ports": [{"containerPort": 9000}]}],
            "initContainers": [{"name": "c", "image": "d"}],
            "securityContext": {"runAsUser": 0, "fsGroup": 5, "runAsNonRoot": False},
            "hostNetwork": True,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "schedulingGates": ["example.com/a"],
        },
    ),
    "a service": ("spec.service", {"port": 80, "type": "LoadBalancer"}),
    "restarts": ("spec.restartPolicy", {"maxRestarts": 0}),
}
"""Right objects: by name, the path of a field of the plain object, and a value for it."""


def changed(path: str, value: object) -> Json:
    """Give the plain object with the field at a dotted path set; ``None`` takes it out."""
    made = copy.deepcopy(PLAIN)
    *parents, last = path.split(".")
    place = made
    for part in parents:
        place = place.setdefault(part, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return made


def wrong_objects() -> dict[str, tuple[str, object, str]]:
    """Give the table of wrong objects: by name, the path of a field, its value, and the message."""
    rows = yaml.safe_load((Path(__file__).parent.parent / "data" / "wrong-objects.yaml").read_text(encoding="utf-8"))
    return {row["name"]: (row["path"], row["value"], row["message"]) for row in rows}
