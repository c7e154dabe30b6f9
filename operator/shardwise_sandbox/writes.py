"""Create, replace, patch and apply objects in the store."""

from dataclasses import dataclass
from typing import Final

from shardwise_sandbox import managed_fields, patching, schema
from shardwise_sandbox.admission import Admission, WriteOptions, refuse_unknown
from shardwise_sandbox.apply import ApplyTerms, apply
from shardwise_sandbox.errors import (
    StatusCause,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    unsupported_media_type,
)
from shardwise_sandbox.managed_fields import FieldOwner
from shardwise_sandbox.objects import (
    Json,
    JsonObject,
    copied,
    is_deleting,
    meta,
    name_of,
    uid_of,
    with_meta,
    without_nulls,
)
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.store import ObjectStore, Ref, ref_of

UPDATE: Final = "Update"
APPLY: Final = "Apply"


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a request: a kind, an object, and perhaps a subresource."""

    resource: ResourceType
    ref: Ref
    subresource: str = ""


class Writer:
    """Writes objects by the rules of the API."""

    def __init__(self, store: ObjectStore, admission: Admission) -> None:
        self._store = store
        self._admission = admission

    def create(
        self, resource: ResourceType, namespace: str, body: JsonObject, options: WriteOptions | None = None
    ) -> JsonObject:
        """Create an object."""
        options = options or WriteOptions()
        obj = self._admission.for_create(resource, namespace, body, options)
        owner = FieldOwner(options.manager, UPDATE, resource.api_version)
        entries = managed_fields.record_update(resource.merge_schema, None, obj, owner, self._store.now())
        return self._insert(resource, with_meta(obj, managedFields=entries), options)

    def _insert(self, resource: ResourceType, obj: JsonObject, options: WriteOptions) -> JsonObject:
        if self._store.find(resource, ref_of(obj)) is not None:
            raise already_exists(resource, name_of(obj))
        return obj if options.dry_run else self._store.insert(resource, obj)

    def replace(self, target: Target, body: JsonObject, options: WriteOptions | None = None) -> JsonObject:
        """Replace an object, or its status, as PUT does."""
        old = self._store.get(target.resource, target.ref)
        new = self._admission.identify(target.resource, target.ref, body)
        if not target.subresource:
            self._admission.require_version(target.resource, new)
        return self._update(target, old, new, options or WriteOptions())

    def patch(self, target: Target, kind: str, patch: Json, options: WriteOptions | None = None) -> JsonObject:
        """Patch an object, or its status. ``kind`` is the media type of the patch."""
        old = self._store.get(target.resource, target.ref)
        patched = patched_copy(target.resource, old, kind, patch)
        if uid_of(patched) not in ("", uid_of(old)):
            why = f'Invalid value: "{uid_of(patched)}": field is immutable'
            raise invalid(target.resource, target.ref[1], [StatusCause("FieldValueInvalid", why, "metadata.uid")])
        new = self._admission.identify(target.resource, target.ref, patched)
        return self._update(target, old, new, options or WriteOptions())

    def _update(self, target: Target, old: JsonObject, new: JsonObject, options: WriteOptions) -> JsonObject:
        resource = target.resource
        obj = self._admitted(target, old, new, options)
        owner = FieldOwner(options.manager, UPDATE, resource.api_version, target.subresource)
        entries = managed_fields.record_update(resource.merge_schema, old, obj, owner, self._store.now())
        return self._commit(resource, old, with_meta(obj, managedFields=entries or None), options)

    def _admitted(self, target: Target, old: JsonObject, new: JsonObject, options: WriteOptions) -> JsonObject:
        admit = self._admission.for_status if target.subresource == "status" else self._admission.for_update
        return admit(target.resource, old, new, options)

    def _commit(self, resource: ResourceType, old: JsonObject, new: JsonObject, options: WriteOptions) -> JsonObject:
        if new == old:
            return old
        if options.dry_run:
            return new
        stored = self._store.update(resource, new)
        if is_finished(stored):
            self._store.remove(resource, ref_of(stored))
        return stored

    def apply(self, target: Target, config: JsonObject, options: WriteOptions) -> tuple[JsonObject, bool]:
        """Apply a configuration server-side. Return the object, and whether it is new."""
        resource = target.resource
        wanted = self._configuration(target, config, options)
        live = self._store.find(resource, target.ref)
        how = ApplyTerms(
            FieldOwner(options.manager, APPLY, resource.api_version, target.subresource),
            self._store.now(),
            options.force,
        )
        if live is None:
            return self._apply_new(target, wanted, how, options), True
        self._admission.check_version(resource, live, wanted)
        merged = apply(resource.merge_schema, live, with_meta(wanted, resourceVersion=None), how)
        entries = meta(merged).get("managedFields")
        obj = self._admitted(target, live, merged, options)
        return self._commit(resource, live, with_meta(obj, managedFields=entries or None), options), False

    def _apply_new(self, target: Target, wanted: JsonObject, how: ApplyTerms, options: WriteOptions) -> JsonObject:
        if target.subresource:
            raise not_found(target.resource, target.ref[1])
        if uid_of(wanted):
            why = f"uid mismatch: the provided object specified uid {uid_of(wanted)}, and no existing object was found"
            raise conflict(target.resource, target.ref[1], why)
        obj = self._admission.for_create(target.resource, target.ref[0], wanted, options)
        entries = meta(apply(target.resource.merge_schema, None, wanted, how))["managedFields"]
        return self._insert(target.resource, with_meta(obj, managedFields=entries), options)

    def _configuration(self, target: Target, config: JsonObject, options: WriteOptions) -> JsonObject:
        if not options.manager:
            cause = StatusCause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
            raise invalid(_PATCH_OPTIONS, "", [cause])
        wanted = self._admission.identify(target.resource, target.ref, without_nulls(config))
        if meta(wanted).get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if target.subresource == "status":
            wanted = {key: wanted[key] for key in ("apiVersion", "kind", "metadata", "status") if key in wanted}
            wanted["metadata"] = {
                key: value
                for key, value in meta(wanted).items()
                if key in {"name", "namespace", "resourceVersion", "uid"}
            }
        elif target.resource.has_status:
            wanted.pop("status", None)
        if target.resource.schema is not None:
            refuse_unknown(schema.prune(target.resource.schema, wanted), options)
        return wanted


_PATCH_OPTIONS: Final = ResourceType(group="meta.k8s.io", plural="patchoptions", singular="", kind="PatchOptions")


def patched_copy(resource: ResourceType, old: JsonObject, kind: str, patch: Json) -> JsonObject:
    """Return an object after a patch. Raises ``ApiError`` 415 for a kind of patch that the resource does not accept."""
    if kind == patching.MERGE:
        result = patching.merge_patch(old, patch)
    elif kind == patching.JSON:
        result = patching.json_patch(copied(old), patch)
    elif kind == patching.STRATEGIC and not resource.custom:
        result = patching.strategic_merge(resource.merge_schema, old, patch)
    else:
        accepted = (patching.JSON, patching.MERGE, patching.APPLY)
        raise unsupported_media_type(kind, accepted if resource.custom else (*accepted, patching.STRATEGIC))
    if not isinstance(result, dict):
        raise bad_request("the patch does not leave an object")
    return result


def is_finished(obj: JsonObject) -> bool:
    """Return whether the deletion of an object has nothing left to wait for."""
    waiting = meta(obj).get("finalizers") or meta(obj).get("deletionGracePeriodSeconds")
    # A namespace also has finalizers in its spec.
    own = obj["kind"] == "Namespace" and (obj.get("spec") or {}).get("finalizers")
    return is_deleting(obj) and not waiting and not own
