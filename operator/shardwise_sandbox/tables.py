"""Tables: the columns that ``kubectl get`` shows, computed by the server."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from shardwise_sandbox.objects import Json, JsonObject, condition, dig, is_deleting, meta
from shardwise_sandbox.resources import Column, ResourceType

_STEP: Final = re.compile(
    r"""\.?(?:
        \[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]
      | \[(?P<index>-?\d+|\*)\]
      | \[['"](?P<quoted>[^'"]+)['"]\]
      | (?P<name>(?:[^.\[\\]|\\.)+)
    )""",
    re.VERBOSE,
)


def json_path(obj: Json, path: str) -> list[Json]:
    """Follow a simple JSONPath: members, indices, ``[*]`` and filters like ``[?(@.type=="Ready")]``."""
    found = [obj]
    for step in _STEP.finditer(path):
        found = [result for value in found for result in _follow(value, step)]
    return found


def _follow(value: Json, step: re.Match[str]) -> list[Json]:
    if step["key"]:
        items = value if isinstance(value, list) else []
        return [item for item in items if str(dig(item, *step["key"].split("."))) == step["value"]]
    if step["index"]:
        return _items(value, step["index"])
    name = step["quoted"] or step["name"].replace("\\", "")
    return [value[name]] if isinstance(value, dict) and value.get(name) is not None else []


def _items(value: Json, index: str) -> list[Json]:
    if not isinstance(value, list):
        return []
    if index == "*":
        return value
    place = int(index)
    return [value[place]] if -len(value) <= place < len(value) else []


def age(since: str | None, now: datetime) -> str:
    """Return the age since a time, as ``kubectl`` shows it: ``45s``, ``12m``, ``3h``, ``5d``."""
    if not since:
        return "<unknown>"
    then = datetime.fromisoformat(since)
    seconds = max(0, int((now.astimezone(UTC) - then).total_seconds()))
    for limit, unit, letter in ((120, 1, "s"), (7200, 60, "m"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit}{letter}"
    return f"{seconds // 86_400}d"


_NAME: Final = Column("Name", "string", ".metadata.name")
_AGE: Final = Column("Age", "date", ".metadata.creationTimestamp")
_COMPUTED: Final = ""

COLUMNS: Final[Mapping[str, Sequence[Column]]] = {
    "Pod": (
        _NAME,
        Column("Ready", "string", _COMPUTED),
        Column("Status", "string", _COMPUTED),
        Column("Restarts", "string", _COMPUTED),
        _AGE,
        Column("IP", "string", ".status.podIP", 1),
        Column("Node", "string", ".spec.nodeName", 1),
    ),
    "Node": (
        _NAME,
        Column("Status", "string", _COMPUTED),
        Column("Roles", "string", _COMPUTED),
        _AGE,
        Column("Version", "string", ".status.nodeInfo.kubeletVersion"),
        Column("Arch", "string", ".status.nodeInfo.architecture", 1),
    ),
    "Service": (
        _NAME,
        Column("Type", "string", ".spec.type"),
        Column("Cluster-IP", "string", ".spec.clusterIP"),
        Column("External-IP", "string", ".status.loadBalancer.ingress[0].ip"),
        Column("Port(s)", "string", _COMPUTED),
        _AGE,
    ),
    "Event": (
        Column("Last Seen", "date", ".lastTimestamp"),
        Column("Type", "string", ".type"),
        Column("Reason", "string", ".reason"),
        Column("Object", "string", _COMPUTED),
        Column("Message", "string", ".message"),
    ),
    "Namespace": (_NAME, Column("Status", "string", ".status.phase"), _AGE),
    "CustomResourceDefinition": (_NAME, Column("Created At", "string", ".metadata.creationTimestamp")),
}


def _containers(pod: JsonObject) -> list[JsonObject]:
    return dig(pod, "status", "containerStatuses") or []


def _pod_ready(pod: JsonObject) -> str:
    ready = sum(bool(container.get("ready")) for container in _containers(pod))
    return f"{ready}/{len(pod['spec'].get('containers') or ())}"


def _pod_status(pod: JsonObject) -> str:
    if is_deleting(pod):
        return "Terminating"
    if dig(pod, "status", "reason"):
        return str(dig(pod, "status", "reason"))
    if dig(pod, "spec", "schedulingGates"):
        return "SchedulingGated"
    for container in _containers(pod):
        state = container.get("state") or {}
        reason = dig(state, "waiting", "reason") or dig(state, "terminated", "reason")
        if reason:
            return str(reason)
    return str(dig(pod, "status", "phase") or "Unknown")


def _pod_restarts(pod: JsonObject) -> str:
    return str(sum(container.get("restartCount", 0) for container in _containers(pod)))


def _node_status(node: JsonObject) -> str:
    ready = {"True": "Ready", "False": "NotReady"}.get(condition(node, "Ready").get("status", ""), "NotReady")
    return f"{ready},SchedulingDisabled" if dig(node, "spec", "unschedulable") else ready


def _node_roles(node: JsonObject) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [label.removeprefix(prefix) for label in meta(node).get("labels") or {} if label.startswith(prefix)]
    return ",".join(sorted(roles)) or "<none>"


def _service_ports(service: JsonObject) -> str:
    ports = service["spec"].get("ports") or ()
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _event_object(event: JsonObject) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


_CELLS: Final[Mapping[tuple[str, str], Callable[[JsonObject], str]]] = {
    ("Pod", "Ready"): _pod_ready,
    ("Pod", "Status"): _pod_status,
    ("Pod", "Restarts"): _pod_restarts,
    ("Node", "Status"): _node_status,
    ("Node", "Roles"): _node_roles,
    ("Service", "Port(s)"): _service_ports,
    ("Event", "Object"): _event_object,
}


def columns_of(resource: ResourceType) -> Sequence[Column]:
    """Return the columns of a kind: the name and the columns of its definition, or name and age."""
    if resource.columns:
        return (_NAME, *resource.columns)
    return COLUMNS.get(resource.kind, (_NAME, _AGE)) if not resource.custom else (_NAME, _AGE)


def _cell(resource: ResourceType, column: Column, obj: JsonObject, now: datetime) -> Json:
    computed = _CELLS.get((resource.kind, column.name)) if column.path == _COMPUTED else None
    if computed is not None:
        return computed(obj)
    found = json_path(obj, column.path)
    if column.kind == "date":
        return age(found[0] if found else None, now)
    if not found:
        # Without a value a custom column is empty, and a built-in column says that there is none.
        return None if resource.custom else "<none>"
    return found[0] if column.kind in {"integer", "number", "boolean"} else ",".join(map(_text, found))


def _text(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _definition(column: Column) -> JsonObject:
    return {
        "name": column.name,
        "type": column.kind,
        "format": "name" if column is _NAME else "",
        "description": column.description,
        "priority": column.priority,
    }


def table(resource: ResourceType, objects: Sequence[JsonObject], list_meta: JsonObject, now: datetime) -> JsonObject:
    """Return objects as a ``meta.k8s.io/v1`` Table. Rows carry only metadata, the default of clients."""
    columns = columns_of(resource)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [
            {"cells": [_cell(resource, column, obj, now) for column in columns], "object": _partial(obj)}
            for obj in objects
        ],
    }


def _partial(obj: JsonObject) -> JsonObject:
    known = {key: value for key, value in meta(obj).items() if key != "managedFields"}
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": known}
