"""The store: nothing older replaces something newer, and no GPU is free that a pod or a plan holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture
from tests.controller.support import (
    KEY,
    Json,
    a_model,
    a_node,
    a_plan,
    a_pod,
    a_service,
    a_store,
    at,
    changed,
    free,
    gpus_of,
    owned,
)

from shardwise.domain.fleet import Node
from shardwise.inventory import nodes, pods, uses
from shardwise.inventory.nodes import NodeReader
from shardwise.inventory.read_once import ReadOnce
from shardwise.observe import (
    Key,
    Shelf,
    is_relevant,
    key_of,
    owner_of,
    version_of,
)
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.status_data import read_status

OBJECT: Json = {"metadata": {"name": "a", "namespace": "n"}}
NAME: Key = ("n", "a")
TWO = (a_node("h100-1"), a_node("h100-2"))


def version_in(shelf: Shelf) -> int | None:
    return version_of(shelf.objects[NAME]) if NAME in shelf.objects else None


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        (["put 5"], 5),
        (["put 5", "put 6"], 6),
        (["put 6", "put 5"], 6),
        (["put 5", "remove 6"], None),
        (["remove 6", "put 5"], None),
        (["put 7", "remove 6"], 7),
        (["put 5", "remove 6", "put 5"], None),
        (["put 5", "remove 6", "put 7"], 7),
        (["put 5", "remove 6", "put 7", "remove 6"], 7),
        (["remove 6", "remove 3", "put 5"], None),
        (["put 9", "put 10"], 10),
    ],
    ids=str,
)
def test_the_newest_is_kept_whatever_comes_late(steps: list[str], kept: int | None) -> None:
    """Versions are numbers: 10 is newer than 9."""
    shelf = Shelf()
    for step in steps:
        what, number = step.split()
        if what == "put":
            shelf.put(at(int(number), OBJECT))
        else:
            shelf.remove(NAME, int(number))
    assert version_in(shelf) == kept


def test_a_shelf_tells_what_was_news() -> None:
    """Only news wakes anybody."""
    shelf = Shelf()
    assert shelf.put(at(5, OBJECT))
    assert not shelf.put(at(5, OBJECT))
    assert not shelf.put(at(4, OBJECT))
    assert not shelf.remove(NAME, 4)
    assert shelf.remove(NAME, 6)
    assert not shelf.remove(NAME, 6)


@given(st.data())
def test_what_is_known_at_last_does_not_depend_on_the_order_it_came_in(data: st.DataObject) -> None:
    """Lists and watches race, and a watch that reconnects says things again."""
    deletions = data.draw(st.lists(st.booleans(), min_size=1, max_size=8))
    events = list(enumerate(deletions, 1))
    seen = data.draw(st.permutations(events)) + data.draw(st.lists(st.sampled_from(events), max_size=4))
    shelf = Shelf()
    for version, deleted in seen:
        if deleted:
            shelf.remove(NAME, version)
        else:
            shelf.put(at(version, OBJECT))
    assert version_in(shelf) == (None if deletions[-1] else len(deletions))


def test_an_object_without_a_version_is_older_than_all() -> None:
    """An answer of a test double, or of a list that leaves it out."""
    shelf = Shelf()
    assert shelf.put(OBJECT)
    assert shelf.put(at(1, OBJECT))
    assert not shelf.put(OBJECT)


@pytest.mark.parametrize(
    ("known", "listed", "kept", "dropped"),
    [
        ({"a": 5}, {"a": 5}, {"a": 5}, []),
        ({"a": 5}, {"a": 7}, {"a": 7}, []),
        ({"a": 5}, {}, {}, ["a"]),
        ({"a": 10}, {}, {}, ["a"]),
        ({"a": 11}, {}, {"a": 11}, []),
        ({"a": 12}, {"a": 9}, {"a": 12}, []),
        ({}, {"b": 3}, {"b": 3}, []),
        ({"a": 5, "b": 5}, {"b": 6}, {"b": 6}, ["a"]),
    ],
    ids=["same", "newer", "gone", "gone since the list's version", "made after", "changed after", "new", "one of two"],
)
def test_a_list_made_at_version_10_sweeps_what_is_gone(
    known: dict[str, int], listed: dict[str, int], kept: dict[str, int], dropped: list[str]
) -> None:
    """And neither what came after it, nor what it shows older than it is known."""
    shelf = Shelf()
    for name, version in known.items():
        shelf.put(at(version, {"metadata": {"name": name}}))
    gone = shelf.sweep([at(version, {"metadata": {"name": name}}) for name, version in listed.items()], 10)
    assert {name: version_of(obj) for (_, name), obj in shelf.objects.items()} == kept
    assert [key_of(one)[1] for one in gone] == dropped


def test_a_list_older_than_a_deletion_brings_nothing_back() -> None:
    """It was asked for before, and answered after."""
    shelf = Shelf()
    shelf.put(at(5, OBJECT))
    shelf.remove(NAME, 12)
    assert shelf.sweep([at(5, OBJECT)], 10) == []
    assert version_in(shelf) is None


def test_graves_older_than_a_list_are_forgotten() -> None:
    """A cluster deletes pods for years."""
    shelf = Shelf()
    shelf.remove(("n", "old"), 8)
    shelf.remove(("n", "young"), 12)
    shelf.sweep([], 10)
    assert shelf.graves == {("n", "young"): 12}


OURS = owned("llama")
LABELS = OURS["labels"]
LONG = "a" * 60 + ".b"
REFERENCE = {"kind": "ShardedModel", "name": LONG}


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        (OURS, ("default", "llama")),
        ({}, None),
        ({"labels": None}, None),
        ({"labels": LABELS}, None),
        ({"ownerReferences": OURS["ownerReferences"]}, None),
        (OURS | {"labels": LABELS | {"app.kubernetes.io/managed-by": "Helm"}}, None),
        (OURS | {"labels": {"app.kubernetes.io/managed-by": "shardwise"}}, None),
        (OURS | {"labels": LABELS | {"shardwise.dev/model": "other"}}, None),
        (OURS | {"ownerReferences": [{"kind": "ReplicaSet", "name": "llama"}]}, None),
        (OURS | {"ownerReferences": [{"kind": "Lock", "name": "x"}, *OURS["ownerReferences"]]}, ("default", "llama")),
        (OURS | {"labels": LABELS | {"shardwise.dev/model": LONG}, "ownerReferences": [REFERENCE]}, None),
    ],
    ids=[
        "ours",
        "nothing",
        "null labels",
        "labels without owner",
        "owner without labels",
        "managed by another",
        "no model named",
        "labelled for another",
        "owned by another kind",
        "owned by two",
        "a name no label can hold",
    ],
)
def test_ours_is_what_label_and_owner_both_say_is_ours(metadata: Json, owner: Key | None) -> None:
    """A label alone can be copied with a template, and adopts nothing."""
    assert owner_of({"metadata": {"name": "p", "namespace": "default", **metadata}}) == owner


@pytest.mark.parametrize(
    ("label", "found"), [("a" * 54 + "-6bd5e503", True), ("a" * 54 + "-c0ffee00", False), ("a" * 63, False)]
)
def test_an_owner_with_a_long_name_is_found_by_its_shortened_label(label: str, found: bool) -> None:
    """Names may have 253 characters, labels 63: the digest tells apart what begins alike."""
    name = "a" * 70
    metadata = {"labels": LABELS | {"shardwise.dev/model": label}, "ownerReferences": [REFERENCE | {"name": name}]}
    owner = owner_of({"metadata": {"name": "p", "namespace": "n", **metadata}})
    assert owner == (("n", name) if found else None)


@pytest.mark.parametrize(
    ("pod", "relevant"),
    [
        (a_pod(gpus=1), True),
        (a_pod(gpus=1, node=""), True),
        (a_pod(gpus=0), True),
        (a_pod(gpus=0, node=""), False),
        (a_pod(gpus=1, phase="Succeeded"), False),
        (a_pod(gpus=1, phase="Failed"), False),
        (a_pod(gpus=0, owner="llama"), True),
        (a_pod(gpus=1, owner="llama", phase="Failed"), True),
    ],
    ids=[
        "holds GPUs",
        "waits for GPUs",
        "holds other resources",
        "holds nothing",
        "ended",
        "failed",
        "ours",
        "ours and failed",
    ],
)
def test_pods_matter_that_are_ours_or_hold_resources_of_a_node(pod: Json, relevant: bool) -> None:
    assert is_relevant(pod) is relevant


@pytest.mark.parametrize(
    ("pods", "plan", "left"),
    [
        ([], None, (8, 8)),
        ([a_pod(gpus=3)], None, (5, 8)),
        ([a_pod(gpus=3), a_pod("other", node="h100-2", gpus=8)], None, (5, 0)),
        ([a_pod(gpus=3, node="")], None, (8, 8)),
        ([a_pod(gpus=3, phase="Succeeded")], None, (8, 8)),
        ([a_pod(gpus=3, node="unknown")], None, (8, 8)),
        ([a_pod(gpus=12)], None, (0, 8)),
        ([], a_plan(("h100-1", 8), ("h100-2", 8)), (0, 0)),
        ([a_pod(owner="llama")], a_plan(("h100-1", 8), ("h100-2", 8)), (0, 0)),
        ([a_pod(owner="llama", gpus=2)], a_plan(("h100-1", 4)), (4, 8)),
        ([a_pod(owner="llama", gpus=4)], a_plan(("h100-2", 2)), (4, 6)),
        ([a_pod(owner="llama", gpus=4, node="")], a_plan(("h100-1", 4)), (4, 8)),
        ([a_pod(owner="llama", gpus=4, phase="Failed")], a_plan(("h100-1", 4)), (4, 8)),
        ([a_pod(gpus=2)], a_plan(("h100-1", 4)), (2, 8)),
        ([a_pod(owner="other", gpus=2)], a_plan(("h100-1", 4)), (2, 8)),
    ],
    ids=[
        "nobody",
        "a stranger",
        "strangers on two nodes",
        "a stranger that is not bound",
        "a stranger that ended",
        "a stranger on a node not seen",
        "more than there is",
        "a plan without pods",
        "a plan with one of two pods bound",
        "a plan whose group is bound in part",
        "a plan that moved while its old pod still runs",
        "a plan whose pod is not bound",
        "a plan whose pod failed",
        "a plan beside a stranger",
        "a plan beside another object's pod",
    ],
)
def test_free_is_what_neither_a_bound_pod_nor_a_plan_holds(
    pods: list[Json], plan: Json | None, left: tuple[int, int]
) -> None:
    """A planned pod counts once, before and after it is bound."""
    store = a_store(a_model(), *pods, nodes=TWO)
    if plan is not None:
        store.hold(KEY, gpus_of(plan))
    assert free(store) == {"h100-1": left[0], "h100-2": left[1]}


def test_a_fleet_without_an_object_is_as_if_it_held_nothing() -> None:
    """Neither by pods nor by plan; all others hold what they hold."""
    store = a_store(a_pod(owner="llama", gpus=2), a_pod("s", gpus=1), nodes=TWO)
    store.hold(KEY, gpus_of(a_plan(("h100-1", 4))))
    store.hold(("default", "other"), gpus_of(a_plan(("h100-2", 8))))
    assert free(store) == {"h100-1": 3, "h100-2": 0}
    assert free(store, without=KEY) == {"h100-1": 7, "h100-2": 0}
    assert free(store, without=("default", "other")) == {"h100-1": 3, "h100-2": 8}
    assert free(store, without=("elsewhere", "llama")) == {"h100-1": 3, "h100-2": 0}


def test_a_node_that_cannot_be_used_has_nothing_free() -> None:
    """Whoever gives GPUs back on it."""
    cordoned = a_node() | {"spec": {"unschedulable": True}}
    assert free(a_store(nodes=(cordoned,))) == {"h100-1": 0}
    assert free(a_store(a_pod(gpus=2), nodes=(cordoned,))) == {"h100-1": 0}


def test_nodes_come_in_name_order_and_go_when_deleted() -> None:
    """The planner reads them in order, and so answers the same."""
    store = a_store(nodes=(a_node("b"), a_node("a"), a_node("c")))
    store.nodes.remove(("", "b"), 2)
    assert [node.name for node in store.fleet().nodes] == ["a", "c"]


def test_a_node_is_read_once_until_it_changes(mocker: MockerFixture) -> None:
    """A fleet of thousands is looked at for every decision."""
    read = mocker.spy(NodeReader, "read")
    store = a_store(nodes=TWO)
    for _ in range(3):
        store.fleet()
    assert read.call_count == 2
    store.nodes.put(a_node("h100-2", version=2, gpus=4))
    assert free(store) == {"h100-1": 8, "h100-2": 4}
    assert read.call_count == 3


def test_a_list_settles_each_node_once_and_reads_alike_nodes_and_pods_once(mocker: MockerFixture) -> None:
    """However many pods a node has: thousands of nodes come with tens of thousands of pods."""
    names = [f"h100-{index}" for index in range(30)]
    settled, read = mocker.spy(Node, "with_left"), mocker.spy(nodes, "_node_of")
    mocker.patch.object(pods, "_READ", ReadOnce())
    requests, added_up = mocker.spy(pods, "_requests_anew"), mocker.spy(uses, "_added_up")
    uses._total.cache_clear()
    store = a_store(nodes=tuple(map(a_node, names)))
    for number, name in enumerate(6 * names):
        store.pods.put(a_pod(f"p{number}", node=name, gpus=1))
    assert {node.free for node in store.fleet().nodes} == {2}
    assert (settled.call_count, read.call_count, requests.call_count, added_up.call_count) == (30, 1, 1, 1)
    store.fleet()
    store.pods.remove(("default", "p7"), 2)
    assert sum(node.free for node in store.fleet().nodes) == 61
    assert (settled.call_count, read.call_count, requests.call_count, added_up.call_count) == (31, 1, 1, 3)


def test_the_holders_of_a_node_are_those_that_planned_on_it() -> None:
    """They have to know when it changes."""
    store = a_store()
    for name, where in (("a", ("n1", 8)), ("b", ("n2", 8)), ("c", ("n1", 1))):
        store.hold(("n", name), gpus_of(a_plan(where)))
    assert store.holders("n1") == {("n", "a"), ("n", "c")}
    assert store.holders("n3") == set()


def test_a_decision_sees_what_is_its_objects_own() -> None:
    """Pods in name order, Services as they are, the status, and the fleet without itself."""
    others: list[Any] = [a_pod("x", owner="other", node="h100-2"), a_service("other", owner="other"), a_service("s")]
    mine = [a_pod("llama-0-0-1", owner="llama", gpus=2), a_pod(owner="llama", gpus=2)]
    model = a_model(plan=a_plan(("h100-1", 4)))
    observed = a_store(model, *mine, *others, a_service(revision="r7"), nodes=TWO).observe(KEY, 0.0)
    assert [pod.name for pod in observed.pods] == ["llama-0-0-0", "llama-0-0-1"]
    assert {name: one["metadata"]["labels"] for name, one in observed.services.items()} == {
        "llama": a_service(revision="r7")["metadata"]["labels"],
        "s": a_service("s")["metadata"]["labels"],
    }
    assert observed.status == read_status(model["status"])
    assert {node.name: node.free for node in observed.fleet.nodes} == {"h100-1": 8, "h100-2": 0}


def test_an_object_without_status_is_seen_with_an_empty_one() -> None:
    """As it is right after it was applied."""
    bare = {"metadata": a_model()["metadata"], "spec": {}}
    assert a_store(bare).observe(KEY, 0.0).status == Status()


def test_what_a_list_did_not_show_is_not_brought_back_by_older_news() -> None:
    """A watch may lag behind a list."""
    shelf = Shelf()
    shelf.put(a_node("a", 5))
    shelf.sweep([], 10)
    assert not shelf.put(a_node("a", 9))
    assert not shelf.put(a_node("never-seen", 9))
    assert shelf.put(a_node("a", 11))


def test_the_fleet_as_it_is_counts_every_pod() -> None:
    """Also those of strangers."""
    store = a_store(a_pod(gpus=3), nodes=(a_node(),))
    assert store.fleet().nodes[0].free == 5


def test_a_pod_stripped_of_its_replica_belongs_to_no_group() -> None:
    """And keeps nobody from deciding about the others."""
    pod = changed(a_pod(owner="llama", gpus=1), lambda one: one["metadata"]["labels"].pop("shardwise.dev/replica"))
    assert a_store(a_model(), pod, nodes=(a_node(),)).observe(KEY, 0.0).pods == ()


GPUS = "requests.nvidia.com/gpu"


def a_quota(hard: int, used: int, namespace: str = "default", **spec: Any) -> Json:
    status = {"hard": {GPUS: str(hard)}, "used": {GPUS: str(used)}}
    return {"metadata": {"name": "q", "namespace": namespace, "resourceVersion": "1"}, "spec": spec, "status": status}


def test_a_quota_is_seen_without_the_objects_own_use_and_with_what_others_have_planned() -> None:
    """An object that is decided on holds nothing; a plan whose pods are yet to be made counts already."""
    store = a_store(a_model(), a_model("other"), a_model("elsewhere") | {})
    store.quotas.put(a_quota(16, 9))
    store.quotas.put(a_quota(1, 1, "team"))
    assert [(quota.hard, quota.used) for quota in store.observe(KEY, 0.0).quotas] == [(16, 9)]
    store.pods.put(a_pod(owner="llama", gpus=2))
    store.pods.put(a_pod("other-0-0-0", owner="other", gpus=1))
    store.hold(("default", "other"), {"h100-1": 4})
    store.hold(("team", "third"), {"h100-1": 8})
    observed = store.observe(KEY, 0.0)
    assert [(quota.hard, quota.used) for quota in observed.quotas] == [(16, 9 - 2 + 3)]
    assert observed.gpus_of_others == 4
    store.hold(("default", "other"), {})
    assert store.observe(KEY, 0.0).gpus_of_others == 0
    store.quotas.remove(("default", "q"), 2)
    assert store.observe(KEY, 0.0).quotas == ()


def test_a_quota_for_a_class_is_that_of_the_objects_own_class() -> None:
    """Or of the cluster's default class, which its pods get."""
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    store = a_store(a_model(placement={"priorityClassName": "high"}), a_model("other"))
    store.quotas.put(a_quota(0, 0, scopeSelector={"matchExpressions": [scope]}))
    other = ("default", "other")
    assert (len(store.observe(KEY, 0.0).quotas), len(store.observe(other, 0.0).quotas)) == (1, 0)
    store.priorities.put(at(1, {"metadata": {"name": "high"}, "value": 5, "globalDefault": True}))
    assert len(store.observe(other, 0.0).quotas) == 1
