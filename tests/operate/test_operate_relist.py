"""The relist: everything is listed, what is gone is swept, every object is looked at; and it is tried again."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from unittest.mock import AsyncMock

import pytest
from pytest_mock import MockerFixture
from tests.controller.support import (
    KEY,
    Clock,
    Json,
    a_model,
    a_node,
    a_plan,
    a_pod,
    a_service,
    a_store,
    free,
    gpus_of,
    settle,
)

from shardwise.cluster import Cluster, Refused, Retryable
from shardwise.controller.run import Options, _acting, _relist_again
from shardwise.observe import Store
from shardwise.observe.kinds import Kind
from shardwise.operate import Changes, relist
from shardwise.operate.queue import Queue


class Scene:
    """A mocked API server that lists what a test says, all at version 10."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.lists: dict[str, list[Json]] = {}
        self.selectors: dict[str, str | None] = {}
        self.forbidden: set[str] = set()
        self.cluster: AsyncMock = mocker.create_autospec(Cluster, instance=True)
        self.cluster.list.side_effect = self._list
        self.queue = mocker.create_autospec(Queue, instance=True)

    async def _list(
        self, kind: Kind, selector: str | None = None, trim: Callable[[Json], Json] | None = None
    ) -> tuple[list[Json], str]:
        self.selectors[kind.plural] = selector
        if kind.plural in self.forbidden:
            raise Refused(f"cannot list {kind.plural}: forbidden", 403)
        found = self.lists.get(kind.plural, [])
        return found if trim is None else list(map(trim, found)), "10"

    async def relist(self, store: Store) -> None:
        await relist(self.cluster, store, Changes(store, self.queue), self.queue)

    def woken(self) -> list[str]:
        return [call.args[0][1] for call in self.queue.add.call_args_list]


@pytest.fixture
def scene(mocker: MockerFixture) -> Scene:
    return Scene(mocker)


async def test_all_that_matters_is_taken_in(scene: Scene) -> None:
    """Slim, and no pods of strangers that are not bound and ask for no GPUs."""
    scene.lists = {
        "nodes": [a_node()],
        "pods": [a_pod("ours", owner="llama", gpus=2), a_pod("stranger", gpus=1), a_pod("web", gpus=0, node="")],
        "services": [a_service()],
        "shardedmodels": [a_model()],
    }
    store = a_store()
    await scene.relist(store)
    assert set(store.pods.objects) == {("default", "ours"), ("default", "stranger")}
    assert free(store) == {"h100-1": 5}
    assert (set(store.services.objects), set(store.sharded_models.objects)) == ({KEY}, {KEY})


A_QUOTA = {"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default", "resourceVersion": "5"}}


async def test_quotas_that_may_not_be_read_are_done_without(scene: Scene) -> None:
    """The API server holds pods to them; those known from before are forgotten, not believed."""
    scene.lists = {"resourcequotas": [A_QUOTA], "shardedmodels": [a_model()]}
    store = a_store()
    await scene.relist(store)
    assert (set(store.quotas.objects), store.reads_quotas) == ({("default", "q")}, True)
    scene.forbidden = {"resourcequotas"}
    await scene.relist(store)
    assert (set(store.quotas.objects), store.reads_quotas) == (set(), False)
    assert scene.woken() == ["llama", "llama"]
    scene.forbidden = set()
    await scene.relist(store)
    assert set(store.quotas.objects) == {("default", "q")}


@pytest.mark.parametrize("kind", ["nodes", "pods", "shardedmodels"])
async def test_what_may_not_be_read_and_is_needed_fails_the_relist(scene: Scene, kind: str) -> None:
    scene.forbidden = {kind}
    with pytest.raises(Refused):
        await scene.relist(a_store())


async def test_only_our_services_are_asked_for(scene: Scene) -> None:
    """Of pods, all: strangers hold GPUs too."""
    await scene.relist(a_store())
    assert scene.selectors == {
        "nodes": None,
        "poddisruptionbudgets": "app.kubernetes.io/managed-by=shardwise",
        "pods": None,
        "priorityclasses": None,
        "services": "app.kubernetes.io/managed-by=shardwise",
        "shardedmodels": None,
        "resourcequotas": None,
        "deviceclasses": None,
        "resourceslices": None,
        "resourceclaims": None,
    }


async def test_every_object_is_looked_at(scene: Scene) -> None:
    """Whether anything changed or not: a watch may have lost what did."""
    scene.lists = {"shardedmodels": [a_model("a"), a_model("b", plan=a_plan(("h100-1", 8)))]}
    await scene.relist(a_store(a_model("a")))
    assert scene.woken() == ["a", "b"]


