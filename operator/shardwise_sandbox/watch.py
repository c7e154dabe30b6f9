"""The history of changes, and the subscriptions of watches to it, without HTTP."""

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
class ObjectChange:
    """A write to the store: the object after it (for a deletion, the last state), and the object before it, if any."""

    kind: str
    key: StorageKey
    obj: JsonObject
    old: JsonObject | None
    encoded: dict[str, bytes] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The resource version of the write."""
        return version_of(self.obj)

    def seen_by(self, selection: Selection) -> str:
        """Return the event that a watch of a selection sees: ADDED when the object enters, DELETED when it leaves."""
        before = self.old is not None and selection.matches(self.old)
        after = self.kind != DELETED and selection.matches(self.obj)
        if before:
            return MODIFIED if after else DELETED
        return ADDED if after else ""

    def line(self, kind: str, form: str, present: Callable[[JsonObject], JsonObject]) -> bytes:
        """Encode the change as a line of a watch, once for all watchers that want the same form."""
        cached = self.encoded.get(kind + form)
        if cached is None:
            cached = compact_json({"type": kind, "object": present(self.obj)}) + b"\n"
            self.encoded[kind + form] = cached
        return cached


class Subscription:
    """The unread changes of a watcher. Every new change calls ``wake``."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.unread: deque[ObjectChange] = deque()
        self.bookmark_due = False
        self.closed = False

    def offer(self, change: ObjectChange) -> None:
        """Add a change."""
        self.unread.append(change)
        self._wake()

    def ask_for_bookmark(self) -> None:
        """Have the watcher send a bookmark, if its client accepts bookmarks."""
        self.bookmark_due = True
        self._wake()

    def close(self) -> None:
        """End the watch. Unread changes are lost, as on a broken connection."""
        self.unread.clear()
        self.closed = True
        self._wake()


class EventLog:
    """A bounded history and the watchers of each kind."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._history: dict[StorageKey, deque[ObjectChange]] = {}
        self._floor: dict[StorageKey, int] = {}
        self._subscriptions: dict[StorageKey, list[Subscription]] = {}
        self._compacted = 0
        self.current = 0
        self.on_subscribe: Callable[[], None] = lambda: None

    def publish(self, change: ObjectChange) -> None:
        """Record a change and send it to the watchers of its kind."""
        history = self._history.setdefault(change.key, deque())
        history.append(change)
        if len(history) > self._window:
            self._floor[change.key] = history.popleft().version
        self.current = change.version
        for subscription in tuple(self._subscriptions.get(change.key, ())):
            subscription.offer(change)

    def since(self, key: StorageKey, version: int) -> list[ObjectChange]:
        """Return the changes after a version. Raises ``ApiError`` 410 for a forgotten, 504 for a future version."""
        if version > self.current:
            raise version_too_large(version, self.current)
        floor = max(self._floor.get(key, 0), self._compacted)
        if version < floor:
            raise expired(f"too old resource version: {version} ({floor})")
        return [change for change in self._history.get(key, ()) if change.version > version]

    def subscribe(self, key: StorageKey, subscription: Subscription) -> None:
        """Send changes of a kind to a watcher from now on."""
        self._subscriptions.setdefault(key, []).append(subscription)
        self.on_subscribe()

    def unsubscribe(self, key: StorageKey, subscription: Subscription) -> None:
        """Send no more changes to a watcher."""
        self._subscriptions[key].remove(subscription)

    def watchers(self, key: StorageKey) -> int:
        """Count the watchers of a kind."""
        return len(self._subscriptions.get(key, ()))

    def compact(self) -> None:
        """Forget all history: a watch from any version before the current version gets 410."""
        self._history.clear()
        self._compacted = self.current

    @property
    def compacted(self) -> int:
        """The version of the last ``compact``: older changes are forgotten."""
        return self._compacted

    def bookmark(self) -> None:
        """Send a bookmark now to every watch that accepts bookmarks."""
        for subscription in self._all():
            subscription.ask_for_bookmark()

    def drop(self, key: StorageKey | None = None) -> int:
        """End the watches of a kind, or all watches. Return their number."""
        dropped = [*self._subscriptions.get(key, ())] if key is not None else self._all()
        for subscription in dropped:
            subscription.close()
        return len(dropped)

    def _all(self) -> list[Subscription]:
        return [subscription for subscriptions in self._subscriptions.values() for subscription in subscriptions]
