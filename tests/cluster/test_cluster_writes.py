"""Deletion, ownership, applying, and the built-in kinds the operator uses, against both API servers."""

from typing import Any

import pytest
from tests.cluster.conformance import Api
from tests.sandbox.support import config_map, pod, widget

Json = dict[str, Any]

PRECONDITIONS = {"another uid": {"uid": "x"}, "an old version": {"resourceVersion": "1"}}


@pytest.mark.parametrize("precondition", PRECONDITIONS.values(), ids=PRECONDITIONS)
async def test_a_deletion_of_something_else_is_a_conflict(api: Api, precondition: Json) -> None:
    await api.made("widgets", widget("w"))
    answer = await api.delete("widgets", "w", {"preconditions": precondition})
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert await api.list("widgets") == ["w"]


async def test_a_deletion_of_that_very_object_succeeds(api: Api) -> None:
    made = await api.made("widgets", widget("w"))
    answer = await api.delete("widgets", "w", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert (answer.status, answer.body["status"]) == (200, "Success")


async def test_a_finalizer_holds_an_object_until_it_is_taken_away(api: Api) -> None:
    body = widget("w")
    body["metadata"]["finalizers"] = ["test.dev/hold"]
    await api.made("widgets", body)
    assert (await api.delete("widgets", "w")).status == 200
    held = (await api.get("widgets", "w")).body["metadata"]
    assert held["deletionTimestamp"]
    assert held["deletionGracePeriodSeconds"] == 0
    await api.patch("widgets", "w", {"metadata": {"finalizers": None}})
    assert (await api.get("widgets", "w")).status == 404


async def test_what_is_being_deleted_takes_no_new_finalizer(api: Api) -> None:
    body = widget("w")
    body["metadata"]["finalizers"] = ["test.dev/hold"]
    await api.made("widgets", body)
    await api.delete("widgets", "w")
    answer = await api.patch("widgets", "w", {"metadata": {"finalizers": ["test.dev/hold", "test.dev/more"]}})
    assert (answer.status, answer.reason) == (422, "Invalid")
    await api.patch("widgets", "w", {"metadata": {"finalizers": None}})


def owned_by(owner: Json, name: str = "owned") -> Json:
    body = config_map(name)
    del body["metadata"]["namespace"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"]}
    body["metadata"]["ownerReferences"] = [
        reference | {"uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
    ]
    return body


async def test_in_the_background_what_is_owned_goes_after_its_owner(api: Api) -> None:
    owner = await api.made("configmaps", owner_body())
    await api.made("configmaps", owned_by(owner))
    await api.delete("configmaps", "owner", {"propagationPolicy": "Background"})
    assert (await api.get("configmaps", "owner")).status == 404
    await api.gone("configmaps", "owned")


async def test_in_the_foreground_the_owner_goes_after_what_it_owns(api: Api) -> None:
    owner = await api.made("configmaps", owner_body())
    await api.made("configmaps", owned_by(owner))
    await api.delete("configmaps", "owner", {"propagationPolicy": "Foreground"})
    await api.gone("configmaps", "owner")
    assert (await api.get("configmaps", "owned")).status == 404


async def test_an_orphan_loses_its_owner_and_stays(api: Api) -> None:
    owner = await api.made("configmaps", owner_body())
    await api.made("configmaps", owned_by(owner))
    await api.delete("configmaps", "owner", {"propagationPolicy": "Orphan"})
    await api.gone("configmaps", "owner")
    orphan = (await api.get("configmaps", "owned")).body
    assert orphan["metadata"].get("ownerReferences") in (None, [])


def owner_body() -> Json:
    body = config_map("owner")
    del body["metadata"]["namespace"]
    return body


async def test_applying_creates_then_changes_and_says_whose_fields_are(api: Api) -> None:
    first = await api.apply("widgets", widget("w", tags={"a": "1"}))
    assert first.status == 201
    second = await api.apply("widgets", widget("w", tags={"b": "2"}))
    assert (second.status, second.body["spec"]["tags"]) == (200, {"b": "2"})
    (entry,) = second.body["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("a", "Apply", "test.dev/v1")


async def test_what_another_applied_is_a_conflict_unless_forced(api: Api) -> None:
    await api.apply("widgets", widget("w"), "a")
    refused = await api.apply("widgets", widget("w") | {"spec": {"size": 2}}, "b")
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert refused.causes == [("FieldManagerConflict", ".spec.size")]
    forced = await api.apply("widgets", widget("w") | {"spec": {"size": 2}}, "b", force="true")
    assert (forced.status, forced.body["spec"]["size"]) == (200, 2)


async def test_two_may_apply_the_same(api: Api) -> None:
    await api.apply("widgets", widget("w"), "a")
    assert (await api.apply("widgets", widget("w"), "b")).status == 200


async def test_items_of_a_keyed_list_have_owners_of_their_own(api: Api) -> None:
    await api.apply("widgets", widget("w", parts=[{"name": "a"}]), "a")
    both = await api.apply("widgets", widget("w", parts=[{"name": "b"}]), "b")
    assert [part["name"] for part in both.body["spec"]["parts"]] == ["a", "b"]
    one = await api.apply("widgets", widget("w"), "b")
    assert [part["name"] for part in one.body["spec"]["parts"]] == ["a"]


async def test_applying_what_is_the_same_writes_nothing(api: Api) -> None:
    await api.apply("widgets", widget("w"))
    first = await api.apply("widgets", widget("w"))
    again = await api.apply("widgets", widget("w"))
    assert again.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]


async def test_applying_needs_a_manager(api: Api) -> None:
    answer = await api.patch("widgets", "w", widget("w"), "application/apply-patch+yaml")
    assert answer.status in (400, 422)


async def test_a_status_is_applied_apart_and_what_is_left_out_goes(api: Api) -> None:
    await api.apply("widgets", widget("w"))
    bare = {"apiVersion": "test.dev/v1", "kind": "Widget", "metadata": {"name": "w"}}
    first = await api.apply("widgets", bare | {"status": {"replicas": 1, "selector": "a"}}, "s", "status")
    assert (first.status, first.body["status"]["selector"]) == (200, "a")
    second = await api.apply("widgets", bare | {"status": {"replicas": 2}}, "s", "status")
    assert second.body["status"].get("selector") is None
    assert second.body["spec"]["size"] == 1


async def test_applying_may_ask_for_that_very_object(api: Api) -> None:
    body = widget("w")
    body["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    answer = await api.apply("widgets", body)
    assert (answer.status, answer.reason) == (409, "Conflict")


async def test_a_pod_is_bound_only_while_it_has_no_gate(api: Api) -> None:
    body = pod("gated", schedulingGates=[{"name": "test.dev/wait"}])
    body["metadata"] = {"name": "gated"}
    made = await api.made("pods", body)
    assert "nodeName" not in made["spec"]
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "gated"}}
    target = {"target": {"apiVersion": "v1", "kind": "Node", "name": "h100-1"}}
    refused = await api.call("POST", api.path("pods", "gated", "binding"), binding | target)
    assert refused.status == 409


async def test_most_of_a_pods_spec_stays_as_it_is(api: Api) -> None:
    body = pod("fixed", schedulingGates=[{"name": "test.dev/wait"}])
    body["metadata"] = {"name": "fixed"}
    await api.made("pods", body)
    answer = await api.patch("pods", "fixed", {"spec": {"hostname": "x"}})
    assert (answer.status, answer.reason) == (422, "Invalid")


async def test_a_lease_is_an_object_like_others(api: Api) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}}
    made = await api.made("leases", lease | {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}})
    assert made["spec"]["holderIdentity"] == "me"
    stale = await api.call("PUT", api.path("leases", "l"), made | {"spec": {"holderIdentity": "you"}})
    assert stale.status == 200
    assert (await api.call("PUT", api.path("leases", "l"), made)).status == 409


