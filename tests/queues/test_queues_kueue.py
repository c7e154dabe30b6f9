"""What Kueue needs on pods, and what its objects say. The objects are as Kueue v0.19.2 wrote them."""

from typing import Any

import pytest

from shardwise.queues import SYSTEMS, Offer, Phase, Position, QueueEntry, is_queued
from shardwise.queues.kueue import closed, entered, offer, read_group, read_positions, steered

H100, A100, SPOT = {"gpu": "h100"}, {"gpu": "a100"}, {"pool": "spot"}


def a_pod() -> dict[str, Any]:
    fields = [{"key": "metadata.name", "operator": "In", "values": ["h-0"]}]
    terms = {"nodeSelectorTerms": [{"matchFields": fields}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return {"metadata": {"name": "m-0-1-0", "labels": {"a": "b"}}, "spec": {"affinity": affinity}}


def test_a_pod_enters_with_its_group_and_gives_its_quota_back_when_the_group_is_over() -> None:
    """The name of the group is that of the attempt: Kueue never lets a pod of another node into an old group."""
    pod = a_pod()
    made = entered(pod, QueueEntry("team", "m-0-1", 2))
    assert made["metadata"]["labels"] == {
        "a": "b",
        "kueue.x-k8s.io/queue-name": "team",
        "kueue.x-k8s.io/pod-group-name": "m-0-1",
    }
    assert made["metadata"]["annotations"] == {
        "kueue.x-k8s.io/pod-group-total-count": "2",
        "kueue.x-k8s.io/retriable-in-group": "false",
    }
    assert pod == a_pod(), "the manifest that was given is not changed"
    assert (is_queued(pod), is_queued(made)) == (False, True)


STEERED = {
    "the labels of its flavour": ({"gpu"}, H100 | {"zone": "a"}, {"gpu": "h100"}, None),
    "a key that the node lacks": ({"gpu", "pool"}, H100, {"gpu": "h100"}, ["pool"]),
    "no label of any flavour": ({"pool"}, H100, None, ["pool"]),
    "no keys": (set[str](), H100, None, None),
}


@pytest.mark.parametrize(("keys", "labels", "selector", "lacking"), STEERED.values(), ids=STEERED)
def test_kueue_takes_the_flavour_of_the_planned_node(
    keys: set[str], labels: dict[str, str], selector: dict[str, str] | None, lacking: list[str] | None
) -> None:
    """It chooses by labels alone; a flavour whose label the node lacks is excluded, or the first with quota wins."""
    spec = steered(a_pod(), labels, keys)["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    absent = None if lacking is None else [{"key": key, "operator": "DoesNotExist"} for key in lacking]
    assert (spec.get("nodeSelector"), term.get("matchExpressions")) == (selector, absent)
    assert term["matchFields"][0]["values"] == ["h-0"]


def workload(**conditions: str) -> dict[str, Any]:
    found = [
        {"type": kind, "status": status.split()[0], "reason": "R", "message": f"{kind} says why"}
        for kind, status in conditions.items()
    ]
    return {"metadata": {"name": "m-0-1", "uid": "u"}, "status": {"conditions": found}}


PHASES = {
    "nothing said yet": ({}, Phase.WAITING, ""),
    "no quota": ({"QuotaReserved": "False"}, Phase.WAITING, "QuotaReserved says why"),
    "quota, before checks": ({"QuotaReserved": "True"}, Phase.WAITING, "QuotaReserved says why"),
    "admitted": ({"QuotaReserved": "True", "Admitted": "True"}, Phase.ADMITTED, "Admitted says why"),
    "evicted": ({"QuotaReserved": "False", "Admitted": "True", "Evicted": "True"}, Phase.EVICTED, "Evicted says why"),
    "evicted once, and reserved again": (
        {"QuotaReserved": "True", "Admitted": "True", "Evicted": "True"},
        Phase.ADMITTED,
        "Admitted says why",
    ),
    "finished": ({"Evicted": "True", "Finished": "True"}, Phase.FINISHED, "Finished says why"),
}


@pytest.mark.parametrize(("conditions", "phase", "words"), PHASES.values(), ids=PHASES)
def test_a_workload_says_how_far_its_group_has_come(conditions: dict[str, str], phase: Phase, words: str) -> None:
    group = read_group(workload(**conditions))
    assert (group.phase, group.words, group.uid, group.deleting) == (phase, words, "u", False)


def queue(*groups: tuple[list[str], list[str]]) -> dict[str, Any]:
    found = [
        {"coveredResources": resources, "flavors": [{"name": name} for name in flavors]}
        for resources, flavors in groups
    ]
    return {"spec": {"resourceGroups": found}}


FLAVORS = {
    name: {"spec": {"nodeLabels": labels} if labels else {}}
    for name, labels in {"h100": H100, "a100": A100, "spot": SPOT, "any": None}.items()
}
GPUS = ["nvidia.com/gpu", "cpu"]
OFFERS = {
    "two flavours": (queue((GPUS, ["h100", "a100"])), ((("gpu", "h100"),), (("gpu", "a100"),)), {"gpu"}, None),
    "another group for the memory": (
        queue((["memory"], ["spot"]), (GPUS, ["h100"])),
        ((("gpu", "h100"),),),
        {"gpu", "pool"},
        None,
    ),
    "a flavour for all nodes": (queue((GPUS, ["h100", "any"])), (), {"gpu"}, None),
    "no quota for GPUs": (queue((["cpu"], ["spot"])), (), {"pool"}, None),
    "one flavour of two exists": (queue((GPUS, ["gone", "h100"])), ((("gpu", "h100"),),), {"gpu"}, None),
    "no flavour exists": (queue((GPUS, ["gone", "lost"])), (), set[str](), ("ResourceFlavor", "gone")),
}


@pytest.mark.parametrize(("found", "flavors", "keys", "missing"), OFFERS.values(), ids=OFFERS)
def test_a_queue_offers_the_nodes_of_its_flavours_with_gpus(
    found: dict[str, Any], flavors: tuple[Any, ...], keys: set[str], missing: tuple[str, str] | None
) -> None:
    assert offer(found, FLAVORS) == Offer(flavors, frozenset(keys), missing)


CLOSED: dict[str, tuple[dict[str, Any] | None, str]] = {
    "stopped": (
        {"status": "False", "message": "Can't admit new workloads: is stopped."},
        "Can't admit new workloads: is stopped",
    ),
    "a reason alone": ({"status": "False", "reason": "FlavorNotFound"}, "FlavorNotFound"),
    "open": ({"status": "True", "message": "Can admit new workloads"}, ""),
    "not looked at yet": (None, ""),
}


@pytest.mark.parametrize(("active", "words"), CLOSED.values(), ids=CLOSED)
def test_a_queue_says_why_it_admits_nobody(active: dict[str, Any] | None, words: str) -> None:
    conditions = [{"type": "Active", **active}] if active else []
    assert closed({"status": {"conditions": conditions}}) == words
    assert closed(None) == ""


POSITIONS: dict[str, tuple[dict[str, Any], dict[tuple[str, str], Position]]] = {
    "two groups behind one of another queue": (
        {
            "items": [
                {
                    "metadata": {"namespace": "default", "name": name},
                    "priority": 0,
                    "localQueueName": "team",
                    "positionInClusterQueue": place + 1,
                    "positionInLocalQueue": place,
                }
                for place, name in enumerate(("a-0-0", "b-0-0"))
            ]
        },
        {("default", "a-0-0"): Position(1, 2), ("default", "b-0-0"): Position(2, 3)},
    ),
    "nobody waits": ({"items": []}, {}),
    "no items": ({"items": None}, {}),
}


@pytest.mark.parametrize(("summary", "positions"), POSITIONS.values(), ids=POSITIONS)
def test_positions_are_counted_from_one(summary: dict[str, Any], positions: dict[tuple[str, str], Position]) -> None:
    assert dict(read_positions(summary)) == positions


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=lambda system: system.NAME)
def test_every_system_keeps_the_protocol(system: Any) -> None:
    """Its numbers and names say something; mypy holds its functions to the protocol."""
    assert system.NAME
    assert system.GROUP_KIND
    assert all("/" in version for version in system.SERVED_BY)
    assert system.MOST_PODS > 1
