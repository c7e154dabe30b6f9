"""What goes over the wire, to the letter: method, path, query, content type, body and credentials of every call."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture
from tests.cluster_client.support import Asked, Said, Scripted, a_kubeconfig, connected

from shardwise.cluster import Cluster, ClusterError, Connection, Refused, Retryable
from shardwise.domain.reasons import Reason
from shardwise.observe.kinds import NODE, POD, SERVICE
from shardwise.reconcile.actions import Emit

Json = dict[str, Any]

POD_MANIFEST: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"}, "spec": {"a": 1}}
SERVICE_MANIFEST: Json = POD_MANIFEST | {"kind": "Service"}
MODEL: Json = {
    "apiVersion": "shardwise.dev/v1alpha1",
    "kind": "ShardedModel",
    "metadata": {"name": "m", "namespace": "ns", "uid": "u-1"},
}
APPLY = {"fieldManager": "shardwise", "force": "true"}
APPLY_TYPE = "application/apply-patch+yaml"
MERGE_TYPE = "application/merge-patch+json"
STATUS_PATH = "/apis/shardwise.dev/v1alpha1/namespaces/ns/shardedmodels/m/status"
EVENTS = "/api/v1/namespaces/ns/events"
NOT_FOUND = Said({"message": 'pods "p" not found', "reason": "NotFound"}, 404)
CONFLICT = Said({"message": 'events "m.1" already exists'}, 409)


@pytest.fixture
async def cluster(script: Scripted, tmp_path: Path) -> AsyncIterator[Cluster]:
    (tmp_path / "token").write_text("first")
    user = {"tokenFile": str(tmp_path / "token")}
    async with connected(a_kubeconfig(tmp_path / "kubeconfig", script.url, user)) as client:
        yield client


def sent(script: Scripted) -> list[tuple[str, str, Json]]:
    return [(request.method, request.path, request.query) for request in script.asked]


def only(script: Scripted) -> Asked:
    (one,) = script.asked
    return one


async def test_a_list_asks_for_two_hundred_and_hands_each_continue_token_back(
    script: Scripted, cluster: Cluster
) -> None:
    """The version is the last page's; a page without items is none the worse."""
    script.says(
        Said({"metadata": {"continue": "t1", "resourceVersion": "7"}, "items": [{"n": 1}, {"n": 2}]}),
        Said({"metadata": {"continue": "t2", "resourceVersion": "7"}, "items": None}),
        Said({"metadata": {"continue": "", "resourceVersion": "9"}, "items": [{"n": 3}]}),
    )
    assert await cluster.list(POD, "a=b") == ([{"n": 1}, {"n": 2}, {"n": 3}], "9")
    assert sent(script) == [
        ("GET", "/api/v1/pods", {"labelSelector": "a=b", "limit": "200"}),
        ("GET", "/api/v1/pods", {"labelSelector": "a=b", "limit": "200", "continue": "t1"}),
        ("GET", "/api/v1/pods", {"labelSelector": "a=b", "limit": "200", "continue": "t2"}),
    ]


async def test_a_list_is_trimmed_page_by_page(script: Scripted, cluster: Cluster) -> None:
    """What is left out of an object is gone before the next page is asked for."""
    asked_when: list[int] = []

    def trim(obj: Json) -> Json:
        asked_when.append(len(script.asked))
        return {"n": obj["n"]}

    script.says(
        Said({"metadata": {"continue": "t1"}, "items": [{"n": 1, "images": ["i"]}, {"n": 2}]}),
        Said({"metadata": {}, "items": [{"n": 3, "images": ["i"]}]}),
    )
    assert await cluster.list(NODE, trim=trim) == ([{"n": 1}, {"n": 2}, {"n": 3}], "")
    assert asked_when == [1, 1, 2]


async def test_a_list_without_a_selector_sends_none(script: Scripted, cluster: Cluster) -> None:
    """And an answer without metadata has no version."""
    assert await cluster.list(NODE) == ([], "")
    assert sent(script) == [("GET", "/api/v1/nodes", {"limit": "200"})]


async def test_a_list_that_expires_half_way_is_to_be_made_again(script: Scripted, cluster: Cluster) -> None:
    """Never half a list: what is missing would look deleted."""
    script.says(
        Said({"metadata": {"continue": "t1"}, "items": [{"n": 1}]}),
        Said({"message": "The provided continue parameter is too old", "reason": "Expired"}, 410),
    )
    with pytest.raises(Retryable, match="cannot list pods: The provided continue parameter is too old") as caught:
        await cluster.list(POD)
    assert caught.value.status == 410


