"""``shardwise explain`` of objects that wait: their places in the queue, as the operator has them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import Json, Ran, a_list, a_model, changed, renamed, shardwise, write
from tests.support.operating import Operating, a_large_model, operating

from shardwise.cluster import Refused
from shardwise.observe.kinds import PRIORITY_CLASS, Kind
from shardwise_sandbox.demo import fleet_documents

NEED_32 = {"total": 32, "products": ["NVIDIA-H100-80GB-HBM3"]}
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Operating]:
    """Give a cluster with a running operator."""
    async with operating(tmp_path) as running:
        yield running


def a_class(name: str, value: Any, *, default: bool = False) -> Json:
    kind = {"apiVersion": PRIORITY_CLASS.api_version, "kind": PRIORITY_CLASS.name}
    return {**kind, "metadata": {"name": name}, "value": value, "globalDefault": default}


def waiter(name: str, created: str, priority: str | None = None) -> Json:
    """Give an object that has waited for years: for more than the sample fleet has free."""
    wide = renamed(a_model("llama-405b"), name)
    wide["metadata"]["creationTimestamp"] = created
    if priority is not None:
        wide["spec"]["placement"] = {"priorityClassName": priority}
    return wide | {"status": {"waitingSince": LONG_AGO}}


def held() -> Json:
    """Give an object that holds all H100s of the sample fleet."""
    group = {"replica": 0, "attempt": 0, "state": "Ready", "nodes": ["h100-1", "h100-2"], "gpusPerPod": 8}
    return renamed(a_model("llama-405b"), "holder") | {"status": {"groups": [group]}}


def explained(tmp_path: Path, *documents: Json, name: str) -> Ran:
    fleet = write(tmp_path / "f.yaml", a_list([*fleet_documents(), held(), *documents]))
    return shardwise("explain", name, "--fleet", fleet, "-o", "json")


OLD, YOUNG = waiter("old", "2026-01-01T00:00:00Z"), waiter("young", "2026-02-01T00:00:00Z")
URGENT = waiter("urgent", "2026-03-01T00:00:00Z", "urgent")

QUEUES: dict[str, tuple[tuple[Json, ...], str, Json | None]] = {
    "alone: there is no queue": ((OLD,), "old", None),
    "the older first": ((OLD, YOUNG), "young", {"position": 2, "length": 2, "first": "default/old"}),
    "its own turn": ((OLD, YOUNG), "old", {"position": 1, "length": 2, "first": None}),
    "the class before the age": (
        (OLD, YOUNG, URGENT, a_class("urgent", 100)),
        "old",
        {"position": 2, "length": 3, "first": "default/urgent"},
    ),
    "a class nobody knows counts nothing": (
        (OLD, URGENT),
        "urgent",
        {"position": 2, "length": 2, "first": "default/old"},
    ),
    "the default of the cluster counts": (
        (OLD, URGENT, a_class("urgent", 5), a_class("usual", 10, default=True)),
        "urgent",
        {"position": 2, "length": 2, "first": "default/old"},
    ),
}


@pytest.mark.parametrize(("documents", "name", "queue"), QUEUES.values(), ids=QUEUES)
def test_the_place_in_the_queue(tmp_path: Path, documents: tuple[Json, ...], name: str, queue: Json | None) -> None:
    ran = explained(tmp_path, *documents, name=name)
    assert ran.status == 1
    assert ran.data[0]["queue"] == queue


def test_gpus_that_look_free_are_kept_for_who_has_waited_long(tmp_path: Path) -> None:
    """One in the queue that could have them is told that they are kept, and for whom."""
    wide = changed(OLD, spec__gpuBudget=NEED_32, spec__replicas=2)
    small = changed(a_model(), spec__gpuBudget={"total": 1, "products": ["NVIDIA-H100-80GB-HBM3"]})
    small["metadata"]["creationTimestamp"] = "2026-05-01T00:00:00Z"
    documents = [*fleet_documents(), wide, renamed(small, "small")]
    ran = shardwise("explain", "small", "--fleet", write(tmp_path / "f.yaml", a_list(documents)))
    assert ran.status == 1
    assert (
        "  queue    position 2 of 2 among the objects that wait for GPUs, after `default/old`" in ran.out.splitlines()
    )


def test_a_paused_object_stands_in_nobodys_way(tmp_path: Path) -> None:
    first = {**OLD, "metadata": OLD["metadata"] | {"annotations": {"shardwise.dev/paused": "true"}}}
    assert explained(tmp_path, first, YOUNG, name="young").data[0]["queue"] is None


async def test_a_cluster_says_the_same_as_its_operator(cluster: Operating) -> None:
    """The message of the status and the explanation, of the third of three."""
    cluster.cluster.create(a_large_model())
    await cluster.ready("large")
    for name in ("second", "third"):
        cluster.cluster.create(a_large_model(name))
        await cluster.condition(name, "Planned", "False")
    await cluster.until(lambda: "position 2 of 2" in cluster.status("third")["message"], "a place in the queue")
    ran = await asyncio.to_thread(shardwise, "explain", "third", "--kubeconfig", cluster.kubeconfig)
    assert "  queue    position 2 of 2 among the objects that wait for GPUs, after `default/second`" in ran.out


class Forbidding:
    """An API server that shows all but PriorityClasses."""

    async def list(self, kind: Kind, selector: str | None = None, **_: object) -> tuple[list[Json], str]:
        if kind is PRIORITY_CLASS:
            raise Refused("cannot list priorityclasses: forbidden", 403)
        return [], "1"

    async def serves(self, _: Kind) -> bool:
        return True

    async def close(self) -> None: ...


def test_who_may_not_read_priority_classes_is_answered_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They order the queue; all else is known without them."""

    async def connected(*_: object) -> Any:
        return type("Connection", (), {"namespace": "default"})()

    monkeypatch.setattr("shardwise.cli.live.connect", connected)
    monkeypatch.setattr("shardwise.cli.live.Cluster", lambda _: Forbidding())
    ran = shardwise("explain", "-f", write(tmp_path / "o.yaml", a_model()))
    assert (ran.status, ran.err) == (1, "")
    assert "there are no nodes" in ran.out


def test_a_class_no_api_server_would_give_is_refused(tmp_path: Path) -> None:
    ran = explained(tmp_path, a_class("urgent", "high"), OLD, name="old")
    assert ran.status == 2
    assert ran.err.endswith("PriorityClass `urgent`: value: `high` is not a whole number\n")