async def test_an_event_is_recorded_and_renewed(api: Api) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "w.1"},
        "involvedObject": {"kind": "Widget", "namespace": api.namespace, "name": "w"},
        "reason": "Planned",
        "message": "m",
        "type": "Normal",
    }
    await api.made("events", event)
    renewed = await api.patch("events", "w.1", {"count": 2})
    assert renewed.body["count"] == 2
    assert (await api.create("events", event)).status == 409


async def test_discovery_lists_our_kind_with_its_verbs_and_subresources(api: Api) -> None:
    resources = (await api.call("GET", "/apis/test.dev/v1")).body["resources"]
    found = {resource["name"]: resource for resource in resources}
    assert set(found) == {"widgets", "widgets/status", "widgets/scale"}
    assert (found["widgets"]["kind"], found["widgets"]["namespaced"], found["widgets"]["shortNames"]) == (
        "Widget",
        True,
        ["wd"],
    )
    assert set(found["widgets"]["verbs"]) >= {"create", "delete", "get", "list", "patch", "update", "watch"}


async def test_discovery_lists_our_group(api: Api) -> None:
    groups = (await api.call("GET", "/apis")).body["groups"]
    (found,) = [group for group in groups if group["name"] == "test.dev"]
    assert found["preferredVersion"] == {"groupVersion": "test.dev/v1", "version": "v1"}


async def test_a_body_that_is_no_json_is_a_bad_request(api: Api) -> None:
    async with api.session.post(
        api.url + api.path("widgets"), data=b"{", headers={"Content-Type": "application/json"}, ssl=api.tls
    ) as answer:
        assert answer.status == 400


async def test_a_body_of_another_namespace_is_a_bad_request(api: Api) -> None:
    body = widget("w")
    body["metadata"]["namespace"] = "elsewhere"
    answer = await api.create("widgets", body)
    assert (answer.status, answer.reason) == (400, "BadRequest")


async def test_an_object_without_a_name_is_refused(api: Api) -> None:
    answer = await api.create("widgets", widget("w") | {"metadata": {}})
    assert (answer.status, answer.causes) == (422, [("FieldValueRequired", "metadata.name")])


async def test_a_dry_run_stores_nothing(api: Api) -> None:
    answer = await api.create("widgets", widget("w"), dryRun="All")
    assert answer.status == 201
    assert await api.list("widgets") == []


@pytest.mark.parametrize(
    ("given", "status"), [("Strict", 400), ("Warn", 201), ("Ignore", 201)], ids=["strict", "warn", "ignore"]
)
async def test_unknown_fields_are_refused_only_when_asked(api: Api, given: str, status: int) -> None:
    answer = await api.create("widgets", widget("w", x=1), fieldValidation=given)
    assert answer.status == status
