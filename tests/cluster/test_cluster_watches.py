"""Watches against both API servers: order, selectors, bookmarks, resuming, and what is too old to resume."""

from tests.cluster.conformance import Api
from tests.sandbox.support import widget


async def version(api: Api) -> str:
    return str((await api.call("GET", api.path("widgets"))).body["metadata"]["resourceVersion"])


async def test_a_watch_tells_what_happens_in_order(api: Api) -> None:
    start = await version(api)
    async with api.watch("widgets", resourceVersion=start) as watch:
        await api.made("widgets", widget("w"))
        await api.patch("widgets", "w", {"spec": {"size": 2}})
        await api.delete("widgets", "w")
        events = [await watch.next() for _ in range(3)]
    assert [kind for kind, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert [obj["spec"]["size"] for _, obj in events] == [1, 2, 2]
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in events]
    assert versions == sorted(set(versions))


async def test_a_watch_from_now_begins_with_what_is_there(api: Api) -> None:
    await api.made("widgets", widget("w"))
    async with api.watch("widgets") as watch:
        kind, obj = await watch.next()
    assert (kind, obj["metadata"]["name"]) == ("ADDED", "w")


async def test_a_watch_resumes_after_a_version(api: Api) -> None:
    await api.made("widgets", widget("a"))
    start = await version(api)
    await api.made("widgets", widget("b"))
    async with api.watch("widgets", resourceVersion=start) as watch:
        assert (await watch.next())[1]["metadata"]["name"] == "b"


async def test_a_selector_shows_what_comes_into_it_and_what_leaves(api: Api) -> None:
    """An object that no longer matches is told as deleted."""
    start = await version(api)
    async with api.watch("widgets", resourceVersion=start, labelSelector="on=1") as watch:
        await api.made("widgets", widget("w"))
        await api.patch("widgets", "w", {"metadata": {"labels": {"on": "1"}}})
        await api.patch("widgets", "w", {"metadata": {"labels": {"on": None}}})
        kinds = [(await watch.next())[0] for _ in range(2)]
    assert kinds == ["ADDED", "DELETED"]


async def test_one_object_can_be_watched_by_its_name(api: Api) -> None:
    start = await version(api)
    async with api.watch("widgets", resourceVersion=start, fieldSelector="metadata.name=b") as watch:
        await api.made("widgets", widget("a"))
        await api.made("widgets", widget("b"))
        assert (await watch.next())[1]["metadata"]["name"] == "b"


async def test_a_streaming_list_ends_with_a_bookmark(api: Api) -> None:
    await api.made("widgets", widget("w"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch("widgets", **query) as watch:
        assert (await watch.next())[0] == "ADDED"
        bookmark = await watch.until("BOOKMARK")
    assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_after_its_time(api: Api) -> None:
    """The line is closed; nothing is told as an error."""
    async with api.watch("widgets", timeoutSeconds=1) as watch:
        assert await watch.rest() == []


async def test_a_status_is_told_as_a_change(api: Api) -> None:
    await api.made("widgets", widget("w"))
    start = await version(api)
    async with api.watch("widgets", resourceVersion=start) as watch:
        await api.patch("widgets", "w", {"status": {"replicas": 1}}, sub="status")
        kind, obj = await watch.next()
    assert (kind, obj["status"]["replicas"]) == ("MODIFIED", 1)
