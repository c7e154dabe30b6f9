"""The discovery documents, and the part of OpenAPI that ``kubectl`` needs."""

from typing import Final

from shardwise_sandbox.errors import no_such_path
from shardwise_sandbox.objects import JsonObject
from shardwise_sandbox.resources import VERBS, Registry, ResourceType

VERSION: Final[JsonObject] = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.0",
    "gitCommit": "sandbox",
    "gitTreeState": "clean",
    "platform": "linux/amd64",
}

API_VERSIONS: Final[JsonObject] = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(registry: Registry) -> JsonObject:
    """Return the document of ``/apis``."""
    groups = [group(registry, name) for name in registry.groups()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> JsonObject:
    """Return the document of ``/apis/{group}``."""
    versions = registry.groups().get(name)
    if versions is None:
        raise no_such_path()
    offered = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": offered, "preferredVersion": offered[0]}


def resource_list(registry: Registry, group_name: str, version: str) -> JsonObject:
    """Return the document of ``/api/v1`` or ``/apis/{group}/{version}``."""
    found = registry.in_version(group_name, version)
    if not found:
        raise no_such_path()
    resources = [entry for resource in found for entry in _entries(resource)]
    group_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _entries(resource: ResourceType) -> list[JsonObject]:
    main: JsonObject = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(VERBS),
    }
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    return [main, *(_subresource(resource, name) for name in sorted(resource.subresources))]


_OTHER_KINDS: Final = {
    "scale": {"kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"]},
    "binding": {"kind": "Binding", "verbs": ["create"]},
    "eviction": {"kind": "Eviction", "group": "policy", "version": "v1", "verbs": ["create"]},
}


def _subresource(resource: ResourceType, name: str) -> JsonObject:
    about = _OTHER_KINDS.get(name) or {"kind": resource.kind, "verbs": ["get", "patch", "update"]}
    return {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        **about,
    }


def _base(group_name: str, version: str) -> str:
    return f"apis/{group_name}/{version}" if group_name else f"api/{version}"


def openapi_index(registry: Registry) -> JsonObject:
    """Return the document of ``/openapi/v3``: the paths of the documents of each group and version."""
    bases = sorted({_base(resource.group, resource.version) for resource in registry})
    return {"paths": {base: {"serverRelativeURL": f"/openapi/v3/{base}"} for base in bases}}


def openapi(registry: Registry, base: str) -> JsonObject:
    """Return an OpenAPI v3 document: the schemas of custom kinds, and the parameter ``fieldValidation`` of writes."""
    found = [resource for resource in registry if _base(resource.group, resource.version) == base]
    if not found:
        raise no_such_path()
    paths = {path: item for resource in found for path, item in _paths(resource)}
    schemas = {_schema_name(resource): _schema(resource) for resource in found}
    info = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _gvk(resource: ResourceType) -> JsonObject:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _schema_name(resource: ResourceType) -> str:
    reversed_group = ".".join(reversed((resource.group or "core.api.k8s.io").split(".")))
    return f"{reversed_group}.{resource.version}.{resource.kind}"


def _schema(resource: ResourceType) -> JsonObject:
    return {"type": "object", **(resource.schema or {}), "x-kubernetes-group-version-kind": [_gvk(resource)]}


def _paths(resource: ResourceType) -> list[tuple[str, JsonObject]]:
    middle = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"/{_base(resource.group, resource.version)}{middle}/{resource.plural}"
    writes = {verb: _operation(resource, verb) for verb in ("put", "patch")}
    item = f"{collection}/{{name}}"
    below = (f"{item}/{name}" for name in sorted(resource.subresources))
    return [(collection, {"post": _operation(resource, "post")}), *((path, writes) for path in (item, *below))]


def _operation(resource: ResourceType, verb: str) -> JsonObject:
    named = ("dryRun", "fieldManager", "fieldValidation")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in named]
    return {
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": _gvk(resource),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
    }
