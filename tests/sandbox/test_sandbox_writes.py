"""Create, replace and patch: identity, versions, generation, status isolation, refusals."""

from typing import Any

import pytest
from tests.sandbox.support import Json, config_map, pod, widget

from shardwise_sandbox import ApiError, Sandbox, WriteOptions
from shardwise_sandbox.patching import JSON, MERGE, STRATEGIC
from shardwise_sandbox.writes import Target


def target(cluster: Sandbox, kind: str, name: str, subresource: str = "") -> Target:
    resource = cluster.store.registry.named(kind)
    return Target(resource, ("default" if resource.namespaced else "", name), subresource)


def replace(cluster: Sandbox, obj: Json, subresource: str = "") -> Json:
    where = target(cluster, obj["kind"], obj["metadata"]["name"], subresource)
    return cluster.api.writer.replace(where, obj)


def test_a_new_object_gets_what_only_the_server_gives(still: Sandbox) -> None:
    created = still.create(widget())["metadata"]
    assert {key: created[key] for key in ("name", "namespace", "creationTimestamp", "generation")} == {
        "name": "w",
        "namespace": "default",
        "creationTimestamp": "2025-06-01T12:00:00Z",
        "generation": 1,
    }
    assert len(created["uid"]) == 36
    assert int(created["resourceVersion"]) == still.store.version


def test_two_stores_give_the_same_uids_in_the_same_order() -> None:
    first, second = (Sandbox(objects=[config_map("a"), config_map("b")]) for _ in range(2))
    assert [item["metadata"]["uid"] for item in first.list("cm")] == [
        item["metadata"]["uid"] for item in second.list("cm")
    ]
    assert first.get("cm", "default", "a")["metadata"]["uid"] != first.get("cm", "default", "b")["metadata"]["uid"]


def test_what_the_client_says_about_server_fields_is_ignored(still: Sandbox) -> None:
    body = config_map("a")
    body["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "1999-01-01T00:00:00Z"}
    created = still.create(body)["metadata"]
    assert created["uid"] != "mine"
    assert "generation" not in created
    assert created["creationTimestamp"] == "2025-06-01T12:00:00Z"


def test_generated_names_differ_and_keep_their_prefix(still: Sandbox) -> None:
    body = config_map("")
    body["metadata"] = {"generateName": "a-", "namespace": "default"}
    names = {still.create(body)["metadata"]["name"] for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("a-") and len(name) == 7 for name in names)


def test_versions_are_one_sequence_over_all_kinds(still: Sandbox) -> None:
    versions = [int(still.create(body)["metadata"]["resourceVersion"]) for body in (widget(), config_map("a"))]
    assert versions[1] == versions[0] + 1


REFUSED_CREATES: dict[str, tuple[Json, int, str]] = {
    "a taken name": (config_map("taken"), 409, 'configmaps "taken" already exists'),
    "a missing namespace": (config_map("a", "nowhere"), 404, 'namespaces "nowhere" not found'),
    "a dying namespace": (config_map("a", "dying"), 403, "because it is being terminated"),
    "no name": ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, 422, "name or generateName is required"),
    "a name with capitals": (config_map("Bad"), 422, "metadata.name: Invalid value"),
    "a name too long": (config_map("a" * 254), 422, "metadata.name: Invalid value"),
    "a version": (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "5"}},
        400,
        "resourceVersion should not be set",
    ),
    "a label that is no label": (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": "no spaces"}}},
        422,
        r"metadata.labels\[x\]: Invalid value",
    ),
    "a label that is no text": (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": 5}}},
        422,
        "must be of type string",
    ),
    "an owner without uid": (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x"}]},
        },
        422,
        r"ownerReferences\[0\].uid: Required value",
    ),
    "an unknown kind": ({"apiVersion": "v9", "kind": "What", "metadata": {"name": "a"}}, 404, "no matches for kind"),
    "a pod without containers": (
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}},
        422,
        "spec.containers: Required value",
    ),
    "a pod without image": (
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}},
        422,
        r"spec.containers\[0\].image: Required value",
    ),
    "a host name too long": (pod("a", hostname="h" * 64), 422, "spec.hostname: Invalid value"),
    "a mount without volume": (
        pod("a", containers=[{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]),
        422,
        'volumeMounts.0..name: Not found: "v"',
    ),
    "an environment value that is no text": (
        pod("a", containers=[{"name": "c", "image": "i", "env": [{"name": "A", "value": 1}]}]),
        422,
        r"env\[0\].value: Invalid value",
    ),
    "a service name too long": (
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s" * 64}, "spec": {"ports": [{"port": 1}]}},
        422,
        "DNS-1035",
    ),
    "a service without ports": (
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}},
        422,
        "spec.ports: Required value",
    ),
}


