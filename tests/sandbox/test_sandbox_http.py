"""The API over HTTP: discovery, reading, writing, watching, and the bodies of refusals."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.sandbox.support import Http, Json, config_map, pod, widget

from shardwise_sandbox import Sandbox

CMS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/test.dev/v1/namespaces/default/widgets"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

DOCUMENTS: dict[str, tuple[str, Callable[[Json], Any], Any]] = {
    "the version": ("/version", lambda body: (body["major"], body["minor"]), ("1", "34")),
    "the core's versions": ("/api", lambda body: body["versions"], ["v1"]),
    "the groups": (
        "/apis",
        lambda body: sorted(group["name"] for group in body["groups"]),
        [
            "apiextensions.k8s.io",
            "coordination.k8s.io",
            "events.k8s.io",
            "policy",
            "resource.k8s.io",
            "scheduling.k8s.io",
            "test.dev",
        ],
    ),
    "a group": ("/apis/test.dev", lambda body: body["preferredVersion"]["groupVersion"], "test.dev/v1"),
    "the custom kinds": (
        "/apis/test.dev/v1",
        lambda body: [entry["name"] for entry in body["resources"]],
        ["widgets", "widgets/scale", "widgets/status"],
    ),
    "short names and categories": (
        "/apis/test.dev/v1",
        lambda body: (body["resources"][0]["shortNames"], body["resources"][0]["categories"]),
        (["wd"], ["testing"]),
    ),
    "the kind of scale": ("/apis/test.dev/v1", lambda body: body["resources"][1]["kind"], "Scale"),
    "namespaces, without which kopf waits for ever": (
        "/api/v1",
        lambda body: [entry["namespaced"] for entry in body["resources"] if entry["name"] == "namespaces"],
        [False],
    ),
    "binding and eviction": (
        "/api/v1",
        lambda body: {entry["name"] for entry in body["resources"]} >= {"pods/binding", "pods/eviction"},
        True,
    ),
    "the index of schemas": (
        "/openapi/v3",
        lambda body: body["paths"]["apis/test.dev/v1"],
        {"serverRelativeURL": "/openapi/v3/apis/test.dev/v1"},
    ),
    "that writes take fieldValidation": (
        "/openapi/v3/apis/test.dev/v1",
        lambda body: [
            parameter["name"]
            for parameter in body["paths"]["/apis/test.dev/v1/namespaces/{namespace}/widgets/{name}"]["patch"][
                "parameters"
            ]
        ],
        ["dryRun", "fieldManager", "fieldValidation"],
    ),
}


@pytest.mark.parametrize(("path", "look", "expected"), DOCUMENTS.values(), ids=DOCUMENTS)
async def test_discovery_tells(http: Http, path: str, look: Callable[[Json], Any], expected: Any) -> None:
    code, body = await http("GET", path)
    assert (code, look(body)) == (200, expected)


REFUSALS: dict[str, tuple[str, str, Any, str, int, str]] = {
    "an unknown path": ("GET", "/nowhere", None, "", 404, "NotFound"),
    "an unknown group": ("GET", "/apis/none.dev", None, "", 404, "NotFound"),
    "an unknown version": ("GET", "/apis/test.dev/v9", None, "", 404, "NotFound"),
    "an unknown schema": ("GET", "/openapi/v3/apis/none.dev/v1", None, "", 404, "NotFound"),
    "an unknown kind": ("GET", "/api/v1/gadgets", None, "", 404, "NotFound"),
    "an unknown object": ("GET", CMS + "/none", None, "", 404, "NotFound"),
    "an unknown subresource": ("GET", CMS + "/a/odd", None, "", 404, "NotFound"),
    "status where there is none": ("PATCH", CMS + "/a/status", {}, "application/merge-patch+json", 404, "NotFound"),
    "nodes in a namespace": ("GET", "/api/v1/namespaces/default/nodes", None, "", 404, "NotFound"),
    "a write to discovery": ("POST", "/apis", {}, "application/json", 405, "MethodNotAllowed"),
    "POST to an object": ("POST", CMS + "/a", {}, "application/json", 405, "MethodNotAllowed"),
    "PUT to a collection": ("PUT", CMS, {}, "application/json", 405, "MethodNotAllowed"),
    "PATCH of a collection": ("PATCH", CMS, {}, "application/json", 405, "MethodNotAllowed"),
    "DELETE of a status": ("DELETE", WIDGETS + "/a/status", None, "", 405, "MethodNotAllowed"),
    "an unknown method": ("TRACE", CMS, None, "", 405, "MethodNotAllowed"),
    "broken JSON": ("POST", CMS, "{", "application/json", 400, "BadRequest"),
    "broken YAML": ("PATCH", CMS + "/a?fieldManager=x", "{", "application/apply-patch+yaml", 400, "BadRequest"),
    "a body that is no object": ("POST", CMS, [1], "application/json", 400, "BadRequest"),
    "protobuf": ("POST", CMS, "k8s", "application/vnd.kubernetes.protobuf", 415, "UnsupportedMediaType"),
    "a patch of no known kind": ("PATCH", CMS + "/a", {}, "application/json", 415, "UnsupportedMediaType"),
    "an unreadable selector": ("GET", CMS + "?labelSelector=a+b", None, "", 400, "BadRequest"),
    "a field nobody can select by": ("GET", CMS + "?fieldSelector=data.x=1", None, "", 400, "BadRequest"),
    "a continuation of nothing": ("GET", CMS + "?continue=odd", None, "", 400, "BadRequest"),
    "a version from the future": ("GET", CMS + "?resourceVersion=999999", None, "", 504, "Timeout"),
    "too large a body": ("POST", CMS, "x" * (3 * 1024**2 + 1), "application/json", 413, "RequestEntityTooLarge"),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_a_status_body(
    served: Sandbox, http: Http, case: tuple[str, str, Any, str, int, str]
) -> None:
    method, path, body, media, code, reason = case
    served.create(config_map("a"))
    served.create(widget("a"))
    found, answer = await http(method, path, body, media)
    assert (found, answer["kind"], answer["status"]) == (code, "Status", "Failure")
    assert (answer["code"], answer["reason"]) == (code, reason)


async def test_a_strict_creation_is_refused_for_unknown_fields_and_a_lax_one_pruned(http: Http) -> None:
    code, body = await http("POST", WIDGETS, widget(bogus=1), fieldValidation="Strict")
    assert (code, body["message"]) == (400, 'strict decoding error: unknown field "spec.bogus"')
    code, body = await http("POST", WIDGETS, widget(bogus=1), fieldValidation="Ignore")
    assert (code, "bogus" in body["spec"]) == (201, False)


async def test_the_manager_is_the_one_named_or_the_user_agent(served: Sandbox, http: Http) -> None:
    await http("POST", CMS, config_map("a"))
    await http("POST", CMS, config_map("b", k="v"), fieldManager="somebody")
    fields = served.get("cm", "default", "b")["metadata"]["managedFields"]
    assert [entry["manager"] for entry in fields] == ["somebody"]
    assert [request.field_manager for request in served.requests] == ["tester", "somebody"]


async def test_an_apply_over_http_creates_with_201_and_repeats_with_200(http: Http) -> None:
    body, media = "size: 2\n", "application/apply-patch+yaml"
    manifest = f"apiVersion: test.dev/v1\nkind: Widget\nspec:\n  {body}"
    assert (await http("PATCH", WIDGETS + "/w", manifest, media, fieldManager="one"))[0] == 201
    code, applied = await http("PATCH", WIDGETS + "/w", manifest, media, fieldManager="one", force="true")
    assert (code, applied["spec"]["size"]) == (200, 2)
    code, refused = await http("PATCH", WIDGETS + "/w", manifest, media)
    assert (code, refused["details"]["causes"][0]["field"]) == (422, "fieldManager")


async def test_a_dry_run_over_http_changes_nothing(served: Sandbox, http: Http) -> None:
    assert (await http("POST", CMS, config_map("a"), dryRun="All"))[0] == 201
    assert served.names("cm") == []
    assert not served.requests[-1].is_write


async def test_pages_of_a_list_show_one_state(served: Sandbox, http: Http) -> None:
    for name in "abcde":
        served.create(config_map(name))
    _, first = await http("GET", CMS, limit=2)
    served.delete("cm", "default", "d")
    served.create(config_map("bb"))
    _, second = await http("GET", CMS, limit=2, **{"continue": first["metadata"]["continue"]})
    _, third = await http("GET", CMS, limit=2, **{"continue": second["metadata"]["continue"]})
    pages = [[item["metadata"]["name"] for item in page["items"]] for page in (first, second, third)]
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in third["metadata"]
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, third)}) == 1


async def test_a_page_of_a_forgotten_list_is_410(served: Sandbox, http: Http) -> None:
    for name in "ab":
        served.create(config_map(name))
    _, first = await http("GET", CMS, limit=1)
    served.create(config_map("c"))
    served.compact()
    code, body = await http("GET", CMS, limit=1, **{"continue": first["metadata"]["continue"]})
    assert (code, body["reason"]) == (410, "Expired")


LISTS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "a namespace": ("/api/v1/namespaces/default/configmaps", {}, ["a", "b"]),
    "all namespaces": ("/api/v1/configmaps", {}, ["a", "b", "c"]),
    "a name": ("/api/v1/configmaps", {"fieldSelector": "metadata.name=b"}, ["b"]),
    "labels": ("/api/v1/configmaps", {"labelSelector": "app in (x)"}, ["c"]),
    "a field of a custom kind": ("/apis/test.dev/v1/widgets", {"fieldSelector": "spec.mode=slow"}, ["slow"]),
}


@pytest.mark.parametrize(("path", "query", "names"), LISTS.values(), ids=LISTS)
async def test_a_list_is_of(served: Sandbox, http: Http, path: str, query: dict[str, str], names: list[str]) -> None:
    served.create_all([config_map("b"), config_map("a"), widget("slow", mode="slow"), widget("fast")])
    other = config_map("c", "kube-system")
    other["metadata"]["labels"] = {"app": "x"}
    served.create(other)
    code, body = await http("GET", path, **query)
    assert (code, [item["metadata"]["name"] for item in body["items"]]) == (200, names)
    assert int(body["metadata"]["resourceVersion"]) == served.store.version
    assert body["kind"].endswith("List")


async def test_a_collection_is_deleted_by_selection(served: Sandbox, http: Http) -> None:
    for name in "abc":
        body = config_map(name)
        body["metadata"]["labels"] = {"keep": "yes"} if name == "b" else {}
        served.create(body)
    code, body = await http("DELETE", CMS, labelSelector="!keep")
    assert (code, [item["metadata"]["name"] for item in body["items"]]) == (200, ["a", "c"])
    assert served.names("cm") == ["b"]


async def test_a_deletion_confirms_what_is_gone_and_shows_what_is_not(served: Sandbox, http: Http) -> None:
    served.create(config_map("a"))
    held = widget()
    held["metadata"]["finalizers"] = ["t.dev/hold"]
    served.create(held)
    _, gone = await http("DELETE", CMS + "/a")
    assert (gone["status"], gone["details"]["name"]) == ("Success", "a")
    _, left = await http("DELETE", WIDGETS + "/w", {"propagationPolicy": "Background"})
    assert left["metadata"]["deletionTimestamp"]


async def test_scale_is_read_replaced_and_patched(served: Sandbox, http: Http) -> None:
    served.create(widget(replicas=2))
    served.patch("wd", "default", "w", {"status": {"replicas": 1, "selector": "a=b"}}, "status")
    _, scale = await http("GET", WIDGETS + "/w/scale")
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 2},
        {"replicas": 1, "selector": "a=b"},
    )
    scale["spec"]["replicas"] = 3
    assert (await http("PUT", WIDGETS + "/w/scale", scale))[1]["spec"] == {"replicas": 3}
    assert (await http("PUT", WIDGETS + "/w/scale", scale))[0] == 409
    patch = {"spec": {"replicas": 4}}
    _, patched = await http("PATCH", WIDGETS + "/w/scale", patch, "application/merge-patch+json")
    assert patched["spec"] == {"replicas": 4}
    widget_now = served.get("wd", "default", "w")
    assert (widget_now["spec"]["replicas"], widget_now["metadata"]["generation"]) == (4, 3)


@pytest.mark.parametrize("replicas", [-1, "x", None])
async def test_a_scale_that_is_no_count_is_400(served: Sandbox, http: Http, replicas: Any) -> None:
    served.create(widget())
    code, _ = await http("PUT", WIDGETS + "/w/scale", {"spec": {"replicas": replicas}})
    assert code == 400


async def test_a_pod_is_bound_once(served: Sandbox, http: Http) -> None:
    served.create(pod("p", schedulerName="mine"))
    path = "/api/v1/namespaces/default/pods/p/binding"
    assert (await http("POST", path, {"target": {"name": "l40s-1"}}))[0] == 201
    code, body = await http("POST", path, {"target": {"name": "h100-1"}})
    assert (code, "already assigned to node l40s-1" in body["message"]) == (409, True)


async def test_a_gated_pod_cannot_be_bound(served: Sandbox, http: Http) -> None:
    served.create(pod("p", schedulingGates=[{"name": "g"}]))
    code, _ = await http("POST", "/api/v1/namespaces/default/pods/p/binding", {"target": {"name": "h100-1"}})
    assert code == 409


async def test_a_pod_is_evicted_over_http(served: Sandbox, http: Http) -> None:
    served.create(pod("p", schedulerName="mine"))
    assert (await http("POST", "/api/v1/namespaces/default/pods/p/eviction", {}))[0] == 201
    assert served.names("pods") == []


async def test_an_event_has_two_shapes_and_is_one_object(served: Sandbox, http: Http) -> None:
    new = {
        "metadata": {"name": "e", "namespace": "default"},
        "regarding": {"kind": "Widget", "name": "w"},
        "note": "planned",
        "reason": "Planned",
        "type": "Normal",
        "reportingController": "shardwise",
    }
    code, shown = await http("POST", "/apis/events.k8s.io/v1/namespaces/default/events", new)
    assert (code, shown["apiVersion"], shown["note"]) == (201, "events.k8s.io/v1", "planned")
    _, core = await http("GET", "/api/v1/events", fieldSelector="involvedObject.name=w")
    assert [(item["apiVersion"], item["message"]) for item in core["items"]] == [("v1", "planned")]
    _, listed = await http("GET", "/apis/events.k8s.io/v1/events", fieldSelector="regarding.name=w")
    assert [item["reportingController"] for item in listed["items"]] == ["shardwise"]
    path = "/apis/events.k8s.io/v1/namespaces/default/events/e"
    _, patched = await http("PATCH", path, {"note": "again"}, "application/merge-patch+json")
    assert patched["note"] == "again"
    assert served.get("events", "default", "e")["message"] == "again"


async def test_lists_and_objects_come_as_tables_when_asked(served: Sandbox, http: Http) -> None:
    served.create(widget(size=4))
    for path in (WIDGETS, WIDGETS + "/w"):
        _, table = await http("GET", path, accept=TABLE)
        assert table["kind"] == "Table"
        assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size", "Ready", "Why"]
        assert table["rows"][0]["cells"] == ["w", 4, None, None]


class Stream:
    """The events of a watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def take(self, count: int) -> list[tuple[str, str]]:
        found = [await self.event() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in found]

    async def event(self) -> Any:
        async with asyncio.timeout(10):
            return json.loads(await self._answer.content.readline())

    async def rest(self) -> list[Any]:
        async with asyncio.timeout(10):
            return [json.loads(line) for line in (await self._answer.content.read()).splitlines()]


