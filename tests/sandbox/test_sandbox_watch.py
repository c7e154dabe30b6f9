"""The history of changes, and the events that watchers of a selection see; without HTTP."""

from typing import Any

import pytest
from tests.sandbox.support import config_map, widget

from shardwise_sandbox import ApiError, Sandbox
from shardwise_sandbox.selectors import Selection, parse_labels
from shardwise_sandbox.watch import EventLog, ObjectChange, Subscription

KEY = ("", "configmaps")


def labelled(app: str | None, version: int = 1) -> Any:
    labels = {} if app is None else {"app": app}
    return {"metadata": {"name": "x", "resourceVersion": str(version), "labels": labels}}


SEEN: dict[str, tuple[str, Any, Any, str]] = {
    "created inside": ("ADDED", None, "web", "ADDED"),
    "created outside": ("ADDED", None, "db", ""),
    "changed inside": ("MODIFIED", "web", "web", "MODIFIED"),
    "entered": ("MODIFIED", "db", "web", "ADDED"),
    "left": ("MODIFIED", "web", "db", "DELETED"),
    "changed outside": ("MODIFIED", "db", "db", ""),
    "deleted inside": ("DELETED", "web", "web", "DELETED"),
    "deleted outside": ("DELETED", "db", "db", ""),
}


@pytest.mark.parametrize(("kind", "old", "new", "expected"), SEEN.values(), ids=SEEN)
def test_a_watcher_of_labels_sees_objects_enter_and_leave(kind: str, old: Any, new: Any, expected: str) -> None:
    change = ObjectChange(kind, KEY, labelled(new), None if old is None else labelled(old))
    assert change.seen_by(Selection(labels=parse_labels("app=web"))) == expected


def test_the_log_gives_what_came_after_a_version(still: Sandbox) -> None:
    still.create(config_map("a"))
    version = still.store.version
    still.create(widget())
    still.create(config_map("b"))
    still.delete("cm", "default", "a")
    changes = still.store.log.since(KEY, version)
    assert [(change.kind, change.obj["metadata"]["name"]) for change in changes] == [("ADDED", "b"), ("DELETED", "a")]


def test_a_deletion_has_a_version_of_its_own(still: Sandbox) -> None:
    created = still.create(config_map("a"))
    still.delete("cm", "default", "a")
    last = still.store.log.since(KEY, int(created["metadata"]["resourceVersion"]))[0]
    assert last.version == still.store.version > int(created["metadata"]["resourceVersion"])


def test_a_version_older_than_the_window_is_410_and_others_are_not(still: Sandbox) -> None:
    log = EventLog(window=2)
    for version in range(1, 5):
        log.publish(ObjectChange("MODIFIED", KEY, labelled("a", version), labelled("a", version - 1)))
    assert [change.version for change in log.since(KEY, 2)] == [3, 4]
    with pytest.raises(ApiError) as refused:
        log.since(KEY, 1)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    assert log.since(("", "pods"), 1) == []


def test_after_compaction_only_the_present_version_can_be_watched_from(still: Sandbox) -> None:
    still.create(config_map("a"))
    version = still.store.version
    still.create(config_map("b"))
    still.compact()
    assert still.store.log.since(KEY, still.store.version) == []
    with pytest.raises(ApiError) as refused:
        still.store.log.since(KEY, version)
    assert refused.value.code == 410


def test_a_version_from_the_future_is_504(still: Sandbox) -> None:
    with pytest.raises(ApiError, match="Too large resource version") as refused:
        still.store.log.since(KEY, 10**6)
    assert refused.value.code == 504


def test_a_subscription_is_woken_for_its_kind_only(still: Sandbox) -> None:
    woken: list[int] = []
    subscription = Subscription(lambda: woken.append(1))
    still.store.log.subscribe(KEY, subscription)
    still.create(widget())
    assert not woken
    still.create(config_map("a"))
    assert (len(woken), [change.kind for change in subscription.unread]) == (1, ["ADDED"])
    still.store.log.unsubscribe(KEY, subscription)
    still.create(config_map("b"))
    assert len(subscription.unread) == 1


def test_dropping_ends_the_watches_of_a_kind_or_all(still: Sandbox) -> None:
    subscriptions = {key: Subscription(lambda: None) for key in (KEY, ("", "pods"))}
    for key, subscription in subscriptions.items():
        still.store.log.subscribe(key, subscription)
    assert still.drop_watches("configmaps") == 1
    assert [subscription.closed for subscription in subscriptions.values()] == [True, False]
    assert still.drop_watches() == 2
    assert all(subscription.closed for subscription in subscriptions.values())


def test_a_line_is_encoded_once_for_all_watchers_of_one_form() -> None:
    calls: list[Any] = []

    def present(obj: Any) -> Any:
        calls.append(obj)
        return obj

    change = ObjectChange("ADDED", KEY, labelled("a"), None)
    assert change.line("ADDED", "v1", present) is change.line("ADDED", "v1", present)
    change.line("ADDED", "v2", present)
    assert len(calls) == 2
