"""Whole manifests as they are applied, for the shapes a plan can have and for every source of the weights."""

import json
from dataclasses import replace

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from tests.engines.support import wants
from tests.render.support import DATA_ON_TWO_NODES, ONE_GPU, ONE_NODE, TWO_NODES, engine, everything, leader, of_kind
from tests.support.fleets import a_fleet, gb200_rack
from tests.support.models import LLAMA_405B, R1, a_demand
from tests.support.plans import planned

from shardwise.domain.launch import GangScheduler, GangSystem, LaunchSite, Servers, Source, SourceKind
from shardwise.domain.plan import Plan


def written(documents: object) -> str:
    """Write manifests out in the order they were made in, as they are on the wire."""
    return yaml.safe_dump(json.loads(json.dumps(documents)), sort_keys=False, width=120)


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(ONE_GPU, id="one GPU"),
        pytest.param(ONE_NODE, id="TP8 on one node"),
        pytest.param(TWO_NODES, id="TP8xPP2 on two nodes"),
        pytest.param(DATA_ON_TWO_NODES, id="DP16 on two nodes"),
    ],
)
def test_a_plan_is_rendered_so(plan: Plan, snapshot: SnapshotAssertion) -> None:
    """The Service to the leaders, the group's own Service, and its pods in rank order."""
    assert written(list(everything(plan))) == snapshot


def test_a_group_whose_pods_all_serve_is_rendered_so(snapshot: SnapshotAssertion) -> None:
    """The Service selects no role, and every pod has the role, the probes and the drain of one that serves."""
    wanted = wants(a_demand(R1), servers=Servers.EVERY_POD)
    assert written(list(everything(DATA_ON_TWO_NODES, wanted))) == snapshot


def test_a_tensor_group_over_trays_of_a_rack_is_rendered_so(snapshot: SnapshotAssertion) -> None:
    """As the planner places it on NVL72: TP8 over two trays of one clique."""
    wanted = wants(a_demand(LLAMA_405B, budget=8))
    assert written(list(everything(planned(wanted.demand, a_fleet(gb200_rack(4))), wanted))) == snapshot


@pytest.mark.parametrize("system", [system for system in GangSystem if system is not GangSystem.NONE])
def test_a_gang_is_rendered_so(system: GangSystem, snapshot: SnapshotAssertion) -> None:
    """The object of the group, the label by which its Service names it, and the fields of a pod that belong to it."""
    site = LaunchSite(gangs=(GangScheduler(system, queue="team"),))
    wanted = replace(wants(gang=system, priority_class_name="high"), site=site)
    manifests = everything(TWO_NODES, wanted)
    (made,), pod, service = of_kind("PodGroup", manifests), of_kind("Pod", manifests)[0], manifests[1]
    shown = {
        "podGroup": made,
        "service": {"labels": service["metadata"]["labels"]},
        "pod": {
            "labels": pod["metadata"]["labels"],
            "annotations": pod["metadata"]["annotations"],
            "spec": {name: pod["spec"][name] for name in ("schedulerName", "schedulingGroup") if name in pod["spec"]},
        },
    }
    assert written(shown) == snapshot


HUB = Source(revision="v1.0", token_secret="hub", token_key="read")


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(Source(), id="the Hub"),
        pytest.param(HUB, id="the Hub with revision and token"),
        pytest.param(Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="weights", path="llama/8b"), id="a claim"),
        pytest.param(Source(SourceKind.HOST_PATH, location="/data/llama"), id="a host path"),
        pytest.param(Source(SourceKind.IMAGE, location="registry.example/llama@sha256:0", path="8b"), id="an image"),
    ],
)
def test_weights_come_from_there(source: Source, snapshot: SnapshotAssertion) -> None:
    """What of a pod depends on the source: the engine's first words, variables, mounts and volumes."""
    pod = leader(ONE_GPU, source=source)
    container = engine(pod)
    shown = {
        "args": container["args"][:5],
        "env": container["env"],
        "volumeMounts": container["volumeMounts"],
        "volumes": pod["spec"]["volumes"],
    }
    assert written(shown) == snapshot
