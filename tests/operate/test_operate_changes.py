"""Changes: every change goes into the store, and wakes those it may concern, and nobody else."""

from collections.abc import Callable, Iterable
from typing import Any
from unittest.mock import Mock

import pytest
from pytest_mock import MockerFixture
from tests.controller.support import KEY, Json, a_model, a_node, a_plan, a_pod, a_service, a_store, at, changed

from shardwise.observe import Store
from shardwise.operate import Changes
from shardwise.operate.queue import Queue
from shardwise.reconcile.status_data import holdings

PLACED = a_plan(("h100-1", 8))
GONE = True
HERE = False


class Scene:
    """A store, and changes that wake a queue nobody serves."""

    def __init__(self, queue: Mock, *objects: Json) -> None:
        self.store: Store = a_store(*objects, nodes=(a_node("h100-1"), a_node("h100-2")))
        for key, model in self.store.sharded_models.objects.items():
            if model["status"]:
                self.store.hold(key, holdings(model["status"]))
        self.queue = queue
        self.changes = Changes(self.store, queue)

    def woken(self) -> list[str]:
        """Name who was woken, and forget it."""
        names = [name for name, args, _ in self.queue.mock_calls for name in self._asked(name, args)]
        self.queue.reset_mock()
        return names

    def _asked(self, call: str, args: tuple[Any, ...]) -> list[str]:
        """Name the objects that a call to the queue asks for: one, or in turn those that lack a place."""
        return [args[0][1]] if call == "add" else [name for _, name in self.store.waiting.lacking_from(*args)]


@pytest.fixture
def scene(mocker: MockerFixture) -> Scene:
    """Give four objects: one placed on h100-1, one on h100-2, one that waits, one with one of two groups."""
    return Scene(
        mocker.create_autospec(Queue, instance=True),
        a_model("on-1", plan=PLACED),
        a_model("on-2", plan=a_plan(("h100-2", 8))),
        a_model("waiting"),
        a_model("half", plan=a_plan(("h100-2", 1)), replicas=2),
    )


def test_a_new_object_is_woken_itself(scene: Scene) -> None:
    scene.changes.sharded_model(a_model("new", 5), HERE)
    assert scene.woken() == ["new"]
    assert ("default", "new") in scene.store.sharded_models.objects


@pytest.mark.parametrize("version", [1, 0])
def test_what_is_known_already_wakes_nobody(scene: Scene, version: int) -> None:
    """Lists repeat, and late events are of the past."""
    scene.changes.sharded_model(a_model("on-1", version), HERE)
    scene.changes.sharded_model(a_model("waiting", version), HERE)
    assert scene.woken() == []


def test_a_deleted_object_gives_its_gpus_to_those_that_wait(scene: Scene) -> None:
    """Those that are placed have what they need."""
    scene.changes.sharded_model(a_model("on-1", 9), GONE)
    assert scene.woken() == ["on-1", "half", "waiting"]
    assert ("default", "on-1") not in scene.store.plans
    assert ("default", "on-1") not in scene.store.sharded_models.objects


GIVEN_BACK: dict[str, tuple[dict[str, int], list[str]]] = {
    "all of them": ({}, ["half", "waiting"]),
    "some of them": ({"h100-1": 7}, ["half", "waiting"]),
    "for those of another node": ({"h100-2": 8}, ["half", "waiting"]),
    "none of them": ({"h100-1": 8}, []),
    "and takes more": ({"h100-1": 8, "h100-2": 8}, []),
}


@pytest.mark.parametrize(("gpus", "woken"), GIVEN_BACK.values(), ids=GIVEN_BACK)
def test_gpus_that_a_decision_gives_back_go_to_those_that_wait(
    scene: Scene, gpus: dict[str, int], woken: list[str]
) -> None:
    """No pod held the GPUs of an object whose pods were refused: no event would tell that they are free."""
    scene.store.hold(("default", "on-1"), gpus)
    assert scene.woken() == woken


def test_a_deleted_object_that_held_nothing_frees_nothing(scene: Scene) -> None:
    scene.changes.sharded_model(a_model("waiting", 9), GONE)
    assert scene.woken() == ["waiting"]


def test_an_object_a_relist_found_gone_gives_its_gpus_back_as_well(scene: Scene) -> None:
    """It is off the shelf already by then."""
    gone = scene.store.sharded_models.objects.pop(("default", "on-1"))
    scene.changes.sharded_model(gone, GONE)
    assert scene.woken() == ["half", "waiting"]
    assert ("default", "on-1") not in scene.store.plans


