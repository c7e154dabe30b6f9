"""The calls the operator makes, over the dynamic client: JSON in, JSON out, unknown fields kept."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from kubernetes.aio.client import ApiClient
from kubernetes.aio.dynamic import DynamicClient

from shardwise.cluster.connection import Connection
from shardwise.cluster.errors import ClusterError, Refused, converted, is_gone
from shardwise.cluster.nesting import read_json
from shardwise.cluster.outage import Outage
from shardwise.domain.digest import text_digest
from shardwise.observe.kinds import LEASE, POD, Kind, kind_of
from shardwise.reconcile.actions import Emit
from shardwise.render.manifest import MANAGED_BY, MODEL

Json = dict[str, Any]

FIELD_MANAGER: Final = "shardwise"
"""The manager our fields belong to in every object we apply."""

PAGE: Final = 200
"""Objects a page of a list holds. A page of whole nodes takes 90 kB of memory a node while it is read."""

REQUEST_SECONDS: Final = 30.0
"""An answer that takes longer is taken for lost."""


_UNTYPED: Final = "failed to create typed live object"
"""What the API server says when an object does not have the types of its schema."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has ended: the HTTP method, the plural of the kind, the HTTP status, and its duration in seconds.

    The status is 200 for every success, and 0 where there was no answer.
    """

    method: str
    resource: str
    status: int
    seconds: float


class Cluster:
    """The API server, as far as the operator needs it. All methods raise :class:`ClusterError`.

    ``outage`` is told of each call whether it got an answer. ``called`` is given each call, to measure it.
    """

    def __init__(
        self, connection: Connection, outage: Outage | None = None, called: Callable[[Call], None] | None = None
    ) -> None:
        self._connection = connection
        self._outage = outage or Outage(time.monotonic)
        self._called = called or (lambda _: None)
        self._clients = [connection.client()]
        self._renewal = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.close()

    async def list(
        self, kind: Kind, selector: str | None = None, trim: Callable[[Json], Json] | None = None, namespace: str = ""
    ) -> tuple[list[Json], str]:
        """List all objects of a kind, by default in all namespaces, page by page; with the list's resourceVersion.

        ``trim`` makes each smaller as its page comes: whole, all nodes of a large cluster take hundreds of megabytes.
        """
        found: list[Json] = []
        after = None
        while True:
            page = await self._call(
                f"list {kind.plural}",
                "get",
                kind,
                kind.path(namespace),
                label_selector=selector,
                limit=PAGE,
                _continue=after,
            )
            items = page.get("items") or []
            found += items if trim is None else map(trim, items)
            metadata = page.get("metadata") or {}
            after = metadata.get("continue")
            if not after:
                return found, str(metadata.get("resourceVersion", ""))
            del page, items  # or two whole pages would be there at once

    async def serves(self, kind: Kind) -> bool:
        """Tell whether the API server knows a kind: an add-on may bring it, or a newer release."""
        try:
            found = await self._call(f"look for {kind.plural}", "get", kind, kind.root())
        except ClusterError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return any(resource.get("name") == kind.plural for resource in found.get("resources") or ())

    async def create(self, manifest: Mapping[str, Any]) -> None:
        """Create an object; an existing object of its name stays as it is."""
        await self._created(manifest)

    async def _created(self, manifest: Mapping[str, Any]) -> Json | None:
        """Create an object, and give it; ``None`` where an object of its name exists."""
        kind = kind_of(manifest["apiVersion"], manifest["kind"])
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        words = f"create {kind.name} {namespace}/{name}"
        try:
            return await self._call(
                words, "post", kind, kind.path(namespace), body=dict(manifest), field_manager=FIELD_MANAGER
            )
        except ClusterError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        return None

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Read an object. Raises :class:`Refused` with status 404 where there is none."""
        return await self._call(f"get {kind.name} {namespace}/{name}", "get", kind, kind.path(namespace, name))

    async def apply(self, manifest: Mapping[str, Any]) -> Json:
        """Create or update an object of ours by server-side apply, and give it as it then is.

        A pod is created, which takes a single call: it is applied once, and never changed.
        Raises :class:`Refused` where a stranger's object of its name exists: applied by force it would become ours,
        and be deleted with the model.
        """
        made = await self._created(manifest) if manifest["kind"] == POD.name else None
        if made is not None:
            return made
        return await self._apply(await self._with_uid(manifest), "")

    async def merge(self, manifest: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
        """Merge a patch into the object of a manifest. An apply cannot take away the fields of another manager."""
        return await self._patch(manifest, "", "application/merge-patch+json", dict(patch), field_manager=FIELD_MANAGER)

    async def apply_status(self, manifest: Mapping[str, Any]) -> Json:
        """Apply an object's status, and give the object as it then is. Fields left out of the status go away.

        An object an older CRD let in may not have its fields' types: nothing can be applied to it, but merged.
        """
        try:
            return await self._apply(manifest, "status")
        except ClusterError as error:
            if _UNTYPED not in str(error):
                raise
        return await self._patch(manifest, "status", "application/merge-patch+json", {"status": manifest["status"]})

    async def write(self, obj: Mapping[str, Any], *, create: bool) -> Json:
        """Create an object, or replace it at the version it carries; 409 where it is there, or is another by now."""
        metadata = obj["metadata"]
        kind = LEASE if obj["kind"] == LEASE.name else kind_of(obj["apiVersion"], obj["kind"])
        path = kind.path(metadata["namespace"], "" if create else metadata["name"])
        words = f"{'create' if create else 'replace'} {kind.name} {metadata['namespace']}/{metadata['name']}"
        return await self._call(words, "post" if create else "put", kind, path, body=dict(obj))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str = "", grace: int | None = None) -> None:
        """Delete an object; an object that is gone, or replaced by another of its name, counts as deleted.

        ``grace`` is the seconds that a pod may take. A deletion that has begun can only be shortened.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            path = kind.path(namespace, name)
            await self._call(f"delete {kind.name} {namespace}/{name}", "delete", kind, path, body=body)
        except ClusterError as error:
            if not is_gone(error):
                raise

    async def record(self, about: Mapping[str, Any], event: Emit) -> None:
        """Record an Event on an object. The same reason and message again renews the existing Event."""
        manifest = _event(about, event)
        kind = kind_of("v1", "Event")
        namespace = manifest["metadata"]["namespace"]
        try:
            await self._call(f"record {event.reason}", "post", kind, kind.path(namespace), body=manifest)
        except ClusterError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            await self._call(
                f"renew {event.reason}",
                "patch",
                kind,
                kind.path(namespace, manifest["metadata"]["name"]),
                body={"lastTimestamp": manifest["lastTimestamp"]},
                content_type="application/merge-patch+json",
            )

    async def _with_uid(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Name the very object that is there, if any: it may be replaced by another before it is written.

        A kind that may not be read is named by its content, and belongs to nobody else.
        """
        kind = kind_of(manifest["apiVersion"], manifest["kind"])
        if "get" not in kind.verbs:
            return manifest
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        what = f"{kind.name} {namespace}/{name}"
        try:
            found = await self._call(f"apply {what}", "get", kind, kind.path(namespace, name))
        except ClusterError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return manifest
        if _belongs_to(found) != _belongs_to(manifest) and not _has_the_same_owner(found, manifest):
            raise Refused(
                f"cannot apply {what}: one of that name is there and belongs to somebody else; "
                f"delete it, or give the ShardedModel another name",
                HTTPStatus.CONFLICT,
            )
        return {**manifest, "metadata": {**manifest["metadata"], "uid": found["metadata"]["uid"]}}

    async def _apply(self, manifest: Mapping[str, Any], subresource: str) -> Json:
        params = {"field_manager": FIELD_MANAGER, "force_conflicts": "true"}
        return await self._patch(manifest, subresource, "application/apply-patch+yaml", dict(manifest), **params)

    async def _patch(
        self, manifest: Mapping[str, Any], subresource: str, content_type: str, body: Json, **params: str
    ) -> Json:
        kind = kind_of(manifest["apiVersion"], manifest["kind"])
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        path = kind.path(namespace, name, subresource)
        words = f"apply {kind.name} {namespace}/{name}"
        return await self._call(words, "patch", kind, path, body=body, content_type=content_type, **params)

    async def _call(
        self,
        words: str,
        method: str,
        kind: Kind,
        path: str,
        **params: Any,  # noqa: ANN401 - the client's own
    ) -> Json:
        """Make a call; with fresh credentials where the API server no longer takes those there are."""
        client = self._clients[-1]
        try:
            return await self._requested(client, words, method, kind, path, params)
        except ClusterError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        await self._renew(client)
        return await self._requested(self._clients[-1], words, method, kind, path, params)

    async def _requested(
        self, client: ApiClient, words: str, method: str, kind: Kind, path: str, params: Mapping[str, Any]
    ) -> Json:
        begun, status = time.perf_counter(), 0
        try:
            found = await _request(client, words, method, path, params)
            status = int(HTTPStatus.OK)
        except ClusterError as error:
            status = error.status
            if status:
                self._outage.answered()
            else:
                self._outage.failed(str(error))
            raise
        finally:
            self._called(Call(method.upper(), kind.plural, status, time.perf_counter() - begun))
        self._outage.answered()
        return found

    async def _renew(self, refused: ApiClient) -> None:
        """Read the credentials again, once for all calls refused together. Old clients may be in use: they stay."""
        async with self._renewal:
            if self._clients[-1] is refused:
                self._connection = await self._connection.renewed()
                self._clients.append(self._connection.client())


