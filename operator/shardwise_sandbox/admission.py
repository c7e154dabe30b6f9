"""Admission: identity, defaults, pruning, validation and generation of an object before it is stored."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from shardwise_sandbox import builtin_rules, schema, validation
from shardwise_sandbox.builtin_defaults import FILLERS
from shardwise_sandbox.errors import StatusCause, bad_request, conflict, forbidden, invalid, not_found
from shardwise_sandbox.objects import JsonObject, copied, is_deleting, meta, name_of, uid_of, with_meta
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.store import ObjectStore, Ref
from shardwise_sandbox.validation import CelEvaluator

STRICT: Final = "Strict"
_NAME_SPACE_OF_SUFFIXES: Final = "bcdfghjklmnpqrstvwxz2456789"
_CONDITIONAL_ONLY: Final = frozenset({"Lease", "CustomResourceDefinition"})
_KEPT_METADATA: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_SET_BY_SERVER: Final = (*_KEPT_METADATA, "resourceVersion", "managedFields", "selfLink")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """The options of a write: field manager, dry run, field validation, and whether to force conflicts."""

    manager: str = "sandbox"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False


class Admission:
    """The checks and changes between a request and the store."""

    def __init__(self, store: ObjectStore, cel_evaluator: CelEvaluator | None = None) -> None:
        self._store = store
        self.cel_evaluator = cel_evaluator
        """Evaluates ``x-kubernetes-validations``. With ``None``, the default, CEL rules are NOT checked."""
        self.webhooks: list[Callable[[JsonObject], None]] = []
        """Change new objects before their defaults are set, as mutating webhooks do."""

    def identify(self, resource: ResourceType, ref: Ref, body: JsonObject) -> JsonObject:
        """Copy a body and fill in the identity from the URL; refuse a body that contradicts the URL."""
        if not isinstance(body, dict):
            raise bad_request("the object provided is not a JSON object")
        for key, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
            if body.get(key, expected) != expected:
                raise bad_request(f"the {key} in the data ({body[key]}) does not match the expected {key} ({expected})")
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, **copied(body)}
        obj["metadata"] = dict(obj.get("metadata") or {})
        self._match_url(resource, ref, obj)
        return obj

    def _match_url(self, resource: ResourceType, ref: Ref, obj: JsonObject) -> None:
        namespace, name = ref
        given = obj["metadata"]
        if not resource.namespaced:
            given.pop("namespace", None)
        elif given.setdefault("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if name and given.setdefault("name", name) != name:
            raise bad_request(f"the name of the object ({given['name']}) does not match the name on the URL ({name})")

    def for_create(self, resource: ResourceType, namespace: str, body: JsonObject, options: WriteOptions) -> JsonObject:
        """Turn a body into a new object. Its managed fields are left to the caller."""
        obj = self.identify(resource, (namespace, ""), body)
        self._require_namespace(resource, namespace, obj)
        if meta(obj).get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        obj = with_meta(obj, **dict.fromkeys(_SET_BY_SERVER))
        if resource.has_status:
            obj.pop("status", None)
        self._name(resource, obj)
        for webhook in self.webhooks:
            webhook(obj)
        self._shape(resource, obj, None, options)
        generation = 1 if resource.counts_generation else None
        obj["metadata"] |= {"uid": self._store.new_uid(), "creationTimestamp": self._store.now()}
        obj = with_meta(obj, generation=generation)
        self._validate(resource, obj, None)
        return obj

    def _require_namespace(self, resource: ResourceType, namespace: str, obj: JsonObject) -> None:
        if not resource.namespaced:
            return
        kind = self._store.registry.named("namespaces")
        found = self._store.find(kind, ("", namespace))
        if found is None:
            raise not_found(kind, namespace)
        if is_deleting(found):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource, name_of(obj), why)

    def _name(self, resource: ResourceType, obj: JsonObject) -> None:
        given = obj["metadata"]
        if not given.get("name") and given.get("generateName"):
            given["name"] = given["generateName"] + _suffix(self._store.version)
        if not given.get("name"):
            cause = StatusCause(
                "FieldValueRequired", "Required value: name or generateName is required", "metadata.name"
            )
            raise invalid(resource, "", [cause])

    def for_update(self, resource: ResourceType, old: JsonObject, new: JsonObject, options: WriteOptions) -> JsonObject:
        """Turn the wanted state of an object into its next state, with the old status."""
        self.check_version(resource, old, new)
        obj = self._carry_over(resource, old, new)
        self._shape(resource, obj, old, options)
        if resource.counts_generation and _content(resource, obj) != _content(resource, old):
            obj["metadata"]["generation"] = meta(old).get("generation", 0) + 1
        self._validate(resource, obj, old)
        return obj

    def for_status(self, resource: ResourceType, old: JsonObject, new: JsonObject, options: WriteOptions) -> JsonObject:
        """Turn a wanted state into the next state, in which only the status is new."""
        self.check_version(resource, old, new)
        obj = {key: value for key, value in old.items() if key != "status"}
        obj["metadata"] = dict(meta(old))
        if "status" in new:
            obj["status"] = copied(new["status"])
        if resource.custom:
            self._shape(resource, obj, old, options)
            self._validate(resource, obj, old)
        return obj

    def check_version(self, resource: ResourceType, old: JsonObject, new: JsonObject) -> None:
        """Refuse a write for another version, or for another object of the same name."""
        wanted, uid = meta(new).get("resourceVersion"), uid_of(new)
        if uid and uid != uid_of(old):
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {uid_of(old)}"
            raise conflict(resource, name_of(old), why)
        if wanted and wanted != meta(old)["resourceVersion"]:
            raise conflict(resource, name_of(old))

    def require_version(self, resource: ResourceType, new: JsonObject) -> None:
        """Refuse a PUT without a version for the kinds that require a version."""
        if (resource.custom or resource.kind in _CONDITIONAL_ONLY) and not meta(new).get("resourceVersion"):
            why = "Invalid value: 0x0: must be specified for an update"
            raise invalid(resource, name_of(new), [StatusCause("FieldValueInvalid", why, "metadata.resourceVersion")])

    def _carry_over(self, resource: ResourceType, old: JsonObject, new: JsonObject) -> JsonObject:
        kept = {key: meta(old).get(key) for key in (*_KEPT_METADATA, "resourceVersion", "managedFields")}
        obj = with_meta(copied(new), **kept)
        if resource.has_status:
            obj.pop("status", None)
            if "status" in old:
                obj["status"] = old["status"]
        added = set(meta(obj).get("finalizers") or ()) - set(meta(old).get("finalizers") or ())
        if is_deleting(old) and added:
            why = f"Forbidden: no new finalizers can be added if the object is being deleted, found {sorted(added)}"
            raise invalid(resource, name_of(old), [StatusCause("FieldValueForbidden", why, "metadata.finalizers")])
        return obj

    def _shape(self, resource: ResourceType, obj: JsonObject, old: JsonObject | None, options: WriteOptions) -> None:
        if resource.schema is not None:
            unknown = schema.prune(resource.schema, obj)
            refuse_unknown(unknown, options)
            schema.set_defaults(resource.schema, obj)
        elif resource.kind in FILLERS:
            FILLERS[resource.kind](self._store, obj, old)

    def _validate(self, resource: ResourceType, obj: JsonObject, old: JsonObject | None) -> None:
        causes = [*builtin_rules.metadata(obj)]
        if resource.schema is not None:
            causes += validation.violations(_content_schema(resource.schema), obj)
            if not causes and self.cel_evaluator is not None:
                causes += validation.rule_violations(self.cel_evaluator, resource.schema, obj, old)
        elif resource.kind in builtin_rules.RULES:
            causes += builtin_rules.RULES[resource.kind](obj, old)
        if causes:
            raise invalid(resource, name_of(obj), causes)


def refuse_unknown(unknown: Iterable[str], options: WriteOptions) -> None:
    """Refuse fields that the schema does not know, if the writer asked for strict validation."""
    found = [f'unknown field "{path}"' for path in unknown]
    if found and options.validation == STRICT:
        raise bad_request("strict decoding error: " + ", ".join(found))


def _content_schema(whole: JsonObject) -> JsonObject:
    properties = {key: value for key, value in (whole.get("properties") or {}).items() if key != "metadata"}
    return {**whole, "properties": properties}


def _content(resource: ResourceType, obj: JsonObject) -> JsonObject:
    ignored = {"metadata", "status"} if resource.has_status else {"metadata"}
    return {key: value for key, value in obj.items() if key not in ignored}


def _suffix(number: int) -> str:
    base, text = len(_NAME_SPACE_OF_SUFFIXES), ""
    for _ in range(5):
        # The multiplier spreads neighbouring numbers; any odd number that is not a multiple of 3 (27 = 3^3) works.
        number, digit = divmod(number * 5 + 7, base)
        text += _NAME_SPACE_OF_SUFFIXES[digit]
    return text