@asynccontextmanager
async def watching(http: Http, path: str, **query: Any) -> AsyncIterator[Stream]:
    accept = query.pop("accept", "application/json")
    params = {"watch": "true", **{key: str(value) for key, value in query.items()}}
    async with http.session.get(http.url + path, params=params, headers={"Accept": accept}) as answer:
        assert answer.status == 200
        yield Stream(answer)


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_without_a_version_begins_with_what_is_there(served: Sandbox, http: Http, version: str) -> None:
    served.create(config_map("a"))
    async with watching(http, CMS, resourceVersion=version) as stream:
        assert await stream.take(1) == [("ADDED", "a")]
        served.create(config_map("b"))
        served.delete("cm", "default", "a")
        assert await stream.take(2) == [("ADDED", "b"), ("DELETED", "a")]


async def test_a_watch_from_a_version_begins_with_what_came_after(served: Sandbox, http: Http) -> None:
    served.create(config_map("a"))
    version = served.store.version
    served.create(config_map("b"))
    async with watching(http, CMS, resourceVersion=version) as stream:
        assert await stream.take(1) == [("ADDED", "b")]
        served.patch("cm", "default", "a", {"data": {"k": "v"}})
        assert await stream.take(1) == [("MODIFIED", "a")]


async def test_a_watch_of_labels_sees_objects_enter_and_leave(served: Sandbox, http: Http) -> None:
    served.create(config_map("a"))
    async with watching(http, CMS, labelSelector="app") as stream:
        served.patch("cm", "default", "a", {"metadata": {"labels": {"app": "x"}}})
        served.patch("cm", "default", "a", {"metadata": {"labels": {"app": None}}})
        assert await stream.take(2) == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_of_one_object_sees_only_that(served: Sandbox, http: Http) -> None:
    served.create(config_map("a"))
    async with watching(http, CMS + "/b") as stream:
        served.patch("cm", "default", "a", {"data": {"k": "v"}})
        served.create(config_map("b"))
        assert await stream.take(1) == [("ADDED", "b")]


