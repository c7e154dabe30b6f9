"""Tables: the columns and cells of ``kubectl get``."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.sandbox.support import Clock, Json, pod, widget

from shardwise_sandbox import Sandbox
from shardwise_sandbox.tables import age, json_path, table

DOCUMENT = {
    "spec": {"a": {"b": 1}, "l": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "odd.key": 3},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Planned", "status": "False"}]},
}
PATHS: dict[str, list[Any]] = {
    ".spec.a.b": [1],
    ".spec.none.b": [],
    ".spec.l[0].n": ["x"],
    ".spec.l[-1].n": ["y"],
    ".spec.l[9].n": [],
    ".spec.l[*].v": [1, 2],
    ".spec.a[0]": [],
    '.spec.l[?(@.n=="y")].v': [2],
    '.status.conditions[?(@.type=="Ready")].status': ["True"],
    ".status.conditions[?(@.type=='Planned')].status": ["False"],
    '.status.conditions[?(@.type=="Other")].status': [],
    ".spec['odd.key']": [3],
    r".spec.odd\.key": [3],
}


@pytest.mark.parametrize(("path", "expected"), PATHS.items(), ids=PATHS)
def test_a_path_leads_to(path: str, expected: list[Any]) -> None:
    assert json_path(DOCUMENT, path) == expected


NOW = datetime(2025, 6, 1, tzinfo=UTC)
AGES = {0: "0s", 119: "119s", 120: "2m", 7199: "119m", 7200: "2h", 172_799: "47h", 172_800: "2d", -5: "0s"}


@pytest.mark.parametrize(("seconds", "expected"), AGES.items())
def test_an_age_is_said_as_kubectl_says_it(seconds: int, expected: str) -> None:
    since = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert age(since, NOW) == expected


def test_an_age_without_a_beginning_is_unknown() -> None:
    assert age(None, NOW) == "<unknown>"


def rows(cluster: Sandbox, kind: str, *, wide: bool = False) -> list[dict[str, Any]]:
    resource = cluster.store.registry.named(kind)
    made = table(resource, cluster.store.all(resource.key), {}, cluster.api.now())
    columns = [column["name"] for column in made["columnDefinitions"] if wide or not column["priority"]]
    return [dict(zip(columns, row["cells"], strict=False)) for row in made["rows"]]


def test_a_custom_kind_has_the_columns_of_its_definition(still: Sandbox) -> None:
    still.create(widget(size=3))
    still.patch(
        "wd",
        "default",
        "w",
        {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Waiting"}]}},
        "status",
    )
    assert rows(still, "wd") == [{"Name": "w", "Size": 3, "Ready": "False"}]
    assert rows(still, "wd", wide=True)[0]["Why"] == "Waiting"


def test_kinds_without_columns_show_name_and_age(still: Sandbox, clock: Clock) -> None:
    still.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})
    clock.time += timedelta(minutes=5)
    assert rows(still, "secrets") == [{"Name": "s", "Age": "5m"}]


STATUSES: dict[str, tuple[Any, str, str]] = {
    "waiting for a node": (lambda cluster: cluster.create(pod("p", 99)), "0/1", "Pending"),
    "gated": (lambda cluster: cluster.create(pod("p", schedulingGates=[{"name": "g"}])), "0/1", "SchedulingGated"),
    "running": (lambda cluster: cluster.create(pod("p")), "1/1", "Running"),
}


@pytest.mark.parametrize(("make", "ready", "status"), STATUSES.values(), ids=STATUSES)
def test_a_pod_is_shown(fleet: Sandbox, make: Any, ready: str, status: str) -> None:
    make(fleet)
    fleet.settle()
    (row,) = rows(fleet, "pods")
    assert (row["Ready"], row["Status"], row["Restarts"]) == (ready, status, "0")


def test_a_pod_is_shown_failing_leaving_and_evicted(fleet: Sandbox) -> None:
    for name in "abc":
        fleet.create(pod(name, schedulerName="mine"))
        fleet.api.pods.bind(("default", name), "h100-1")
    fleet.settle()
    fleet.kubelet.fail("default", "a")
    fleet.delete("pod", "default", "b")
    fleet.kubelet.evict("default", "c")
    shown = rows(fleet, "pods", wide=True)
    assert [row["Status"] for row in shown] == ["CrashLoopBackOff", "Terminating", "Evicted"]
    assert [row["Restarts"] for row in shown] == ["1", "0", "0"]
    assert {row["Node"] for row in shown} == {"h100-1"}


def test_nodes_are_shown_ready_or_not_cordoned_and_with_roles(fleet: Sandbox) -> None:
    fleet.kubelet.set_node_ready("h100-1", False)
    fleet.patch("node", "", "h100-2", {"spec": {"unschedulable": True}})
    fleet.patch("node", "", "l40s-1", {"metadata": {"labels": {"node-role.kubernetes.io/gpu": ""}}})
    shown = {row["Name"]: (row["Status"], row["Roles"]) for row in rows(fleet, "nodes")}
    assert (shown["h100-1"], shown["h100-2"], shown["l40s-1"]) == (
        ("NotReady", "<none>"),
        ("Ready,SchedulingDisabled", "<none>"),
        ("Ready", "gpu"),
    )


def test_services_and_events_are_shown(still: Sandbox) -> None:
    still.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s"},
            "spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
        }
    )
    event: Json = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Widget", "name": "w"},
        "reason": "Planned",
        "message": "on h100-1",
        "type": "Normal",
    }
    still.create(event)
    (service,), (shown,) = rows(still, "svc"), rows(still, "events")
    assert (service["Type"], service["External-IP"], service["Port(s)"]) == ("ClusterIP", "<none>", "80/TCP,81/TCP")
    assert (shown["Object"], shown["Reason"], shown["Message"]) == ("widget/w", "Planned", "on h100-1")


def test_namespaces_and_definitions_are_shown(still: Sandbox) -> None:
    assert {row["Name"]: row["Status"] for row in rows(still, "ns")}["default"] == "Active"
    assert [row["Name"] for row in rows(still, "crd")] == ["widgets.test.dev"]


def test_rows_carry_metadata_without_managed_fields(still: Sandbox) -> None:
    still.create(widget())
    resource = still.store.registry.named("wd")
    row = table(resource, still.store.all(resource.key), {}, still.api.now())["rows"][0]["object"]
    assert (row["kind"], row["metadata"]["name"]) == ("PartialObjectMetadata", "w")
    assert "managedFields" not in row["metadata"]
