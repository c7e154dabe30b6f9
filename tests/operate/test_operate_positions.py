"""The positions of groups in queues of Kueue: asked for while groups wait, unknown where Kueue does not tell."""

from http import HTTPStatus
from typing import Any

import pytest

from shardwise.cluster import ClusterError, Refused, Retryable
from shardwise.domain.launch import ClusterQueue, QueueSystem
from shardwise.observe import Key, Store
from shardwise.observe.kinds import Kind
from shardwise.operate.positions import Positions
from shardwise.queues import Position

Json = dict[str, Any]
TEAM = ("default", "team")


class Visible:
    """Kueue's visibility API: the names of the groups that wait, in order, by version and queue."""

    def __init__(self, *names: str, version: str = "v1beta2") -> None:
        self.names = list(names)
        self.version = version
        self.before = 0
        """The groups of other queues that share the quota, all before these."""
        self.fails: ClusterError | None = None
        self.calls: list[str] = []

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Give the groups that wait in a queue, as Kueue v0.19.2 does."""
        self.calls.append(kind.path(namespace, name))
        if self.fails is not None:
            raise self.fails
        if kind.version != self.version:
            raise Refused("the server could not find the requested resource", HTTPStatus.NOT_FOUND)
        items = (
            {
                "metadata": {"namespace": namespace, "name": waiting},
                "positionInLocalQueue": place,
                "positionInClusterQueue": place + self.before,
            }
            for place, waiting in enumerate(self.names)
        )
        return {"items": list(items)}


def a_store(**states: str) -> Store:
    """Give a store with objects in the queue ``team``, each with a group in a state."""
    store = Store()
    for name, state in states.items():
        groups = [{"replica": 0, "attempt": 0, "state": state, "nodes": ["n"], "gpusPerPod": 8}]
        labels = {"app.kubernetes.io/managed-by": "shardwise", "shardwise.dev/model": name}
        owner = {"kind": "ShardedModel", "apiVersion": "shardwise.dev/v1alpha1", "name": name, "controller": True}
        metadata = {"name": name, "namespace": "default", "resourceVersion": "1"}
        store.sharded_models.show({"metadata": metadata, "spec": {}, "status": {"groups": groups}})
        made = metadata | {"name": f"{name}-0-0", "labels": labels, "ownerReferences": [owner | {"uid": name}]}
        store.services.show({"metadata": made})
        store.cluster_queues.enter(("default", name), ClusterQueue(QueueSystem.KUEUE, "team"))
    return store


def positions(kueue: Visible, store: Store) -> tuple[Positions, list[Key]]:
    woken: list[Key] = []
    return Positions(kueue, store, woken.append), woken  # type: ignore[arg-type]


async def test_the_positions_of_our_groups_are_kept_and_those_that_move_are_woken() -> None:
    """Others stand between them; a position that stays wakes nobody."""
    store, kueue = a_store(a="Queued", b="Queued"), Visible("a-0-0", "of-another", "b-0-0")
    asking, woken = positions(kueue, store)
    await asking.ask()
    assert store.cluster_queues.positions == {
        ("default", "a-0-0"): Position(1, 1),
        ("default", "b-0-0"): Position(3, 3),
    }
    assert woken == [("default", "a"), ("default", "b")]
    woken.clear()
    await asking.ask()
    assert woken == []
    kueue.names.remove("of-another")
    await asking.ask()
    assert (store.cluster_queues.positions["default", "b-0-0"], woken) == (Position(2, 2), [("default", "b")])


async def test_each_queue_is_asked_once_however_many_wait_and_not_while_nobody_waits() -> None:
    kueue = Visible()
    await positions(kueue, a_store(a="Queued", b="Queued", c="Ready"))[0].ask()
    assert kueue.calls[:1] == [
        "/apis/visibility.kueue.x-k8s.io/v1beta2/namespaces/default/localqueues/team/pendingworkloads"
    ]
    assert len(kueue.calls) == 1
    idle = Visible()
    await positions(idle, a_store(c="Ready"))[0].ask()
    assert idle.calls == []


async def test_groups_of_other_queues_that_share_the_quota_count_too() -> None:
    """One that comes before wakes the object, although nothing changes in its own queue."""
    store, kueue = a_store(a="Queued"), Visible("a-0-0")
    asking, woken = positions(kueue, store)
    await asking.ask()
    woken.clear()
    kueue.before = 1
    await asking.ask()
    assert (store.cluster_queues.positions, woken) == ({("default", "a-0-0"): Position(1, 2)}, [("default", "a")])


async def test_an_older_version_of_the_api_is_asked_too() -> None:
    store, kueue = a_store(a="Queued"), Visible("a-0-0", version="v1beta1")
    await positions(kueue, store)[0].ask()
    assert store.cluster_queues.positions == {("default", "a-0-0"): Position(1, 1)}


@pytest.mark.parametrize(
    "error",
    [
        Refused("the server could not find the requested resource", HTTPStatus.NOT_FOUND),
        Refused("forbidden", HTTPStatus.FORBIDDEN),
        Retryable("the server is currently unable to handle the request", HTTPStatus.SERVICE_UNAVAILABLE),
    ],
    ids=["absent", "not allowed", "away"],
)
async def test_without_the_api_nothing_is_known_of_positions(error: ClusterError) -> None:
    """Positions that were known are forgotten: they may be others by now."""
    store, kueue = a_store(a="Queued"), Visible("a-0-0")
    asking, woken = positions(kueue, store)
    await asking.ask()
    kueue.fails = error
    woken.clear()
    await asking.ask()
    assert (store.cluster_queues.positions, woken) == ({}, [("default", "a")])
