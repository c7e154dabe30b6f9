"""Versions against both API servers: what is too old to go on from, what bookmarks are for, writes that ask first."""

from typing import Any

import pytest
from tests.cluster.conformance import JSON_PATCH, MERGE, Api
from tests.sandbox.support import widget

Json = dict[str, Any]

FIRST = "1"
"""The first version there ever was: nobody remembers what came after it."""


async def test_a_watch_from_a_version_that_is_forgotten_says_so_and_ends(api: Api) -> None:
    """Not by the answer's status but by an event, of type ERROR with code 410: whoever watches lists anew."""
    await api.made("widgets", widget("w"))
    api.forget()
    async with api.watch("widgets", resourceVersion=FIRST) as watch:
        kind, status = await watch.next()
        assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
        assert await watch.rest() == []


async def test_a_list_made_anew_is_resumed_from_without_loss(api: Api) -> None:
    """What 410 asks for: what was deleted meanwhile is simply not there, and nothing that follows is lost."""
    await api.made("widgets", widget("gone"))
    await api.made("widgets", widget("stays"))
    await api.delete("widgets", "gone")
    api.forget()
    listed = (await api.call("GET", api.path("widgets"))).body
    assert [item["metadata"]["name"] for item in listed["items"]] == ["stays"]
    await api.made("widgets", widget("new"))
    async with api.watch("widgets", resourceVersion=listed["metadata"]["resourceVersion"]) as watch:
        kind, obj = await watch.next()
    assert (kind, obj["metadata"]["name"]) == ("ADDED", "new")


async def test_a_bookmark_tells_how_far_a_watch_is_and_can_be_resumed_from(api: Api) -> None:
    """It comes before the watch's time is up, of what it does not show: nothing but a version."""
    start = (await api.made("widgets", widget("w")))["metadata"]["resourceVersion"]
    only = {"resourceVersion": start, "fieldSelector": "metadata.name=w"}
    async with api.watch("widgets", **only, allowWatchBookmarks="true", timeoutSeconds=4) as watch:
        await api.made("widgets", widget("unseen"))
        bookmark = await watch.until("BOOKMARK")
    version = bookmark["metadata"]["resourceVersion"]
    assert int(version) > int(start)
    assert (bookmark["kind"], bookmark["metadata"].get("name")) == ("Widget", None)
    await api.patch("widgets", "w", {"spec": {"size": 2}})
    async with api.watch("widgets", **only | {"resourceVersion": version}) as watch:
        assert (await watch.next())[1]["spec"]["size"] == 2


async def test_without_being_asked_for_no_bookmark_comes(api: Api) -> None:
    await api.made("widgets", widget("w"))
    start = (await api.call("GET", api.path("widgets"))).body["metadata"]["resourceVersion"]
    async with api.watch("widgets", resourceVersion=start, timeoutSeconds=2) as watch:
        assert await watch.rest() == []


async def test_a_watch_of_a_kind_that_is_not_there_is_not_found(api: Api) -> None:
    answer = await api.call("GET", f"/apis/test.dev/v1/namespaces/{api.namespace}/gadgets", watch="true")
    assert answer.status == 404


@pytest.mark.parametrize("version", ["x", "-1"])
@pytest.mark.parametrize("query", [{}, {"watch": "true"}], ids=["list", "watch"])
async def test_a_version_that_is_none_is_refused(api: Api, version: str, query: dict[str, str]) -> None:
    """By a Status; a watch is refused as the server's own error, which no client tries again by listing."""
    answer = await api.call("GET", api.path("widgets"), resourceVersion=version, **query)
    assert (answer.status, answer.body["kind"]) == (500 if query else 400, "Status")
    assert version in answer.body["message"]


ASKED: dict[str, tuple[str, str, str, int, str]] = {
    "merge, of this version": (MERGE, "resourceVersion", "", 200, ""),
    "merge, of an old version": (MERGE, "resourceVersion", "old", 409, "Conflict"),
    "merge, of this object": (MERGE, "uid", "", 200, ""),
    "merge, of another object": (MERGE, "uid", "other", 422, "Invalid"),
    "JSON patch, of this version": (JSON_PATCH, "resourceVersion", "", 200, ""),
    "JSON patch, of an old version": (JSON_PATCH, "resourceVersion", "old", 422, "Invalid"),
}


@pytest.mark.parametrize(("kind", "field", "given", "status", "reason"), ASKED.values(), ids=ASKED)
async def test_a_patch_may_ask_for_that_very_object(
    api: Api, kind: str, field: str, given: str, status: int, reason: str
) -> None:
    """Kopf takes finalizers away by a JSON patch that tests the version, and takes 422 for somebody else's write."""
    first = (await api.made("widgets", widget("w")))["metadata"]
    now = (await api.patch("widgets", "w", {"spec": {"size": 2}})).body["metadata"]
    value = {"": now[field], "old": first[field], "other": "00000000-0000-0000-0000-000000000000"}[given]
    test = {"op": "test", "path": f"/metadata/{field}", "value": value}
    write = {"op": "replace", "path": "/spec/size", "value": 3}
    body: object = [test, write] if kind == JSON_PATCH else {"metadata": {field: value}, "spec": {"size": 3}}
    answer = await api.patch("widgets", "w", body, kind)
    assert answer.status == status
    if reason:
        assert answer.reason == reason
    assert (await api.get("widgets", "w")).body["spec"]["size"] == (3 if status == 200 else 2)


async def test_a_replacement_says_of_which_version(api: Api) -> None:
    made = await api.made("widgets", widget("w"))
    replaced = await api.call("PUT", api.path("widgets", "w"), made | {"spec": {"size": 4}})
    assert (replaced.status, replaced.body["metadata"]["generation"]) == (200, 2)
    del made["metadata"]["resourceVersion"]
    refused = await api.call("PUT", api.path("widgets", "w"), made)
    assert (refused.status, refused.causes) == (422, [("FieldValueInvalid", "metadata.resourceVersion")])


async def test_a_collection_is_deleted_by_its_labels(api: Api) -> None:
    for name, labels in (("a", {"on": "1"}), ("b", {"on": "1"}), ("c", {})):
        body = widget(name)
        body["metadata"]["labels"] = labels
        await api.made("widgets", body)
    assert (await api.call("DELETE", api.path("widgets"), labelSelector="on=1")).status == 200
    assert await api.list("widgets") == ["c"]
