"""The GPUs that pods in queues of the cluster hold: a group may enter a queue for them, and for no others."""

from typing import Any

import pytest
from tests.support.fleets import a_fleet, h100s

from shardwise.domain.fleet import Fleet
from shardwise.observe.lent import Lent
from shardwise.observe.objects import slim_pod

ME, OTHER = ("default", "me"), ("default", "other")


def pod(name: str, node: str, gpus: int = 8, *, owner: str = "", queued: bool = True, **status: Any) -> dict[str, Any]:
    """Make a bound pod, of an object of ours or of a stranger."""
    labels = {"kueue.x-k8s.io/queue-name": "team"} if queued else {}
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": name, "labels": labels}
    if owner:
        labels |= {"app.kubernetes.io/managed-by": "shardwise", "shardwise.dev/model": owner}
        metadata["ownerReferences"] = [{"kind": "ShardedModel", "name": owner, "uid": owner}]
    requests = {"requests": {"cpu": "4"}, "limits": {"nvidia.com/gpu": str(gpus)}}
    spec = {"nodeName": node, "containers": [{"name": "engine", "resources": requests}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running", **status}}


def full() -> Fleet:
    """Give three nodes without free GPUs, with 8 of 9 CPUs taken."""
    return a_fleet([node._replace(free=0, taken=(("cpu", 8000),)) for node in h100s(3)])


def free(fleet: Fleet | None) -> list[int] | None:
    return None if fleet is None else [node.free for node in fleet.nodes]


SEEN: dict[str, tuple[list[dict[str, Any]], list[int] | None]] = {
    "nobody": ([], None),
    "a stranger in a queue": ([pod("job", "h100-00")], [8, 0, 0]),
    "a stranger in no queue": ([pod("job", "h100-00", queued=False)], None),
    "an object of ours in a queue": ([pod("o", "h100-01", owner="other")], [0, 8, 0]),
    "the object itself": ([pod("m", "h100-01", owner="me")], None),
    "two on one node": ([pod("a", "h100-00", 2), pod("b", "h100-00", 4, owner="other")], [6, 0, 0]),
    "a pod that has ended": ([pod("job", "h100-00", phase="Failed")], None),
    "a pod that waits behind its gates": ([pod("job", "")], None),
    "a node that is gone": ([pod("job", "h100-99")], [0, 0, 0]),
}


@pytest.mark.parametrize(("pods", "expected"), SEEN.values(), ids=SEEN)
def test_only_gpus_of_others_in_queues_are_lent(pods: list[dict[str, Any]], expected: list[int] | None) -> None:
    """Pods are kept as the store keeps them; each is taken in as it comes, and taken out as it goes."""
    lent = Lent()
    for one in pods:
        lent.pod_changed(None, slim_pod(one))
    assert free(lent.widened(full(), ME, {})) == expected
    for one in pods:
        lent.pod_changed(slim_pod(one), None)
    assert lent.widened(full(), ME, {}) is None


def test_the_other_resources_of_such_pods_are_lent_with_their_gpus() -> None:
    """Else a group would never enter for a node whose CPUs those pods hold."""
    lent = Lent()
    lent.pod_changed(None, slim_pod(pod("job", "h100-00")))
    widened = lent.widened(full(), ME, {})
    assert widened is not None
    first, second, _ = widened.nodes
    assert dict(first.taken)["cpu"] == 4000
    assert dict(second.taken)["cpu"] == 8000


def test_what_an_admitted_object_has_planned_is_lent_before_its_pods_are_bound() -> None:
    """And never counted twice when they are."""
    lent = Lent()
    plans = {OTHER: {"h100-00": 8}, ME: {"h100-02": 8}}
    assert free(lent.widened(full(), ME, plans)) == [8, 0, 0]
    lent.pod_changed(None, slim_pod(pod("o", "h100-00", owner="other")))
    assert free(lent.widened(full(), ME, plans)) == [8, 0, 0]
