"""Server-side apply: merge the configuration of a manager into the live object, and record who owns which field.

The rules are those of the real server:

- The manager sets and owns every field in its configuration.
- A field that the manager owned and no longer mentions is removed, unless another manager owns it too.
- To change a field that another manager owns is a conflict. A forced apply takes the field from the other manager.
- To apply the same value makes the field shared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shardwise_sandbox import managed_fields
from shardwise_sandbox.builtin_schema import Schema
from shardwise_sandbox.errors import StatusCause, apply_conflict
from shardwise_sandbox.fields import (
    FieldSet,
    child,
    is_granular_map,
    is_set,
    is_within,
    item_step,
    list_keys,
    remove,
    spoken,
)
from shardwise_sandbox.managed_fields import FieldOwner, OwnedFields
from shardwise_sandbox.objects import Json, JsonObject, with_meta


@dataclass(frozen=True, slots=True)
class ApplyTerms:
    """The owner and the time of an apply, and whether it overrides conflicts."""

    owner: FieldOwner
    now: str
    force: bool = False


def merge(schema: Schema, live: Json, wanted: Json) -> Json:
    """Merge a wanted value into a live value: maps by key, keyed lists by item, sets by union. Others are replaced."""
    if is_granular_map(schema, wanted) and isinstance(live, dict):
        merged = {key: merge(child(schema, key), live.get(key), value) for key, value in wanted.items()}
        return {**live, **merged}
    if isinstance(wanted, list) and isinstance(live, list):
        if list_keys(schema):
            return _merge_items(schema, live, wanted)
        if is_set(schema):
            return [*live, *(item for item in wanted if item not in live)]
    return wanted


def _merge_items(schema: Schema, live: list[Json], wanted: list[Json]) -> list[Json]:
    items = schema.get("items") or {}
    by_step = {item_step(schema, item): item for item in live}
    for item in wanted:
        step = item_step(schema, item)
        by_step[step] = merge(items, by_step.get(step), item)
    return list(by_step.values())


def apply(schema: Schema, live: JsonObject | None, config: JsonObject, how: ApplyTerms) -> JsonObject:
    """Return the object after an apply, with its ``managedFields``. Raises ``ApiError`` 409 for a conflict."""
    wanted = frozenset(managed_fields.owned(schema, config))
    if live is None:
        return with_meta(config, managedFields=managed_fields.write({how.owner: OwnedFields(wanted, how.now)}))
    ownership = managed_fields.read(live)
    merged = merge(schema, live, config)
    taken = _taken(schema, live, merged, wanted)
    _refuse_conflicts(ownership, taken, how)
    pruned = _without_dropped(schema, merged, ownership, wanted, how.owner)
    # Merge again: pruning removes an object or list that it emptied, but the configuration may ask for an empty value.
    merged = merge(schema, pruned, config)
    present = frozenset(managed_fields.owned(schema, merged))
    after = _new_ownership(ownership, wanted & present, taken, how)
    kept = {owner: OwnedFields(share.fields & present, share.time) for owner, share in after.items()}
    return with_meta(merged, managedFields=managed_fields.write(kept))


def _taken(schema: Schema, live: JsonObject, merged: JsonObject, wanted: FieldSet) -> FieldSet:
    before, after = managed_fields.owned(schema, live), managed_fields.owned(schema, merged)
    return frozenset(path for path in wanted if managed_fields.differs(path, before, after))


def _refuse_conflicts(ownership: Mapping[FieldOwner, OwnedFields], taken: FieldSet, how: ApplyTerms) -> None:
    lost = {
        owner: sorted(map(spoken, share.fields & taken))
        for owner, share in ownership.items()
        if owner != how.owner and share.fields & taken
    }
    if lost and not how.force:
        raise apply_conflict(*_told(lost))


def _told(lost: Mapping[FieldOwner, list[str]]) -> tuple[list[StatusCause], str]:
    causes = [
        StatusCause("FieldManagerConflict", f"conflict with {_name(owner)}", field)
        for owner in lost
        for field in lost[owner]
    ]
    count = len(causes)
    if count == 1:
        return causes, f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    said = [f"conflicts with {_name(owner)}:\n" + "\n".join(f"- {field}" for field in lost[owner]) for owner in lost]
    return causes, f"Apply failed with {count} conflicts: " + "\n".join(said)


def _name(owner: FieldOwner) -> str:
    through = f' with subresource "{owner.subresource}"' if owner.subresource else ""
    return f'"{owner.manager}"{through} using {owner.api_version}'


def _without_dropped(
    schema: Schema, merged: JsonObject, ownership: Mapping[FieldOwner, OwnedFields], wanted: FieldSet, owner: FieldOwner
) -> JsonObject:
    had = ownership[owner].fields if owner in ownership else frozenset()
    kept = wanted.union(*(share.fields for other, share in ownership.items() if other != owner))
    # An item goes before its members: an item without its key cannot be found.
    for path in sorted(had - wanted):
        if not any(is_within(other, path) for other in kept):
            merged = remove(schema, merged, path)
    return merged


def _new_ownership(
    ownership: Mapping[FieldOwner, OwnedFields], wanted: FieldSet, taken: FieldSet, how: ApplyTerms
) -> dict[FieldOwner, OwnedFields]:
    after = {
        owner: OwnedFields(share.fields - taken, share.time if not share.fields & taken else how.now)
        for owner, share in ownership.items()
        if owner != how.owner
    }
    mine = ownership.get(how.owner)
    unchanged = mine is not None and mine.fields == wanted
    after[how.owner] = mine if unchanged and mine is not None else OwnedFields(wanted, how.now)
    # The order stays, so that an apply without a change leaves the same bytes.
    order = [*ownership, how.owner]
    return {owner: after[owner] for owner in dict.fromkeys(order)}
