"""Deletion: preconditions, grace period, finalizers, and the propagation to dependants."""

from dataclasses import dataclass
from typing import Final

from shardwise_sandbox.errors import bad_request, conflict
from shardwise_sandbox.objects import JsonObject, dig, is_deleting, meta, name_of, uid_of, with_meta
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.store import ObjectStore, Ref, ref_of
from shardwise_sandbox.writes import is_finished

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
_FINALIZER_OF: Final = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": ""}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The options of a deletion: grace period in seconds, propagation to dependants, and preconditions."""

    grace: int | None = None
    propagation: str = "Background"
    uid: str = ""
    version: str = ""
    dry_run: bool = False


def read_options(body: JsonObject, query: dict[str, str]) -> DeleteOptions:
    """Read the options from the body and the query of a request; the query wins."""
    grace = query.get("gracePeriodSeconds", body.get("gracePeriodSeconds"))
    propagation = query.get("propagationPolicy") or body.get("propagationPolicy")
    if propagation is None:
        orphan = str(query.get("orphanDependents", body.get("orphanDependents", False))).lower() == "true"
        propagation = "Orphan" if orphan else "Background"
    if propagation not in _FINALIZER_OF:
        raise bad_request(f'invalid propagation policy "{propagation}"')
    preconditions = body.get("preconditions") or {}
    return DeleteOptions(
        grace=int(grace) if grace is not None else None,
        propagation=propagation,
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
        dry_run=bool(query.get("dryRun") or body.get("dryRun")),
    )


class Deleter:
    """Deletes objects by the rules of the API."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def delete(self, resource: ResourceType, ref: Ref, options: DeleteOptions | None = None) -> tuple[JsonObject, bool]:
        """Delete an object, or begin its deletion. Return its last state, and whether it is gone."""
        options = options or DeleteOptions()
        obj = self._store.get(resource, ref)
        _check_preconditions(resource, obj, options)
        marked = self._marked(resource, obj, options)
        if options.dry_run:
            return marked, is_finished(marked)
        if is_finished(marked):
            return self._store.remove(resource, ref), True
        return (obj if marked == obj else self._store.update(resource, marked)), False

    def _marked(self, resource: ResourceType, obj: JsonObject, options: DeleteOptions) -> JsonObject:
        grace = _grace(obj, options)
        if is_deleting(obj):
            # A second delete can only shorten the grace period.
            left = meta(obj).get("deletionGracePeriodSeconds") or 0
            return with_meta(obj, deletionGracePeriodSeconds=min(grace, left)) if left else obj
        finalizers = [*(meta(obj).get("finalizers") or ())]
        added = _FINALIZER_OF[options.propagation]
        if added and added not in finalizers:
            finalizers.append(added)
        marked = with_meta(
            obj,
            deletionTimestamp=self._store.now(),
            deletionGracePeriodSeconds=grace,
            finalizers=finalizers or None,
            generation=meta(obj)["generation"] + 1 if resource.counts_generation else None,
        )
        return {**marked, "status": {**obj.get("status", {}), "phase": "Terminating"}} if _is_namespace(obj) else marked

    def delete_collection(
        self, resource: ResourceType, objects: list[JsonObject], options: DeleteOptions
    ) -> list[JsonObject]:
        """Delete objects of a kind; return their last states."""
        return [self.delete(resource, ref_of(obj), options)[0] for obj in objects]

    def release(self, resource: ResourceType, obj: JsonObject, finalizer: str) -> None:
        """Remove a finalizer from an object in deletion. Without a finalizer left, the object goes."""
        left = [name for name in meta(obj).get("finalizers") or () if name != finalizer]
        self.finish(resource, with_meta(obj, finalizers=left or None))

    def finish(self, resource: ResourceType, obj: JsonObject) -> None:
        """Store the state of an object in deletion, or remove the object if nothing holds it."""
        if is_finished(obj):
            self._store.remove(resource, ref_of(obj))
        else:
            self._store.update(resource, obj)


def _is_namespace(obj: JsonObject) -> bool:
    return bool(obj["kind"] == "Namespace" and obj["apiVersion"] == "v1")


def _grace(obj: JsonObject, options: DeleteOptions) -> int:
    if obj["kind"] != "Pod":
        return 0
    # No kubelet has the pod, or its containers have ended: the deletion has nothing to wait for.
    if not dig(obj, "spec", "nodeName") or dig(obj, "status", "phase") in {"Succeeded", "Failed"}:
        return 0
    grace = options.grace if options.grace is not None else dig(obj, "spec", "terminationGracePeriodSeconds")
    return 30 if grace is None else int(grace)


def _check_preconditions(resource: ResourceType, obj: JsonObject, options: DeleteOptions) -> None:
    for title, wanted, found in (
        ("UID", options.uid, uid_of(obj)),
        ("ResourceVersion", options.version, meta(obj)["resourceVersion"]),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {title} in precondition: {wanted}, {title} in object meta: {found}"
            raise conflict(resource, name_of(obj), why)
