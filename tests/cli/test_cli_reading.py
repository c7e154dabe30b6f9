"""The fleet from files: what counts once, what is not counted, and what no API server would give."""

from pathlib import Path

import pytest
from tests.cli.support import Json, a_list, a_pod, changed, write

from shardwise.cli.reading import read_files
from shardwise.cli.wrong import WrongInput
from shardwise_sandbox.demo import fleet_documents

NODE: Json = next(node for node in fleet_documents() if node["metadata"]["name"] == "h100-1")


def free(path: Path, *more: Path, without: tuple[tuple[str, str], ...] = ()) -> dict[str, int]:
    ledger = read_files([str(path), *map(str, more)]).store.ledger
    for key in without:
        ledger.release(key)
    return {node.name: node.free for node in ledger.fleet().nodes}


def test_nodes_alone_will_do(tmp_path: Path) -> None:
    """All their GPUs are then free."""
    assert free(write(tmp_path / "f.yaml", a_list([NODE]))) == {"h100-1": 8}


def test_pods_hold_what_they_request(tmp_path: Path) -> None:
    """Whoever owns them, in any namespace."""
    pods = [a_pod("a", "h100-1", 2), a_pod("a", "h100-1", 1, namespace="other")]
    assert free(write(tmp_path / "f.yaml", a_list([NODE, *pods]))) == {"h100-1": 5}


def test_nodes_and_pods_may_come_in_several_files(tmp_path: Path) -> None:
    """As two kubectl calls give them."""
    nodes = write(tmp_path / "nodes.yaml", a_list([NODE]))
    assert free(nodes, write(tmp_path / "pods.yaml", a_pod("a", "h100-1", 3))) == {"h100-1": 5}


def test_what_two_files_both_hold_counts_once(tmp_path: Path) -> None:
    """A node counted twice would be twice the GPUs; a pod, twice those it holds."""
    both = write(tmp_path / "f.yaml", a_list([NODE, a_pod("a", "h100-1", 3)]))
    assert free(both, both) == {"h100-1": 5}


def test_other_kinds_are_passed_over(tmp_path: Path) -> None:
    """``kubectl get all`` is a fine source."""
    others = ({"kind": "ConfigMap", "metadata": 3}, {"apiVersion": "serving.knative.dev/v1", "kind": "Service"})
    assert free(write(tmp_path / "f.yaml", *others, NODE)) == {"h100-1": 8}


def test_the_pods_of_an_object_can_be_left_out(tmp_path: Path) -> None:
    """Its own, not those of another of the same name elsewhere, nor a stranger's."""
    pods = [
        a_pod("mine", "h100-1", 1, owner="a"),
        a_pod("other", "h100-1", 2, owner="a", namespace="b"),
        a_pod("stranger", "h100-1", 1),
    ]
    file = write(tmp_path / "f.yaml", a_list([NODE, *pods]))
    assert free(file) == {"h100-1": 4}
    assert free(file, without=(("default", "a"),)) == {"h100-1": 5}
    assert free(file, without=(("default", "a"), ("b", "a"))) == {"h100-1": 7}


def a_planned(name: str, *pods: tuple[str, int], namespace: str = "default") -> Json:
    groups = [
        {"replica": replica, "attempt": 0, "state": "Pending", "nodes": [node], "gpusPerPod": gpus}
        for replica, (node, gpus) in enumerate(pods)
    ]
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "ShardedModel", "metadata": metadata, "status": {"groups": groups}}


def test_what_objects_of_the_cluster_have_planned_is_held(tmp_path: Path) -> None:
    """Before their pods are bound, and not twice afterwards."""
    waiting = a_planned("a", ("h100-1", 3))
    half_bound = [a_planned("b", ("h100-1", 2), namespace="n"), a_pod("b", "h100-1", 1, owner="b", namespace="n")]
    file = write(tmp_path / "f.yaml", a_list([NODE, waiting, *half_bound]))
    assert free(file) == {"h100-1": 3}
    assert free(file, without=(("default", "a"),)) == {"h100-1": 6}
    assert free(file, without=(("n", "b"),)) == {"h100-1": 5}


