"""The store: ShardedModels, pods, Services, budgets, nodes and PriorityClasses, and who holds which GPUs.

Lists and watches race, and a watch may lose a deletion: no older version ever replaces a newer one, and a new list
removes the objects that are gone.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.needs import Amounts, negative
from shardwise.domain.site import FleetSite
from shardwise.inventory import Ledger, gpu_request, is_finished, use
from shardwise.inventory.quotas import gpu_limits
from shardwise.observe.attachment_shelves import AttachmentShelves
from shardwise.observe.device_shelves import DeviceShelves
from shardwise.observe.gang_shelf import GangShelf
from shardwise.observe.objects import STRANGERS, Json, Key, key_of, owner_of
from shardwise.observe.queue_shelves import QueueShelves
from shardwise.observe.shelf import Shelf
from shardwise.observe.waiting import Waiting
from shardwise.reconcile.asks import Answer, Attempt, Heard
from shardwise.reconcile.mends import Mends
from shardwise.reconcile.observed import Observed, PodSeen, QueueSeen, see_companions, see_pod
from shardwise.reconcile.status_data import read_status
from shardwise.render.manifest import GROUP

Owned = dict[Key, dict[Key, Json]]
Use = tuple[Key, str, int, Amounts]
"""A holder, a node, and the GPUs and other resources that it has there."""

V = TypeVar("V")


class Store:
    """All shelves, and the fleet they add up to, kept up to date by every change of a shelf.

    ``ledger`` says who holds which GPUs. ``devices`` holds ResourceSlices and the claims of their GPUs. ``waiting`` is
    the queue of the objects that wait for GPUs. ``refused`` says for an object the last refusal of the API server to
    make something for it, until everything it needs could be made. ``compute_domains`` tells whether the API server
    serves ComputeDomains; ``None`` while nothing shows it. ``mends`` counts for an object how often the drift of its
    Services and budgets was put right. ``relisted`` are the objects not looked at since the last list. ``reads_quotas``
    tells whether ResourceQuotas may be read: without this right, the shelf of quotas is empty. ``excused`` are the
    objects in whose namespace the limits of a quota were changed since they were last decided on. ``cluster_queues``
    are the queues of the cluster that objects go through, ``gangs`` the groups of gang schedulers, ``attachments`` the
    objects that connect with add-ons. ``answers`` are the questions put to the engines of an object, by attempt,
    ``heard`` the requests of one token. ``gave_back`` is called when an object has given GPUs back: perhaps no pod held
    them, so that no event tells.
    """

    def __init__(self, site: FleetSite | None = None) -> None:
        self.waiting: Final = Waiting()
        self.sharded_models: Final = Shelf(self.waiting.object_changed)
        self.pods: Final = Shelf(self._pod_changed)
        self.services: Final = Shelf(self._service_changed)
        self.nodes: Final = Shelf(self._node_changed)
        self.priorities: Final = Shelf(self.waiting.class_changed)
        self.budgets: Final = Shelf(self._budget_changed)
        self.quotas: Final = Shelf(self._quota_changed)
        self.reads_quotas = False
        self.excused: Final[set[Key]] = set()
        self.ledger: Final[Ledger[Key]] = Ledger(site)
        watched = self.pods, self.sharded_models
        self.devices: Final = DeviceShelves(site, self.ledger, *watched, self._bind, self._node_read_again)
        self.cluster_queues: Final = QueueShelves()
        self.gangs: Final = GangShelf()
        self.attachments: Final = AttachmentShelves()
        self.refused: Final[dict[Key, str]] = {}
        self.mends: Final[dict[Key, Mends]] = {}
        self.answers: Final[dict[Key, dict[Attempt, Answer]]] = {}
        self.heard: Final[dict[Key, dict[Attempt, Heard]]] = {}
        self.relisted: Final[set[Key]] = set()
        self.compute_domains: bool | None = None
        self.gave_back: Callable[[], None] = lambda: None
        self._plans: Final[dict[Key, Mapping[str, int]]] = {}
        self._pods_of: Final[Owned] = {}
        self._services_of: Final[Owned] = {}
        self._budgets_of: Final[Owned] = {}
        self._quotas_in: Final[dict[str, dict[Key, Json]]] = {}
        self._planned_in: Final[dict[str, dict[Key, int]]] = {}

    @property
    def plans(self) -> Mapping[Key, Mapping[str, int]]:
        """The GPUs that each object holds on each node, as last decided, whether or not the API server knows it yet."""
        return self._plans

    def hold(
        self, key: Key, gpus: Mapping[str, int], others: Mapping[str, Amounts] | None = None, coming: int = 0
    ) -> None:
        """Note the GPUs and other resources that an object holds on each node from now on.

        Others may use the GPUs that it gives back. ``coming`` GPUs count for the limits of its namespace alone: the
        scheduler has yet to pick their nodes.
        """
        before = self._plans.pop(key, {})
        if gpus:
            self._plans[key] = gpus
        self.ledger.plan(key, gpus, others)
        _put(self._planned_in, key[0], key, sum(gpus.values()) + coming or None)
        if any(gpus.get(node, 0) < count for node, count in before.items()):
            self.gave_back()

    def count_mends(self, key: Key, mends: Mends) -> None:
        """Note how often the drift of an object's Services and budgets was put right."""
        self.mends.pop(key, None)
        if mends:
            self.mends[key] = mends

    def forget_plans(self) -> None:
        """Forget all plans, decided here or read from a status: another operator may have decided since."""
        for key in list(self._plans):
            self.hold(key, {})

    def pods_of(self, key: Key) -> tuple[PodSeen, ...]:
        """Give the pods of an object, by name."""
        return tuple(sorted(_seen(self._pods_of.get(key, {}).values()), key=lambda pod: pod.name))

    def observe(self, key: Key, now: float) -> Observed:
        """Give everything that a decision about an object looks at. O(its own objects), and a copy of the fleet.

        ``now`` is in seconds since the epoch.
        """
        fleet = self.fleet(without=key)
        services = self._services_of.get(key, {})
        return Observed(
            pods=self.pods_of(key),
            services=_by_name(services),
            budgets=_by_name(self._budgets_of.get(key, {})),
            companions={name: see_companions(obj) for (_, name), obj in services.items()},
            compute_domains=self.compute_domains is not False,
            status=read_status(self.sharded_models.objects[key].get("status") or {}),
            fleet=fleet,
            turn=self.waiting.turn(key, fleet, now),
            refused=self.refused.get(key, ""),
            mends=self.mends.get(key, {}),
            answers=dict(self.answers.get(key, {})),
            heard=dict(self.heard.get(key, {})),
            relisted=key in self.relisted,
            quotas=self.limits(key, self.sharded_models.objects[key]),
            excused=key in self.excused,
            gpus_of_others=self.gpus_of_others(key),
            queue=self.cluster_queues.seen(key, partial(self._group_names, key), fleet, self._plans),
            gang=self.gangs.seen(key[0], partial(self._group_names, key)),
            attachments=self.attachments.seen(key),
        )

    @property
    def left_behind(self) -> Iterable[Key]:
        """The objects that are gone and whose pods are there."""
        return sorted(key for key in self._pods_of if key not in self.sharded_models.objects)

    def queued(self, key: Key) -> QueueSeen:
        """Give the groups of an object that may be gone, as queues of the cluster show them."""
        return self.cluster_queues.seen(key, partial(self._group_names, key), Fleet(()), {})

    def _group_names(self, key: Key) -> set[str]:
        """Give the names of the groups that an object has: of their Services, and by the labels of their pods."""
        pods = (pod["metadata"].get("labels") or {} for pod in self._pods_of.get(key, {}).values())
        return {name for _, name in self._services_of.get(key, {})} | {pod[GROUP] for pod in pods if GROUP in pod}

    def gpus_of_others(self, key: Key) -> int:
        """Count the GPUs that the other objects of an object's namespace have planned."""
        planned = self._planned_in.get(key[0], {})
        return sum(planned.values()) - planned.get(key, 0)

    def limits(self, key: Key, obj: Json) -> tuple[GpuLimit, ...]:
        """Give the limits of the quotas of an object's namespace, without its own use, and with plans not yet used."""
        quotas = self._quotas_in.get(key[0])
        return tuple(self._limits(key, self.waiting.class_of(obj), quotas.values())) if quotas else ()

    def _limits(self, key: Key, priority_class: str, quotas: Iterable[Json]) -> Iterator[GpuLimit]:
        coming = sum(
            max(0, gpus - self._requested(other))
            for other, gpus in self._planned_in.get(key[0], {}).items()
            if other != key
        )
        own = self._requested(key)
        for quota in quotas:
            for limit in gpu_limits(quota, priority_class):
                yield replace(limit, used=max(0, limit.used - own) + coming)

    def _requested(self, key: Key) -> int:
        """Count the GPUs that a quota counts for the pods of an object: of all pods that have not ended."""
        return sum(gpu_request(pod) for pod in self._pods_of.get(key, {}).values() if not is_finished(pod))

    def shelf_of(self, kind: str) -> Shelf | None:
        """Give the shelf of a kind that is watched and made, or ``None`` for a kind that is only made."""
        made = {
            "Pod": self.pods,
            "Service": self.services,
            "PodDisruptionBudget": self.budgets,
            "PodGroup": self.gangs.pod_groups,
        }
        return (made | self.attachments.shelves).get(kind)

    def fleet(self, without: Key | None = None) -> Fleet:
        """Give the fleet, as if an object held nothing."""
        self.ledger.compute_domains = self.compute_domains is not False
        return self.ledger.fleet(without)

    def holders(self, node: str) -> set[Key]:
        """Name the objects that have planned on a node."""
        return self.ledger.planners(node)

    def node(self, name: str) -> Node | None:
        """Give a node as if nobody held its GPUs."""
        return self.ledger.node(name)

    def _node_changed(self, before: Json | None, after: Json | None) -> None:
        if after is not None:
            name = after["metadata"]["name"]
            changed = self.ledger.put(after, self.devices.of(name))
            self.devices.settle(name)
        elif before is not None:
            name, changed = before["metadata"]["name"], True
            self.ledger.drop(name)
        else:
            return
        if changed:
            self.waiting.node_changed(name, self.fleet)

    def _node_read_again(self, name: str) -> None:
        node = self.nodes.objects.get(("", name))
        if node is not None:
            self._node_changed(node, node)

    def read_devices(self, *, known: bool) -> None:
        """Note whether the objects of dynamic resource allocation are read: all nodes may read differently then."""
        index = self.devices.index
        if (index.known, index.classes_known) != (known, known):
            index.known = index.classes_known = known
            index.forget_readings()
            if not known:
                self.devices.forget()
            for _, name in list(self.nodes.objects):
                self._node_read_again(name)

    def _pod_changed(self, before: Json | None, after: Json | None) -> None:
        was = None if before is None else owner_of(before)
        now = None if after is None else owner_of(after)
        if was is not None or now is not None:
            _move(self._pods_of, before, after)
        self.cluster_queues.pod_changed(before, after)
        used = None if before is None else self._use(before, was)
        uses = None if after is None else self._use(after, now)
        if used != uses:
            if used is not None:
                self._bind_use(used, -1)
            if uses is not None:
                self._bind_use(uses, 1)
        self.devices.pod_changed(before, after)

    def _bind(self, pod: Json, sign: int) -> None:
        """Add what a pod holds to the ledger, or take it away."""
        used = self._use(pod, owner_of(pod))
        if used is not None:
            self._bind_use(used, sign)

    def _bind_use(self, used: Use, sign: int) -> None:
        holder, node, gpus, others = used
        self.ledger.bind(holder, node, sign * gpus, others if sign > 0 else negative(others))
        if gpus and holder == STRANGERS:
            self.devices.requested(node, sign * gpus)

    def _use(self, pod: Json, owner: Key | None) -> Use | None:
        """Give the holder of a pod's resources, the node, the GPUs and the other resources; ``None`` if it holds none.

        GPUs that the pod holds by a claim are counted with the claim.
        """
        used = use(pod)
        if used is None:
            return None
        node, gpus, others = used
        return owner or STRANGERS, node, self.devices.uncovered(pod, gpus) if gpus else 0, others

    def _service_changed(self, before: Json | None, after: Json | None) -> None:
        _move(self._services_of, before, after)
        if before is not None and after is None:
            self.cluster_queues.group_gone(key_of(before))

    def _quota_changed(self, before: Json | None, after: Json | None) -> None:
        quota = after or before
        if quota is not None:
            key = key_of(quota)
            _put(self._quotas_in, key[0], key, after)
            if _hard(before) != _hard(after):
                self.excused.update(model for model in self.sharded_models.objects if model[0] == key[0])

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


def _by_name(owned: Mapping[Key, Json]) -> dict[str, Json]:
    return {name: obj for (_, name), obj in owned.items()}


def _hard(quota: Json | None) -> object:
    return None if quota is None else (quota.get("spec") or {}).get("hard")


def _put(groups: dict[str, dict[Key, V]], name: str, key: Key, value: V | None) -> None:
    """Put a value into a group of values, or take it out; a group without values goes."""
    if value is not None:
        groups.setdefault(name, {})[key] = value
    elif groups.get(name, {}).pop(key, None) is not None and not groups[name]:
        del groups[name]


def _seen(pods: Iterable[Json]) -> Iterator[PodSeen]:
    """Read pods. A pod that lost some of our labels holds GPUs, and belongs to no group."""
    for pod in pods:
        with contextlib.suppress(KeyError, ValueError):
            yield see_pod(pod)
