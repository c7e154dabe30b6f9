"""Deletion: finalizers, grace, preconditions, propagation, namespaces, kinds and garbage."""

from typing import Any

import pytest
from tests.sandbox.support import Json, config_map, pod, widget

from shardwise_sandbox import ApiError, DeleteOptions, Sandbox
from shardwise_sandbox.deletion import read_options


def owned(name: str, *owners: Json, block: bool = False, **meta: Any) -> Json:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            **({"blockOwnerDeletion": True} if block else {}),
        }
        for owner in owners
    ]
    body = config_map(name)
    body["metadata"] |= {"ownerReferences": references, **meta}
    return body


def test_an_object_without_finalizers_is_gone_at_once(still: Sandbox) -> None:
    still.create(config_map("a"))
    still.delete("cm", "default", "a")
    assert still.find("cm", "default", "a") is None
    with pytest.raises(ApiError, match='configmaps "a" not found'):
        still.delete("cm", "default", "a")


def test_a_finalizer_holds_the_object_until_it_is_removed(still: Sandbox) -> None:
    body = widget()
    body["metadata"]["finalizers"] = ["t.dev/hold"]
    still.create(body)
    still.delete("wd", "default", "w")
    held = still.get("wd", "default", "w")["metadata"]
    assert (held["deletionTimestamp"], held["generation"]) == ("2025-06-01T12:00:00Z", 2)
    still.delete("wd", "default", "w")
    assert still.get("wd", "default", "w")["metadata"] == held
    still.patch("wd", "default", "w", {"metadata": {"finalizers": None}})
    assert still.find("wd", "default", "w") is None


def test_no_finalizer_can_be_added_to_what_is_being_deleted(still: Sandbox) -> None:
    body = widget()
    body["metadata"]["finalizers"] = ["t.dev/hold"]
    still.create(body)
    still.delete("wd", "default", "w")
    with pytest.raises(ApiError, match="no new finalizers can be added"):
        still.patch("wd", "default", "w", {"metadata": {"finalizers": ["t.dev/hold", "t.dev/more"]}})


PRECONDITIONS = {
    "uid": DeleteOptions(uid="other"),
    "version": DeleteOptions(version="1"),
}


@pytest.mark.parametrize("options", PRECONDITIONS.values(), ids=PRECONDITIONS)
def test_a_failed_precondition_is_a_conflict(still: Sandbox, options: DeleteOptions) -> None:
    still.create(config_map("a"))
    with pytest.raises(ApiError, match="Precondition failed") as refused:
        still.delete("cm", "default", "a", options)
    assert refused.value.code == 409


def test_a_precondition_that_holds_does_not_stand_in_the_way(still: Sandbox) -> None:
    meta = still.create(config_map("a"))["metadata"]
    still.delete("cm", "default", "a", DeleteOptions(uid=meta["uid"], version=meta["resourceVersion"]))
    assert still.find("cm", "default", "a") is None


def test_a_dry_deletion_leaves_the_object(still: Sandbox) -> None:
    still.create(config_map("a"))
    still.delete("cm", "default", "a", DeleteOptions(dry_run=True))
    assert still.find("cm", "default", "a") is not None


GRACE: dict[str, tuple[Json, int | None, int | None]] = {
    "a bound pod has its own grace": ({"terminationGracePeriodSeconds": 60}, None, 60),
    "the request's grace wins": ({"terminationGracePeriodSeconds": 60}, 5, 5),
    "the default is half a minute": ({}, None, 30),
    "no grace means now": ({}, 0, None),
}


@pytest.mark.parametrize(("spec", "grace", "left"), GRACE.values(), ids=GRACE)
def test_a_bound_pod_goes_gracefully(still: Sandbox, spec: Json, grace: int | None, left: int | None) -> None:
    still.create(pod("p", **spec))
    still.api.pods.bind(("default", "p"), "somewhere")
    still.delete("pod", "default", "p", DeleteOptions(grace=grace))
    found = still.find("pod", "default", "p")
    assert (found and found["metadata"]["deletionGracePeriodSeconds"]) == left


def test_an_unbound_pod_goes_at_once(still: Sandbox) -> None:
    still.create(pod("p"))
    still.delete("pod", "default", "p")
    assert still.find("pod", "default", "p") is None


def test_a_second_deletion_can_only_shorten_the_grace(still: Sandbox) -> None:
    still.create(pod("p"))
    still.api.pods.bind(("default", "p"), "somewhere")
    left = []
    for grace in (20, 25, 10):
        still.delete("pod", "default", "p", DeleteOptions(grace=grace))
        left.append(still.get("pod", "default", "p")["metadata"]["deletionGracePeriodSeconds"])
    assert left == [20, 20, 10]
    still.delete("pod", "default", "p", DeleteOptions(grace=0))
    assert still.find("pod", "default", "p") is None


def test_dependants_of_what_is_gone_go_when_garbage_is_collected_not_before(still: Sandbox) -> None:
    owner = still.create(widget())
    child = still.create(owned("child", owner))
    still.create(owned("grandchild", child))
    still.delete("wd", "default", "w")
    assert still.names("cm") == ["child", "grandchild"]
    still.settle()
    assert still.names("cm") == []


def test_a_dependant_with_a_living_owner_stays_and_forgets_the_dead_one(still: Sandbox) -> None:
    first, second = still.create(widget("one")), still.create(widget("two"))
    still.create(owned("child", first, second))
    still.delete("wd", "default", "one")
    still.settle()
    left = still.get("cm", "default", "child")["metadata"]["ownerReferences"]
    assert [reference["name"] for reference in left] == ["two"]


