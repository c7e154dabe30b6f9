"""What the operator and kopf rely on, behaviour by behaviour, against the real API server and the in-memory one."""

from typing import Any

import pytest
from tests.cluster.conformance import JSON_PATCH, MERGE, Api
from tests.sandbox.support import widget

Json = dict[str, Any]

REFUSED: dict[str, tuple[Json, list[tuple[str, str]]]] = {
    "no spec": ({"spec": None}, [("FieldValueRequired", "spec")]),
    "a required field is missing": ({"spec": {"mode": "fast"}}, [("FieldValueRequired", "spec.size")]),
    "too small": ({"spec": {"size": 0}}, [("FieldValueInvalid", "spec.size")]),
    "too large": ({"spec": {"size": 11}}, [("FieldValueInvalid", "spec.size")]),
    "a text for a number": ({"spec": {"size": "3"}}, [("FieldValueTypeInvalid", "spec.size")]),
    "a fraction for a whole number": ({"spec": {"size": 1.5}}, [("FieldValueTypeInvalid", "spec.size")]),
    "a number for an object": ({"spec": 3}, [("FieldValueTypeInvalid", "spec")]),
    "not one of the values": ({"spec": {"size": 1, "mode": "medium"}}, [("FieldValueNotSupported", "spec.mode")]),
    "too many items": ({"spec": {"size": 1, "args": ["1", "2", "3", "4"]}}, [("FieldValueTooMany", "spec.args")]),
    "an item of another type": ({"spec": {"size": 1, "args": [1]}}, [("FieldValueTypeInvalid", "spec.args[0]")]),
    "a value that is too long": ({"spec": {"size": 1, "tags": {"a": "long"}}}, [("FieldValueTooLong", "spec.tags.a")]),
    "too many members": (
        {"spec": {"size": 1, "tags": {"a": "1", "b": "2", "c": "3"}}},
        [("FieldValueTooMany", "spec.tags")],
    ),
    "a pattern": ({"spec": {"size": 1, "parts": [{"name": "A"}]}}, [("FieldValueInvalid", "spec.parts[0].name")]),
    "an item without its key": (
        {"spec": {"size": 1, "parts": [{"colour": "red"}]}},
        [("FieldValueRequired", "spec.parts[0].name")],
    ),
    "a key twice": (
        {"spec": {"size": 1, "parts": [{"name": "a"}, {"name": "a"}]}},
        [("FieldValueDuplicate", "spec.parts[1]")],
    ),
    "a set with the same twice": (
        {"spec": {"size": 1, "set": ["a", "a"]}},
        [("FieldValueDuplicate", "spec.set[1]")],
    ),
    "neither a number nor a text": (
        {"spec": {"size": 1, "limit": True}},
        [("FieldValueTypeInvalid", "spec.limit")],
    ),
}


@pytest.mark.parametrize(("change", "causes"), REFUSED.values(), ids=REFUSED)
async def test_an_object_is_refused_by_field(api: Api, change: Json, causes: list[tuple[str, str]]) -> None:
    """422 Invalid, with reason and field of each cause."""
    body = {key: value for key, value in (widget("w") | change).items() if value is not None}
    answer = await api.create("widgets", body)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.causes == causes


TAKEN: dict[str, tuple[Json, Json]] = {
    "defaults": ({"size": 1}, {"size": 1, "mode": "fast", "replicas": 1}),
    "null is absent": ({"size": 1, "mode": None}, {"size": 1, "mode": "fast", "replicas": 1}),
    "an unknown field is pruned": ({"size": 1, "x": 1}, {"size": 1, "mode": "fast", "replicas": 1}),
    "an open field keeps all": (
        {"size": 1, "free": {"a": [{"b": None}]}},
        {"size": 1, "mode": "fast", "replicas": 1, "free": {"a": [{"b": None}]}},
    ),
    "defaults of items": (
        {"size": 1, "parts": [{"name": "a"}]},
        {"size": 1, "mode": "fast", "replicas": 1, "parts": [{"name": "a", "count": 1}]},
    ),
    "a number or a text": ({"size": 1, "limit": "50%"}, {"size": 1, "mode": "fast", "replicas": 1, "limit": "50%"}),
    "a whole number written as a fraction": ({"size": 2.0}, {"size": 2, "mode": "fast", "replicas": 1}),
}


@pytest.mark.parametrize(("spec", "stored"), TAKEN.values(), ids=TAKEN)
async def test_an_object_is_filled_in_and_pruned(api: Api, spec: Json, stored: Json) -> None:
    made = await api.made("widgets", widget("w") | {"spec": spec})
    assert made["spec"] == stored
    assert (await api.get("widgets", "w")).body == made


async def test_a_new_object_has_what_servers_give(api: Api) -> None:
    made = await api.made("widgets", widget("w"))
    metadata = made["metadata"]
    assert metadata["namespace"] == api.namespace
    assert metadata["generation"] == 1
    assert metadata["uid"]
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["creationTimestamp"].endswith("Z")
    assert made["status"] == {"observedGeneration": -1}