async def test_a_watch_from_a_forgotten_version_says_410_and_ends(served: Sandbox, http: Http) -> None:
    version = served.store.version
    served.create(config_map("a"))
    served.compact()
    async with watching(http, CMS, resourceVersion=version) as stream:
        (event,) = await stream.rest()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_dropped_watch_ends_and_loses_what_was_unread(served: Sandbox, http: Http) -> None:
    async with watching(http, CMS) as stream:
        served.create(config_map("a"))
        assert served.drop_watches() == 1
        assert await stream.rest() == []


async def test_a_watch_ends_when_its_time_is_up_with_a_bookmark_if_wanted(served: Sandbox, http: Http) -> None:
    async with watching(http, CMS, timeoutSeconds="0.01", allowWatchBookmarks="true") as stream:
        (event,) = await stream.rest()
    assert (event["type"], event["object"]["kind"]) == ("BOOKMARK", "ConfigMap")
    assert int(event["object"]["metadata"]["resourceVersion"]) == served.store.version
    async with watching(http, CMS, timeoutSeconds="0.01") as stream:
        assert await stream.rest() == []


async def test_bookmarks_come_when_the_test_says_so_to_those_who_take_them(served: Sandbox, http: Http) -> None:
    async with (
        watching(http, CMS, allowWatchBookmarks="1") as taking,
        watching(http, CMS) as refusing,
    ):
        served.bookmark()
        assert (await taking.event())["type"] == "BOOKMARK"
        served.create(config_map("a"))
        assert await refusing.take(1) == [("ADDED", "a")]