OURS: Json = {"owner": "on-1"}
PODS: dict[str, tuple[list[Json], Json, bool, list[str]]] = {
    "ours, new": ([], a_pod("p", 2, **OURS), HERE, ["on-1"]),
    "ours, changed": ([a_pod("p", **OURS)], a_pod("p", 2, **OURS), HERE, ["on-1"]),
    "ours, the same": ([a_pod("p", **OURS)], a_pod("p", **OURS), HERE, []),
    "ours, failed": ([a_pod("p", **OURS)], a_pod("p", 2, **OURS, phase="Failed"), HERE, ["on-1"]),
    "ours, deleted": ([a_pod("p", **OURS)], a_pod("p", 2, **OURS), GONE, ["on-1", "half", "waiting"]),
    "ours, of an object not known": ([], a_pod("p", 2, owner="later"), HERE, ["later"]),
    "a stranger with GPUs, new": ([], a_pod("p", 2), HERE, []),
    "a stranger with GPUs, changed": ([a_pod("p")], a_pod("p", 2), HERE, []),
    "a stranger with GPUs, deleted": ([a_pod("p")], a_pod("p", 2), GONE, ["half", "waiting"]),
    "a stranger with GPUs, ended": ([a_pod("p")], a_pod("p", 2, phase="Succeeded"), HERE, ["half", "waiting"]),
    "a stranger with GPUs, deleted before it was seen": ([], a_pod("p", 2), GONE, []),
    "a stranger without GPUs": ([], a_pod("p", 2, gpus=0), HERE, []),
    "a stranger without GPUs, deleted": ([], a_pod("p", 2, gpus=0), GONE, []),
    "an event of the past": ([a_pod("p", 5)], a_pod("p", 4), GONE, []),
}


@pytest.mark.parametrize(("known", "pod", "deleted", "woken"), PODS.values(), ids=PODS)
def test_a_pod_wakes_its_owner_and_its_end_those_that_wait(
    scene: Scene, known: list[Json], pod: Json, deleted: bool, woken: list[str]
) -> None:
    """GPUs that become free may be what others wait for; those that are taken are nobody's news."""
    for one in known:
        scene.store.pods.put(one)
    scene.changes.pod(pod, deleted)
    assert scene.woken() == woken


@pytest.mark.parametrize(
    ("pod", "kept"),
    [
        (a_pod("p"), True),
        (a_pod("p", owner="on-1", gpus=0), True),
        (a_pod("p", gpus=0), True),
        (a_pod("p", gpus=0, node=""), False),
        (a_pod("p", phase="Failed"), False),
    ],
    ids=["a stranger's with GPUs", "ours", "one without GPUs", "one without GPUs and node", "one that ended"],
)
def test_only_pods_that_matter_are_kept(scene: Scene, pod: Json, kept: bool) -> None:
    """Slim: of the many others only their node and their requests."""
    scene.changes.pod({**pod, "metadata": pod["metadata"] | {"managedFields": [{}]}}, HERE)
    assert (("default", "p") in scene.store.pods.objects) is kept
    assert all("managedFields" not in obj["metadata"] for obj in scene.store.pods.objects.values())


def test_a_stranger_that_ended_is_forgotten(scene: Scene) -> None:
    """Also when its deletion is never heard of."""
    scene.changes.pod(a_pod("p", 2), HERE)
    scene.changes.pod(a_pod("p", 3, phase="Succeeded"), HERE)
    assert scene.store.pods.objects == {}
    scene.woken()
    scene.changes.pod(a_pod("p", 4), GONE)
    assert scene.woken() == []


@pytest.mark.parametrize(
    ("known", "service", "deleted", "woken"),
    [
        ([], a_service("s", 2, owner="on-1"), HERE, ["on-1"]),
        ([a_service("s", owner="on-1")], a_service("s", owner="on-1"), HERE, []),
        ([a_service("s", owner="on-1")], a_service("s", 2, owner="on-1"), GONE, ["on-1"]),
        ([], a_service("s", 2, owner="on-1"), GONE, []),
        ([], a_service("s", 2, owner=None), HERE, []),
        ([a_service("s", owner="on-1")], a_service("s", 2, owner=None), HERE, ["on-1"]),
    ],
    ids=["new", "the same", "deleted", "deleted before it was seen", "a stranger's", "its owner taken away"],
)
def test_a_service_wakes_its_owner(
    scene: Scene, known: list[Json], service: Json, deleted: bool, woken: list[str]
) -> None:
    """It is made again when somebody deletes it."""
    for one in known:
        scene.store.services.put(one)
    scene.changes.service(service, deleted)
    assert scene.woken() == woken


