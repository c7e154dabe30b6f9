"""Rendered manifests on a cluster: schemas of Kubernetes' releases, and the in-memory API with its scheduler."""

from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engines.support import wants
from tests.render.support import (
    ONE_GPU,
    TWO_NODES,
    TWO_REPLICAS,
    TWO_TRAYS,
    a_cluster,
    check,
    create_strictly,
    engine,
    everything,
    of_kind,
    pods,
)
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand, pinned
from tests.support.plans import planned

from shardwise.api import crd
from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.launch import EnvVar, Owner, Source, SourceKind, Wanted
from shardwise.domain.plan import Plan
from shardwise.inventory import read_fleet
from shardwise_sandbox import ApiError, compute_domain_definition, sample_fleet

FULL: dict[str, Any] = {
    "source": Source(revision="v1", token_secret="hub"),
    "image": "registry.example/vllm@sha256:0",
    "image_pull_policy": "IfNotPresent",
    "image_pull_secrets": ("pull",),
    "args": ("--max-num-seqs", "64"),
    "env": (EnvVar("A", value="1"), EnvVar("B", secret=("s", "k")), EnvVar("C", config_map=("c", "k"))),
    "tolerations": (Toleration("a", "Equal", "b", "NoExecute", 5), Toleration(operator="Exists")),
    "priority_class_name": "high",
    "scheduler_name": "default-scheduler",
    "service_account_name": "runner",
    "runtime_class_name": "nvidia",
    "type": "NodePort",
    "labels": (("team", "a"),),
    "annotations": (("note", "x"),),
    "requests": (("cpu", "4"),),
    "limits": (("memory", "300Gi"),),
    "shared_memory": "16Gi",
}
SOURCES = [
    Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="claim", path="a"),
    Source(SourceKind.HOST_PATH, location="/data/llama"),
    Source(SourceKind.IMAGE, location="registry.example/llama:1"),
]
OBJECTS = [
    pytest.param(wants(), id="plain"),
    pytest.param(wants(**FULL), id="with every field"),
    *(pytest.param(wants(**FULL | {"source": source}), id=f"from {source.kind.value}") for source in SOURCES),
]


KIND = {"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel"}
UNOWNED = Owner("llama", "default", "")
"""Of an object that is on no cluster: the collector would take what belongs to one that does not exist."""


@pytest.mark.parametrize("release", ["1.31", "1.34", "1.37"])
@pytest.mark.parametrize("wanted", OBJECTS)
@pytest.mark.parametrize("plan", [ONE_GPU, TWO_REPLICAS, TWO_TRAYS], ids=["one GPU", "two replicas", "two trays"])
def test_manifests_are_valid_for_every_release(plan: Plan, wanted: Wanted, release: str) -> None:
    """By the published schemas, strictly: no field is misspelt or of the wrong type. Image volumes came with 1.31."""
    for manifest in everything(plan, wanted):
        check(manifest, release)


def test_the_schemas_of_these_tests_do_refuse() -> None:
    """A field that does not exist, and one of the wrong type."""
    (pod,) = pods(ONE_GPU)
    for wrong in ({"enableServiceLink": False}, {"hostname": 7}):
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(pod | {"spec": pod["spec"] | wrong}, "1.37", strict=True)


@pytest.mark.parametrize("wanted", OBJECTS)
def test_the_api_takes_everything_as_it_is(wanted: Wanted) -> None:
    """And keeps every value that was given."""
    cluster = a_cluster()
    for manifest in everything(TWO_REPLICAS, wanted):
        created = create_strictly(cluster, manifest)
        assert created["metadata"].items() >= {**manifest["metadata"]}.items()
        if manifest["kind"] == "Pod":
            assert engine(created)["args"] == engine(manifest)["args"]
            assert engine(created)["env"] == engine(manifest)["env"]
    assert len(cluster.names("pods")) == 4
    assert cluster.names("services") == ["llama", "llama-0-0", "llama-1-0"]


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
@settings(max_examples=50)
def test_the_api_takes_whatever_an_object_is_called(name: str) -> None:
    """Every name an object may have."""
    cluster = a_cluster()
    made = everything(TWO_NODES, wants(owner=Owner(name, "default", "uid-1")))
    for manifest in made:
        create_strictly(cluster, manifest)
    assert len(cluster.names("pods")) == len(of_kind("Pod", made)) == 2


