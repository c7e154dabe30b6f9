"""The kind ComputeDomain of NVIDIA's DRA driver: it gives the pods that claim it NVLink between their nodes."""

from shardwise_sandbox.objects import JsonObject

_GROUP = "resource.nvidia.com"


def compute_domain_definition() -> JsonObject:
    """Return the CustomResourceDefinition, reduced to the parts that clients use (dra-driver-nvidia-gpu v0.4.0)."""
    template = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    mode = {"type": "string", "enum": ["Single", "All"], "default": "Single"}
    channel = {
        "type": "object",
        "required": ["resourceClaimTemplate"],
        "properties": {"resourceClaimTemplate": template, "allocationMode": mode},
    }
    spec = {
        "type": "object",
        "required": ["channel"],
        "properties": {"numNodes": {"type": "integer", "default": 0}, "channel": channel},
    }
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": status}}
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"computedomains.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "names": {"kind": "ComputeDomain", "listKind": "ComputeDomainList", "plural": "computedomains"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }
