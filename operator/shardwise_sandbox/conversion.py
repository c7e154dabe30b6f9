"""A stored object in another version of the API: Events change their fields, custom resources only ``apiVersion``."""

from typing import Final

from shardwise_sandbox.objects import JsonObject
from shardwise_sandbox.resources import ResourceType

_CORE_TO_NEW: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_NEW_TO_CORE: Final = {new: core for core, new in _CORE_TO_NEW.items()}


def present(resource: ResourceType, obj: JsonObject) -> JsonObject:
    """Return a stored object in the form of the requested version of the API."""
    if obj.get("apiVersion") == resource.api_version:
        return obj
    renamed = _renamed(obj, _CORE_TO_NEW) if resource.stored_as else obj
    return {**renamed, "apiVersion": resource.api_version}


def stored_form(resource: ResourceType, body: JsonObject) -> JsonObject:
    """Return a body in the stored form, where the kind is stored as another kind."""
    if not resource.stored_as or not isinstance(body, dict):
        return body
    renamed = _renamed(body, _NEW_TO_CORE)
    return {**renamed, "apiVersion": "v1"} if "apiVersion" in renamed else renamed


def _renamed(obj: JsonObject, names: dict[str, str]) -> JsonObject:
    return {names.get(key, key): value for key, value in obj.items()}
