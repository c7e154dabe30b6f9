"""kopf's watches: which kinds they watch, as whom they log in, and where their events go."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import aiohttp
import kopf

from shardwise.cluster import Connection
from shardwise.controller.frugal import Trims, slimming
from shardwise.domain.launch import GangSystem, LaunchSite, QueueSystem
from shardwise.observe import Json
from shardwise.observe.kinds import (
    ATTACHED,
    BUDGET,
    DEVICE_CLASS,
    KUEUE,
    NODE,
    POD,
    POD_GROUPS,
    PRIORITY_CLASS,
    RESOURCE_CLAIM,
    RESOURCE_QUOTA,
    RESOURCE_SLICE,
    SERVICE,
    SHARDED_MODEL,
    Kind,
    kind_of,
)
from shardwise.operate import Changes
from shardwise.queues import GANGS
from shardwise.render.attachments import kinds_read
from shardwise.render.manifest import MANAGED_BY, OPERATOR


def registry_of(
    changes: Changes,
    connection: Connection,
    *,
    quotas: bool = True,
    devices: bool = False,
    systems: Iterable[Kind] = (),
    among: Callable[[Kind], bool] = lambda _: True,
    traces: Iterable[aiohttp.TraceConfig] = (),
) -> kopf.OperatorRegistry:
    """Register the handlers. Plain events: kopf writes nothing onto any object, no finalizer, no annotation.

    ``quotas`` tells whether ResourceQuotas may be watched, ``devices`` whether the API server serves ResourceSlices,
    claims and DeviceClasses, and they may be watched. ``systems`` are the kinds of add-ons that are configured.
    ``among`` tells of each kind whether this registry watches it. ``traces`` see the requests of kopf.
    """
    registry = kopf.OperatorRegistry()
    register(registry, changes, quotas=quotas, devices=devices, systems=systems, among=among)
    _log_in(registry, connection, changes.trims, list(traces))
    return registry


def system_kinds(site: LaunchSite, gangs: Mapping[GangSystem, str]) -> Iterator[Kind]:
    """Give the kinds to watch of the add-ons that are configured.

    ``gangs`` has the version of the groups that is served, or none. An add-on that is not there may be installed at any
    time. Kubernetes' own PodGroups do not come without a restart of the API server.
    """
    attached = kinds_read(site.attachments)
    yield from (kind for kind in ATTACHED if kind.name in attached)
    if QueueSystem.KUEUE in site.queue_systems:
        yield from KUEUE
    for system, version in gangs.items():
        if version or system is not GangSystem.NATIVE:
            yield kind_of(version or GANGS[system].SERVED_BY[0], GANGS[system].GROUP_KIND)


def register(
    registry: kopf.OperatorRegistry,
    changes: Changes,
    *,
    quotas: bool = True,
    devices: bool = False,
    systems: Iterable[Kind] = (),
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
    watched += [_of_system(changes, kind) for kind in systems]
    for kind, take, labels in watched:
        if not among(kind):
            continue
        name = f"{kind.name.lower()}.{kind.group}" if kind in POD_GROUPS else kind.name.lower()
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=name, labels=labels)(_handler(take))


def _of_system(changes: Changes, kind: Kind) -> tuple[Kind, Callable[[Json, bool], None], dict[str, str]]:
    """Give a kind of an add-on with the method that takes its objects in, and their labels."""
    if kind in KUEUE:
        return kind, changes.kueue(kind), {}
    return kind, (changes.attachment if kind in ATTACHED else changes.pod_group)(kind), {MANAGED_BY: OPERATOR}


def _handler(take: Callable[[Json, bool], None]) -> Callable[..., Any]:
    async def handle(event: Any, **_: object) -> None:  # noqa: ANN401 - kopf's raw event
        take(event["object"], event["type"] == "DELETED")

    return handle


def _log_in(
    registry: kopf.OperatorRegistry, connection: Connection, trims: Trims, traces: list[aiohttp.TraceConfig]
) -> None:
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
        session = sessions.get(info) or _session(info, trims, traces)
        sessions.clear()
        sessions[info] = session
        return session


def _session(info: kopf.ConnectionInfo, trims: Trims, traces: list[aiohttp.TraceConfig]) -> kopf.AiohttpSession:
    """Open a session as kopf opens its own, but for answers of any depth and slim lists. kopf closes it."""
    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
    session = aiohttp.ClientSession(
        connector=connector, headers=info.as_http_headers(), response_class=slimming(trims), trace_configs=traces
    )
    return kopf.AiohttpSession(server=info.server, aiohttp_session=session)
