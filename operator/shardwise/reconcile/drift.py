"""Finds the drift of an object that the operator made: the fields that differ from its manifest.

The live object holds more than the manifest: defaults of the API server, and fields of other managers, which stay
theirs. So each field of the manifest is looked up in the live object. Maps and lists are compared as server-side apply
merges them (kubernetes.io/docs/reference/using-api/server-side-apply, "Merge strategy"): a selector is compared as a
whole, ports by port and protocol, owners by uid, and every other list as a whole.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from shardwise.domain.drift import Drift, FieldPath
from shardwise.render.manifest import OPERATOR, Manifest

Live = Mapping[str, Any]
"""An object as a watch shows it, with the managed fields of other managers."""

Json = Any
"""Any JSON value."""

_SPEC: Final = "f:spec"
_PORTS: Final[FieldPath] = (_SPEC, "f:ports")
_WHOLE: Final[frozenset[FieldPath]] = frozenset({(_SPEC, "f:selector")})
_KEYS: Final[Mapping[FieldPath, Mapping[str, Any]]] = {
    _PORTS: {"port": None, "protocol": "TCP"},
    ("f:metadata", "f:ownerReferences"): {"uid": None},
}
"""The keys of the items of keyed lists, each with its default."""

_FIXED: Final[frozenset[FieldPath]] = frozenset({(_SPEC, "f:clusterIP")})
"""Fields that the API server does not let anybody change."""

_COMPARED_METADATA: Final = ("labels", "ownerReferences")


def drifts(manifest: Manifest, live: Live) -> tuple[Drift, ...]:
    """Give the fields of a manifest that differ in the live object; empty if an apply would change nothing."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name in _COMPARED_METADATA}
    rest = {name: value for name, value in manifest.items() if name not in ("apiVersion", "kind", "metadata")}
    found = _differing((), {"metadata": metadata, **rest}, live)
    return tuple(Drift(path, present, wanted, owners(live, path)) for path, present, wanted in found)


def is_fixed(drift: Drift) -> bool:
    """Tell whether a field cannot be put right by an update: the object must be deleted and made again."""
    return drift.path in _FIXED


def label_path(label: str) -> FieldPath:
    """Give the path of a label."""
    return "f:metadata", "f:labels", f"f:{label}"


def owners(live: Live, path: FieldPath) -> tuple[str, ...]:
    """Name the other managers that own a field. For a list item that is gone, name the owners of the other items."""
    found = [entry for entry in live["metadata"].get("managedFields") or () if _owns(entry, path)]
    if not found and path[:2] == _PORTS and len(path) > len(_PORTS):
        return owners(live, _PORTS)
    return tuple(sorted({str(entry.get("manager")) for entry in found} - {OPERATOR}))


def in_the_way(manifest: Manifest, live: Live) -> Manifest | None:
    """Give a merge patch that takes away the fields of others that exclude ours; ``None`` if no field does.

    Server-side apply cannot take a field away from another manager. The API server refuses two ports of the same name,
    and a disruption budget with both ``minAvailable`` and ``maxUnavailable``.
    """
    spec = live.get("spec") or {}
    if manifest["kind"] == "PodDisruptionBudget" and spec.get("maxUnavailable") is not None:
        return _patch(live, {"maxUnavailable": None, "minAvailable": manifest["spec"]["minAvailable"]})
    ours = {_step(port, _PORTS): port for port in manifest["spec"].get("ports") or ()}
    names = {port["name"] for port in ours.values()}
    there = {_step(port, _PORTS): port for port in spec.get("ports") or ()}
    rivals = [step for step, port in there.items() if step not in ours and port.get("name") in names]
    if not any(_owns(entry, (*_PORTS, step)) for step in rivals for entry in live["metadata"].get("managedFields", ())):
        return None
    named = [there.get(step, {}) | port for step, port in ours.items()]
    theirs = [port for step, port in there.items() if step not in ours and step not in rivals]
    return _patch(live, {"ports": named + theirs})


def _patch(live: Live, spec: Manifest) -> Manifest:
    """Patch this very object: it may be replaced by another in the meantime."""
    uid = live["metadata"].get("uid")
    return {"spec": spec} | ({"metadata": {"uid": uid}} if uid else {})


def _differing(path: FieldPath, wanted: Json, present: Json) -> Iterator[tuple[FieldPath, Json, Json]]:
    if isinstance(wanted, Mapping) and path not in _WHOLE:
        there = present if isinstance(present, Mapping) else {}
        for name, value in wanted.items():
            yield from _differing((*path, f"f:{name}"), value, there.get(name))
    elif path in _KEYS:
        items = {_step(item, path): item for item in present or ()}
        for item in wanted:
            step = _step(item, path)
            if step in items:
                yield from _differing((*path, step), item, items[step])
            else:
                yield (*path, step), None, item
    elif wanted != present and not (_is_empty(wanted) and _is_empty(present)):
        yield path, present, wanted


def _is_empty(value: object) -> bool:
    """Tell whether the API server leaves a value out. It keeps the number 0."""
    return value is None or value is False or value in ("", {}, [])


def _step(item: Mapping[str, Any], path: FieldPath) -> str:
    """Name an item of a keyed list by its keys, as managed fields do."""
    keys = {key: item.get(key) or default for key, default in sorted(_KEYS[path].items())}
    return f"k:{json.dumps(keys, separators=(',', ':'))}"


def _owns(entry: Mapping[str, Any], path: FieldPath) -> bool:
    """Tell whether an entry of the managed fields holds a path, or a whole value around it."""
    fields: Any = entry.get("fieldsV1") or {}
    for step in path:
        if not isinstance(fields, Mapping) or step not in fields:
            return False
        fields = fields[step]
    return True
