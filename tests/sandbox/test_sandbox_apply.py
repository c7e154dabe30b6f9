"""Server-side apply: ownership, conflicts, removal, and the difference between owning and writing."""

from typing import Any

import pytest
from tests.sandbox.support import Json, config_map, pod, widget

from shardwise_sandbox import ApiError, Sandbox, WriteOptions
from shardwise_sandbox.writes import Target


def owners(obj: Json) -> dict[tuple[str, str, str], Any]:
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"]["managedFields"]
    }


def apply_status(cluster: Sandbox, status: Json, manager: str, *, force: bool = False) -> Json:
    target = Target(cluster.store.registry.named("widgets"), ("default", "w"), "status")
    body = {"apiVersion": "test.dev/v1", "kind": "Widget", "metadata": {"name": "w"}, "status": status}
    return cluster.api.writer.apply(target, body, WriteOptions(manager=manager, force=force))[0]


def test_applying_what_is_missing_creates_it_owned_by_the_manager(still: Sandbox) -> None:
    applied = still.apply(widget(size=2), manager="one")
    assert applied["spec"] == {"size": 2, "mode": "fast", "replicas": 1}
    assert owners(applied) == {("one", "Apply", ""): {"f:spec": {"f:size": {}}}}


def test_applying_the_same_again_changes_no_byte_and_tells_no_watcher(still: Sandbox) -> None:
    first = still.apply(widget(size=2, parts=[{"name": "a"}], set=["x"]), manager="one")
    version = still.store.version
    assert still.apply(widget(size=2, parts=[{"name": "a"}], set=["x"]), manager="one") == first
    assert still.store.version == version


