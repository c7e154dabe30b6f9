"""``shardwise render``: the manifests the operator would apply, and nothing else on standard output."""

import json
from pathlib import Path

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from tests.cli.support import Json, Ran, a_model, changed, renamed, shardwise, write

from shardwise.api import crd, parse, to_wanted
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.hub import model_facts
from shardwise.inventory import read_fleet
from shardwise.planner import plan
from shardwise.reconcile.actions import Apply
from shardwise.reconcile.decide import decide
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.observed import Observed
from shardwise.render.bundle import bundle
from shardwise_sandbox import Sandbox, compute_domain_definition, sample_fleet
from shardwise_sandbox.demo import fleet_documents, object_documents

OBJECTS = {document["metadata"]["name"]: document for document in object_documents()}
MODEL_LABEL = "shardwise.dev/model"


def render(objects: Path, fleet: Path, *more: str) -> Ran:
    return shardwise("render", "-f", objects, "--fleet", fleet, *more)


def manifests(ran: Ran) -> list[Json]:
    return list(yaml.safe_load_all(ran.out))


def plain(documents: object) -> list[Json]:
    """Give documents as they are on the wire."""
    found: list[Json] = json.loads(json.dumps(documents))
    return found


def wanted_of(document: Json) -> Wanted:
    obj = parse(document)
    return to_wanted(obj, model_facts(obj))


def test_the_demos_largest_object_is_rendered(scene: Path, fleet: Path, snapshot: SnapshotAssertion) -> None:
    """Two Services and two pods, as they would be applied."""
    ran = render(scene / "3-llama-405b.yaml", fleet)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == snapshot


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_rendered_is_the_bundle_of_the_plan(tmp_path: Path, fleet: Path, name: str) -> None:
    """The very function the operator renders with."""
    wanted = wanted_of(OBJECTS[name])
    planned = plan(wanted.demand, read_fleet(fleet_documents(), []))
    assert isinstance(planned, Plan)
    ran = render(write(tmp_path / "o.yaml", OBJECTS[name]), fleet)
    assert manifests(ran) == plain(bundle(wanted, planned))


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_rendered_is_what_the_operators_first_decision_applies(tmp_path: Path, fleet: Path, name: str) -> None:
    """Also with what only objects on a cluster have: a uid, and so owner references.

    Without an operator, nobody would label the leaders: they have their label from the start.
    """
    document = changed(OBJECTS[name], metadata__uid="0f8c", metadata__generation=1)
    observed = Observed((), {}, Status(), read_fleet(fleet_documents(), []))
    decision = decide(wanted_of(document), observed, 1_800_000_000.0)
    applied = [action.manifest for action in decision.actions if isinstance(action, Apply)]
    ran = render(write(tmp_path / "o.yaml", document), fleet)
    rendered = manifests(ran)
    labelled = [manifest["metadata"]["labels"].pop("shardwise.dev/serves", None) for manifest in rendered]
    assert rendered == plain(applied)
    assert labelled.count("true") == len([one for one in rendered if "leader" in one["metadata"]["labels"].values()])
    assert {manifest["metadata"]["ownerReferences"][0]["uid"] for manifest in manifests(ran)} == {"0f8c"}


def test_pods_whose_nodes_the_scheduler_picks_are_rendered_as_the_operator_applies_them(
    tmp_path: Path, fleet: Path
) -> None:
    """With the terms on labels: without them, the pods of a replica could go to any node."""
    document = changed(OBJECTS["llama-405b"], spec__placement={"owner": "scheduler"})
    observed = Observed((), {}, Status(), read_fleet(fleet_documents(), []))
    decision = decide(wanted_of(document), observed, 1_800_000_000.0)
    applied = [action.manifest for action in decision.actions if isinstance(action, Apply)]
    pods = [manifest for manifest in plain(applied) if manifest["kind"] == "Pod"]
    rendered = [
        made for made in manifests(render(write(tmp_path / "o.yaml", document), fleet)) if made["kind"] == "Pod"
    ]
    assert [made["spec"] for made in rendered] == [made["spec"] for made in pods]
    written = json.dumps([made["spec"]["affinity"] for made in rendered])
    assert "nvidia.com/gpu.product" in written
    assert "metadata.name" not in written


