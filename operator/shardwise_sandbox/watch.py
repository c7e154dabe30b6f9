"""The history of changes, and subscriptions to it: what watches are made of, without HTTP."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from shardwise_sandbox.errors import expired, version_too_large
from shardwise_sandbox.objects import JsonObject, compact_json, version_of
from shardwise_sandbox.resources import StorageKey
from shardwise_sandbox.selectors import Selection

ADDED: Final = "ADDED"
MODIFIED: Final = "MODIFIED"
DELETED: Final = "DELETED"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One write to the store: the object after it (for deletions: the last state) and the one before, if any."""

    kind: str
    key: StorageKey
    obj: JsonObject
    old: JsonObject | None
    encoded: dict[str, bytes] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The resource version the write was given."""
        return version_of(self.obj)

    def seen_by(self, selection: Selection) -> str:
        """Say what a watcher of a selection sees: objects that enter are ADDED, ones that leave DELETED."""
        before = self.old is not None and selection.matches(self.old)
        after = self.kind != DELETED and selection.matches(self.obj)
        if before:
            return MODIFIED if after else DELETED
        return ADDED if after else ""

    def line(self, kind: str, form: str, present: Callable[[JsonObject], JsonObject]) -> bytes:
        """Encode as one line of a watch; made once for all watchers that want the object in the same form."""
        cached = self.encoded.get(kind + form)
        if cached is None:
            cached = compact_json({"type": kind, "object": present(self.obj)}) + b"\n"
            self.encoded[kind + form] = cached
        return cached


class Subscription:
    """One watcher's unread changes. ``wake`` is called whenever there is something new to look at."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.unread: deque[Change] = deque()
        self.bookmark_due = False
        self.closed = False

    def offer(self, change: Change) -> None:
        """Add a change."""
        self.unread.append(change)
        self._wake()

    def ask_for_bookmark(self) -> None:
        """Have the watcher send a bookmark, if its client takes them."""
        self.bookmark_due = True
        self._wake()

    def close(self) -> None:
        """End the watch; what is unread is lost, as on a broken connection."""
        self.unread.clear()
        self.closed = True
        self._wake()


class EventLog:
    """A bounded history per kind, and the watchers of each kind."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._history: dict[StorageKey, deque[Change]] = {}
        self._floor: dict[StorageKey, int] = {}
        self._subscriptions: dict[StorageKey, list[Subscription]] = {}
        self._compacted = 0
        self.current = 0
        self.on_subscribe: Callable[[], None] = lambda: None

    def publish(self, change: Change) -> None:
        """Record a change and hand it to the watchers of its kind."""
        history = self._history.setdefault(change.key, deque())
        history.append(change)
        if len(history) > self._window:
            self._floor[change.key] = history.popleft().version
        self.current = change.version
        for subscription in tuple(self._subscriptions.get(change.key, ())):
            subscription.offer(change)

    def since(self, key: StorageKey, version: int) -> list[Change]:
        """Return the changes after a version; refuse with 410 what is forgotten, with 504 what is still to come."""
        if version > self.current:
            raise version_too_large(version, self.current)
        floor = max(self._floor.get(key, 0), self._compacted)
        if version < floor:
            raise expired(f"too old resource version: {version} ({floor})")
        return [change for change in self._history.get(key, ()) if change.version > version]

    def subscribe(self, key: StorageKey, subscription: Subscription) -> None:
        """Start handing changes of a kind to a watcher."""
        self._subscriptions.setdefault(key, []).append(subscription)
        self.on_subscribe()

    def unsubscribe(self, key: StorageKey, subscription: Subscription) -> None:
        """Stop handing changes to a watcher."""
        self._subscriptions[key].remove(subscription)

    def watchers(self, key: StorageKey) -> int:
        """Count the watchers of a kind."""
        return len(self._subscriptions.get(key, ()))

    def compact(self) -> None:
        """Forget all history: a watch from any version before the current one gets 410."""
        self._history.clear()
        self._compacted = self.current

    @property
    def compacted(self) -> int:
        """The version below which everything was forgotten."""
        return self._compacted

    def bookmark(self) -> None:
        """Have every watch that takes bookmarks send one now."""
        for subscription in self._all():
            subscription.ask_for_bookmark()

    def drop(self, key: StorageKey | None = None) -> int:
        """End the watches of a kind, or all; return how many."""
        dropped = [*self._subscriptions.get(key, ())] if key is not None else self._all()
        for subscription in dropped:
            subscription.close()
        return len(dropped)

    def _all(self) -> list[Subscription]:
        return [subscription for subscriptions in self._subscriptions.values() for subscription in subscriptions]