def test_applying_a_pod_again_changes_nothing_although_the_server_filled_defaults(still: Sandbox) -> None:
    body = pod("p", 8, probe=True, tolerations=[{"key": "gpu", "operator": "Exists"}])
    body["spec"]["containers"][0] |= {"ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "b"}]}
    first = still.apply(body, manager="one")
    assert still.apply(body, manager="one") == first


def test_changing_what_another_manager_owns_is_a_conflict_that_names_both(still: Sandbox) -> None:
    still.apply(widget(size=1, mode="slow"), manager="one")
    with pytest.raises(ApiError) as refused:
        still.apply(widget(size=2, mode="fast"), manager="two")
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert refused.value.message == (
        'Apply failed with 2 conflicts: conflicts with "one" using test.dev/v1:\n- .spec.mode\n- .spec.size'
    )
    assert refused.value.details["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one" using test.dev/v1', "field": field}
        for field in (".spec.mode", ".spec.size")
    ]


def test_force_takes_the_field_from_its_owner(still: Sandbox) -> None:
    still.apply(widget(size=1, mode="slow"), manager="one")
    applied = still.apply(widget(size=2), manager="two", force=True)
    assert applied["spec"]["size"] == 2
    assert owners(applied) == {
        ("one", "Apply", ""): {"f:spec": {"f:mode": {}}},
        ("two", "Apply", ""): {"f:spec": {"f:size": {}}},
    }


def test_applying_the_value_that_is_there_shares_the_field(still: Sandbox) -> None:
    still.apply(widget(size=1), manager="one")
    shared = still.apply(widget(size=1), manager="two")
    assert set(owners(shared)) == {("one", "Apply", ""), ("two", "Apply", "")}
    with pytest.raises(ApiError, match="conflict"):
        still.apply(widget(size=2), manager="two")


def test_a_field_no_longer_applied_is_removed_unless_somebody_else_owns_it(still: Sandbox) -> None:
    still.apply(widget(size=1, tags={"a": "x", "b": "y"}), manager="one")
    still.apply(widget(size=1, tags={"b": "y"}), manager="two")
    left = still.apply(widget(size=1), manager="one")
    assert left["spec"]["tags"] == {"b": "y"}


def test_a_removed_field_with_a_default_comes_back_as_the_default(still: Sandbox) -> None:
    still.apply(widget(size=1, mode="slow"), manager="one")
    assert still.apply(widget(size=1), manager="one")["spec"]["mode"] == "fast"


def test_a_field_somebody_updated_is_no_longer_the_appliers(still: Sandbox) -> None:
    still.apply(widget(size=1, mode="slow"), manager="one")
    still.patch("widget", "default", "w", {"spec": {"mode": "fast"}})
    assert owners(still.get("widget", "default", "w")) == {
        ("one", "Apply", ""): {"f:spec": {"f:size": {}}},
        ("sandbox", "Update", ""): {"f:spec": {"f:mode": {}}},
    }
    with pytest.raises(ApiError, match='conflict with "sandbox" using test.dev/v1: .spec.mode'):
        still.apply(widget(size=1, mode="slow"), manager="one")


def test_keyed_items_of_two_managers_live_side_by_side(still: Sandbox) -> None:
    still.apply(widget(size=1, parts=[{"name": "a", "count": 2}]), manager="one")
    both = still.apply(widget(size=1, parts=[{"name": "b"}]), manager="two")
    assert [part["name"] for part in both["spec"]["parts"]] == ["a", "b"]
    left = still.apply(widget(size=1), manager="one")
    assert [part["name"] for part in left["spec"]["parts"]] == ["b"]


def test_an_item_stays_while_another_manager_owns_a_member_of_it(still: Sandbox) -> None:
    still.apply(widget(size=1, parts=[{"name": "a", "count": 2}]), manager="one")
    still.apply(widget(size=1, parts=[{"name": "a", "colour": "red"}]), manager="two")
    left = still.apply(widget(size=1), manager="one")
    assert left["spec"]["parts"] == [{"name": "a", "colour": "red", "count": 1}]


def test_sets_merge_value_by_value(still: Sandbox) -> None:
    still.apply(widget(size=1, set=["a"]), manager="one")
    assert still.apply(widget(size=1, set=["b"]), manager="two")["spec"]["set"] == ["a", "b"]
    assert still.apply(widget(size=1), manager="one")["spec"]["set"] == ["b"]


def test_an_atomic_list_belongs_to_one_manager_as_a_whole(still: Sandbox) -> None:
    still.apply(widget(size=1, args=["a"]), manager="one")
    with pytest.raises(ApiError, match=r"\.spec\.args"):
        still.apply(widget(size=1, args=["a", "b"]), manager="two")


def test_status_conditions_of_two_managers_live_side_by_side(still: Sandbox) -> None:
    still.create(widget())
    apply_status(still, {"conditions": [{"type": "Ready", "status": "True"}]}, "one")
    both = apply_status(still, {"conditions": [{"type": "Planned", "status": "True"}]}, "two")
    assert [item["type"] for item in both["status"]["conditions"]] == ["Ready", "Planned"]
    gone = apply_status(still, {}, "one")
    assert [item["type"] for item in gone["status"]["conditions"]] == ["Planned"]


def test_a_status_default_belongs_to_nobody_and_conflicts_with_nobody(still: Sandbox) -> None:
    created = still.create(widget())
    assert created["status"] == {"observedGeneration": -1}
    assert ("sandbox", "Update", "status") not in owners(created)
    assert apply_status(still, {"observedGeneration": 1}, "operator")["status"] == {"observedGeneration": 1}


def test_status_in_an_apply_of_the_object_is_neither_written_nor_owned(still: Sandbox) -> None:
    applied = still.apply({**widget(), "status": {"observedGeneration": 7}}, manager="one")
    assert applied["status"] == {"observedGeneration": -1}
    assert owners(applied) == {("one", "Apply", ""): {"f:spec": {"f:size": {}}}}


def test_applying_the_status_of_what_is_missing_is_404(still: Sandbox) -> None:
    with pytest.raises(ApiError) as refused:
        apply_status(still, {}, "one")
    assert refused.value.code == 404


REFUSED = {
    "managed fields": ({"metadata": {"name": "w", "managedFields": [{"manager": "x"}]}}, 400, "managedFields"),
    "a stale version": ({"metadata": {"name": "w", "resourceVersion": "1"}}, 409, "has been modified"),
    "another uid": ({"metadata": {"name": "w", "uid": "x"}}, 409, "Precondition failed: UID"),
    "a wrong kind": ({"kind": "Gadget"}, 404, "no matches for kind"),
    "an invalid value": ({"spec": {"size": 0}}, 422, "spec.size"),
}


@pytest.mark.parametrize(("change", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_an_apply_is_refused_for(still: Sandbox, change: Json, code: int, words: str) -> None:
    still.apply(widget(), manager="one")
    with pytest.raises(ApiError, match=words) as refused:
        still.apply({**widget(), **change}, manager="one")
    assert refused.value.code == code


def test_an_apply_without_a_manager_is_refused(still: Sandbox) -> None:
    with pytest.raises(ApiError, match="fieldManager: Required value"):
        still.apply(widget(), manager="")


def test_a_null_in_an_apply_means_absent(still: Sandbox) -> None:
    body = config_map("c", a="1") | {"immutable": None}
    assert "immutable" not in still.apply(body, manager="one")


def test_a_dry_run_answers_and_leaves_everything_as_it_was(still: Sandbox) -> None:
    still.apply(widget(size=1), manager="one")
    version = still.store.version
    target = Target(still.store.registry.named("widgets"), ("default", "w"))
    answer, _ = still.api.writer.apply(target, widget(size=2), WriteOptions(manager="one", dry_run=True))
    assert answer["spec"]["size"] == 2
    assert (still.get("widget", "default", "w")["spec"]["size"], still.store.version) == (1, version)


def test_owner_references_merge_by_uid_and_finalizers_as_a_set(still: Sandbox) -> None:
    def owned(uid: str, finalizer: str) -> Json:
        body = config_map("c")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid}
        body["metadata"] |= {"ownerReferences": [reference], "finalizers": [finalizer]}
        return body

    still.apply(owned("u1", "t.dev/a"), manager="one")
    both = still.apply(owned("u2", "t.dev/b"), manager="two")["metadata"]
    assert [reference["uid"] for reference in both["ownerReferences"]] == ["u1", "u2"]
    assert both["finalizers"] == ["t.dev/a", "t.dev/b"]


def test_ports_of_a_service_are_told_apart_by_port_and_protocol(still: Sandbox) -> None:
    def service(port: int, protocol: str = "TCP") -> Json:
        ports = [{"name": f"p{port}{protocol.lower()}", "port": port, "protocol": protocol}]
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}}

    still.apply(service(80), manager="one")
    both = still.apply(service(80, "UDP"), manager="two")["spec"]["ports"]
    assert [(port["port"], port["protocol"]) for port in both] == [(80, "TCP"), (80, "UDP")]


