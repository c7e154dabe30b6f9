"""Reading what connects models with add-ons: only what is configured, only our own, and what the cluster lacks."""

from unittest.mock import AsyncMock

import pytest
from pytest_mock import MockerFixture
from tests.controller.support import KEY, Json, a_model, a_service, a_store
from tests.support.add_ons import KEDA, a_site
from tests.support.operating import a_model as whole_model

from shardwise.api import crd
from shardwise.cluster import Cluster
from shardwise.domain.launch import LaunchSite
from shardwise.observe import Store
from shardwise.observe.kinds import ATTACHED, Kind
from shardwise.operate import Changes, relist
from shardwise.operate.queue import Queue
from shardwise_sandbox import Sandbox

OURS = "app.kubernetes.io/managed-by=shardwise"
NAMES = tuple(kind.plural for kind in ATTACHED)


class Scene:
    """A mocked API server that serves some kinds, and says what it was asked for."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.served = set(NAMES)
        self.asked: list[tuple[str, str, str | None]] = []
        self.lists: dict[str, list[Json]] = {"shardedmodels": [a_model()]}
        self.cluster: AsyncMock = mocker.create_autospec(Cluster, instance=True)
        self.cluster.list.side_effect = self._list
        self.cluster.serves.side_effect = self._serves
        self.queue = mocker.create_autospec(Queue, instance=True)

    async def _list(
        self, kind: Kind, selector: str | None = None, trim: object = None, namespace: str = ""
    ) -> tuple[list[Json], str]:
        if kind in ATTACHED:
            self.asked.append((kind.plural, namespace, selector))
        assert kind.plural in self.served or kind not in ATTACHED
        del trim
        if kind.plural == "namespaces":
            return [{"metadata": {"name": name}} for name in ("team-a", "team-b", "team-c")], "10"
        return self.lists.get(kind.plural, []), "10"

    async def _serves(self, kind: Kind) -> bool:
        return kind.plural in self.served

    async def relist(self, store: Store, site: LaunchSite, namespaces: tuple[str, ...] = ()) -> None:
        await relist(self.cluster, store, Changes(store, self.queue), self.queue, namespaces, site)


@pytest.fixture
def scene(mocker: MockerFixture) -> Scene:
    return Scene(mocker)


def an_attachment(kind: str, name: str = "llama") -> Json:
    made = a_service()
    return made | {"kind": kind, "metadata": made["metadata"] | {"name": name}, "spec": {"a": 1}}


async def test_nothing_is_asked_for_that_is_not_configured(scene: Scene) -> None:
    """A cluster without these add-ons answers 404 to each, and the operator may have no right on them."""
    await scene.relist(a_store(), LaunchSite())
    assert scene.asked == []


async def test_of_each_configured_kind_our_own_objects_are_read(scene: Scene) -> None:
    scene.lists["inferencepools"] = [an_attachment("InferencePool")]
    store = a_store()
    await scene.relist(store, a_site())
    assert scene.asked == [(plural, "", OURS) for plural in ("inferencepools", "httproutes", "scaledobjects")]
    seen = store.observe(KEY, 0.0).attachments
    assert (set(seen.present), seen.missing) == ({("InferencePool", "llama")}, frozenset())


async def test_an_operator_of_single_namespaces_reads_these_alone(scene: Scene) -> None:
    """Its Roles allow no more."""
    await scene.relist(a_store(), a_site(KEDA, pools=False, gateways=()), ("team-a", "team-c"))
    assert scene.asked == [("scaledobjects", "team-a", OURS), ("scaledobjects", "team-c", OURS)]


async def test_a_kind_that_is_not_served_is_missing_until_it_is(scene: Scene) -> None:
    """And what was known of it is forgotten: it has gone with its kind."""
    scene.lists["scaledobjects"] = [an_attachment("ScaledObject")]
    store = a_store()
    await scene.relist(store, a_site())
    assert set(store.observe(KEY, 0.0).attachments.present) == {("ScaledObject", "llama")}
    scene.served -= {"scaledobjects"}
    await scene.relist(store, a_site())
    seen = store.observe(KEY, 0.0).attachments
    assert (seen.present, seen.missing) == ({}, frozenset({"ScaledObject"}))
    scene.served = set(NAMES)
    await scene.relist(store, a_site())
    assert store.observe(KEY, 0.0).attachments.missing == frozenset()


async def test_a_change_of_an_attachment_wakes_its_object_alone(scene: Scene) -> None:
    store = a_store(a_model(), a_model("other"))
    changes = Changes(store, scene.queue)
    take = changes.attachment(next(kind for kind in ATTACHED if kind.name == "HTTPRoute"))
    take(an_attachment("HTTPRoute"), False)
    assert [call.args[0] for call in scene.queue.add.call_args_list] == [KEY]
    take(an_attachment("HTTPRoute"), True)
    assert [call.args[0] for call in scene.queue.add.call_args_list] == [KEY, KEY]
    assert store.observe(KEY, 0.0).attachments.present == {}


GIT = "kustomize-controller"


def test_a_file_without_replicas_leaves_the_number_of_a_scaler_alone() -> None:
    """On the in-memory API as on a real API server (tests/cluster): also after a file that had the field."""
    cluster = Sandbox(objects=[crd.definition()], controllers=False)
    bare, full = whole_model(), whole_model(replicas=2)
    cluster.apply(bare, manager=GIT, force=True)
    cluster.patch("ShardedModel", "default", "llama", {"spec": {"replicas": 3}}, "scale")
    assert cluster.apply(bare, manager=GIT, force=True)["spec"]["replicas"] == 3
    assert cluster.apply(full, manager=GIT, force=True)["spec"]["replicas"] == 2
    cluster.patch("ShardedModel", "default", "llama", {"spec": {"replicas": 3}}, "scale")
    assert cluster.apply(bare, manager=GIT, force=True)["spec"]["replicas"] == 3


def test_a_number_that_only_a_file_had_falls_to_the_default_when_the_file_drops_it() -> None:
    cluster = Sandbox(objects=[crd.definition()], controllers=False)
    cluster.apply(whole_model(replicas=2), manager=GIT, force=True)
    assert cluster.apply(whole_model(), manager=GIT, force=True)["spec"]["replicas"] == 1