@pytest.mark.parametrize("documents", [[], [{"kind": "Pod", "metadata": {"name": "a"}}], [{"kind": "ConfigMap"}]])
def test_a_fleet_without_nodes_says_how_to_get_one(tmp_path: Path, documents: list[Json]) -> None:
    """The commonest slip: pods alone, or the objects' file."""
    file = write(tmp_path / "f.yaml", *documents)
    with pytest.raises(WrongInput) as caught:
        read_files([str(file)])
    assert caught.value.lines == (f"no Node in {file}: `kubectl get nodes,pods -A -o yaml` gives one",)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"kind": "Node"}, "Node: metadata.name is required"),
        ({"kind": "Node", "metadata": {"name": ""}}, "Node: metadata.name is required"),
        ({"kind": "Node", "metadata": 3}, "Node `None`: metadata: `3` is not an object"),
        (changed(NODE, metadata__name=3), "Node `3`: metadata.name: `3` is not a string"),
        (changed(NODE, metadata__labels=["a"]), "Node `h100-1`: metadata.labels: `['a']` is not an object"),
        (
            changed(NODE, metadata__labels={"nvidia.com/gpu.memory": 81559}),
            "Node `h100-1`: metadata.labels.nvidia.com/gpu.memory: `81559` is not a string",
        ),
        (changed(NODE, spec=[]), "Node `h100-1`: spec: `[]` is not an object"),
        (changed(NODE, spec__taints={"a": 1}), "Node `h100-1`: spec.taints: `{'a': 1}` is not a list"),
        (changed(NODE, spec__taints=[1]), "Node `h100-1`: spec.taints.0: `1` is not an object"),
        (changed(NODE, status__conditions=[{"type": 1}]), "Node `h100-1`: status.conditions.0.type: `1` is not a"),
        (changed(NODE, status__allocatable=8), "Node `h100-1`: status.allocatable: `8` is not an object"),
        (changed(a_pod("a", "n", 1), spec__nodeName=3), "Pod `a`: spec.nodeName: `3` is not a string"),
        (changed(a_pod("a", "n", 1), spec__containers=[[]]), "Pod `a`: spec.containers.0: `[]` is not an object"),
        (changed(a_pod("a", "n", 1), spec__initContainers=3), "Pod `a`: spec.initContainers: `3` is not a list"),
        (changed(a_pod("a", "n", 1), metadata__ownerReferences=[3]), "Pod `a`: metadata.ownerReferences.0: `3` is not"),
    ],
)
def test_what_no_api_server_would_give_is_refused_by_field(tmp_path: Path, document: Json, problem: str) -> None:
    """Fleets are written by hand too, where a number is easily left without quotes."""
    file = write(tmp_path / "f.yaml", document)
    with pytest.raises(WrongInput) as caught:
        read_files([str(file)])
    assert caught.value.lines[0].startswith(f"{file}: {problem}")


@pytest.mark.parametrize(
    "document",
    [
        changed(NODE, spec=None),
        NODE | {"spec": None},
        changed(NODE, status__allocatable={"nvidia.com/gpu": 8}),
        changed(NODE, metadata__unknown={"a": [1]}),
        changed(NODE, status__conditions=None),
    ],
)
def test_absent_and_unknown_fields_are_fine(tmp_path: Path, document: Json) -> None:
    """As they are in Kubernetes; and a count may be a number."""
    assert free(write(tmp_path / "f.yaml", document)) == {"h100-1": 8}


def test_all_problems_of_a_node_are_said_at_once(tmp_path: Path) -> None:
    """One line each."""
    file = write(tmp_path / "f.yaml", changed(NODE, spec=1, status=2))
    with pytest.raises(WrongInput) as caught:
        read_files([str(file)])
    assert [line.rpartition(": `")[0] for line in caught.value.lines] == [
        f"{file}: Node `h100-1`: spec",
        f"{file}: Node `h100-1`: status",
    ]