def test_an_empty_container_is_kept_when_its_content_is_taken_back(still: Sandbox) -> None:
    still.apply(widget(size=1, parts=[{"name": "a"}], tags={"a": "x"}), manager="one")
    emptied = still.apply(widget(size=1, parts=[], tags={}), manager="one")
    assert (emptied["spec"]["parts"], emptied["spec"]["tags"]) == ([], {})
    assert still.apply(widget(size=1, parts=[], tags={}), manager="one") == emptied


def test_wanting_a_list_empty_that_others_fill_changes_nothing_however_often(still: Sandbox, clock: Any) -> None:
    still.apply(widget(size=1, parts=[{"name": "a"}]), manager="one")
    first = still.apply(widget(size=1, parts=[]), manager="two")
    clock.time = clock.time.replace(hour=13)
    assert still.apply(widget(size=1, parts=[]), manager="two") == first


def test_times_of_ownership_stay_until_the_set_changes(still: Sandbox, clock: Any) -> None:
    still.apply(widget(size=1), manager="one")
    clock.time = clock.time.replace(hour=13)
    value_changed = still.apply(widget(size=2), manager="one")
    assert value_changed["metadata"]["managedFields"][0]["time"] == "2025-06-01T12:00:00Z"
    set_changed = still.apply(widget(size=2, mode="slow"), manager="one")
    assert set_changed["metadata"]["managedFields"][0]["time"] == "2025-06-01T13:00:00Z"