@pytest.mark.parametrize(("body", "code", "words"), REFUSED_CREATES.values(), ids=REFUSED_CREATES)
def test_a_creation_is_refused_for(still: Sandbox, body: Json, code: int, words: str) -> None:
    still.create(config_map("taken"))
    still.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dying"}})
    still.delete("ns", "", "dying")
    version = still.store.version
    with pytest.raises(ApiError, match=words) as refused:
        still.create(body)
    assert refused.value.code == code
    assert still.store.version == version


GENERATIONS: dict[str, tuple[Json, str, int]] = {
    "spec": ({"spec": {"size": 5}}, "", 2),
    "labels": ({"metadata": {"labels": {"a": "b"}}}, "", 1),
    "status through its subresource": ({"status": {"observedGeneration": 1}}, "status", 1),
    "status through the object": ({"status": {"observedGeneration": 1}}, "", 1),
}


@pytest.mark.parametrize(("patch", "subresource", "expected"), GENERATIONS.values(), ids=GENERATIONS)
def test_the_generation_counts_changes_of_spec_only(
    still: Sandbox, patch: Json, subresource: str, expected: int
) -> None:
    still.create(widget())
    assert still.patch("widget", "default", "w", patch, subresource)["metadata"]["generation"] == expected


def test_status_is_written_only_through_its_subresource_and_nothing_else_is(still: Sandbox) -> None:
    still.create(widget())
    both: Json = {"spec": {"size": 5}, "status": {"observedGeneration": 4}, "metadata": {"labels": {"a": "b"}}}
    through_object = still.patch("widget", "default", "w", both)
    assert (through_object["spec"]["size"], through_object["status"]) == (5, {"observedGeneration": -1})
    both["spec"]["size"] = 6
    both["metadata"]["labels"] = {"a": "c"}
    through_status = still.patch("widget", "default", "w", both, "status")
    assert (through_status["spec"]["size"], through_status["status"]) == (5, {"observedGeneration": 4})
    assert through_status["metadata"]["labels"] == {"a": "b"}


def test_status_is_validated_too(still: Sandbox) -> None:
    still.create(widget())
    with pytest.raises(ApiError, match="status.observedGeneration"):
        still.patch("widget", "default", "w", {"status": {"observedGeneration": "x"}}, "status")


NO_OPS: dict[str, Json] = {
    "nothing": {},
    "the present value": {"spec": {"size": 1}},
    "removal of an absent field": {"metadata": {"labels": None}},
}


@pytest.mark.parametrize("patch", NO_OPS.values(), ids=NO_OPS)
def test_a_patch_that_changes_nothing_makes_no_version(still: Sandbox, patch: Json) -> None:
    before = still.create(widget())
    assert still.patch("widget", "default", "w", patch) == before
    assert still.store.version == int(before["metadata"]["resourceVersion"])


def test_replacing_with_what_is_there_makes_no_version(still: Sandbox) -> None:
    before = still.create(widget())
    assert replace(still, before) == before


