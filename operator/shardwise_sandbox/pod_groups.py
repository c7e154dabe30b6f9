"""The kinds PodGroup of gang schedulers, reduced to the parts that clients use."""

from shardwise_sandbox.objects import JsonObject

_ANY: JsonObject = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_COUNT: JsonObject = {"type": "integer", "minimum": 1}
_TEXT: JsonObject = {"type": "string"}

_SPECS: dict[str, JsonObject] = {
    # Kubernetes 1.36 serves it without a CustomResourceDefinition.
    "scheduling.k8s.io/v1alpha2": {
        "schedulingPolicy": {
            "type": "object",
            "properties": {"gang": {"type": "object", "properties": {"minCount": _COUNT}, "required": ["minCount"]}},
        },
        "schedulingConstraints": _ANY,
        "disruptionMode": {"type": "string", "enum": ["Pod", "PodGroup"]},
        "priorityClassName": _TEXT,
    },
    # KAI v0.17.0, whose Go module cannot be fetched.
    "scheduling.run.ai/v2alpha2": {"minMember": _COUNT, "queue": _TEXT, "priorityClassName": _TEXT},
}


def pod_group_definition(api_version: str) -> JsonObject:
    """Return the CustomResourceDefinition of the PodGroups of an API version."""
    group, _, version = api_version.partition("/")
    spec = {"type": "object", "properties": _SPECS[api_version]}
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": _ANY}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"podgroups.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "PodGroup", "listKind": "PodGroupList", "plural": "podgroups", "singular": "podgroup"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }
