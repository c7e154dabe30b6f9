"""The calls on the API server, against the in-memory one: what is sent, what comes back, and what goes wrong."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.operating import a_model

from shardwise.api import crd
from shardwise.cluster import Call, Cluster, ClusterError, Refused, Retryable, connect
from shardwise.cluster import client as client_module
from shardwise.domain.reasons import Reason
from shardwise.observe.kinds import KINDS, NODE, POD, SERVICE, SHARDED_MODEL, Kind, kind_of
from shardwise.reconcile.actions import Emit
from shardwise_sandbox import Fault, RequestInfo, Sandbox, compute_domain_definition, sample_fleet

Json = dict[str, Any]


def a_service(name: str = "s", port: int = 80) -> Json:
    spec = {"ports": [{"port": port, "protocol": "TCP", "targetPort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(objects=[crd.definition(), compute_domain_definition(), *sample_fleet()]) as running:
        yield running


@pytest.fixture
async def cluster(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Cluster]:
    sandbox.write_kubeconfig(tmp_path / "kubeconfig")
    made = Cluster(await connect(tmp_path / "kubeconfig"))
    yield made
    await made.close()


async def test_a_list_is_read_page_by_page(sandbox: Sandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven nodes in pages of two; with the version the list was made at."""
    monkeypatch.setattr(client_module, "PAGE", 2)
    found, version = await cluster.list(NODE)
    assert [node["metadata"]["name"] for node in found] == sandbox.names("nodes")
    assert int(version) > 0
    pages = [request for request in sandbox.requests if request.path == "/api/v1/nodes"]
    assert len(pages) == -(-len(found) // 2)


async def test_a_list_can_be_selected(sandbox: Sandbox, cluster: Cluster) -> None:
    for name, label in (("a", "x"), ("b", "y")):
        service = a_service(name)
        service["metadata"]["labels"] = {"l": label}
        sandbox.create(service)
    found, _ = await cluster.list(SERVICE, "l=x")
    assert [one["metadata"]["name"] for one in found] == ["a"]


async def test_applying_creates_and_then_changes_under_our_name(sandbox: Sandbox, cluster: Cluster) -> None:
    """Fields others set stay theirs."""
    made = await cluster.apply(a_service())
    assert made["metadata"]["managedFields"][0]["manager"] == "shardwise"
    sandbox.patch("Service", "default", "s", {"metadata": {"labels": {"theirs": "1"}}})
    changed = await cluster.apply(a_service(port=81))
    assert changed["spec"]["ports"][0]["port"] == 81
    assert changed["metadata"]["labels"] == {"theirs": "1"}


async def test_what_somebody_else_changed_is_taken_back(sandbox: Sandbox, cluster: Cluster) -> None:
    """By force: our fields are ours."""
    ours, theirs = ({"spec": a_service()["spec"] | {"type": kind}} for kind in ("ClusterIP", "NodePort"))
    await cluster.apply(a_service() | ours)
    sandbox.apply(a_service() | theirs, manager="somebody", force=True)
    applied = await cluster.apply(a_service() | ours)
    assert applied["spec"]["type"] == "ClusterIP"


async def test_a_status_is_applied_and_what_is_left_out_goes(sandbox: Sandbox, cluster: Cluster) -> None:
    sandbox.create(a_model())
    wanted = {"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel"}
    wanted["metadata"] = {"name": "llama", "namespace": "default"}  # type: ignore[assignment]
    first = await cluster.apply_status(wanted | {"status": {"message": "one", "replicas": 1}})
    assert first["status"]["replicas"] == 1
    second = await cluster.apply_status(wanted | {"status": {"message": "two"}})
    assert (second["status"]["message"], "replicas" in second["status"]) == ("two", False)
    assert second["metadata"]["generation"] == 1


async def test_a_deletion_is_of_that_very_object(sandbox: Sandbox, cluster: Cluster) -> None:
    """One that is gone, and one of the name that is another, count as deleted."""
    sandbox.create(a_service())
    await cluster.delete(SERVICE, "default", "s", uid="another")
    assert sandbox.names("services") == ["s"]
    uid = sandbox.get("Service", "default", "s")["metadata"]["uid"]
    await cluster.delete(SERVICE, "default", "s", uid=uid)
    assert sandbox.names("services") == []
    await cluster.delete(SERVICE, "default", "s", uid=uid)
    await cluster.delete(SERVICE, "default", "s")


async def test_an_event_is_recorded_and_the_same_again_renews_it(sandbox: Sandbox, cluster: Cluster) -> None:
    """One Event for a thing that goes on, not one a minute."""
    model = sandbox.create(a_model())
    for _ in range(3):
        await cluster.record(model, Emit(Reason.PLANNED, "TP8", warning=False))
    await cluster.record(model, Emit(Reason.GROUP_FAILED, "boom", warning=True))
    events = sandbox.list("events")
    assert sorted((event["reason"], event["type"], event["message"]) for event in events) == [
        ("GroupFailed", "Warning", "boom"),
        ("Planned", "Normal", "TP8"),
    ]
    assert all(event["involvedObject"]["uid"] == model["metadata"]["uid"] for event in events)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (403, Refused),
        (404, Refused),
        (422, Refused),
        (408, Retryable),
        (409, Retryable),
        (429, Retryable),
        (500, Retryable),
        (503, Retryable),
        (504, Retryable),
    ],
)
async def test_a_refusal_says_what_was_tried_and_whether_to_try_again(
    sandbox: Sandbox, cluster: Cluster, status: int, kind: type[ClusterError]
) -> None:
    sandbox.faults = lambda _: Fault.answer(status)
    with pytest.raises(kind, match="cannot apply Service default/s: ") as caught:
        await cluster.apply(a_service())
    assert caught.value.status == status


async def test_the_servers_own_words_are_kept(sandbox: Sandbox, cluster: Cluster) -> None:
    """They name the field."""
    wrong = a_model()
    wrong["spec"]["gpuBudget"]["total"] = 0
    with pytest.raises(Refused, match=r"spec\.gpuBudget\.total"):
        await cluster.apply(wrong)
    assert sandbox.names("shardedmodels") == []


async def test_a_lost_answer_is_to_be_tried_again(sandbox: Sandbox, cluster: Cluster) -> None:
    sandbox.faults = lambda _: Fault.lose_answer()
    with pytest.raises(Retryable, match="no answer from the API server"):
        await cluster.apply(a_service())


async def test_refused_credentials_are_read_again_once(sandbox: Sandbox, cluster: Cluster) -> None:
    """They rotate. Where the new ones are refused as well, it is said."""
    refusals = iter([401])

    def refuse(_: RequestInfo) -> Fault | None:
        status = next(refusals, None)
        return None if status is None else Fault.answer(status)

    sandbox.faults = refuse
    assert (await cluster.apply(a_service()))["metadata"]["name"] == "s"
    sandbox.faults = lambda _: Fault.answer(401)
    with pytest.raises(Refused) as caught:
        await cluster.apply(a_service())
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("kind", "args", "path"),
    [
        (NODE, (), "/api/v1/nodes"),
        (NODE, ("ignored", "n"), "/api/v1/nodes/n"),
        (POD, (), "/api/v1/pods"),
        (POD, ("a",), "/api/v1/namespaces/a/pods"),
        (POD, ("a", "p"), "/api/v1/namespaces/a/pods/p"),
        (SHARDED_MODEL, (), "/apis/shardwise.dev/v1alpha1/shardedmodels"),
        (
            SHARDED_MODEL,
            ("a", "m", "status"),
            "/apis/shardwise.dev/v1alpha1/namespaces/a/shardedmodels/m/status",
        ),
    ],
)
def test_paths(kind: Kind, args: tuple[str, ...], path: str) -> None:
    assert kind.path(*args) == path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_found_by_its_name(kind: Kind) -> None:
    assert kind_of(kind.api_version, kind.name) is kind


def test_a_kind_the_operator_does_not_deal_with_is_refused() -> None:
    with pytest.raises(LookupError, match="does not deal with apps/v1 Deployment"):
        kind_of("apps/v1", "Deployment")


async def test_each_call_is_told_with_its_kind_its_status_and_its_duration(sandbox: Sandbox, tmp_path: Path) -> None:
    """A call without an answer has the status 0, and every success 200."""
    told: list[Call] = []
    sandbox.write_kubeconfig(tmp_path / "kubeconfig")
    cluster = Cluster(await connect(tmp_path / "kubeconfig"), called=told.append)
    await cluster.apply(a_service())
    with pytest.raises(Refused):
        await cluster.get(POD, "default", "none")
    sandbox.faults = lambda _: Fault.drop()
    with pytest.raises(Retryable):
        await cluster.list(NODE)
    sandbox.faults = None
    await cluster.close()
    assert [(call.method, call.resource, call.status) for call in told] == [
        ("GET", "services", 404),
        ("PATCH", "services", 200),
        ("GET", "pods", 404),
        ("GET", "nodes", 0),
    ]
    assert all(call.seconds > 0 for call in told)
