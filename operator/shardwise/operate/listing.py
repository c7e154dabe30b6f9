"""Listing everything anew: changes that a watch lost come in, and deleted objects go."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from shardwise.cluster import Cluster, Refused
from shardwise.domain.launch import GangSystem, LaunchSite, QueueSystem
from shardwise.inventory.claims import read_claim, slim_claim
from shardwise.inventory.slices import pool_of
from shardwise.observe import (
    OURS,
    GangShelf,
    Key,
    QueueShelves,
    Store,
    is_relevant,
    slim,
    slim_owned,
    slim_pod_group,
)
from shardwise.observe.attachment_shelves import AttachmentShelves
from shardwise.observe.kinds import (
    ATTACHED,
    BUDGET,
    COMPUTE_DOMAIN,
    DEVICE_CLASS,
    NAMESPACE,
    NODE,
    POD,
    PRIORITY_CLASS,
    RESOURCE_CLAIM,
    RESOURCE_QUOTA,
    RESOURCE_SLICE,
    SERVICE,
    SHARDED_MODEL,
    WORKLOAD,
    Kind,
    is_served,
    kind_of,
)
from shardwise.operate.changes import Changes
from shardwise.operate.queue import Queue
from shardwise.queues import GANGS
from shardwise.reconcile.status_data import coming, holdings
from shardwise.render.attachments import kinds_read

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Lists:
    """Lists the objects of a cluster, or of the namespaces that are served.

    ``served_at`` is the version at which the served namespaces were listed; every list that follows is as new.
    """

    cluster: Cluster
    served: tuple[str, ...] | None = None
    served_at: int = 0

    async def of(
        self, kind: Kind, selector: str | None = None, trim: Callable[[Object], Object] | None = None
    ) -> tuple[list[Object], int]:
        """List the objects of a kind, and give a version of which the list is no older."""
        if self.served is None or not is_served(kind):
            found, version = await self.cluster.list(kind, selector, trim)
            return found, int(version or 0)
        lists = [(await self.cluster.list(kind, selector, trim, namespace))[0] for namespace in self.served]
        return [obj for objects in lists for obj in objects], self.served_at


async def _lists_of(cluster: Cluster, namespaces: Collection[str]) -> _Lists:
    """Make the lists. A namespace that does not exist is left out: the right to read it has gone with it."""
    if not namespaces:
        return _Lists(cluster)
    existing, version = await cluster.list(NAMESPACE, trim=slim)
    served = sorted({obj["metadata"]["name"] for obj in existing} & set(namespaces))
    return _Lists(cluster, tuple(served), int(version or 0))


async def relist(
    cluster: Cluster,
    store: Store,
    changes: Changes,
    queue: Queue[Key],
    namespaces: Collection[str] = (),
    site: LaunchSite | None = None,
) -> None:
    """List everything, sweep deleted objects, and look at every object: the barrier before the first decision.

    ``namespaces`` are those whose objects the operator serves; none: all of them. ``site`` says which kinds of add-ons
    are read.
    """
    site = site or LaunchSite()
    lists = await _lists_of(cluster, namespaces)
    nodes, nodes_at = await lists.of(NODE, trim=changes.trims["NodeList"])
    pods, pods_at = await lists.of(POD, trim=changes.trims["PodList"])
    services, services_at = await lists.of(SERVICE, OURS, slim_owned)
    budgets, budgets_at = await lists.of(BUDGET, OURS, slim_owned)
    classes, classes_at = await lists.of(PRIORITY_CLASS)
    quotas, quotas_at, store.reads_quotas = await _quotas(lists)
    devices = await _devices(lists)
    await _list_kueue(lists, store.cluster_queues, site.systems)
    await _list_gangs(lists, store.gangs, site.systems)
    await _list_attachments(lists, store.attachments, kinds_read(site.attachments))
    sharded_models, sharded_models_at = await lists.of(SHARDED_MODEL, trim=changes.trims["ShardedModelList"])
    store.compute_domains = await cluster.serves(COMPUTE_DOMAIN)
    store.read_devices(known=devices is not None)
    for shelf, listed in zip((store.devices.classes, store.devices.slices), devices or (), strict=False):
        shelf.sweep(*listed)
    store.nodes.sweep(nodes, nodes_at)
    store.pods.sweep(filter(is_relevant, pods), pods_at)
    store.services.sweep(services, services_at)
    store.budgets.sweep(budgets, budgets_at)
    store.priorities.sweep(map(slim, classes), classes_at)
    if store.reads_quotas:
        store.quotas.sweep(quotas, quotas_at)
    else:
        store.quotas.forget()
    for gone in store.sharded_models.sweep(sharded_models, sharded_models_at):
        changes.sharded_model(gone, deleted=True)
    if devices is not None:  # the names of objects tell whose claims they are
        store.devices.claims.sweep(*devices[2])
    for key, obj in store.sharded_models.objects.items():
        if key not in store.plans:
            status = obj.get("status") or {}
            store.hold(key, holdings(status), coming=coming(status))
    store.relisted.update(store.sharded_models.objects)
    for key in (*store.left_behind, *store.waiting.in_turn(list(store.sharded_models.objects))):
        queue.add(key)


async def _list_kueue(lists: _Lists, queues: QueueShelves, systems: Collection[QueueSystem | GangSystem]) -> None:
    """List Kueue's objects, where Kueue is configured and the API server serves them."""
    if QueueSystem.KUEUE not in systems:
        return
    queues.served = await lists.cluster.serves(WORKLOAD)
    for kind, shelf, trim in queues.shelves if queues.served else ():
        shelf.sweep(*(await lists.of(kind, trim=trim)))


