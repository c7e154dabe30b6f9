"""Listing everything anew: changes that a watch lost come in, and deleted objects go."""

from shardwise.cluster import Cluster, Refused
from shardwise.observe import OURS, Json, Key, Store, is_relevant, slim, slim_owned, slim_pod
from shardwise.observe.kinds import (
    BUDGET,
    COMPUTE_DOMAIN,
    NODE,
    POD,
    PRIORITY_CLASS,
    RESOURCE_QUOTA,
    SERVICE,
    SHARDED_MODEL,
)
from shardwise.operate.changes import Changes
from shardwise.operate.queue import Queue
from shardwise.reconcile.status_data import holdings


async def relist(cluster: Cluster, store: Store, changes: Changes, queue: Queue[Key]) -> None:
    """List everything, sweep deleted objects, and look at every object: the barrier before the first decision."""
    nodes, nodes_at = await cluster.list(NODE, trim=slim)
    pods, pods_at = await cluster.list(POD, trim=slim_pod)
    services, services_at = await cluster.list(SERVICE, OURS, slim_owned)
    budgets, budgets_at = await cluster.list(BUDGET, OURS, slim_owned)
    classes, classes_at = await cluster.list(PRIORITY_CLASS)
    quotas, quotas_at, store.reads_quotas = await _quotas(cluster)
    sharded_models, sharded_models_at = await cluster.list(SHARDED_MODEL)
    store.compute_domains = await cluster.serves(COMPUTE_DOMAIN)
    store.nodes.sweep(nodes, int(nodes_at or 0))
    store.pods.sweep(filter(is_relevant, pods), int(pods_at or 0))
    store.services.sweep(services, int(services_at or 0))
    store.budgets.sweep(budgets, int(budgets_at or 0))
    store.priorities.sweep(map(slim, classes), int(classes_at or 0))
    store.quotas.sweep(quotas, int(quotas_at or pods_at or 0))
    for gone in store.sharded_models.sweep(sharded_models, int(sharded_models_at or 0)):
        changes.sharded_model(gone, deleted=True)
    for key, obj in store.sharded_models.objects.items():
        if key not in store.plans:
            store.hold(key, holdings(obj.get("status") or {}))
    store.relisted.update(store.sharded_models.objects)
    for key in store.waiting.in_turn(list(store.sharded_models.objects)):
        queue.add(key)


async def _quotas(cluster: Cluster) -> tuple[list[Json], str, bool]:
    """List the ResourceQuotas, with the version of the list, and tell whether they may be listed."""
    try:
        quotas, version = await cluster.list(RESOURCE_QUOTA, trim=slim)
    except Refused:
        return [], "", False
    return list(quotas), version, True