def test_objects_rendered_together_are_placed_beside_each_other(scene: Path, fleet: Path) -> None:
    """In order, like the answers of plan; each manifest belongs to one of them."""
    ran = render(scene, fleet)
    assert (ran.status, ran.err) == (0, "")
    owners = [manifest["metadata"]["labels"][MODEL_LABEL] for manifest in manifests(ran)]
    assert list(dict.fromkeys(owners)) == list(OBJECTS)
    assert len(owners) == 15


def test_json_is_one_list_of_the_same_manifests(scene: Path, fleet: Path) -> None:
    """As kubectl takes it."""
    found = render(scene, fleet, "-o", "json").data
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    assert found["items"] == manifests(render(scene, fleet))


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_an_api_server_accepts_what_is_rendered_and_runs_it_where_it_was_planned(
    scene: Path, fleet: Path, form: str
) -> None:
    """``shardwise render | kubectl apply -f -``, without any operator."""
    ran = render(scene, fleet, "-o", form)
    found = ran.data["items"] if form == "json" else manifests(ran)
    cluster = Sandbox(objects=[compute_domain_definition(), *sample_fleet()])
    for manifest in found:
        cluster.apply(manifest, manager="kubectl")
    cluster.settle()
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in cluster.list("pods")}
    assert nodes == {
        "deepseek-r1-0-0-0": "gb200-r1-t2",
        "deepseek-r1-0-0-1": "gb200-r1-t3",
        "llama-405b-0-0-0": "h100-1",
        "llama-405b-0-0-1": "h100-2",
        "llama-70b-0-0-0": "gb200-r1-t1",
        "llama-8b-0-0-0": "l40s-1",
    }


def test_what_is_rendered_for_an_object_on_a_cluster_goes_with_it(tmp_path: Path, fleet: Path) -> None:
    """Its owner references are such that the garbage collector takes everything."""
    cluster = Sandbox(objects=[crd.definition(), compute_domain_definition(), *sample_fleet()])
    served = cluster.create(OBJECTS["llama-405b"])
    for manifest in manifests(render(write(tmp_path / "o.yaml", served), fleet)):
        cluster.apply(manifest, manager="kubectl")
    cluster.settle()
    assert len(cluster.names("pods")) == 2
    cluster.delete("ShardedModel", "default", "llama-405b")
    cluster.settle()
    assert [*cluster.names("pods"), *cluster.names("services")] == []


def test_independent_objects_may_be_rendered_onto_the_same_gpus(tmp_path: Path, fleet: Path) -> None:
    """Each is planned as if it were alone."""
    wide = OBJECTS["llama-405b"]
    both = write(tmp_path / "o.yaml", renamed(wide, "one"), renamed(wide, "two"))
    assert render(both, fleet).status == 1
    ran = render(both, fleet, "--independent")
    assert ran.status == 0
    assert {manifest["metadata"]["labels"][MODEL_LABEL] for manifest in manifests(ran)} == {"one", "two"}


def test_what_does_not_fit_is_said_on_standard_error_beside_the_rest(tmp_path: Path, fleet: Path) -> None:
    """Standard output goes to kubectl: it holds the manifests of those that fit, and no word more."""
    refused = changed(a_model("llama-405b"), spec__gpuBudget__total=8)
    wrong = changed(renamed(a_model(), "wrong"), spec__gpuBudget__total=0)
    ran = render(write(tmp_path / "o.yaml", refused, wrong, a_model()), fleet)
    assert ran.status == 2
    assert {manifest["metadata"]["labels"][MODEL_LABEL] for manifest in manifests(ran)} == {"llama-8b"}
    assert "no placement for `llama-405b`: " in ran.err
    assert ran.err.endswith("\nerror: default/wrong: spec.gpuBudget.total: `0` must be at least 1\n")


@pytest.mark.parametrize(("form", "out"), [("yaml", ""), ("json", {"apiVersion": "v1", "kind": "List", "items": []})])
def test_nothing_that_fits_gives_nothing_to_apply(tmp_path: Path, fleet: Path, form: str, out: str | Json) -> None:
    """An empty stream, and an empty List: neither is an error to kubectl's parser."""
    refused = changed(a_model("llama-405b"), spec__gpuBudget__total=8)
    ran = render(write(tmp_path / "o.yaml", refused), fleet, "-o", form)
    assert ran.status == 1
    assert (ran.data if form == "json" else ran.out) == out


def test_text_is_no_form_of_a_manifest(scene: Path, fleet: Path) -> None:
    """It says which are."""
    ran = render(scene, fleet, "-o", "text")
    assert (ran.status, ran.out) == (2, "")
    assert "'text' is not one of 'yaml', 'json'" in ran.err