async def test_after_a_list_each_object_is_looked_at_as_relisted(scene: Scene) -> None:
    """What may not be read is applied again then, and only then."""
    scene.lists = {"shardedmodels": [a_model()]}
    store = a_store(a_model())
    assert store.observe(KEY, 0.0).relisted is False
    await scene.relist(store)
    assert store.observe(KEY, 0.0).relisted is True


async def test_what_is_no_longer_listed_holds_nothing(scene: Scene) -> None:
    """Its deletion was lost: pods, node, object and plan go now."""
    store = a_store(a_pod(owner="llama"), a_service(), a_model(), nodes=(a_node("h100-1"), a_node("h100-2")))
    store.hold(KEY, gpus_of(a_plan(("h100-1", 8))))
    scene.lists = {"nodes": [a_node("h100-1")], "shardedmodels": [a_model("waiting")]}
    await scene.relist(store)
    assert free(store) == {"h100-1": 8}
    assert (store.pods.objects, store.services.objects, store.plans) == ({}, {}, {})
    assert set(store.sharded_models.objects) == {("default", "waiting")}
    assert "waiting" in scene.woken()


async def test_recorded_plans_hold_their_gpus_before_anything_is_decided(scene: Scene) -> None:
    """An operator that starts again gives nobody's GPUs away, whichever object it looks at first."""
    plan = a_plan(("h100-1", 8))
    scene.lists = {"nodes": [a_node()], "shardedmodels": [a_model("a"), a_model("b", plan=plan)]}
    store = a_store()
    await scene.relist(store)
    assert store.plans == {("default", "b"): gpus_of(plan)}
    assert free(store) == {"h100-1": 0}


async def test_a_plan_decided_since_is_not_replaced_by_a_recorded_one(scene: Scene) -> None:
    """The list may be older than the decision."""
    decided = a_plan(("h100-2", 8))
    store = a_store()
    store.hold(KEY, gpus_of(decided))
    scene.lists = {"shardedmodels": [a_model(plan=a_plan(("h100-1", 8)))]}
    await scene.relist(store)
    assert store.plans == {KEY: gpus_of(decided)}


async def test_one_who_begins_to_lead_holds_what_is_recorded_by_then(scene: Scene) -> None:
    """The leader before him decided otherwise since he first listed: those GPUs are taken, pods or not."""
    nodes = [a_node("h100-1"), a_node("h100-2")]
    moved = a_plan(("h100-2", 8))
    store = a_store()
    store.hold(KEY, gpus_of(a_plan(("h100-1", 8))))
    scene.lists = {"nodes": nodes, "shardedmodels": [a_model(plan=moved)]}
    options = Options(lease=("default", "shardwise"))
    scene.queue.serve.side_effect = asyncio.Event().wait
    begun = asyncio.Event()
    task = asyncio.create_task(_acting(options, store, scene.queue, partial(scene.relist, store), (), begun))
    await begun.wait()
    assert store.plans == {KEY: gpus_of(moved)}
    assert free(store) == {"h100-1": 8, "h100-2": 0}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_relist_that_fails_is_tried_again_at_the_next_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and the operator goes on with what it knows."""
    clock = Clock(monkeypatch)
    scene.cluster.list.side_effect = Retryable("cannot list nodes: no answer")
    store = a_store()
    options = Options(relist_seconds=300.0, first_relist_seconds=300.0)
    task = asyncio.create_task(_relist_again(options, partial(scene.relist, store)))
    await settle()
    await clock.advance(299.0)
    assert scene.cluster.list.call_count == 0
    await clock.advance(2.0)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "relist failed: cannot list nodes: no answer")
    ]
    scene.cluster.list.side_effect = scene._list
    scene.lists = {"shardedmodels": [a_model()]}
    await clock.advance(301.0)
    assert scene.woken() == ["llama"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_soon_after_the_start_all_is_listed_once_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod deleted after our first list and before that of kopf's watch is told of by nobody."""
    clock = Clock(monkeypatch)
    store = a_store(a_pod(owner="llama"), a_service(), a_model())
    scene.lists = {"services": [a_service()], "shardedmodels": [a_model()]}
    task = asyncio.create_task(_relist_again(Options(), partial(scene.relist, store)))
    await settle()
    await clock.advance(14.0)
    assert store.pods.objects != {}
    await clock.advance(2.0)
    assert store.pods.objects == {}
    assert scene.woken() == ["llama"]
    calls = scene.cluster.list.call_count
    await clock.advance(290.0)
    assert scene.cluster.list.call_count == calls, "then as rarely as before"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
