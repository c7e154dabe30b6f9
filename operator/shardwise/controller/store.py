"""What the watches have shown: objects, pods, Services and nodes, by resourceVersion; and who holds which GPUs.

Lists and watches race, and a watch may lose a deletion: nothing older ever replaces something newer, and a relist
sweeps what is gone.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.site import FleetSite
from shardwise.inventory import fleet_of, gpu_request, held_gpus, is_finished, read_node
from shardwise.reconcile import Observed, PodSeen, see_companions, see_pod
from shardwise.render.manifest import MANAGED_BY, MODEL, OPERATOR, REVISION
from shardwise.render.names import label_value

Key = tuple[str, str]
"""Namespace and name."""

Json = Mapping[str, Any]


def key_of(obj: Json) -> Key:
    """Give an object's namespace and name; the namespace of a node is empty."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def version_of(obj: Json) -> int:
    """Give an object's resourceVersion as a number: it grows with every change (guaranteed since Kubernetes 1.35)."""
    return int(obj["metadata"].get("resourceVersion") or 0)


@dataclass
class Shelf:
    """The objects of one kind, and the resourceVersions at which others were deleted.

    ``listed_at`` is the version of the last whole list: what is not here now did not exist then.
    """

    objects: dict[Key, Json] = field(default_factory=dict)
    graves: dict[Key, int] = field(default_factory=dict)
    listed_at: int = -1

    def put(self, obj: Json) -> bool:
        """Keep an object unless a newer one, or its deletion, is known. Tell whether it was kept."""
        key = key_of(obj)
        known = self.objects.get(key)
        newest = max(self.listed_at if known is None else version_of(known), self.graves.get(key, -1))
        if version_of(obj) <= newest:
            return False
        self.objects[key] = obj
        return True

    def remove(self, key: Key, version: int) -> bool:
        """Forget an object deleted at a version. Tell whether it was there."""
        known = self.objects.get(key)
        if known is not None and version_of(known) > version:
            return False
        self.graves[key] = max(version, self.graves.get(key, -1))
        return self.objects.pop(key, None) is not None

    def sweep(self, listed: Iterable[Json], version: int) -> list[Json]:
        """Take in a list made at a version, and give what was dropped because it is no longer listed."""
        present = set()
        for obj in listed:
            present.add(key_of(obj))
            self.put(obj)
        gone = [obj for key, obj in self.objects.items() if key not in present and version_of(obj) <= version]
        for obj in gone:
            self.remove(key_of(obj), version)
        self.graves = {key: at for key, at in self.graves.items() if at > version}
        self.listed_at = max(self.listed_at, version)
        return gone


class Store:
    """All shelves, and the fleet they add up to."""

    def __init__(self, site: FleetSite | None = None) -> None:
        self.site: Final = site or FleetSite()
        self.models: Final = Shelf()
        self.pods: Final = Shelf()
        self.services: Final = Shelf()
        self.nodes: Final = Shelf()
        self.plans: Final[dict[Key, Json]] = {}
        """The latest plan document decided for each object, whether or not the API server has it yet."""

        self.compute_domains = True
        """Whether the API server serves ComputeDomains, as of the last list."""

        self._read: dict[str, tuple[Json, Node]] = {}

    def observe(self, key: Key) -> Observed:
        """Give all that a decision about one object looks at."""
        model = self.models.objects[key]
        own = [pod for pod in self.pods.objects.values() if owner_of(pod) == key]
        services = {obj["metadata"]["name"]: obj for obj in self.services.objects.values() if owner_of(obj) == key}
        return Observed(
            pods=tuple(sorted(_seen(own), key=lambda pod: pod.name)),
            services={name: obj["metadata"]["labels"].get(REVISION, "") for name, obj in services.items()},
            companions={name: see_companions(obj) for name, obj in services.items()},
            compute_domains=self.compute_domains,
            status=model.get("status") or {},
            fleet=self.fleet(without=key),
        )

    def shelf_of(self, kind: str) -> Shelf | None:
        """Give the shelf of a kind that is watched and made, or ``None`` for one that is only made."""
        return {"Pod": self.pods, "Service": self.services}.get(kind)

    def fleet(self, without: Key | None = None) -> Fleet:
        """Give the fleet, as if one object held nothing.

        Pods hold the GPUs of the node they are bound to. What a plan has decided beyond the pods that are bound is
        held as well, or two objects would be given the same GPUs.
        """
        pods = self.pods.objects.values()
        held: Counter[str] = held_gpus(pod for pod in pods if without is None or owner_of(pod) != without)
        for key, document in self.plans.items():
            if key != without:
                held.update(_unbound(document, self._bound(key)))
        return fleet_of((_with_held(node, held[node.name]) for node in self._nodes()), self.site)

    def read(self, node: Json) -> Node:
        """Read one node as if nobody held its GPUs."""
        return read_node(node, 0, self.site)

    def holders(self, node: str) -> set[Key]:
        """Name the objects that have planned on a node."""
        return {key for key, document in self.plans.items() if node in planned_gpus(document)}

    def _bound(self, key: Key) -> Counter[str]:
        return held_gpus(pod for pod in self.pods.objects.values() if owner_of(pod) == key)

    def _nodes(self) -> Iterable[Node]:
        """Read each node once for as long as it does not change."""
        for key, obj in sorted(self.nodes.objects.items()):
            name = key[1]
            known = self._read.get(name)
            if known is None or known[0] is not obj:
                known = self._read[name] = (obj, self.read(obj))
            yield known[1]


def owner_of(obj: Json) -> Key | None:
    """Give the key of the object something was made for; ``None`` for what is not ours."""
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get(MANAGED_BY) != OPERATOR or MODEL not in labels:
        return None
    owners = metadata.get("ownerReferences") or ()
    name = next((one["name"] for one in owners if one.get("kind") == "ShardedModel"), None)
    if name is None or label_value(name) != labels[MODEL]:
        return None
    return metadata.get("namespace", ""), name


def planned_gpus(document: Json) -> Counter[str]:
    """Count the GPUs a plan document gives to each node."""
    gpus: Counter[str] = Counter()
    for group in document.get("groups") or ():
        for pod in group.get("pods") or ():
            gpus[pod["node"]] += pod["gpus"]
    return gpus


def is_relevant(pod: Json) -> bool:
    """Tell whether a pod matters: ours, or one that holds GPUs."""
    return owner_of(pod) is not None or (gpu_request(pod) > 0 and not is_finished(pod))


def slim(obj: Json) -> Json:
    """Drop what nobody here reads and every large cluster is full of."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in ("managedFields", "annotations")}
    status = {name: value for name, value in (obj.get("status") or {}).items() if name != "images"}
    return {**obj, "metadata": metadata, "status": status}


def _seen(pods: Iterable[Json]) -> Iterator[PodSeen]:
    """Read pods; one that somebody stripped of our labels holds GPUs, and belongs to no group."""
    for pod in pods:
        with contextlib.suppress(KeyError, ValueError):
            yield see_pod(pod)


def _unbound(document: Json, bound: Counter[str]) -> Counter[str]:
    return planned_gpus(document) - bound


def _with_held(node: Node, held: int) -> Node:
    return node if held == 0 or node.free == 0 else replace(node, free=max(0, node.free - held))