def _belongs_to(obj: Mapping[str, Any]) -> tuple[str | None, str | None]:
    labels = obj["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY), labels.get(MODEL)


def _has_the_same_owner(found: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Tell whether an object goes with ours when our ShardedModel goes: then it is ours, though it lost its labels."""
    owners = {owner.get("uid") for owner in manifest["metadata"].get("ownerReferences") or ()}
    return any(
        owner.get("controller") and owner.get("uid") in owners
        for owner in found["metadata"].get("ownerReferences") or ()
    )


async def _request(client: ApiClient, words: str, method: str, path: str, params: Mapping[str, Any]) -> Json:
    async with converted(words):
        answer = await DynamicClient(client).request(
            method,
            path,
            serialize=False,
            _request_timeout=REQUEST_SECONDS,
            query_params=[],
            header_params={},
            **params,
        )
        found: Json = await answer.json(loads=read_json)
        return found


def _event(about: Mapping[str, Any], event: Emit) -> Json:
    metadata = about["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    content = f"{metadata.get('uid', '')}/{event.reason}/{event.message}"
    digest = text_digest(content)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{digest}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": namespace,
            "name": name,
            "uid": metadata.get("uid", ""),
        },
        "reason": event.reason.value,
        "message": event.message[:1024],
        "type": "Warning" if event.warning else "Normal",
        "count": 1,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
    }
