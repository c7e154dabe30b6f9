"""InferencePools, routes and scalers: whole manifests, their bounds, and which of them an object asks for."""

from dataclasses import replace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from tests.engines.support import a_plan, wants, wants_of
from tests.render.support import ONE_NODE
from tests.render.test_render_golden import written
from tests.support.add_ons import AUTOSCALER, KEDA, POOL, a_scaling, a_site

from shardwise.domain.attachments import Endpoint, Gateway, Scaler, Signal
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.layout import Layout
from shardwise.render.attachments import ATTACHMENTS, attachments, kinds_read
from shardwise.render.bundle import bundle
from shardwise.render.manifest import serving_selector

SIGNALS = [
    pytest.param(Signal.QUEUE, 5, id="queue"),
    pytest.param(Signal.KV_CACHE, 80, id="KV cache"),
    pytest.param(Signal.TIME_PER_TOKEN, 50, id="time per token"),
]


def attached(wanted: Wanted, budget: int = 32) -> dict[str, Any]:
    """Render the attachments of an object on 8 GPUs a replica, by kind."""
    wanted = replace(wanted, demand=replace(wanted.demand, gpu_budget=budget))
    return {made["kind"]: made for made in attachments(wanted, ONE_NODE)}


def asking(site: LaunchSite | None = None, **changes: Any) -> Wanted:
    wanted = wants(site=site or a_site())
    return replace(wanted, launch=replace(wanted.launch, **changes))


def test_a_pool_behind_a_gateway_is_rendered_so(snapshot: SnapshotAssertion) -> None:
    assert written(list(attached(asking(endpoint=POOL)).values())) == snapshot


def test_a_service_behind_a_gateway_of_its_own_namespace_is_rendered_so(snapshot: SnapshotAssertion) -> None:
    assert written(list(attached(asking(endpoint=Endpoint(gateway=Gateway("models")))).values())) == snapshot


@pytest.mark.parametrize(("signal", "target"), SIGNALS)
@pytest.mark.parametrize("scaler", [pytest.param(KEDA, id="KEDA"), pytest.param(AUTOSCALER, id="autoscaler")])
def test_a_scaler_is_rendered_so(scaler: Scaler, signal: Signal, target: int, snapshot: SnapshotAssertion) -> None:
    wanted = asking(a_site(scaler), scaling=a_scaling(signal=signal, target=target))
    assert written(next(iter(attached(wanted).values()))["spec"]) == snapshot


def test_a_scaler_to_zero_is_rendered_so(snapshot: SnapshotAssertion) -> None:
    """With a second trigger, which counts the requests in the model and before it."""
    assert written(attached(asking(scaling=a_scaling(0)))["ScaledObject"]["spec"]) == snapshot


def test_an_sglang_model_is_scaled_by_its_own_metrics() -> None:
    wanted = replace(wants_of(EngineName.SGLANG, site=a_site()))
    wanted = replace(wanted, launch=replace(wanted.launch, scaling=a_scaling(signal=Signal.KV_CACHE, target=80)))
    (trigger,) = attached(wanted)["ScaledObject"]["spec"]["triggers"]
    series = 'sglang:token_usage{namespace="default",shardwise_dev_model="llama"}'
    assert trigger["metadata"]["query"] == f"sum(max by (shardwise_dev_replica) ({series}))"


@pytest.mark.parametrize(
    ("budget", "least", "most"),
    [
        pytest.param(32, 1, 4, id="as asked"),
        pytest.param(31, 1, 3, id="three replicas"),
        pytest.param(8, 1, 1, id="one replica"),
    ],
)
@pytest.mark.parametrize("scaler", [pytest.param(KEDA, id="KEDA"), pytest.param(AUTOSCALER, id="autoscaler")])
def test_the_budget_is_the_ceiling_of_a_scaler(scaler: Scaler, budget: int, least: int, most: int) -> None:
    """A replica has 8 GPUs, and the object asks for 1 to 4 replicas."""
    (made,) = attached(asking(a_site(scaler), scaling=a_scaling()), budget).values()
    names = ("minReplicas", "maxReplicas") if scaler is AUTOSCALER else ("minReplicaCount", "maxReplicaCount")
    assert tuple(made["spec"][name] for name in names) == (least, most)


def test_a_minimum_beyond_the_budget_is_lowered_to_it() -> None:
    """Neither KEDA nor an autoscaler takes a minimum above its maximum. The status says so."""
    spec = attached(asking(scaling=a_scaling(3, 4)), budget=16)["ScaledObject"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 2)


def test_a_pool_selects_what_the_service_selects() -> None:
    """The leaders of groups that serve, and no others (0047)."""
    wanted = asking(endpoint=POOL)
    made = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in bundle(wanted, ONE_NODE)}
    pool, service = made["InferencePool", "llama"], made["Service", "llama"]
    assert pool["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == serving_selector(wanted.launch)


@pytest.mark.parametrize(
    ("engine", "port"),
    [(EngineName.VLLM, 8000), (EngineName.SGLANG, 30000), (EngineName.TENSORRT_LLM, 8000)],
)
def test_a_pool_has_the_port_at_which_the_leader_serves(engine: EngineName, port: int) -> None:
    """Whatever the port of the Service, and however many data ranks are behind it."""
    wanted = wants_of(engine, site=a_site(), port=80)
    wanted = replace(wanted, launch=replace(wanted.launch, endpoint=POOL))
    plan = a_plan(Layout(1, 1, True, 8), engine=engine)
    pool = next(made for made in attachments(wanted, plan) if made["kind"] == "InferencePool")
    assert pool["spec"]["targetPorts"] == [{"number": port}]


def test_a_pool_leads_to_the_proxy_beside_the_engine() -> None:
    pool = attached(asking(endpoint=replace(POOL, target_port=8080)))["InferencePool"]
    assert pool["spec"]["targetPorts"] == [{"number": 8080}]


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        pytest.param({}, [], id="the Service alone"),
        pytest.param({"endpoint": POOL}, ["InferencePool", "HTTPRoute"], id="a pool with a gateway"),
        pytest.param({"endpoint": replace(POOL, gateway=None)}, ["InferencePool"], id="a pool alone"),
        pytest.param({"endpoint": Endpoint(gateway=Gateway("g"))}, ["HTTPRoute"], id="a gateway alone"),
        pytest.param({"scaling": a_scaling()}, ["ScaledObject"], id="a scaling"),
    ],
)
def test_an_object_gets_what_it_asks_for(changes: dict[str, Any], kinds: list[str]) -> None:
    assert list(attached(asking(**changes))) == kinds


@pytest.mark.parametrize(
    ("site", "kinds"),
    [
        pytest.param(LaunchSite(), (), id="nothing configured"),
        pytest.param(a_site(None, gateways=()), ("InferencePool",), id="pools"),
        pytest.param(a_site(None, pools=False), ("HTTPRoute",), id="gateways"),
        pytest.param(a_site(pools=False, gateways=()), ("ScaledObject",), id="KEDA"),
        pytest.param(a_site(AUTOSCALER, pools=False, gateways=()), ("HorizontalPodAutoscaler",), id="autoscaler"),
    ],
)
def test_only_the_kinds_that_are_configured_are_read(site: LaunchSite, kinds: tuple[str, ...]) -> None:
    assert kinds_read(site.attachments) == kinds
    assert set(kinds) <= set(ATTACHMENTS)
