"""kopf's watches: which kinds they watch, as whom they log in, and where their events go."""

from collections.abc import Callable
from typing import Any

import aiohttp
import kopf

from shardwise.cluster import Connection
from shardwise.cluster.answers import Answer
from shardwise.observe import Json
from shardwise.observe.kinds import (
    BUDGET,
    CLUSTER_QUEUE,
    DEVICE_CLASS,
    FLAVOR,
    LOCAL_QUEUE,
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
)
from shardwise.operate import Changes
from shardwise.render.manifest import MANAGED_BY, OPERATOR


def registry_of(
    changes: Changes,
    connection: Connection,
    *,
    quotas: bool = True,
    devices: bool = False,
    kueue: bool = False,
    among: Callable[[Kind], bool] = lambda _: True,
    trace: aiohttp.TraceConfig | None = None,
) -> kopf.OperatorRegistry:
    """Register the handlers. Plain events: kopf writes nothing onto any object, no finalizer, no annotation.

    ``quotas`` tells whether ResourceQuotas may be watched, ``devices`` whether the API server serves ResourceSlices,
    claims and DeviceClasses, and they may be watched. ``kueue`` tells whether Kueue is configured. ``among`` tells of
    each kind whether this registry watches it. ``trace`` sees the requests of kopf.
    """
    registry = kopf.OperatorRegistry()
    register(registry, changes, quotas=quotas, devices=devices, kueue=kueue, among=among)
    _log_in(registry, connection, [] if trace is None else [trace])
    return registry


def register(
    registry: kopf.OperatorRegistry,
    changes: Changes,
    *,
    quotas: bool = True,
    devices: bool = False,
    kueue: bool = False,
    among: Callable[[Kind], bool] = lambda _: True,
) -> None:
    """Send the events of each watched kind to the method that takes them in."""
    ours = {MANAGED_BY: OPERATOR}
    watched: list[tuple[Kind, Callable[[Json, bool], None], dict[str, str]]] = [
        (SHARDED_MODEL, changes.sharded_model, {}),
        (POD, changes.pod, {}),
        (SERVICE, changes.service, ours),
        (BUDGET, changes.budget, ours),
        (NODE, changes.node, {}),
        (PRIORITY_CLASS, changes.priority, {}),
    ]
    if quotas:
        watched.append((RESOURCE_QUOTA, changes.quota, {}))
    if devices:
        watched.append((DEVICE_CLASS, changes.device_class, {}))
        watched.append((RESOURCE_SLICE, changes.resource_slice, {}))
        watched.append((RESOURCE_CLAIM, changes.resource_claim, {}))
    if kueue:
        watched.extend((kind, changes.kueue(kind), {}) for kind in (FLAVOR, CLUSTER_QUEUE, LOCAL_QUEUE, WORKLOAD))
    for kind, take, labels in watched:
        if not among(kind):
            continue
        name = kind.name.lower()
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=name, labels=labels)(_handler(take))


def _handler(take: Callable[[Json, bool], None]) -> Callable[..., Any]:
    async def handle(event: Any, **_: object) -> None:  # noqa: ANN401 - kopf's raw event
        take(event["object"], event["type"] == "DELETED")

    return handle


def _log_in(registry: kopf.OperatorRegistry, connection: Connection, traces: list[aiohttp.TraceConfig]) -> None:
    """Give kopf our credentials, read again whenever it asks: it does when the API server refused the last ones.

    kopf takes no credentials that it had before, so the same credentials get the same session.
    """
    sessions: dict[kopf.ConnectionInfo, kopf.AiohttpSession] = {}

    @kopf.on.login(registry=registry, id="connection")
    async def log_in(**_: object) -> kopf.AiohttpSession:
        fresh = await connection.renewed()
        info = kopf.ConnectionInfo(
            server=fresh.server,
            token=fresh.token,
            scheme="Bearer" if fresh.token else None,
            ca_path=fresh.ca_path,
            certificate_path=fresh.certificate_path,
            private_key_path=fresh.private_key_path,
            insecure=fresh.insecure,
        )
        session = sessions.get(info) or _session(info, traces)
        sessions.clear()
        sessions[info] = session
        return session


def _session(info: kopf.ConnectionInfo, traces: list[aiohttp.TraceConfig]) -> kopf.AiohttpSession:
    """Open a session as kopf opens its own, but for answers of any depth. kopf closes it."""
    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
    session = aiohttp.ClientSession(
        connector=connector, headers=info.as_http_headers(), response_class=Answer, trace_configs=traces
    )
    return kopf.AiohttpSession(server=info.server, aiohttp_session=session)
