"""The fleet as files show it: Nodes and Pods that kubectl printed, checked before anything is read off them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shardwise.cli.documents import Document, WrongInput, read_documents, shown
from shardwise.controller.store import Key, owner_of
from shardwise.domain.fleet import Fleet
from shardwise.domain.site import FleetSite
from shardwise.inventory import read_fleet

_EXAMPLE: Final = "`kubectl get nodes,pods -A -o yaml` gives one"

Shape = Any
"""``str``, ``object`` (anything), ``[shape]`` for a list, ``{field: shape}``, ``{"*": shape}`` for any field."""

_WORDS: Final[Mapping[type, str]] = {str: "a string", list: "a list", dict: "an object"}
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
    "Pod": {
        "metadata": _METADATA,
        "spec": {"nodeName": str, "containers": _CONTAINERS, "initContainers": _CONTAINERS},
        "status": {"phase": str},
    },
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The Nodes and Pods of a cluster at one time, and how they are read."""

    nodes: tuple[Document, ...]
    pods: tuple[Document, ...]
    site: FleetSite = field(default_factory=FleetSite)

    def fleet(self, *, without: Collection[Key] = (), held: Iterable[tuple[str, int]] = ()) -> Fleet:
        """Give the fleet as if the ShardedModels ``without`` held nothing, and ``held`` GPUs were taken, by node."""
        pods = [pod for pod in self.pods if owner_of(pod) not in without]
        return read_fleet(self.nodes, pods, held=held, site=self.site)


def read_snapshot(names: Iterable[str], site: FleetSite | None = None) -> Snapshot:
    """Read Nodes and Pods off files. What two files both hold counts once; other kinds are passed over.

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
    return Snapshot(tuple(found["Node"].values()), tuple(found["Pod"].values()), site or FleetSite())


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
