"""Server-side apply: merge what a manager wants into what is there, and keep the books of ownership.

The rules are those of the real server. A field in the configuration is set and owned. A field that the same manager
owned and no longer mentions is removed, unless somebody else owns it too. Changing the value of a field that somebody
else owns is a conflict, unless forced: then the others lose it. Applying the same value makes the field shared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shardwise_sandbox import managed_fields
from shardwise_sandbox.builtin_schema import Schema
from shardwise_sandbox.errors import Cause, apply_conflict
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
from shardwise_sandbox.managed_fields import Owner, Share
from shardwise_sandbox.objects import Json, JsonObject, with_meta


@dataclass(frozen=True, slots=True)
class Application:
    """Who applies, when, and whether conflicts are overridden."""

    owner: Owner
    now: str
    force: bool = False


def merge(schema: Schema, live: Json, wanted: Json) -> Json:
    """Merge a wanted value into a live one: maps by key, keyed lists by item, sets as unions; the rest is replaced."""
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


def apply(schema: Schema, live: JsonObject | None, config: JsonObject, how: Application) -> JsonObject:
    """Return the object after an apply, with its ``managedFields``; refuse conflicts unless forced."""
    wanted = frozenset(managed_fields.owned(schema, config))
    if live is None:
        return with_meta(config, managedFields=managed_fields.write({how.owner: Share(wanted, how.now)}))
    ownership = managed_fields.read(live)
    merged = merge(schema, live, config)
    taken = _taken(schema, live, merged, wanted)
    _refuse_conflicts(ownership, taken, how)
    pruned = _without_dropped(schema, merged, ownership, wanted, how.owner)
    # Once more: a container that pruning emptied, and removed, may be wanted empty.
    merged = merge(schema, pruned, config)
    present = frozenset(managed_fields.owned(schema, merged))
    after = _new_ownership(ownership, wanted & present, taken, how)
    kept = {owner: Share(share.fields & present, share.time) for owner, share in after.items()}
    return with_meta(merged, managedFields=managed_fields.write(kept))


def _taken(schema: Schema, live: JsonObject, merged: JsonObject, wanted: FieldSet) -> FieldSet:
    before, after = managed_fields.owned(schema, live), managed_fields.owned(schema, merged)
    return frozenset(path for path in wanted if managed_fields.differs(path, before, after))


def _refuse_conflicts(ownership: Mapping[Owner, Share], taken: FieldSet, how: Application) -> None:
    lost = {
        owner: sorted(map(spoken, share.fields & taken))
        for owner, share in ownership.items()
        if owner != how.owner and share.fields & taken
    }
    if lost and not how.force:
        raise apply_conflict(*_told(lost))


def _told(lost: Mapping[Owner, list[str]]) -> tuple[list[Cause], str]:
    causes = [
        Cause("FieldManagerConflict", f"conflict with {_name(owner)}", field) for owner in lost for field in lost[owner]
    ]
    count = len(causes)
    if count == 1:
        return causes, f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    said = [f"conflicts with {_name(owner)}:\n" + "\n".join(f"- {field}" for field in lost[owner]) for owner in lost]
    return causes, f"Apply failed with {count} conflicts: " + "\n".join(said)


def _name(owner: Owner) -> str:
    through = f' with subresource "{owner.subresource}"' if owner.subresource else ""
    return f'"{owner.manager}"{through} using {owner.api_version}'


def _without_dropped(
    schema: Schema, merged: JsonObject, ownership: Mapping[Owner, Share], wanted: FieldSet, owner: Owner
) -> JsonObject:
    had = ownership[owner].fields if owner in ownership else frozenset()
    kept = wanted.union(*(share.fields for other, share in ownership.items() if other != owner))
    # An item before its members: without its key it could not be found any more.
    for path in sorted(had - wanted):
        if not any(is_within(other, path) for other in kept):
            merged = remove(schema, merged, path)
    return merged


def _new_ownership(
    ownership: Mapping[Owner, Share], wanted: FieldSet, taken: FieldSet, how: Application
) -> dict[Owner, Share]:
    after = {
        owner: Share(share.fields - taken, share.time if not share.fields & taken else how.now)
        for owner, share in ownership.items()
        if owner != how.owner
    }
    mine = ownership.get(how.owner)
    unchanged = mine is not None and mine.fields == wanted
    after[how.owner] = mine if unchanged and mine is not None else Share(wanted, how.now)
    # Order kept as it was, so that an apply that changes nothing leaves the very same bytes.
    order = [*ownership, how.owner]
    return {owner: after[owner] for owner in dict.fromkeys(order)}