async def test_status_given_with_a_new_object_is_dropped(api: Api) -> None:
    made = await api.made("widgets", widget("w") | {"status": {"replicas": 7}})
    assert "replicas" not in made["status"]


async def test_a_name_twice_is_a_conflict(api: Api) -> None:
    await api.made("widgets", widget("w"))
    answer = await api.create("widgets", widget("w"))
    assert (answer.status, answer.reason) == (409, "AlreadyExists")


async def test_a_name_can_be_made_up(api: Api) -> None:
    body = widget("w")
    body["metadata"] = {"generateName": "w-"}
    made = await api.made("widgets", body)
    assert made["metadata"]["name"].startswith("w-")
    assert len(made["metadata"]["name"]) == len("w-") + 5


@pytest.mark.parametrize("name", ["W", "a_b", "-a", "a" * 254])
async def test_a_wrong_name_is_refused(api: Api, name: str) -> None:
    answer = await api.create("widgets", widget(name))
    assert (answer.status, answer.causes) == (422, [("FieldValueInvalid", "metadata.name")])


@pytest.mark.parametrize(
    ("method", "plural", "name"), [("GET", "widgets", "x"), ("DELETE", "widgets", "x"), ("GET", "pods", "x")]
)
async def test_what_is_not_there_is_not_found(api: Api, method: str, plural: str, name: str) -> None:
    answer = await api.call(method, api.path(plural, name))
    assert (answer.status, answer.reason) == (404, "NotFound")
    assert answer.body["details"]["name"] == "x"


async def test_a_kind_that_is_not_there_is_not_found(api: Api) -> None:
    assert (await api.call("GET", f"/apis/test.dev/v1/namespaces/{api.namespace}/gadgets")).status == 404


async def test_a_spec_that_changes_has_the_next_generation(api: Api) -> None:
    await api.made("widgets", widget("w"))
    assert (await api.patch("widgets", "w", {"spec": {"size": 2}})).body["metadata"]["generation"] == 2
    assert (await api.patch("widgets", "w", {"metadata": {"labels": {"a": "b"}}})).body["metadata"]["generation"] == 2


async def test_a_patch_that_changes_nothing_writes_nothing(api: Api) -> None:
    await api.made("widgets", widget("w"))
    first = await api.patch("widgets", "w", {"spec": {"size": 1}})
    again = await api.patch("widgets", "w", {"spec": {"size": 1}})
    assert again.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]


async def test_every_write_has_a_larger_version(api: Api) -> None:
    """As a number: guaranteed since Kubernetes 1.35."""
    versions = [int((await api.made("widgets", widget("w")))["metadata"]["resourceVersion"])]
    for size in (2, 3):
        answer = await api.patch("widgets", "w", {"spec": {"size": size}})
        versions.append(int(answer.body["metadata"]["resourceVersion"]))
    assert versions == sorted(set(versions))


async def test_the_status_is_written_apart(api: Api) -> None:
    """Neither side changes the other's fields, and the status changes no generation."""
    await api.made("widgets", widget("w"))
    status = await api.patch("widgets", "w", {"spec": {"size": 9}, "status": {"replicas": 1}}, sub="status")
    assert (status.body["spec"]["size"], status.body["status"]["replicas"]) == (1, 1)
    assert status.body["metadata"]["generation"] == 1
    spec = await api.patch("widgets", "w", {"spec": {"size": 2}, "status": {"replicas": 5}})
    assert (spec.body["spec"]["size"], spec.body["status"]["replicas"]) == (2, 1)


async def test_a_status_is_validated(api: Api) -> None:
    await api.made("widgets", widget("w"))
    answer = await api.patch("widgets", "w", {"status": {"replicas": "many"}}, sub="status")
    assert (answer.status, answer.causes) == (422, [("FieldValueTypeInvalid", "status.replicas")])


async def test_a_scale_is_read_and_set(api: Api) -> None:
    await api.made("widgets", widget("w", replicas=2))
    await api.patch("widgets", "w", {"status": {"replicas": 1, "selector": "a=b"}}, sub="status")
    scale = (await api.call("GET", api.path("widgets", "w", "scale"))).body
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 2},
        {"replicas": 1, "selector": "a=b"},
    )
    changed = await api.patch("widgets", "w", {"spec": {"replicas": 5}}, sub="scale")
    assert changed.body["spec"] == {"replicas": 5}
    assert (await api.get("widgets", "w")).body["spec"]["replicas"] == 5


async def test_a_replacement_of_an_old_version_is_a_conflict(api: Api) -> None:
    made = await api.made("widgets", widget("w"))
    await api.patch("widgets", "w", {"spec": {"size": 2}})
    answer = await api.call("PUT", api.path("widgets", "w"), made)
    assert (answer.status, answer.reason) == (409, "Conflict")


