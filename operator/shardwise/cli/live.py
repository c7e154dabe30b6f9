"""A cluster as its API server shows it now, read through the current context of a kubeconfig."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from shardwise.cli.documents import Document
from shardwise.cli.snapshot import Snapshot
from shardwise.cluster import Cluster, Refused, connect
from shardwise.cluster.resources import NODE, POD, PRIORITY_CLASS, SHARDED_MODEL
from shardwise.domain.site import FleetSite


@dataclass(frozen=True, slots=True)
class Context:
    """Which cluster: a kubeconfig and a context of it, each by default the current one."""

    kubeconfig: Path | None = None
    name: str | None = None


def read_live(context: Context, site: FleetSite) -> Snapshot:
    """List the nodes, pods and ShardedModels of a cluster. Raises ``ClusterError`` where it does not let us."""
    return asyncio.run(_read(context, site))


async def _read(context: Context, site: FleetSite) -> Snapshot:
    connection = await connect(context.kubeconfig, context.name)
    cluster = Cluster(connection)
    try:
        nodes, _ = await cluster.list(NODE)
        pods, _ = await cluster.list(POD)
        models = await _models(cluster)
        priorities = await _priorities(cluster)
    finally:
        await cluster.close()
    return Snapshot(
        nodes=tuple(nodes),
        pods=tuple(pods),
        models=tuple(models or ()),
        priorities=tuple(priorities),
        site=site,
        namespace=connection.namespace,
        installed=models is not None,
    )


async def _models(cluster: Cluster) -> list[Document] | None:
    """List the ShardedModels; ``None`` where the cluster does not know any such thing."""
    try:
        found, _ = await cluster.list(SHARDED_MODEL)
    except Refused as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None
    return list(found)


async def _priorities(cluster: Cluster) -> list[Document]:
    """List the PriorityClasses; none where we may not: they order the queue, and all else is known without them."""
    try:
        found, _ = await cluster.list(PRIORITY_CLASS)
    except Refused:
        return []
    return list(found)
