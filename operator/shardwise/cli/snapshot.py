"""A cluster at one time: Nodes, Pods and ShardedModels, as files show them or as the API server lists them."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shardwise.api.base import KIND
from shardwise.cli.documents import Document, WrongInput, read_documents, shown
from shardwise.cluster.resources import PRIORITY_CLASS
from shardwise.controller.store import STRANGERS, Key, owner_of
from shardwise.domain.site import FleetSite
from shardwise.inventory import Ledger, holding
from shardwise.reconcile import PodSeen, holdings, planned_gpus, see_pod

_EXAMPLE: Final = "`kubectl get nodes,pods -A -o yaml` gives one"

Shape = Any
"""``str``, ``object`` (anything), ``[shape]`` for a list, ``{field: shape}``, ``{"*": shape}`` for any field."""

_WORDS: Final[Mapping[type, str]] = {str: "a string", int: "a whole number", list: "a list", dict: "an object"}
_METADATA: Final[Shape] = {
    "name": str,
    "namespace": str,
    "labels": {"*": str},
    "ownerReferences": [{"kind": str, "name": str}],
}
_CONTAINERS: Final[Shape] = [{"resources": {"requests": {"*": object}, "limits": {"*": object}}}]
_SHAPES: Final[Mapping[str, Shape]] = {
    "Node": {
        "metadata": _METADATA,
        "spec": {"taints": [{"key": str, "value": str, "effect": str}]},
        "status": {"allocatable": {"*": object}, "conditions": [{"type": str, "status": str}]},
    },
    PRIORITY_CLASS.name: {"metadata": _METADATA, "value": int},
    "Pod": {
        "metadata": _METADATA,
        "spec": {"nodeName": str, "containers": _CONTAINERS, "initContainers": _CONTAINERS},
        "status": {"phase": str},
    },
    KIND: {
        "metadata": _METADATA,
        "status": {
            "observedGeneration": int,
            "conditions": [{"type": str, "status": str}],
            "plan": {"*": object},
            "groups": [{"replica": int, "attempt": int, "state": str, "nodes": [str], "gpusPerPod": int}],
        },
    },
}


@dataclass(frozen=True)
class Snapshot:
    """What one look at a cluster shows, and how nodes are read. ``priorities`` are its PriorityClasses.

    ``namespace`` is the one meant where none is said. ``installed``: the cluster knows ShardedModels.
    """

    nodes: tuple[Document, ...]
    pods: tuple[Document, ...]
    models: tuple[Document, ...] = ()
    priorities: tuple[Document, ...] = ()
    site: FleetSite = field(default_factory=FleetSite)
    namespace: str = "default"
    installed: bool = True

    def ledger(self) -> Ledger[Key]:
        """Count who holds which GPUs, as the operator would: bound pods, and plans whose pods are not bound yet."""
        ledger: Ledger[Key] = Ledger(self.site)
        for node in self.nodes:
            ledger.put(node)
        for pod in self.pods:
            held = holding(pod)
            if held is not None:
                ledger.bind(owner_of(pod) or STRANGERS, *held)
        for model in self.models:
            ledger.plan(key_of(model), _planned(model))
        return ledger

    def pods_of(self, key: Key) -> tuple[PodSeen, ...]:
        """Read the pods of one object; one that somebody stripped of our labels belongs to no group."""
        return tuple(sorted(_seen(pod for pod in self.pods if owner_of(pod) == key), key=lambda pod: pod.name))


def read_snapshot(names: Iterable[str], site: FleetSite | None = None) -> Snapshot:
    """Read Nodes, Pods and ShardedModels off files. What two files both hold counts once; other kinds are passed over.

    Raises :class:`WrongInput` where there is no Node, or one that no API server would give.
    """
    names = list(names)
    found: dict[str, dict[Key, Document]] = {kind: {} for kind in _SHAPES}
    for path, document in read_documents(names):
        kind = str(document.get("kind"))
        if kind in _SHAPES:
            key = _checked_key(path, kind, document)
            found[kind][key] = document
    if not found["Node"]:
        raise WrongInput(f"no Node in {shown(names)}: {_EXAMPLE}")
    nodes, pods, models, priorities = (
        tuple(found[kind].values()) for kind in ("Node", "Pod", KIND, PRIORITY_CLASS.name)
    )
    return Snapshot(nodes, pods, models, priorities, site or FleetSite())


def key_of(document: Document) -> Key:
    """Give the namespace and name of an object, as kubectl would apply it; whatever it is, it gets some."""
    metadata: Any = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return "default", "unnamed"
    return str(metadata.get("namespace") or "default"), str(metadata.get("name") or "unnamed")


def _planned(model: Document) -> Counter[str]:
    """Count the GPUs the groups of an object hold; one that does not say where it is holds none."""
    return planned_gpus(holdings(model.get("status") or {}))


def _seen(pods: Iterable[Document]) -> Iterator[PodSeen]:
    for pod in pods:
        with contextlib.suppress(KeyError, ValueError):
            yield see_pod(pod)


def _checked_key(path: str, kind: str, document: Document) -> Key:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    lines = [f"{path}: {kind} `{name}`: {problem}" for problem in _misshapen(_SHAPES[kind], document, "")]
    if not lines and not name:
        lines = [f"{path}: {kind}: metadata.name is required"]
    if lines:
        raise WrongInput(*lines)
    return str(document["metadata"].get("namespace") or ""), str(name)


def _misshapen(shape: Shape, value: object, path: str) -> Iterator[str]:
    """Say what differs from a shape. Absent fields and null are fine everywhere, as they are in Kubernetes."""
    kind = shape if isinstance(shape, type) else type(shape)
    if value is None or kind is object:
        return
    if not isinstance(value, kind):
        yield f"{path}: `{str(value)[:60]}` is not {_WORDS[kind]}"
    elif isinstance(value, list):
        for position, one in enumerate(value):
            yield from _misshapen(shape[0], one, f"{path}.{position}")
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _misshapen(shape.get(name, shape.get("*", object)), one, f"{path}.{name}".lstrip("."))