def heartbeat(node: Json) -> None:
    node["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:00:00Z"


def images(node: Json) -> None:
    node["status"]["images"] = [{"names": ["large"]}]


def annotation(node: Json) -> None:
    node["metadata"]["annotations"] = {"a": "b"}


def cordon(node: Json) -> None:
    node["spec"]["unschedulable"] = True


def lost(node: Json) -> None:
    node["status"]["conditions"][0]["status"] = "Unknown"


def fewer_gpus(node: Json) -> None:
    node["status"]["allocatable"]["nvidia.com/gpu"] = "7"


def taint(node: Json) -> None:
    node["spec"]["taints"] = [{"key": "k", "effect": "NoSchedule"}]


def label(node: Json) -> None:
    node["metadata"]["labels"]["pool"] = "b"


def nothing(_: Json) -> None:
    """Change the version alone."""


@pytest.mark.parametrize("change", [heartbeat, images, annotation, nothing])
def test_a_heartbeat_of_a_node_wakes_nobody(scene: Scene, change: Callable[[Json], None]) -> None:
    """Thousands of nodes say every few seconds that nothing is new. The newest is kept all the same."""
    scene.changes.node(changed(a_node(version=2), change), HERE)
    assert scene.woken() == []
    assert scene.store.nodes.objects["", "h100-1"]["metadata"]["resourceVersion"] == "2"


@pytest.mark.parametrize("change", [cordon, lost, fewer_gpus, taint, label])
def test_a_node_that_changes_wakes_its_holders_and_those_that_wait(
    scene: Scene, change: Callable[[Json], None]
) -> None:
    """Nobody on other nodes."""
    scene.changes.node(changed(a_node(version=2), change), HERE)
    assert scene.woken() == ["on-1", "half", "waiting"]


def test_a_node_that_is_deleted_wakes_its_holders_and_those_that_wait(scene: Scene) -> None:
    """Holders in name order, each once or asked again."""
    scene.changes.node(a_node("h100-2", 2), GONE)
    assert scene.woken() == ["half", "on-2", "half", "waiting"]
    assert ("", "h100-2") not in scene.store.nodes.objects


def test_a_new_node_wakes_those_that_wait(scene: Scene) -> None:
    scene.changes.node(a_node("h100-3", 2), HERE)
    assert scene.woken() == ["half", "waiting"]


def test_a_node_event_of_the_past_wakes_nobody(scene: Scene) -> None:
    scene.changes.node(changed(a_node(version=1), cordon), HERE)
    scene.changes.node(a_node(version=0), GONE)
    assert scene.woken() == []
    assert ("", "h100-1") in scene.store.nodes.objects


def waits_of(names: Iterable[str], objects: dict[str, Json]) -> dict[str, bool]:
    return {name: name in names for name in objects}


def test_those_wait_that_have_no_plan_for_all_their_replicas(mocker: MockerFixture) -> None:
    """One replica is wanted where nothing is said."""
    objects = {
        "no status": a_model("no-status") | {"status": None},
        "no plan": a_model("no-plan"),
        "no group": a_model("no-group", plan=a_plan(replicas=0)),
        "all of one": a_model("all-of-one", plan=PLACED),
        "one of two": a_model("one-of-two", plan=PLACED, replicas=2),
        "all of two": a_model("all-of-two", plan=a_plan(("h100-1", 1), replicas=2), replicas=2),
    }
    scene = Scene(mocker.create_autospec(Queue, instance=True), *objects.values())
    scene.changes.wake_waiting()
    names = {name.replace("-", " ") for name in scene.woken()}
    assert waits_of(names, objects) == {
        "no status": True,
        "no plan": True,
        "no group": True,
        "all of one": False,
        "one of two": True,
        "all of two": False,
    }


def test_a_quota_that_changes_wakes_those_of_its_namespace_that_lack_gpus(scene: Scene) -> None:
    """It may leave more now; those elsewhere have quotas of their own."""
    quota = {"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"}}
    scene.changes.quota(at(2, quota), HERE)
    assert scene.woken() == ["half", "waiting"]
    scene.changes.quota(at(2, quota), HERE)
    assert scene.woken() == []
    scene.changes.quota(at(3, quota | {"metadata": {"name": "q", "namespace": "elsewhere"}}), HERE)
    assert scene.woken() == []
    scene.changes.quota(at(3, quota), GONE)
    assert scene.woken() == ["half", "waiting"]