def test_applying_again_changes_nothing() -> None:
    """Neither pods nor Services: a restarted operator restarts nothing."""
    cluster = a_cluster()
    made = everything(TWO_REPLICAS)
    before = [cluster.apply(manifest) for manifest in made]
    assert [cluster.apply(manifest) for manifest in made] == before


def test_a_pod_that_was_rendered_otherwise_cannot_be_applied_in_place() -> None:
    """Which is why a new revision is a new attempt."""
    cluster = a_cluster()
    (before,), (after,) = pods(ONE_GPU), pods(ONE_GPU, wants(args=("--seed", "1")))
    cluster.apply(before)
    with pytest.raises(ApiError, match="pod updates may not change"):
        cluster.apply(after)


@pytest.mark.parametrize(
    ("demand", "nodes"),
    [
        pytest.param(a_demand(LLAMA_8B, budget=1), ["l40s-1"], id="one GPU"),
        pytest.param(
            a_demand(LLAMA_405B, budget=16, products=("NVIDIA-H100-80GB-HBM3",)), ["h100-1", "h100-2"], id="two nodes"
        ),
        pytest.param(
            a_demand(LLAMA_405B, budget=16, pins=pinned(16, 1)),
            ["gb200-r1-t1", "gb200-r1-t2", "gb200-r1-t3", "gb200-r1-t4"],
            id="four trays",
        ),
    ],
)
def test_the_clusters_scheduler_binds_each_pod_to_its_planned_node(demand: Demand, nodes: list[str]) -> None:
    """And the group gets ready: its leader once all its pods run."""
    cluster = a_cluster(objects=[compute_domain_definition(), *sample_fleet()])
    plan = planned(demand, read_fleet(sample_fleet(), []))
    for manifest in everything(plan, wants(demand, owner=UNOWNED)):
        create_strictly(cluster, manifest)
    cluster.settle()
    found = cluster.list("pods")
    assert [pod["spec"]["nodeName"] for pod in found] == nodes == [place.node for place in plan.groups[0].pods]
    ready = [
        condition["status"]
        for pod in found
        for condition in pod["status"]["conditions"]
        if condition["type"] == "Ready"
    ]
    assert ready == ["True"] * len(nodes)


def test_a_pod_goes_nowhere_else_when_its_node_is_gone() -> None:
    """It stays Pending, for the operator to plan anew."""
    fleet = [document for document in sample_fleet() if document["metadata"]["name"] != "l40s-1"]
    cluster = a_cluster(objects=fleet)
    demand = a_demand(LLAMA_8B, budget=1)
    for manifest in everything(planned(demand, read_fleet(sample_fleet(), [])), wants(demand, owner=UNOWNED)):
        create_strictly(cluster, manifest)
    cluster.settle()
    (pod,) = cluster.list("pods")
    assert (pod["status"]["phase"], pod["spec"].get("nodeName")) == ("Pending", None)


def test_everything_goes_with_its_object() -> None:
    """The collector follows the owner references; what belongs to another stays."""
    cluster = a_cluster(objects=[crd.definition()])
    for name in ("llama", "other"):
        spec = {"model": {"name": LLAMA_8B}, "gpuBudget": {"total": 16}}
        metadata = {"name": name, "namespace": "default"}
        made = cluster.create({**KIND, "metadata": metadata, "spec": spec})
        for manifest in everything(TWO_NODES, wants(owner=Owner(name, "default", made["metadata"]["uid"]))):
            create_strictly(cluster, manifest)
    cluster.delete("shardedmodels", "default", "llama")
    cluster.settle()
    assert cluster.names("pods") == ["other-0-0-0", "other-0-0-1"]
    assert cluster.names("services") == ["other", "other-0-0"]
