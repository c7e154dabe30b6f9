"""The attachments of an object over its life: made with the plan, mended, changed, deleted; and never in the way."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, applied, deleted, wants
from tests.support.add_ons import AUTOSCALER, POOL, a_scaling, a_site
from tests.support.fleets import a_fleet
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.attachments import Endpoint, Gateway
from shardwise.domain.launch import LaunchSite
from shardwise.reconcile.actions import Apply
from shardwise.render.attachments import ATTACHMENTS

Json = dict[str, Any]


def attached(site: LaunchSite | None = None, **changes: Any) -> World:
    """Give an object with a pool, a route and a scaler, and a budget of 8 GPUs; keywords are parts of its launch."""
    wanted = wants(a_demand(LLAMA_8B, budget=8), site=site or a_site())
    asked: Json = {"endpoint": POOL, "scaling": a_scaling()} | changes
    return World(replace(wanted, launch=replace(wanted.launch, **asked)))


def edit(world: World, **changes: Any) -> None:
    world.edit(launch=replace(world.wanted.launch, **changes))


def there(world: World) -> list[str]:
    return sorted(kind for kind, _ in world.companions)


def degraded(world: World) -> tuple[str, str, str]:
    condition = world.condition("Degraded")
    return condition["status"], condition["reason"], condition.get("message", "")


def test_attachments_are_made_once_and_last() -> None:
    """After pods and Services: nobody waits for them."""
    world = attached()
    kinds = [action.manifest["kind"] for action in world.step().actions if isinstance(action, Apply)]
    assert kinds[-3:] == ["InferencePool", "HTTPRoute", "ScaledObject"]
    world.start()
    world.settle()
    assert world.standing() == "Ready/AllReplicasReady"
    assert degraded(world)[:2] == ("False", "AsPlanned")
    assert world.decide().actions == ()


def test_without_a_plan_nothing_is_attached() -> None:
    """There is no port and no size of a replica."""
    world = attached()
    world.fleet = a_fleet([])
    world.settle()
    assert there(world) == []


def test_attachments_stay_while_there_is_no_plan() -> None:
    """The gateway keeps its route while all nodes are away."""
    world = attached()
    world.run()
    world.lose_node(*(node.name for node in world.fleet.nodes))
    world.settle()
    assert there(world) == ["HTTPRoute", "InferencePool", "ScaledObject"]


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        pytest.param({"endpoint": Endpoint()}, ["HTTPRoute", "InferencePool"], id="the Service alone"),
        pytest.param({"endpoint": replace(POOL, gateway=None)}, ["HTTPRoute"], id="no gateway"),
        pytest.param({"scaling": None}, ["ScaledObject"], id="no scaler"),
    ],
)
def test_an_attachment_that_is_no_longer_asked_for_is_deleted(changes: Json, gone: list[str]) -> None:
    world = attached()
    world.run()
    pods = dict(world.pods)
    edit(world, **changes)
    decision = world.step()
    assert sorted(kind for kind in ATTACHMENTS if deleted(decision, kind) == ["llama"]) == gone
    world.settle()
    assert (world.pods, set(there(world)) & set(gone)) == (pods, set())
    assert world.standing() == "Ready/AllReplicasReady"


def test_a_change_of_scaler_of_the_cluster_deletes_the_object_of_the_old_scaler() -> None:
    """If the operator may still delete it, as while both are granted."""
    world = attached()
    world.run()
    world.edit(site=a_site(AUTOSCALER))
    world.settle()
    assert there(world) == ["HTTPRoute", "HorizontalPodAutoscaler", "InferencePool"]


def put(world: World, kind: str, change: Json) -> None:
    """Let somebody change the spec of an attachment."""
    made = copy.deepcopy(world.companions[kind, "llama"])
    made["spec"] |= change
    world.companions[kind, "llama"] = made


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param("InferencePool", {"targetPorts": [{"number": 1}]}, id="a port"),
        pytest.param("InferencePool", {"selector": {"matchLabels": {"app": "other"}}}, id="a selector"),
        pytest.param("HTTPRoute", {"rules": []}, id="a route"),
        pytest.param("HTTPRoute", {"hostnames": ["evil.example.com"]}, id="a hostname"),
        pytest.param("ScaledObject", {"maxReplicaCount": 100}, id="a bound"),
        pytest.param("ScaledObject", {"triggers": []}, id="a trigger"),
    ],
)
def test_a_field_that_somebody_changed_is_put_back(kind: str, change: Json) -> None:
    world = attached()
    world.run()
    before = world.companions[kind, "llama"]
    put(world, kind, change)
    assert applied(world.step(), kind) == ["llama"]
    assert world.companions[kind, "llama"]["spec"] == before["spec"]
    assert world.decide().actions == ()


def test_a_field_that_somebody_changes_again_and_again_is_told() -> None:
    world = attached()
    world.run()
    for _ in range(4):
        put(world, "ScaledObject", {"maxReplicaCount": 100})
        world.step()
    assert degraded(world)[:2] == ("True", "FieldsContested")
    assert "ScaledObject `llama`: `spec.maxReplicaCount` is `100`, not `4`" in degraded(world)[2]


def test_fields_of_the_add_on_are_no_drift() -> None:
    """KEDA sets a finalizer and labels; the API server fills in what we left out."""
    world = attached()
    world.run()
    made = copy.deepcopy(world.companions["ScaledObject", "llama"])
    made["spec"] |= {"cooldownPeriod": 300, "pollingInterval": 30}
    made["metadata"]["labels"]["scaledobject.keda.sh/name"] = "llama"
    made["metadata"]["finalizers"] = ["finalizer.keda.sh"]
    world.companions["ScaledObject", "llama"] = made
    assert world.decide().actions == ()


def test_a_new_budget_is_the_new_ceiling_of_the_scaler() -> None:
    world = attached(scaling=a_scaling(1, 100))
    world.run()
    gpus = world.companions["ScaledObject", "llama"]["spec"]["maxReplicaCount"]
    assert gpus == 8
    world.demand(gpu_budget=3)
    world.settle()
    assert world.companions["ScaledObject", "llama"]["spec"]["maxReplicaCount"] == 3


def test_an_object_serves_without_the_add_ons_and_names_them() -> None:
    """With group and version of each; and makes them when they come."""
    world = attached()
    world.missing = frozenset({"InferencePool", "HTTPRoute", "ScaledObject"})
    world.run()
    assert (there(world), world.standing()) == ([], "Ready/AllReplicasReady")
    said = (
        "`spec.endpoint.kind` asks for InferencePool of `inference.networking.k8s.io/v1`, and `spec.endpoint.gateway` "
        "asks for HTTPRoute of `gateway.networking.k8s.io/v1`, and `spec.scaling` asks for ScaledObject of "
        "`keda.sh/v1alpha1`, which the cluster does not serve; install the Gateway API inference extension and the "
        "Gateway API and KEDA"
    )
    assert degraded(world) == ("True", "AddOnMissing", said)
    assert world.told().count("AddOnMissing") == 1
    world.missing = frozenset({"ScaledObject"})
    world.settle()
    assert there(world) == ["HTTPRoute", "InferencePool"]
    world.missing = frozenset()
    world.settle()
    assert degraded(world)[:2] == ("False", "AsPlanned")


def test_an_object_that_asks_for_nothing_misses_nothing() -> None:
    world = attached(endpoint=Endpoint(), scaling=None)
    world.missing = frozenset(ATTACHMENTS)
    world.run()
    assert degraded(world)[:2] == ("False", "AsPlanned")


def test_a_minimum_beyond_the_budget_is_told() -> None:
    """The scaler keeps as many replicas as the budget allows."""
    world = attached(scaling=a_scaling(3, 4))
    world.demand(gpu_budget=2)
    world.run()
    said = "`spec.scaling.min` asks for 3 replicas of 1 GPU each, `spec.gpuBudget.total` of 2 GPUs allows 2"
    assert degraded(world) == ("True", "ScalingLimited", said)
    assert world.companions["ScaledObject", "llama"]["spec"]["minReplicaCount"] == 2


def test_a_paused_object_keeps_its_attachments() -> None:
    world = attached()
    world.run()
    world.edit(
        paused=True, launch=replace(world.wanted.launch, endpoint=Endpoint(gateway=Gateway("models", "gateways")))
    )
    world.settle()
    assert there(world) == ["HTTPRoute", "InferencePool", "ScaledObject"]


def test_a_model_at_zero_replicas_keeps_its_attachments() -> None:
    """Its scaler is what brings it back."""
    world = attached(scaling=a_scaling(0))
    world.run()
    world.demand(replicas=0)
    world.settle()
    assert world.standing() == "Ready/ScaledToZero"
    assert there(world) == ["HTTPRoute", "InferencePool", "ScaledObject"]