async def test_an_apply_is_server_side_by_force_and_under_our_name(script: Scripted, cluster: Cluster) -> None:
    """After a look whether one of the name is there."""
    script.says(NOT_FOUND, Said({"applied": True}))
    assert await cluster.apply(SERVICE_MANIFEST) == {"applied": True}
    look, one = script.asked
    assert (look.method, look.path, look.query) == ("GET", "/api/v1/namespaces/ns/services/p", {})
    assert (one.method, one.path, one.query) == ("PATCH", "/api/v1/namespaces/ns/services/p", APPLY)
    assert (one.headers["Content-Type"], one.body) == (APPLY_TYPE, SERVICE_MANIFEST)


async def test_a_pod_is_created_by_one_call(script: Scripted, cluster: Cluster) -> None:
    """The API server itself refuses it where one of its name is there; nothing about it is changed later."""
    script.says(Said({"made": True}, 201))
    assert await cluster.apply(POD_MANIFEST) == {"made": True}
    one = only(script)
    assert (one.method, one.path, one.query) == ("POST", "/api/v1/namespaces/ns/pods", {"fieldManager": "shardwise"})
    assert one.body == POD_MANIFEST


async def test_a_pod_that_is_there_is_looked_at_and_applied(script: Scripted, cluster: Cluster) -> None:
    """It may be ours: the answer to its creation was lost, or the last leader had just made it."""
    wanted = POD_MANIFEST | {"metadata": POD_MANIFEST["metadata"] | {"labels": OURS}}
    script.says(CONFLICT, Said(labelled(**OURS)), Said({"applied": True}))
    assert await cluster.apply(wanted) == {"applied": True}
    assert [request.method for request in script.asked] == ["POST", "GET", "PATCH"]


async def test_a_pod_that_may_not_be_made_is_not_tried_again_by_other_means(script: Scripted, cluster: Cluster) -> None:
    script.says(Said({"message": "exceeded quota: gpus"}, 403))
    with pytest.raises(Refused, match="cannot create Pod ns/p: exceeded quota: gpus"):
        await cluster.apply(POD_MANIFEST)
    assert [request.method for request in script.asked] == ["POST"]


def labelled(**labels: str) -> Json:
    """Give the pod as it may be there, with labels that say whose it is."""
    return {"metadata": {"name": "p", "namespace": "ns", "uid": "u-7", "labels": labels}}


OURS = {"app.kubernetes.io/managed-by": "shardwise", "shardwise.dev/model": "m"}


async def test_what_may_not_be_read_is_applied_unread(script: Scripted, cluster: Cluster) -> None:
    """A ConfigMap is named by its content, and so nobody else's; no right to read others' is asked for."""
    script.says(Said({"metadata": {}}))
    files = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}, "data": {}}
    await cluster.apply(files)
    assert sent(script) == [("PATCH", "/api/v1/namespaces/ns/configmaps/c", APPLY)]


async def test_an_apply_to_what_is_there_names_that_very_object(script: Scripted, cluster: Cluster) -> None:
    """It may be replaced by somebody else's before it is written: then that is a conflict."""
    wanted = SERVICE_MANIFEST | {"metadata": SERVICE_MANIFEST["metadata"] | {"labels": OURS}}
    script.says(Said(labelled(**OURS)), CONFLICT)
    with pytest.raises(Retryable, match="already exists"):
        await cluster.apply(wanted)
    assert script.asked[1].body["metadata"] == wanted["metadata"] | {"uid": "u-7"}


@pytest.mark.parametrize(
    "labels",
    [{}, OURS | {"shardwise.dev/model": "other"}, OURS | {"app.kubernetes.io/managed-by": "Helm"}],
    ids=["nobody's", "another model's", "another manager's"],
)
async def test_what_belongs_to_somebody_else_is_not_applied_over(
    script: Scripted, cluster: Cluster, labels: dict[str, str]
) -> None:
    """By force it would become ours, and be deleted with the model: the Service `kubernetes`, say."""
    wanted = SERVICE_MANIFEST | {"metadata": SERVICE_MANIFEST["metadata"] | {"labels": OURS}}
    script.says(Said(labelled(**labels)))
    with pytest.raises(Refused) as caught:
        await cluster.apply(wanted)
    assert str(caught.value) == (
        "cannot apply Service ns/p: one of that name is there and belongs to somebody else; "
        "delete it, or give the ShardedModel another name"
    )
    assert [request.method for request in script.asked] == ["GET"]


