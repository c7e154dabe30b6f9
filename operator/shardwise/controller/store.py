"""What the watches have shown: objects, pods, Services and nodes, by resourceVersion; and who holds which GPUs.

Lists and watches race, and a watch may lose a deletion: nothing older ever replaces something newer, and a relist
sweeps what is gone.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.site import FleetSite
from shardwise.inventory import Ledger, gpu_request, holding, is_finished
from shardwise.reconcile import Observed, PodSeen, planned_gpus, see_companions, see_pod
from shardwise.render.manifest import MANAGED_BY, MODEL, OPERATOR, REVISION
from shardwise.render.names import label_value

Key = tuple[str, str]
"""Namespace and name."""

STRANGERS: Final[Key] = ("", "")
"""All who hold GPUs and are none of our objects."""

OURS: Final = f"{MANAGED_BY}={OPERATOR}"
"""Selects what operators like this one have made."""

Json = Mapping[str, Any]
Owned = dict[Key, dict[Key, Json]]


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

    ``listed_at`` is the version of the last whole list: what is not here now did not exist then. ``changed`` is told of
    every change: what was there, and what is there now.
    """

    changed: Callable[[Json | None, Json | None], None] = lambda _before, _after: None
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
        self.changed(known, obj)
        return True

    def remove(self, key: Key, version: int) -> bool:
        """Forget an object deleted at a version. Tell whether it was there."""
        known = self.objects.get(key)
        if known is not None and version_of(known) > version:
            return False
        self.graves[key] = max(version, self.graves.get(key, -1))
        if known is not None:
            del self.objects[key]
            self.changed(known, None)
        return known is not None

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
    """All shelves, and the fleet they add up to, kept up to date by every change of a shelf."""

    def __init__(self, site: FleetSite | None = None) -> None:
        self.models: Final = Shelf()
        self.pods: Final = Shelf(self._pod_changed)
        self.services: Final = Shelf(self._service_changed)
        self.nodes: Final = Shelf(self._node_changed)
        self.priorities: Final = Shelf()
        self.budgets: Final = Shelf(self._budget_changed)
        self._plans: Final[dict[Key, Json]] = {}
        self._ledger: Final[Ledger[Key]] = Ledger(site)
        self._pods_of: Final[Owned] = {}
        self._services_of: Final[Owned] = {}
        self._budgets_of: Final[Owned] = {}
        self.refused: Final[dict[Key, str]] = {}
        """What was last said against making something for an object, until all it needs could be made."""

        self.compute_domains = True
        """Whether the API server serves ComputeDomains, as of the last list."""

    @property
    def plans(self) -> Mapping[Key, Json]:
        """What the groups of each object hold as last decided, whether or not the API server has it yet."""
        return self._plans

    def hold(self, key: Key, plan: Json | None) -> bool:
        """Note an object's plan, or that it has none: its GPUs are held from now on. Tell whether it had one."""
        had = self._plans.pop(key, None) is not None
        if plan is not None:
            self._plans[key] = plan
        self._ledger.plan(key, planned_gpus(plan))
        return had

    def forget_plans(self) -> None:
        """Forget what was decided, by us or as read off the objects: another may have decided otherwise since."""
        for key in list(self._plans):
            self.hold(key, None)

    def observe(self, key: Key) -> Observed:
        """Give all that a decision about one object looks at. O(what it owns), and a copy of the fleet."""
        services = self._services_of.get(key, {})
        return Observed(
            pods=tuple(sorted(_seen(self._pods_of.get(key, {}).values()), key=lambda pod: pod.name)),
            services=_revisions(services),
            budgets=_revisions(self._budgets_of.get(key, {})),
            companions={name: see_companions(obj) for (_, name), obj in services.items()},
            compute_domains=self.compute_domains,
            status=self.models.objects[key].get("status") or {},
            fleet=self.fleet(without=key),
            refused=self.refused.get(key, ""),
        )

    def shelf_of(self, kind: str) -> Shelf | None:
        """Give the shelf of a kind that is watched and made, or ``None`` for one that is only made."""
        return {"Pod": self.pods, "Service": self.services, "PodDisruptionBudget": self.budgets}.get(kind)

    def fleet(self, without: Key | None = None) -> Fleet:
        """Give the fleet, as if one object held nothing."""
        return self._ledger.fleet(without)

    def holders(self, node: str) -> set[Key]:
        """Name the objects that have planned on a node."""
        return self._ledger.planners(node)

    def node(self, name: str) -> Node | None:
        """Give a node as if nobody held its GPUs."""
        return self._ledger.node(name)

    def _node_changed(self, before: Json | None, after: Json | None) -> None:
        if after is not None:
            self._ledger.put(after)
        elif before is not None:
            self._ledger.drop(before["metadata"]["name"])

    def _pod_changed(self, before: Json | None, after: Json | None) -> None:
        _move(self._pods_of, before, after)
        for pod, sign in ((before, -1), (after, 1)):
            held = None if pod is None else holding(pod)
            if pod is not None and held is not None:
                self._ledger.bind(owner_of(pod) or STRANGERS, held[0], sign * held[1])

    def _service_changed(self, before: Json | None, after: Json | None) -> None:
        _move(self._services_of, before, after)

    def _budget_changed(self, before: Json | None, after: Json | None) -> None:
        _move(self._budgets_of, before, after)


def _move(owned: Owned, before: Json | None, after: Json | None) -> None:
    """Keep an object with its owner, which a change of labels may change."""
    for obj in (before, after):
        owner = None if obj is None else owner_of(obj)
        if obj is None or owner is None:
            continue
        if obj is after:
            owned.setdefault(owner, {})[key_of(obj)] = obj
        elif owned.get(owner, {}).pop(key_of(obj), None) is not None and not owned[owner]:
            del owned[owner]


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


def is_relevant(pod: Json) -> bool:
    """Tell whether a pod matters: ours, or one that holds GPUs."""
    return owner_of(pod) is not None or (gpu_request(pod) > 0 and not is_finished(pod))


def slim(obj: Json) -> dict[str, Any]:
    """Drop what nobody here reads and every large cluster is full of."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in ("managedFields", "annotations")}
    status = {name: value for name, value in (obj.get("status") or {}).items() if name != "images"}
    return {**obj, "metadata": metadata, "status": status}


def _revisions(owned: Mapping[Key, Json]) -> dict[str, str]:
    """Give the names of an object's own with the revision each carries."""
    return {name: obj["metadata"]["labels"].get(REVISION, "") for (_, name), obj in owned.items()}


def _seen(pods: Iterable[Json]) -> Iterator[PodSeen]:
    """Read pods; one that somebody stripped of our labels holds GPUs, and belongs to no group."""
    for pod in pods:
        with contextlib.suppress(KeyError, ValueError):
            yield see_pod(pod)