def test_an_object_created_for_an_owner_that_is_gone_is_collected(still: Sandbox) -> None:
    owner = still.create(widget())
    still.delete("wd", "default", "w")
    still.create(owned("late", owner))
    still.settle()
    assert still.names("cm") == []


def test_an_owner_in_another_namespace_is_no_owner(still: Sandbox) -> None:
    owner = still.create(config_map("owner", "kube-system"))
    still.create(owned("child", owner))
    still.settle()
    assert still.find("cm", "default", "child") is None


def test_a_cluster_wide_owner_may_own_anywhere(still: Sandbox) -> None:
    owner = still.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    still.create(owned("child", owner))
    still.settle()
    assert still.names("cm") == ["child"]


def test_orphaning_leaves_dependants_without_the_owner(still: Sandbox) -> None:
    owner = still.create(widget())
    still.create(owned("child", owner))
    still.delete("wd", "default", "w", DeleteOptions(propagation="Orphan"))
    still.settle()
    assert still.find("wd", "default", "w") is None
    assert "ownerReferences" not in still.get("cm", "default", "child")["metadata"]


def test_foreground_deletion_waits_for_dependants_that_block(still: Sandbox) -> None:
    owner = still.create(widget())
    still.create(owned("child", owner, block=True, finalizers=["t.dev/hold"]))
    still.create(owned("free", owner))
    still.delete("wd", "default", "w", DeleteOptions(propagation="Foreground"))
    assert still.get("wd", "default", "w")["metadata"]["finalizers"] == ["foregroundDeletion"]
    still.settle()
    assert still.names("cm") == ["child"]
    assert still.find("wd", "default", "w") is not None
    still.patch("cm", "default", "child", {"metadata": {"finalizers": None}})
    still.settle()
    assert still.names("cm") == []
    assert still.find("wd", "default", "w") is None


def test_a_namespace_goes_after_all_that_is_in_it(still: Sandbox) -> None:
    still.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    still.create(config_map("plain", "team"))
    held = config_map("held", "team")
    held["metadata"]["finalizers"] = ["t.dev/hold"]
    still.create(held)
    still.create(config_map("elsewhere"))
    still.delete("ns", "", "team")
    assert still.get("ns", "", "team")["status"]["phase"] == "Terminating"
    still.settle()
    assert still.names("cm") == ["elsewhere", "held"]
    still.patch("cm", "team", "held", {"metadata": {"finalizers": None}})
    still.settle()
    assert still.find("ns", "", "team") is None
    assert still.names("cm") == ["elsewhere"]


def test_a_kind_goes_after_all_its_objects_and_is_then_unknown(still: Sandbox) -> None:
    still.create(widget())
    still.delete("crd", "", "widgets.test.dev")
    assert still.names("wd") == ["w"]
    still.settle()
    assert still.names("crd") == []
    with pytest.raises(ApiError, match="does not have a resource type"):
        still.list("widgets")


OPTIONS: dict[str, tuple[Json, dict[str, str], DeleteOptions]] = {
    "nothing": ({}, {}, DeleteOptions()),
    "a body": (
        {
            "gracePeriodSeconds": 3,
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": "u", "resourceVersion": "7"},
        },
        {},
        DeleteOptions(grace=3, propagation="Foreground", uid="u", version="7"),
    ),
    "a query": (
        {},
        {"gracePeriodSeconds": "0", "propagationPolicy": "Orphan", "dryRun": "All"},
        DeleteOptions(grace=0, propagation="Orphan", dry_run=True),
    ),
    "the query wins": ({"gracePeriodSeconds": 3}, {"gracePeriodSeconds": "1"}, DeleteOptions(grace=1)),
    "orphanDependents": ({"orphanDependents": True}, {}, DeleteOptions(propagation="Orphan")),
    "no orphanDependents": ({}, {"orphanDependents": "false"}, DeleteOptions()),
}


@pytest.mark.parametrize(("body", "query", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_delete_options_are_read_from_body_and_query(
    body: Json, query: dict[str, str], expected: DeleteOptions
) -> None:
    assert read_options(body, query) == expected


def test_an_unknown_propagation_is_400() -> None:
    with pytest.raises(ApiError) as refused:
        read_options({"propagationPolicy": "Sideways"}, {})
    assert refused.value.code == 400


def budget(**spec: Any) -> Json:
    body = {"selector": {"matchLabels": {"shardwise.dev/group": "g"}}, **spec}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": body}


BUDGETS: dict[str, tuple[Json, bool]] = {
    "no pod to spare": ({"minAvailable": 2}, False),
    "a pod to spare": ({"minAvailable": 1}, True),
    "a share": ({"minAvailable": "50%"}, True),
    "all": ({"minAvailable": "100%"}, False),
    "one may be missing": ({"maxUnavailable": 1}, True),
    "none may be missing": ({"maxUnavailable": 0}, False),
}


@pytest.mark.parametrize(("spec", "allowed"), BUDGETS.values(), ids=BUDGETS)
def test_an_eviction_respects_disruption_budgets(fleet: Sandbox, spec: Json, allowed: bool) -> None:
    for name in ("a", "b"):
        fleet.create(pod(name, group="g"))
    fleet.create(budget(**spec))
    fleet.settle()
    if allowed:
        fleet.api.pods.evict(("default", "a"), {"deleteOptions": {"gracePeriodSeconds": 0}})
        assert fleet.names("pods") == ["b"]
        return
    with pytest.raises(ApiError, match="violate the pod's disruption budget") as refused:
        fleet.api.pods.evict(("default", "a"), {})
    assert refused.value.code == 429
