"""Lists of selected objects, in pages of the same snapshot."""

import base64
import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from shardwise_sandbox.conversion import present
from shardwise_sandbox.errors import bad_request, expired
from shardwise_sandbox.objects import JsonObject, compact_json
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.selectors import Selection
from shardwise_sandbox.store import ObjectStore

_SNAPSHOTS: Final = 64
"""The number of paged lists that can be open. Older lists expire, as on the server after five minutes."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, at a version of the store."""

    items: list[JsonObject]
    version: int
    token: str = ""
    remaining: int = 0

    def body(self, resource: ResourceType) -> JsonObject:
        """Return the body of the response."""
        meta: JsonObject = {"resourceVersion": str(self.version)}
        if self.token:
            meta |= {"continue": self.token, "remainingItemCount": self.remaining}
        items = [present(resource, item) for item in self.items]
        return {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta, "items": items}


class Reader:
    """Answers lists."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._snapshots: OrderedDict[str, tuple[list[JsonObject], int]] = OrderedDict()
        self._taken = 0

    def select(self, resource: ResourceType, selection: Selection) -> list[JsonObject]:
        """Return the selected objects of a kind, sorted by namespace and name."""
        return [obj for obj in self._store.all(resource.key) if selection.matches(obj)]

    def page(self, resource: ResourceType, selection: Selection, limit: int = 0, token: str = "") -> Page:
        """Return a page. All pages of a list show the same state. Limit 0 means all objects."""
        if token:
            return self._next(token, limit)
        items = self.select(resource, selection)
        if not limit or len(items) <= limit:
            return Page(items, self._store.version)
        self._taken += 1
        snapshot = str(self._taken)
        self._snapshots[snapshot] = (items, self._store.version)
        while len(self._snapshots) > _SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return self._cut(snapshot, 0, limit)

    def _next(self, token: str, limit: int) -> Page:
        try:
            known = json.loads(base64.urlsafe_b64decode(token))
            snapshot, start = str(known["list"]), int(known["start"])
        except (ValueError, KeyError, TypeError) as error:
            raise bad_request(f"continue key is not valid: {token}") from error
        return self._cut(snapshot, start, limit)

    def _cut(self, snapshot: str, start: int, limit: int) -> Page:
        items, version = self._snapshots.get(snapshot, ([], -1))
        if version < self._store.log.compacted:
            raise expired("The provided continue parameter is too old to display a consistent list result")
        end = start + limit if limit else len(items)
        if end >= len(items):
            return Page(items[start:], version)
        token = base64.urlsafe_b64encode(compact_json({"list": snapshot, "start": end})).decode()
        return Page(items[start:end], version, token, len(items) - end)
