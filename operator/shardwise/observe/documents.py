"""Objects from files or from a live read: their fields checked, and put into a store as the watches would."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from shardwise.domain.site import FleetSite
from shardwise.observe.kinds import (
    BUDGET,
    COMPUTE_DOMAIN,
    DEFINITION,
    DEVICE_CLASS,
    NODE,
    POD,
    PRIORITY_CLASS,
    RESOURCE_CLAIM,
    RESOURCE_QUOTA,
    RESOURCE_SLICE,
    SERVICE,
    SHARDED_MODEL,
    Kind,
)
from shardwise.observe.objects import Json, Key, is_relevant, key_of, owner_of
from shardwise.observe.store import Store
from shardwise.reconcile.status_data import holdings

FieldTypes = Any
"""``str``, ``object`` (anything), ``[types]`` for a list, ``{field: types}``, ``{"*": types}`` for any field."""

_WORDS: Final[Mapping[type, str]] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
_METADATA: Final[FieldTypes] = {
    "name": str,
    "namespace": str,
    "labels": {"*": str},
    "ownerReferences": [{"kind": str, "name": str}],
}
_CONTAINERS: Final[FieldTypes] = [{"resources": {"requests": {"*": object}, "limits": {"*": object}}}]
_DEVICE: Final[FieldTypes] = {
    "name": str,
    "nodeName": str,
    "attributes": {"*": {"string": str, "int": int, "bool": bool, "version": str}},
    "capacity": {"*": {"value": object, "requestPolicy": {"default": object}}},
    "taints": [{"key": str, "value": str, "effect": str}],
    "allowMultipleAllocations": bool,
    "consumesCounters": [{"counterSet": str, "counters": {"*": {"value": object}}}],
}
_FIELDS: Final[Mapping[Kind, FieldTypes]] = {
    NODE: {
        "metadata": _METADATA,
        "spec": {"taints": [{"key": str, "value": str, "effect": str}]},
        "status": {"allocatable": {"*": object}, "conditions": [{"type": str, "status": str}]},
    },
    POD: {
        "metadata": _METADATA,
        "spec": {"nodeName": str, "hostNetwork": bool, "containers": _CONTAINERS, "initContainers": _CONTAINERS},
        "status": {"phase": str},
    },
    SERVICE: {"metadata": _METADATA},
    BUDGET: {"metadata": _METADATA},
    PRIORITY_CLASS: {"metadata": _METADATA, "value": int},
    RESOURCE_QUOTA: {
        "metadata": _METADATA,
        "spec": {
            "hard": {"*": object},
            "scopes": [str],
            "scopeSelector": {"matchExpressions": [{"scopeName": str, "operator": str, "values": [str]}]},
        },
        "status": {"hard": {"*": object}, "used": {"*": object}},
    },
    SHARDED_MODEL: {
        "metadata": _METADATA,
        "status": {
            "observedGeneration": int,
            "conditions": [{"type": str, "status": str}],
            "plan": {"*": object},
            "groups": [{"replica": int, "attempt": int, "state": str, "nodes": [str], "gpusPerPod": int}],
        },
    },
    RESOURCE_SLICE: {
        "metadata": _METADATA,
        "spec": {
            "driver": str,
            "nodeName": str,
            "pool": {"name": str, "generation": int, "resourceSliceCount": int},
            "devices": [_DEVICE],
            "sharedCounters": [{"name": str, "counters": {"*": {"value": object}}}],
        },
    },
    RESOURCE_CLAIM: {
        "metadata": _METADATA | {"annotations": {"*": str}},
        "status": {
            "allocation": {
                "devices": {"results": [{"driver": str, "pool": str, "device": str, "adminAccess": bool}]},
                "nodeSelector": {
                    "nodeSelectorTerms": [{"matchFields": [{"key": str, "operator": str, "values": [str]}]}]
                },
            },
            "reservedFor": [{"resource": str, "name": str, "uid": str}],
        },
    },
    DEVICE_CLASS: {
        "metadata": _METADATA,
        "spec": {"selectors": [{"cel": {"expression": str}}], "extendedResourceName": str},
    },
    COMPUTE_DOMAIN: {"metadata": _METADATA},
    DEFINITION: {"metadata": _METADATA, "spec": {"versions": [{"name": str, "served": bool}]}},
}
_KINDS: Final[Mapping[tuple[str, str], Kind]] = {(kind.group, kind.name): kind for kind in _FIELDS}


def kind_read(document: Json) -> Kind | None:
    """Give the kind of a document that a store keeps or learns from; ``None`` for all other kinds.

    A document without an ``apiVersion`` is taken for the kind it names: lists written by hand leave it out.
    """
    name, stated = str(document.get("kind")), document.get("apiVersion")
    if not isinstance(stated, str):
        return next((kind for kind in _FIELDS if kind.name == name), None)
    group, slash, _ = stated.partition("/")
    return _KINDS.get((group if slash else "", name))


def field_problems(kind: Kind, document: Json) -> list[str]:
    """List the fields of a document that no API server would give; empty where all is well."""
    problems = list(_mistyped(_FIELDS[kind], document, ""))
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not problems and not name:
        return [f"{kind.name}: metadata.name is required"]
    return [f"{kind.name} `{name}`: {problem}" for problem in problems]


def store_of(objects: Mapping[Kind, Iterable[Json]], site: FleetSite | None = None) -> Store:
    """Put objects, by their kinds, into a new store. An object that is there twice counts once, as it came last.

    A namespaced object without a namespace is in ``default``, as for kubectl. Objects hold the GPUs that their statuses
    say. Definitions and ComputeDomains tell whether the cluster serves ComputeDomains. Without any ResourceSlice, or
    any DeviceClass, nothing is known of them.
    """
    store = Store(site)
    index = store.devices.index
    index.known, index.classes_known = bool(objects.get(RESOURCE_SLICE)), bool(objects.get(DEVICE_CLASS))
    shelves = {
        DEVICE_CLASS: store.devices.classes,
        RESOURCE_SLICE: store.devices.slices,
        NODE: store.nodes,
        POD: store.pods,
        SERVICE: store.services,
        BUDGET: store.budgets,
        PRIORITY_CLASS: store.priorities,
        RESOURCE_QUOTA: store.quotas,
        SHARDED_MODEL: store.sharded_models,
        RESOURCE_CLAIM: store.devices.claims,
    }
    for kind, shelf in shelves.items():
        for obj in _last(kind, objects.get(kind, ())).values():
            if _matters(kind, obj):
                shelf.show(obj)
    for key, obj in store.sharded_models.objects.items():
        store.hold(key, holdings(obj.get("status") or {}))
    store.compute_domains = _serves_compute_domains(objects)
    return store


def in_namespace(kind: Kind, obj: Json) -> Json:
    """Give an object with the namespace that kubectl would put it into."""
    if not kind.namespaced or obj["metadata"].get("namespace"):
        return obj
    return {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}


def _last(kind: Kind, objects: Iterable[Json]) -> Mapping[Key, Json]:
    placed = (in_namespace(kind, obj) for obj in objects)
    return {key_of(obj): obj for obj in placed}


def _matters(kind: Kind, obj: Json) -> bool:
    if kind is POD:
        return is_relevant(obj)
    return kind not in (SERVICE, BUDGET) or owner_of(obj) is not None


def _serves_compute_domains(objects: Mapping[Kind, Iterable[Json]]) -> bool | None:
    """Tell what the objects show: a ComputeDomain or its definition, or the definitions of a cluster without it.

    Only an API server gives a definition a uid: a definition without it is a manifest, and says nothing of a cluster.
    """
    if any(True for _ in objects.get(COMPUTE_DOMAIN, ())):
        return True
    definitions = list(objects.get(DEFINITION, ()))
    if any(_defines_compute_domains(definition) for definition in definitions):
        return True
    return False if any(definition["metadata"].get("uid") for definition in definitions) else None


def _defines_compute_domains(definition: Json) -> bool:
    if definition["metadata"]["name"] != f"{COMPUTE_DOMAIN.plural}.{COMPUTE_DOMAIN.group}":
        return False
    versions = (definition.get("spec") or {}).get("versions") or ()
    return any(version.get("name") == COMPUTE_DOMAIN.version and version.get("served") for version in versions)


def _mistyped(types: FieldTypes, value: object, path: str) -> Iterator[str]:
    """Say where a value differs from its types. Absent fields and null are fine everywhere, as in Kubernetes."""
    kind = types if isinstance(types, type) else type(types)
    if value is None or kind is object:
        return
    if not isinstance(value, kind):
        yield f"{path}: `{str(value)[:60]}` is not {_WORDS[kind]}"
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _mistyped(types[0], item, f"{path}.{position}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _mistyped(types.get(name, types.get("*", object)), item, f"{path}.{name}".lstrip("."))
