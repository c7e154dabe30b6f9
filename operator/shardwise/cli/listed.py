"""The names of the ShardedModels of a namespace, as far as the cluster gives them soon."""

import asyncio
from pathlib import Path

from shardwise.cluster import Cluster, ClusterError, connect
from shardwise.observe.kinds import SHARDED_MODEL


def names_of(kubeconfig: Path | None, context: str | None, namespace: str | None, seconds: float) -> list[str]:
    """List the names, sorted; none if the cluster cannot be reached, does not answer in time, or does not allow it."""
    try:
        return sorted(asyncio.run(_names(kubeconfig, context, namespace, seconds)))
    except (ClusterError, TimeoutError, OSError):
        return []


async def _names(kubeconfig: Path | None, context: str | None, namespace: str | None, seconds: float) -> list[str]:
    async with asyncio.timeout(seconds):
        connection = await connect(kubeconfig, context)
        cluster = Cluster(connection)
        try:
            found, _ = await cluster.list(SHARDED_MODEL, namespace=namespace or connection.namespace)
        finally:
            await cluster.close()
    return [obj["metadata"]["name"] for obj in found]
