"""A cluster as its API server shows it now, read through the current context of a kubeconfig."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from shardwise.cli.documents import Document
from shardwise.cli.reading import Seen
from shardwise.cli.working import working
from shardwise.cli.wrong import WrongInput
from shardwise.cluster import Cluster, ClusterError, Refused, connect
from shardwise.domain.site import FleetSite
from shardwise.observe import OURS, store_of
from shardwise.observe.kinds import (
    BUDGET,
    COMPUTE_DOMAIN,
    DEVICE_CLASS,
    NODE,
    POD,
    PRIORITY_CLASS,
    RESOURCE_CLAIM,
    RESOURCE_QUOTA,
    RESOURCE_SLICE,
    SERVICE,
    SHARDED_MODEL,
    Kind,
)

_OPTIONAL: Final[Sequence[tuple[Kind, str | None]]] = (
    (PRIORITY_CLASS, None),
    (RESOURCE_QUOTA, None),
    (SERVICE, OURS),
    (BUDGET, OURS),
)
"""Kinds that a user may not be allowed to list, with their selectors. Without them the answer is less exact."""


def read_live(kubeconfig: Path | None, context: str | None, site: FleetSite) -> Seen:
    """List the objects of a cluster, by default the current context's of the usual kubeconfig.

    Raises :class:`WrongInput` where the cluster does not let us.
    """
    seen = [0]
    try:
        with working(lambda: f"reading the cluster, {seen[0]} objects"):
            return asyncio.run(_read(kubeconfig, context, site, seen))
    except ClusterError as error:
        raise WrongInput(str(error)) from error


async def _read(kubeconfig: Path | None, context: str | None, site: FleetSite, seen: list[int]) -> Seen:
    """Read a cluster. ``seen`` counts the nodes and pods that have come so far."""

    def count(obj: dict[str, Any]) -> dict[str, Any]:
        seen[0] += 1
        return obj

    connection = await connect(kubeconfig, context)
    cluster = Cluster(connection)
    try:
        found: dict[Kind, list[Document]] = {
            kind: list((await cluster.list(kind, trim=count))[0]) for kind in (NODE, POD)
        }
        sharded_models = await _sharded_models(cluster)
        for kind, selector in _OPTIONAL:
            found[kind] = await _if_allowed(cluster, kind, selector)
        devices = await _devices(cluster)
        serves = await _serves(cluster)
    finally:
        await cluster.close()
    store = store_of(found | (devices or {}) | {SHARDED_MODEL: sharded_models or []}, site)
    store.read_devices(known=devices is not None)
    store.compute_domains = serves
    return Seen(store, connection.namespace, installed=sharded_models is not None)


async def _sharded_models(cluster: Cluster) -> list[Document] | None:
    """List the ShardedModels; ``None`` where the cluster does not know the kind."""
    try:
        found, _ = await cluster.list(SHARDED_MODEL)
    except Refused as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None
    return list(found)


async def _devices(cluster: Cluster) -> dict[Kind, list[Document]] | None:
    """List the objects of dynamic resource allocation; ``None`` where they are not served, or not for the user."""
    try:
        if not await cluster.serves(RESOURCE_SLICE):
            return None
        return {kind: list((await cluster.list(kind))[0]) for kind in (DEVICE_CLASS, RESOURCE_SLICE, RESOURCE_CLAIM)}
    except Refused:
        return None


async def _serves(cluster: Cluster) -> bool | None:
    """Tell whether the cluster serves ComputeDomains; ``None`` where the user may not know."""
    try:
        return await cluster.serves(COMPUTE_DOMAIN)
    except Refused:
        return None


async def _if_allowed(cluster: Cluster, kind: Kind, selector: str | None) -> list[Document]:
    """List the objects of a kind; none where the user may not list them."""
    try:
        found, _ = await cluster.list(kind, selector)
    except Refused:
        return []
    return list(found)