async def test_what_goes_with_our_object_is_ours_though_it_lost_its_labels(script: Scripted, cluster: Cluster) -> None:
    owner = {"kind": "ShardedModel", "name": "m", "uid": "m-1", "controller": True}
    metadata = SERVICE_MANIFEST["metadata"] | {"labels": OURS, "ownerReferences": [owner]}
    found = labelled()
    found["metadata"]["ownerReferences"] = [owner]
    script.says(Said(found), Said({"applied": True}))
    assert await cluster.apply(SERVICE_MANIFEST | {"metadata": metadata}) == {"applied": True}


async def test_a_merge_is_a_patch_under_our_name(script: Scripted, cluster: Cluster) -> None:
    """By no force: it takes away what an apply cannot."""
    patch = {"metadata": {"uid": "u"}, "spec": {"maxUnavailable": None}}
    await cluster.merge(SERVICE_MANIFEST, patch)
    one = only(script)
    assert (one.method, one.path, one.query) == (
        "PATCH",
        "/api/v1/namespaces/ns/services/p",
        {"fieldManager": "shardwise"},
    )
    assert (one.headers["Content-Type"], one.body) == (MERGE_TYPE, patch)


async def test_a_status_is_applied_to_the_status_alone(script: Scripted, cluster: Cluster) -> None:
    wanted = MODEL | {"status": {"replicas": 1}}
    await cluster.apply_status(wanted)
    one = only(script)
    assert (one.method, one.path, one.query) == ("PATCH", STATUS_PATH, APPLY)
    assert (one.headers["Content-Type"], one.body) == (APPLY_TYPE, wanted)


async def test_a_status_nothing_can_be_applied_to_is_merged(script: Scripted, cluster: Cluster) -> None:
    """An object an older CRD let in: only the status is sent, and by nobody's force."""
    script.says(Said({"message": "failed to create typed live object: .spec.x: expected map"}, 500), Said({"ok": 1}))
    assert await cluster.apply_status(MODEL | {"status": {"message": "wrong"}}) == {"ok": 1}
    merge = script.asked[1]
    assert (merge.method, merge.path, merge.query) == ("PATCH", STATUS_PATH, {})
    assert (merge.headers["Content-Type"], merge.body) == (MERGE_TYPE, {"status": {"message": "wrong"}})


async def test_a_status_refused_for_another_reason_is_not_merged(script: Scripted, cluster: Cluster) -> None:
    script.says(Said({"message": "status.replicas: must be an integer"}, 422))
    with pytest.raises(Refused, match="cannot apply ShardedModel ns/m: status.replicas: must be an integer"):
        await cluster.apply_status(MODEL | {"status": {"replicas": "x"}})
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    ("uid", "grace", "more"),
    [
        pytest.param("u-9", None, {"preconditions": {"uid": "u-9"}}, id="uid"),
        pytest.param("", 1, {"gracePeriodSeconds": 1}, id="grace"),
        pytest.param("", None, {}, id="none"),
    ],
)
async def test_a_deletion_names_the_uid_and_the_grace_and_leaves_dependents_to_the_background(
    script: Scripted, cluster: Cluster, uid: str, grace: int | None, more: Json
) -> None:
    await cluster.delete(SERVICE, "ns", "s", uid, grace)
    one = only(script)
    assert (one.method, one.path, one.query) == ("DELETE", "/api/v1/namespaces/ns/services/s", {})
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    assert one.body == options | more


@pytest.mark.parametrize("status", [404, 409])
async def test_what_is_gone_counts_as_deleted(script: Scripted, cluster: Cluster, status: int) -> None:
    script.says(Said({"message": "not that one"}, status))
    await cluster.delete(POD, "ns", "p", "u-9")
    assert len(script.asked) == 1


@pytest.mark.parametrize(("status", "kind"), [(403, Refused), (500, Retryable), (422, Refused)])
async def test_any_other_failure_to_delete_is_raised(
    script: Scripted, cluster: Cluster, status: int, kind: type[ClusterError]
) -> None:
    script.says(Said({"message": "no"}, status))
    with pytest.raises(kind, match="cannot delete Pod ns/p: no"):
        await cluster.delete(POD, "ns", "p")