def test_a_stale_replacement_is_a_conflict(still: Sandbox) -> None:
    first = still.create(widget())
    still.patch("widget", "default", "w", {"spec": {"size": 2}})
    with pytest.raises(ApiError, match="the object has been modified") as refused:
        replace(still, first)
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_a_stale_patch_is_a_conflict_only_if_it_names_a_version(still: Sandbox) -> None:
    first = still.create(widget())
    still.patch("widget", "default", "w", {"spec": {"size": 2}})
    still.patch("widget", "default", "w", {"spec": {"size": 3}})
    with pytest.raises(ApiError, match="has been modified"):
        still.patch(
            "widget",
            "default",
            "w",
            {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "spec": {"size": 4}},
        )


def test_config_maps_may_be_replaced_blindly_and_custom_objects_may_not(still: Sandbox) -> None:
    still.create(config_map("a", k="1"))
    assert replace(still, config_map("a", k="2"))["data"] == {"k": "2"}
    still.create(widget())
    with pytest.raises(ApiError, match=r"metadata.resourceVersion: Invalid value: 0x0: must be specified"):
        replace(still, widget(size=2))


def test_a_replacement_of_another_object_of_the_name_is_a_conflict(still: Sandbox) -> None:
    old = still.create(config_map("a"))
    still.delete("cm", "default", "a")
    still.create(config_map("a"))
    del old["metadata"]["resourceVersion"]
    with pytest.raises(ApiError, match="Precondition failed: UID"):
        replace(still, old)


def test_replacing_what_is_missing_is_404(still: Sandbox) -> None:
    with pytest.raises(ApiError) as refused:
        replace(still, config_map("a"))
    assert refused.value.code == 404


IDENTITIES: dict[str, tuple[Json, str]] = {
    "another name": (config_map("b"), "does not match the name on the URL"),
    "another namespace": (config_map("a", "kube-system"), "does not match the namespace"),
    "another kind": ({**config_map("a"), "kind": "Secret"}, "does not match the expected kind"),
    "another version": ({**config_map("a"), "apiVersion": "v2"}, "does not match the expected apiVersion"),
}


@pytest.mark.parametrize(("body", "words"), IDENTITIES.values(), ids=IDENTITIES)
def test_a_body_about_something_else_than_the_url_is_400(still: Sandbox, body: Json, words: str) -> None:
    still.create(config_map("a"))
    with pytest.raises(ApiError, match=words) as refused:
        still.api.writer.replace(target(still, "cm", "a"), body)
    assert refused.value.code == 400


def test_a_failed_test_of_a_json_patch_is_422_and_changes_nothing(still: Sandbox) -> None:
    before = still.create(widget())
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
        {"op": "add", "path": "/metadata/finalizers", "value": ["a.dev/b"]},
    ]
    with pytest.raises(ApiError) as refused:
        still.api.writer.patch(target(still, "wd", "w"), JSON, patch)
    assert (refused.value.code, still.get("wd", "default", "w")) == (422, before)


MEDIA: dict[str, tuple[str, str]] = {
    "strategic patches of custom objects": ("wd", STRATEGIC),
    "unknown patches": ("cm", "application/odd"),
}


@pytest.mark.parametrize(("kind", "media"), MEDIA.values(), ids=MEDIA)
def test_the_server_does_not_take(still: Sandbox, kind: str, media: str) -> None:
    still.create(widget("x"))
    still.create(config_map("x"))
    with pytest.raises(ApiError) as refused:
        still.api.writer.patch(target(still, kind, "x"), media, {})
    assert refused.value.code == 415


def test_a_patch_that_leaves_no_object_is_refused(still: Sandbox) -> None:
    still.create(config_map("x"))
    with pytest.raises(ApiError, match="does not leave an object"):
        still.api.writer.patch(target(still, "cm", "x"), MERGE, [])


def test_a_pod_gets_the_defaults_that_readers_meet(still: Sandbox) -> None:
    spec = still.create(pod("p", 8))["spec"]
    container = spec["containers"][0]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"], spec["schedulerName"]) == (
        "Always",
        30,
        "default-scheduler",
    )
    assert container["resources"]["requests"] == {"nvidia.com/gpu": "8"}
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert [item["key"] for item in spec["tolerations"]] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]


