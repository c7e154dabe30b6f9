"""Patches: merge patch, JSON patch and strategic merge patch, as pure functions."""

from typing import Final

import jsonpatch
import jsonpointer

from shardwise_sandbox.builtin_schema import Schema
from shardwise_sandbox.errors import bad_request, unprocessable
from shardwise_sandbox.fields import child, is_set, list_keys
from shardwise_sandbox.objects import Json, JsonObject

MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"

_DELETE_FROM_PRIMITIVES: Final = "$deleteFromPrimitiveList/"
_DIRECTIVES: Final = ("$setElementOrder/", "$retainKeys", "$patch", _DELETE_FROM_PRIMITIVES)


def merge_patch(target: Json, patch: Json) -> Json:
    """Return the result of an RFC 7386 merge patch. The target does not change."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: JsonObject, patch: Json) -> JsonObject:
    """Apply an RFC 6902 patch to a copy. Raises ``ApiError`` 422 for a failed test or an absent path."""
    if not isinstance(patch, list):
        raise bad_request("a JSON patch is a list of operations")
    try:
        result: JsonObject = jsonpatch.apply_patch(target, patch, in_place=False)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"the JSON patch cannot be read: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise unprocessable(f"the server rejected our request due to an error in our request: {error}") from error
    return result


def strategic_merge(schema: Schema, target: Json, patch: Json) -> Json:
    """Apply a strategic merge patch: a merge patch whose keyed lists merge item by item."""
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return _without_directives(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM_PRIMITIVES):
            _delete_primitives(result, key.removeprefix(_DELETE_FROM_PRIMITIVES), value)
        elif not key.startswith(_DIRECTIVES):
            _merge_member(child(schema, key), result, key, value)
    return result


def _merge_member(schema: Schema, result: JsonObject, key: str, value: Json) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, list):
        result[key] = _merge_list(schema, result.get(key) or [], value)
    else:
        result[key] = strategic_merge(schema, result.get(key), value)


def _merge_list(schema: Schema, target: list[Json], patch: list[Json]) -> list[Json]:
    if is_set(schema):
        return [*target, *(item for item in patch if item not in target)]
    if not list_keys(schema):
        return patch
    # A strategic patch has a single merge key for each list: the first of the keys that apply uses.
    key = list_keys(schema)[0]
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    merged = {item.get(key): item for item in target}
    for item in patch:
        if item.get("$patch") == "delete":
            merged.pop(item.get(key), None)
        else:
            merged[item.get(key)] = strategic_merge(schema.get("items") or {}, merged.get(item.get(key)), item)
    return list(merged.values())


def _delete_primitives(result: JsonObject, key: str, values: list[Json]) -> None:
    result[key] = [item for item in result.get(key) or [] if item not in values]


def _without_directives(patch: JsonObject) -> JsonObject:
    return {key: value for key, value in patch.items() if not key.startswith(_DIRECTIVES)}