async def test_an_event_is_about_the_object_and_by_us(script: Scripted, cluster: Cluster) -> None:
    await cluster.record(MODEL, Emit(Reason.GROUP_FAILED, "x" * 2000, warning=True))
    one = only(script)
    assert (one.method, one.path) == ("POST", EVENTS)
    event = one.body
    assert re.fullmatch(r"m\.[0-9a-f]{10}", event["metadata"]["name"])
    assert event["metadata"]["namespace"] == "ns"
    about = {"apiVersion": MODEL["apiVersion"], "kind": "ShardedModel", "namespace": "ns", "name": "m", "uid": "u-1"}
    assert event["involvedObject"] == about
    assert (event["reason"], event["type"], event["message"]) == ("GroupFailed", "Warning", "x" * 1024)
    assert (event["source"], event["reportingComponent"]) == ({"component": "shardwise"}, "shardwise")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["lastTimestamp"])


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Emit(Reason.PLANNED, "TP8"), True),
        (Emit(Reason.PLANNED, "TP4"), False),
        (Emit(Reason.GROUP_HELD, "TP8"), False),
    ],
    ids=["the same", "another message", "another reason"],
)
async def test_an_event_is_named_by_what_it_says(script: Scripted, cluster: Cluster, other: Emit, same: bool) -> None:
    for event in (Emit(Reason.PLANNED, "TP8"), other):
        await cluster.record(MODEL, event)
    one, two = (asked.body["metadata"]["name"] for asked in script.asked)
    assert (one == two) is same


async def test_an_event_that_is_there_gets_its_time_and_nothing_else(script: Scripted, cluster: Cluster) -> None:
    script.says(CONFLICT, Said())
    await cluster.record(MODEL, Emit(Reason.PLANNED, "TP8"))
    post, patch = script.asked
    assert (patch.method, patch.path) == ("PATCH", f"{EVENTS}/{post.body['metadata']['name']}")
    assert patch.headers["Content-Type"] == MERGE_TYPE
    assert patch.body == {"lastTimestamp": post.body["lastTimestamp"]}


async def test_an_event_that_cannot_be_recorded_says_which(script: Scripted, cluster: Cluster) -> None:
    """Neither the making nor the renewing is given up in silence."""
    script.says(Said({"message": "no"}, 403))
    with pytest.raises(Refused, match="cannot record Planned: no"):
        await cluster.record(MODEL, Emit(Reason.PLANNED, "TP8"))
    script.says(CONFLICT, Said({"message": "never"}, 403))
    with pytest.raises(Refused, match="cannot renew Planned: never"):
        await cluster.record(MODEL, Emit(Reason.PLANNED, "TP8"))


async def test_a_rotated_token_is_used_from_the_first_refusal_on(
    script: Scripted, cluster: Cluster, tmp_path: Path
) -> None:
    await cluster.list(NODE)
    (tmp_path / "token").write_text("second")
    script.refused_token = "first"
    await cluster.list(NODE)
    await cluster.list(NODE)
    tokens = [request.headers["Authorization"] for request in script.asked]
    assert tokens == ["Bearer first", "Bearer first", "Bearer second", "Bearer second"]


async def test_calls_refused_together_read_the_credentials_once(
    script: Scripted, cluster: Cluster, tmp_path: Path, mocker: MockerFixture
) -> None:
    """Four calls under way when the token expires make one new client, not four, and all four succeed."""
    (tmp_path / "token").write_text("second")
    script.refused_token = "first"
    renewed = mocker.spy(Connection, "renewed")
    await asyncio.gather(*(cluster.list(NODE) for _ in range(4)))
    assert (renewed.call_count, len(cluster._clients)) == (1, 2)
    tokens = sorted(request.headers["Authorization"] for request in script.asked)
    assert tokens == ["Bearer first"] * 4 + ["Bearer second"] * 4


async def test_credentials_that_are_gone_are_told(script: Scripted, cluster: Cluster, tmp_path: Path) -> None:
    script.says(Said({"message": "Unauthorized"}, 401))
    (tmp_path / "kubeconfig").unlink()
    with pytest.raises(Refused, match="no cluster to talk to: "):
        await cluster.list(NODE)