def test_a_quota_with_another_limit_is_a_new_chance_for_all_objects_of_its_namespace(scene: Scene) -> None:
    """Those whose pods were refused wait for no GPUs; use alone changes nothing for them."""

    def a_quota(version: int, gpus: int) -> Json:
        quota = {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": {"pods": str(gpus)}}}
        return at(version, quota)

    scene.changes.quota(a_quota(2, 1), HERE)
    assert scene.woken() == ["half", "waiting", "on-1", "on-2"]
    scene.store.excused.clear()
    scene.changes.quota(a_quota(3, 1), HERE)
    assert scene.woken() == ["half", "waiting"]
    scene.changes.quota(a_quota(4, 2), HERE)
    assert scene.woken() == ["half", "waiting", "on-1", "on-2"]
    assert scene.store.observe(("default", "on-1"), 0.0).excused


def test_a_slim_object_still_says_whose_it_is(scene: Scene) -> None:
    """What is dropped is not what is asked later."""
    scene.changes.pod(at(3, a_pod(owner="llama", gpus=2)), HERE)
    scene.store.sharded_models.put(a_model())
    assert [pod.name for pod in scene.store.observe(KEY, 0.0).pods] == ["llama-0-0-0"]


def test_a_late_deletion_of_a_namesake_takes_no_plan_away(scene: Scene) -> None:
    """The object was deleted and made again; the watch tells of the deletion at last."""
    scene.changes.sharded_model(a_model("on-1", 20), HERE)
    scene.changes.sharded_model(a_model("on-1", 10), GONE)
    assert ("default", "on-1") in scene.store.plans


def test_a_pod_that_is_stripped_of_our_labels_wakes_whose_it_was(scene: Scene) -> None:
    """Its group lost a pod."""
    pod = a_pod(owner="on-1", gpus=1)
    scene.changes.pod(pod, HERE)
    scene.woken()
    scene.changes.pod(at(2, changed(pod, lambda one: one["metadata"]["labels"].clear())), HERE)
    assert "on-1" in scene.woken()


def test_those_that_wait_behind_an_object_are_woken_in_turn(scene: Scene) -> None:
    """And itself, and those that have no plan; not those before it, nor those that have what they need."""
    for name in ("a", "b", "c"):
        waiting = a_model(name, 5)
        waiting["status"] = {"waitingSince": "2027-01-15T08:00:00Z"}
        scene.store.sharded_models.put(waiting)
    scene.changes.wake_behind(("default", "b"))
    assert scene.woken() == ["b", "c", "half", "waiting"]
    scene.changes.wake_behind(("default", "on-1"))
    assert scene.woken() == ["waiting"]
    scene.changes.wake_behind(("default", "a"))
    assert scene.woken() == ["a", "b", "c", "half", "waiting"]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["metadata"].update(annotations={"shardwise.dev/paused": "true"}),
        lambda one: one["metadata"].update(deletionTimestamp="2027-01-15T08:00:00Z"),
        lambda one: one["spec"].update(placement={"priorityClassName": "low"}),
    ],
    ids=["paused", "deleted in the foreground", "of lower priority"],
)
def test_one_that_gives_its_place_in_the_queue_up_lets_those_behind_have_a_turn(
    scene: Scene, change: Callable[[Json], None]
) -> None:
    """What was kept for it may be theirs now, and no status of its own will say that it has left."""
    scene.store.priorities.put({"metadata": {"name": "low", "resourceVersion": "1"}, "value": -1})
    for name in ("a", "b"):
        waiting = a_model(name, 5)
        waiting["status"] = {"waitingSince": "2027-01-15T08:00:00Z"}
        scene.store.sharded_models.put(waiting)
    first = scene.store.sharded_models.objects["default", "a"]
    scene.changes.sharded_model(at(6, changed(first, lambda one: one["metadata"].update(labels={"a": "b"}))), HERE)
    assert scene.woken() == ["a"]
    scene.changes.sharded_model(at(7, changed(first, change)), HERE)
    assert "b" in scene.woken()


def test_one_that_is_deleted_in_the_foreground_gives_its_gpus_back_at_once(scene: Scene) -> None:
    """Those of a group without pods: no pod will be told of that goes."""
    going = changed(scene.store.sharded_models.objects["default", "on-1"], _goes)
    scene.changes.sharded_model(at(50, going), HERE)
    assert ("default", "on-1") not in scene.store.plans
    assert "waiting" in scene.woken()


def _goes(model: Json) -> None:
    model["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"


def test_one_that_serves_on_a_faulty_node_for_want_of_another_is_woken_when_gpus_come_free(scene: Scene) -> None:
    """It has all its groups, and does not stand in the queue; but it leaves as soon as it can."""
    faulty = {"type": "Degraded", "status": "True", "reason": "NodeFaulty"}
    model = changed(
        a_model("on-2", 7, plan=a_plan(("h100-2", 8))), lambda one: one["status"].update(conditions=[faulty])
    )
    scene.store.sharded_models.put(model)
    scene.changes.sharded_model(a_model("on-1", 9), GONE)
    assert "on-2" in scene.woken()


@pytest.mark.parametrize(("node", "woken"), [("h100-1", ["half", "waiting"]), ("cpu-only", [])])
def test_a_stranger_without_gpus_that_goes_frees_resources_of_a_node_with_gpus(
    scene: Scene, node: str, woken: list[str]
) -> None:
    """Pods of other nodes come and go all the time, and wake nobody."""
    pod = a_pod("stranger", node=node, gpus=0, owner=None)
    scene.changes.pod(pod, HERE)
    assert scene.woken() == []
    scene.changes.pod(at(9, pod), GONE)
    assert scene.woken() == woken