async def _list_gangs(lists: _Lists, gangs: GangShelf, systems: Iterable[QueueSystem | GangSystem]) -> None:
    """Find the version in which the API server serves the groups of each configured gang scheduler, and list those."""
    found: list[Object] = []
    versions = []
    for system in (system for system in systems if isinstance(system, GangSystem)):
        kinds = [kind_of(version, GANGS[system].GROUP_KIND) for version in GANGS[system].SERVED_BY]
        served = [kind for kind in kinds if await lists.cluster.serves(kind)][:1]
        gangs.served[system] = served[0].api_version if served else ""
        for kind in served:
            listed, version = await lists.of(kind, OURS, partial(slim_pod_group, api_version=kind.api_version))
            found += listed
            versions.append(version)
    if versions:
        gangs.pod_groups.sweep(found, min(versions))


async def _list_attachments(lists: _Lists, attachments: AttachmentShelves, names: Collection[str]) -> None:
    """List the attachments of the kinds that objects may ask for and the API server serves."""
    missing = set()
    for kind in (kind for kind in ATTACHED if kind.name in names):
        if await lists.cluster.serves(kind):
            attachments.shelves[kind.name].sweep(*(await lists.of(kind, OURS, slim_owned)))
        else:
            missing.add(kind.name)
            attachments.shelves[kind.name].forget()
    attachments.missing = frozenset(missing)


_Listed = tuple[list[Object], int]
"""The objects of a list, and its version."""


async def _devices(lists: _Lists) -> tuple[_Listed, _Listed, _Listed] | None:
    """List DeviceClasses, the slices of GPUs, and the claims that hold GPUs.

    ``None`` where the API server does not serve them, or does not let us read them: then nothing is known of them.
    """
    try:
        if not await lists.cluster.serves(RESOURCE_SLICE):
            return None
        classes = await lists.of(DEVICE_CLASS, trim=slim)
        slices, slices_at = await lists.of(RESOURCE_SLICE, trim=slim)
        claims, claims_at = await lists.of(RESOURCE_CLAIM, trim=slim_claim)
    except Refused:
        return None
    of_gpus = [found for found in slices if pool_of(found) is not None]
    return classes, (of_gpus, slices_at), ([claim for claim in claims if read_claim(claim) is not None], claims_at)


async def _quotas(lists: _Lists) -> tuple[list[Object], int, bool]:
    """List the ResourceQuotas, with the version of the list, and tell whether they may be listed."""
    try:
        quotas, version = await lists.of(RESOURCE_QUOTA, trim=slim)
    except Refused:
        return [], 0, False
    return quotas, version, True