@pytest.mark.parametrize(
    ("image", "policy"),
    [("a", "Always"), ("a:latest", "Always"), ("r:5000/a", "Always"), ("r:5000/a:1", "IfNotPresent")],
)
def test_an_image_without_a_tag_is_pulled_always(still: Sandbox, image: str, policy: str) -> None:
    created = still.create(pod("p", containers=[{"name": "c", "image": image}]))
    assert created["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_amounts_given_as_numbers_become_text(still: Sandbox) -> None:
    limits = {"limits": {"nvidia.com/gpu": 8}}
    created = still.create(pod("p", containers=[{"name": "c", "image": "i:1", "resources": limits}]))
    assert created["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "8"}


POD_CHANGES: dict[str, tuple[Json, bool]] = {
    "an image": ({"spec": {"containers": [{"name": "main", "image": "engine:2"}]}}, True),
    "args": ({"spec": {"containers": [{"name": "main", "args": ["x"]}]}}, False),
    "the node": ({"spec": {"nodeName": "h100-1"}}, False),
    "labels": ({"metadata": {"labels": {"a": "b"}}}, True),
    "scheduling gates": ({"spec": {"schedulingGates": None}}, True),
    "the restart policy": ({"spec": {"restartPolicy": "Never"}}, False),
}


@pytest.mark.parametrize(("patch", "allowed"), POD_CHANGES.values(), ids=POD_CHANGES)
def test_of_a_pod_little_may_change(still: Sandbox, patch: Json, allowed: bool) -> None:
    still.create(pod("p", schedulingGates=[{"name": "g"}]))

    def change() -> Any:
        return still.api.writer.patch(target(still, "pod", "p"), STRATEGIC, patch)

    if allowed:
        assert change()["metadata"]["name"] == "p"
        return
    with pytest.raises(ApiError, match="pod updates may not change fields") as refused:
        change()
    assert refused.value.code == 422


def test_services_get_addresses_of_their_own_and_keep_them(still: Sandbox) -> None:
    def service(name: str, **spec: Any) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"ports": [{"port": 80}], **spec},
        }

    first, second = still.create(service("a")), still.create(service("b"))
    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
    assert first["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert still.create(service("c", clusterIP="None"))["spec"]["clusterIPs"] == ["None"]
    assert (
        replace(still, {**service("a"), "metadata": {"name": "a"}})["spec"]["clusterIP"] == first["spec"]["clusterIP"]
    )
    with pytest.raises(ApiError, match="may not change once set"):
        still.patch("svc", "default", "a", {"spec": {"clusterIP": "10.0.0.9"}})


def test_a_dry_creation_is_answered_and_not_kept(still: Sandbox) -> None:
    kind = still.store.registry.named("cm")
    answer = still.api.writer.create(kind, "default", config_map("a"), WriteOptions(dry_run=True))
    assert answer["metadata"]["name"] == "a"
    assert still.find("cm", "default", "a") is None


def test_writers_own_what_they_wrote_last(still: Sandbox) -> None:
    kind = still.store.registry.named("cm")
    still.api.writer.create(kind, "default", config_map("a", x="1", y="1"), WriteOptions(manager="one"))
    where = target(still, "cm", "a")
    still.api.writer.patch(where, MERGE, {"data": {"y": "2", "x": None, "z": "3"}}, WriteOptions(manager="two"))
    entries = still.get("cm", "default", "a")["metadata"]["managedFields"]
    assert [(entry["manager"], entry["fieldsV1"]) for entry in entries] == [("two", {"f:data": {"f:y": {}, "f:z": {}}})]


def test_what_a_test_gives_and_gets_is_its_own(still: Sandbox) -> None:
    body = config_map("a", k="1")
    created = still.create(body)
    body["data"]["k"] = created["data"]["k"] = "changed"
    read = still.get("cm", "default", "a")
    read["data"]["k"] = "changed"
    listed = still.list("cm")[0]
    listed["data"]["k"] = "changed"
    assert still.get("cm", "default", "a")["data"] == {"k": "1"}