PATCHES: dict[str, tuple[str, object, int, Json]] = {
    "merge": (MERGE, {"spec": {"tags": {"b": "2"}}}, 200, {"tags": {"a": "1", "b": "2"}}),
    "merge takes away": (MERGE, {"spec": {"tags": {"a": None}}}, 200, {"tags": {}}),
    "merge replaces lists": (MERGE, {"spec": {"args": ["z"]}}, 200, {"args": ["z"]}),
    "add": (JSON_PATCH, [{"op": "add", "path": "/spec/tags/b", "value": "2"}], 200, {"tags": {"a": "1", "b": "2"}}),
    "add at the end": (JSON_PATCH, [{"op": "add", "path": "/spec/args/-", "value": "y"}], 200, {"args": ["x", "y"]}),
    "replace": (JSON_PATCH, [{"op": "replace", "path": "/spec/size", "value": 3}], 200, {"size": 3}),
    "remove": (JSON_PATCH, [{"op": "remove", "path": "/spec/args"}], 200, {}),
    "a test that holds": (
        JSON_PATCH,
        [{"op": "test", "path": "/spec/size", "value": 1}, {"op": "replace", "path": "/spec/size", "value": 4}],
        200,
        {"size": 4},
    ),
    "a test that does not": (JSON_PATCH, [{"op": "test", "path": "/spec/size", "value": 9}], 422, {}),
    "removing what is not there": (JSON_PATCH, [{"op": "remove", "path": "/spec/nothing"}], 422, {}),
    "a result that is wrong": (MERGE, {"spec": {"size": 99}}, 422, {}),
    "no JSON patch": (JSON_PATCH, {"op": "add"}, 400, {}),
}


@pytest.mark.parametrize(("kind", "body", "status", "changed"), PATCHES.values(), ids=PATCHES)
async def test_a_patch(api: Api, kind: str, body: object, status: int, changed: Json) -> None:
    await api.made("widgets", widget("w", tags={"a": "1"}, args=["x"]))
    answer = await api.patch("widgets", "w", body, kind)
    assert answer.status == status
    if status == 200:
        assert {key: answer.body["spec"].get(key) for key in changed} == changed


async def test_a_strategic_patch_of_our_kind_is_not_supported(api: Api) -> None:
    await api.made("widgets", widget("w"))
    answer = await api.patch("widgets", "w", {"spec": {"size": 2}}, "application/strategic-merge-patch+json")
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")


SELECTED: dict[str, tuple[str, list[str]]] = {
    "equal": ("app=a", ["a1", "a2"]),
    "equal, twice written": ("app==a", ["a1", "a2"]),
    "not equal takes what lacks it": ("app!=a", ["b1", "none"]),
    "in": ("app in (a,b)", ["a1", "a2", "b1"]),
    "not in": ("app notin (a)", ["b1", "none"]),
    "exists": ("app", ["a1", "a2", "b1"]),
    "exists not": ("!app", ["none"]),
    "both": ("app=a,n=1", ["a1"]),
    "nothing": ("app=z", []),
}


@pytest.mark.parametrize(("selector", "names"), SELECTED.values(), ids=SELECTED)
async def test_labels_select(api: Api, selector: str, names: list[str]) -> None:
    labelled = {"a1": {"app": "a", "n": "1"}, "a2": {"app": "a"}, "b1": {"app": "b"}, "none": {}}
    for name, labels in labelled.items():
        body = widget(name)
        body["metadata"]["labels"] = labels
        await api.made("widgets", body)
    assert await api.list("widgets", labelSelector=selector) == names


@pytest.mark.parametrize(
    ("plural", "selector", "names"),
    [
        ("widgets", "metadata.name=b", ["b"]),
        ("widgets", "metadata.name!=b", ["a"]),
        ("widgets", "spec.mode=slow", ["b"]),
    ],
)
async def test_fields_select(api: Api, plural: str, selector: str, names: list[str]) -> None:
    await api.made("widgets", widget("a"))
    await api.made("widgets", widget("b", mode="slow"))
    assert await api.list(plural, fieldSelector=selector) == names


@pytest.mark.parametrize("query", [{"labelSelector": "a in"}, {"fieldSelector": "spec.size=1"}])
async def test_a_wrong_selector_is_a_bad_request(api: Api, query: dict[str, str]) -> None:
    answer = await api.call("GET", api.path("widgets"), **query)
    assert (answer.status, answer.reason) == (400, "BadRequest")


async def test_pages_together_are_the_list(api: Api) -> None:
    """Each with the same version, the last without a token."""
    for number in range(5):
        await api.made("widgets", widget(f"w{number}"))
    names, versions, token = [], set(), ""
    while True:
        page = (await api.call("GET", api.path("widgets"), limit=2, **({"continue": token} if token else {}))).body
        names += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"w{number}" for number in range(5)]
    assert len(versions) == 1


async def test_a_wrong_page_token_is_a_bad_request(api: Api) -> None:
    answer = await api.call("GET", api.path("widgets"), limit=2, **{"continue": "nonsense"})
    assert answer.status == 400


async def test_a_list_names_its_kind(api: Api) -> None:
    found = (await api.call("GET", api.path("widgets"))).body
    assert (found["kind"], found["apiVersion"], found["items"]) == ("WidgetList", "test.dev/v1", [])
