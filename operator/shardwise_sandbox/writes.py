"""Create, replace, patch and apply: requests carried out on the store."""

import copy
from dataclasses import dataclass
from typing import Final

from shardwise_sandbox import managed_fields, patching, schema
from shardwise_sandbox.admission import Admission, Options, refuse_unknown
from shardwise_sandbox.apply import Application, apply
from shardwise_sandbox.errors import (
    Cause,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    unsupported_media_type,
)
from shardwise_sandbox.managed_fields import Owner
from shardwise_sandbox.objects import Json, JsonObject, is_deleting, meta, name_of, uid_of, with_meta, without_nulls
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.store import Ref, Store, ref_of

UPDATE: Final = "Update"
APPLY: Final = "Apply"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about: a kind, an object and perhaps one of its subresources."""

    resource: ResourceType
    ref: Ref
    subresource: str = ""


class Writer:
    """Writes objects by the rules of the API."""

    def __init__(self, store: Store, admission: Admission) -> None:
        self._store = store
        self._admission = admission

    def create(
        self, resource: ResourceType, namespace: str, body: JsonObject, options: Options | None = None
    ) -> JsonObject:
        """Create an object."""
        options = options or Options()
        obj = self._admission.for_create(resource, namespace, body, options)
        owner = Owner(options.manager, UPDATE, resource.api_version)
        entries = managed_fields.record_update(resource.merge_schema, None, obj, owner, self._store.now())
        return self._insert(resource, with_meta(obj, managedFields=entries), options)

    def _insert(self, resource: ResourceType, obj: JsonObject, options: Options) -> JsonObject:
        if self._store.find(resource, ref_of(obj)) is not None:
            raise already_exists(resource, name_of(obj))
        return obj if options.dry_run else self._store.insert(resource, obj)

    def replace(self, target: Target, body: JsonObject, options: Options | None = None) -> JsonObject:
        """Replace an object, or its status, by PUT."""
        old = self._store.get(target.resource, target.ref)
        new = self._admission.identify(target.resource, target.ref, body)
        if not target.subresource:
            self._admission.require_version(target.resource, new)
        return self._update(target, old, new, options or Options())

    def patch(self, target: Target, kind: str, patch: Json, options: Options | None = None) -> JsonObject:
        """Patch an object, or its status, with a patch of the media type given."""
        old = self._store.get(target.resource, target.ref)
        patched = patched_copy(target.resource, old, kind, patch)
        if uid_of(patched) not in ("", uid_of(old)):
            why = f'Invalid value: "{uid_of(patched)}": field is immutable'
            raise invalid(target.resource, target.ref[1], [Cause("FieldValueInvalid", why, "metadata.uid")])
        new = self._admission.identify(target.resource, target.ref, patched)
        return self._update(target, old, new, options or Options())

    def _update(self, target: Target, old: JsonObject, new: JsonObject, options: Options) -> JsonObject:
        resource = target.resource
        obj = self._admitted(target, old, new, options)
        owner = Owner(options.manager, UPDATE, resource.api_version, target.subresource)
        entries = managed_fields.record_update(resource.merge_schema, old, obj, owner, self._store.now())
        return self._commit(resource, old, with_meta(obj, managedFields=entries or None), options)

    def _admitted(self, target: Target, old: JsonObject, new: JsonObject, options: Options) -> JsonObject:
        admit = self._admission.for_status if target.subresource == "status" else self._admission.for_update
        return admit(target.resource, old, new, options)

    def _commit(self, resource: ResourceType, old: JsonObject, new: JsonObject, options: Options) -> JsonObject:
        if new == old:
            return old
        if options.dry_run:
            return new
        stored = self._store.update(resource, new)
        if is_finished(stored):
            self._store.remove(resource, ref_of(stored))
        return stored

    def apply(self, target: Target, config: JsonObject, options: Options) -> tuple[JsonObject, bool]:
        """Apply a configuration server-side; return the object, and whether it was created."""
        resource = target.resource
        wanted = self._configuration(target, config, options)
        live = self._store.find(resource, target.ref)
        how = Application(
            Owner(options.manager, APPLY, resource.api_version, target.subresource), self._store.now(), options.force
        )
        if live is None:
            return self._apply_new(target, wanted, how, options), True
        self._admission.check_version(resource, live, wanted)
        merged = apply(resource.merge_schema, live, with_meta(wanted, resourceVersion=None), how)
        entries = meta(merged).get("managedFields")
        obj = self._admitted(target, live, merged, options)
        return self._commit(resource, live, with_meta(obj, managedFields=entries or None), options), False

    def _apply_new(self, target: Target, wanted: JsonObject, how: Application, options: Options) -> JsonObject:
        if target.subresource:
            raise not_found(target.resource, target.ref[1])
        if uid_of(wanted):
            why = f"uid mismatch: the provided object specified uid {uid_of(wanted)}, and no existing object was found"
            raise conflict(target.resource, target.ref[1], why)
        obj = self._admission.for_create(target.resource, target.ref[0], wanted, options)
        entries = meta(apply(target.resource.merge_schema, None, wanted, how))["managedFields"]
        return self._insert(target.resource, with_meta(obj, managedFields=entries), options)

    def _configuration(self, target: Target, config: JsonObject, options: Options) -> JsonObject:
        if not options.manager:
            cause = Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
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
    """Return an object with a patch applied; refuse with 415 a kind of patch the resource does not take."""
    if kind == patching.MERGE:
        result = patching.merge_patch(old, patch)
    elif kind == patching.JSON:
        result = patching.json_patch(copy.deepcopy(old), patch)
    elif kind == patching.STRATEGIC and not resource.custom:
        result = patching.strategic_merge(resource.merge_schema, old, patch)
    else:
        accepted = (patching.JSON, patching.MERGE, patching.APPLY)
        raise unsupported_media_type(kind, accepted if resource.custom else (*accepted, patching.STRATEGIC))
    if not isinstance(result, dict):
        raise bad_request("the patch does not leave an object")
    return result


def is_finished(obj: JsonObject) -> bool:
    """Say whether an object being deleted has nothing left to wait for."""
    waiting = meta(obj).get("finalizers") or meta(obj).get("deletionGracePeriodSeconds")
    # A namespace has finalizers of its own, in its spec.
    own = obj["kind"] == "Namespace" and (obj.get("spec") or {}).get("finalizers")
    return is_deleting(obj) and not waiting and not own
