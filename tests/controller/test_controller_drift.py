"""Services and budgets that somebody changes, with the whole operator on the in-memory API."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.operating import Operating, a_model, operating

from shardwise.observe import slim_owned

Json = dict[str, Any]

Field = Callable[[Json], object]


def selector(obj: Json) -> object:
    return obj["spec"]["selector"]


def ports(obj: Json) -> object:
    return [(port["name"], port["port"]) for port in obj["spec"]["ports"]]


def labels(obj: Json) -> object:
    return obj["metadata"]["labels"]


def owners(obj: Json) -> object:
    return obj["metadata"].get("ownerReferences")


def numbers(obj: Json) -> object:
    return obj["spec"].get("minAvailable"), obj["spec"].get("maxUnavailable")


NOBODY = {"spec": {"selector": {"a": "b"}}}
NO_LABELS = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None, "shardwise.dev/model": None}}}
PATCHES: dict[str, tuple[str, Json, Field, int]] = {
    "the clients' selector": ("Service pair", NOBODY, selector, 1),
    "their port": ("Service pair", {"spec": {"ports": [{"name": "http", "port": 81}]}}, ports, 2),
    "the labels that say whose it is": ("Service pair", NO_LABELS, labels, 1),
    "its owner": ("Service pair", {"metadata": {"ownerReferences": None}}, owners, 1),
    "a group's selector": ("Service pair-0-0", NOBODY, selector, 1),
    "the number of a budget": (
        "PodDisruptionBudget pair",
        {"spec": {"minAvailable": None, "maxUnavailable": "100%"}},
        numbers,
        2,
    ),
}
"""The object, the change, the field that changes, and the writes that put it right."""


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operating]:
    async with operating(tmp_path) as running:
        running.cluster.create(a_model("pair", gpus=2, replicas=2))
        await running.ready("pair")
        yield running


@pytest.mark.parametrize(("which", "patch", "field", "writes"), PATCHES.values(), ids=PATCHES)
async def test_a_change_is_put_right_on_its_watch_event_and_nothing_is_written_after_it(
    operator: Operating, which: str, patch: Json, field: Field, writes: int
) -> None:
    cluster, (kind, name) = operator.cluster, which.split()
    before, written = cluster.get(kind, "default", name), operator.writes_to("/pair")
    cluster.patch(kind, "default", name, {"metadata": {"annotations": {"theirs": "stays"}}})
    cluster.patch(kind, "default", name, patch)

    def is_right() -> bool:
        found = cluster.find(kind, "default", name)
        return found is not None and field(found) == field(before) and operator.writes_to("/pair") == written + writes

    await operator.until(is_right, "the change put right")
    after = cluster.get(kind, "default", name)["metadata"]
    assert (after["uid"], after["annotations"]) == (before["metadata"]["uid"], {"theirs": "stays"})
    cluster.create(a_model("other"))
    await operator.ready("other")
    assert operator.writes_to("/pair") == written + writes
    assert operator.condition_of("pair", "Degraded")["reason"] == "AsPlanned"


async def test_the_operator_stops_fighting_a_writer_that_never_gives_in(operator: Operating) -> None:
    cluster = operator.cluster

    def meddle(_: object) -> None:
        service = cluster.find("Service", "default", "pair")
        if service is not None and service["spec"]["type"] == "ClusterIP":
            cluster.patch("Service", "default", "pair", {"spec": {"type": "NodePort"}})

    cluster.store.listeners.append(meddle)
    meddle(None)
    degraded = await operator.condition("pair", "Degraded", "True", "FieldsContested")
    assert 'Service `pair`: `spec.type` is `"NodePort"`, not `"ClusterIP"`' in degraded["message"]
    await operator.until(lambda: "FieldsContested" in operator.events("pair"), "an Event")
    writes = operator.writes_to("/services/pair")
    cluster.create(a_model("other"))
    await operator.ready("other")
    assert operator.writes_to("/services/pair") == writes
    assert operator.condition_of("pair", "Ready")["status"] == "True"


def test_of_an_object_that_was_made_only_the_compared_fields_are_kept() -> None:
    """Thousands of Services stay small; who changed a field is kept, and who applied it is not."""
    ours = {"manager": "shardwise", "operation": "Apply", "fieldsV1": {"f:spec": {"f:type": {}}}, "time": "t"}
    status = {"manager": "kcm", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}}
    theirs = {"manager": "x", "operation": "Update", "fieldsV1": {"f:spec": {"f:selector": {}}}, "time": "t"}
    obj = {
        "kind": "Service",
        "metadata": {
            "name": "s",
            "namespace": "n",
            "uid": "u",
            "resourceVersion": "7",
            "creationTimestamp": "t",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x" * 9000},
            "labels": {"a": "b"},
            "managedFields": [ours, status, theirs],
        },
        "spec": {"type": "ClusterIP"},
        "status": {"loadBalancer": {}},
    }
    assert slim_owned(obj) == {
        "kind": "Service",
        "metadata": {
            "name": "s",
            "namespace": "n",
            "uid": "u",
            "resourceVersion": "7",
            "labels": {"a": "b"},
            "managedFields": [{"manager": "x", "fieldsV1": {"f:spec": {"f:selector": {}}}}],
        },
        "spec": {"type": "ClusterIP"},
    }
    assert sys.getsizeof(slim_owned(obj)["metadata"]) <= sys.getsizeof(obj["metadata"])