async def test_bookmarks_come_at_the_interval_of_the_sandbox() -> None:
    async with (
        Sandbox(bookmark_every=0.01) as cluster,
        aiohttp.ClientSession() as session,
        watching(Http(session, cluster.url), CMS, allowWatchBookmarks="1") as stream,
    ):
        assert [(await stream.event())["type"] for _ in range(2)] == ["BOOKMARK", "BOOKMARK"]


async def test_initial_events_end_with_a_marked_bookmark(served: Sandbox, http: Http) -> None:
    served.create(config_map("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with watching(http, CMS, **query) as stream:
        assert await stream.take(1) == [("ADDED", "a")]
        end = (await stream.event())["object"]["metadata"]
    assert end["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_in_the_new_shape_shows_events_in_it(served: Sandbox, http: Http) -> None:
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": "m", "involvedObject": {}}
    async with watching(http, "/apis/events.k8s.io/v1/events") as stream:
        served.create(event)
        seen = (await stream.event())["object"]
    assert (seen["apiVersion"], seen["note"]) == ("events.k8s.io/v1", "m")


async def test_a_watch_can_come_as_tables(served: Sandbox, http: Http) -> None:
    async with watching(http, WIDGETS, accept=TABLE) as stream:
        served.create(widget(size=7))
        event = await stream.event()
    assert (event["type"], event["object"]["rows"][0]["cells"][:2]) == ("ADDED", ["w", 7])


async def test_a_watch_ends_with_its_client(served: Sandbox, http: Http) -> None:
    async with watching(http, CMS):
        assert served.store.log.watchers(("", "configmaps")) == 1
    await http("GET", "/version")
    served.bookmark()
    await served.wait_for(
        lambda: (
            served.create(config_map(f"t{served.store.version}")) and not served.store.log.watchers(("", "configmaps"))
        ),
        what="the server to notice that the client left",
    )


async def test_a_removed_kind_is_no_longer_served(served: Sandbox, http: Http) -> None:
    served.delete("crd", "", "widgets.test.dev")
    await served.wait_for(lambda: not served.names("crd"), what="the definition to go")
    assert (await http("GET", WIDGETS))[0] == 404
    assert (await http("GET", "/apis/test.dev/v1"))[0] == 404
