"""Endpoints and scalings that cannot be had here: of the operator's configuration, or of the release of an engine."""

from dataclasses import replace
from typing import Any

import pytest
from tests.engines.support import SGLANG, TENSORRT_LLM, VLLM, wants_of
from tests.support.add_ons import AUTOSCALER, KEDA, POOL, a_scaling, a_site
from tests.support.repository import ROOT

from shardwise.domain.attachments import Endpoint, Gateway, Signal
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import LaunchSite, PodExtras
from shardwise.engines import problems
from shardwise.engines.signals import signal_of, signals

CONFIGURATION = "of the operator's configuration"


def found(
    engine: EngineName, site: LaunchSite, attached: dict[str, Any], **changes: Any
) -> tuple[tuple[str, str], ...]:
    wanted = wants_of(engine, site=site, **changes)
    return problems(replace(wanted, launch=replace(wanted.launch, **attached)))


@pytest.mark.parametrize(
    ("site", "attached", "field", "message"),
    [
        pytest.param(
            a_site(pools=False),
            {"endpoint": POOL},
            "spec.endpoint.kind",
            f"`inferencePool` cannot be used: `attachments.inferencePools` {CONFIGURATION} is not set",
            id="no pools",
        ),
        pytest.param(
            a_site(gateways=("gateways/other",)),
            {"endpoint": POOL},
            "spec.endpoint.gateway",
            f"`gateways/models` is not allowed; `attachments.gateways` {CONFIGURATION} lists `gateways/other`",
            id="another gateway",
        ),
        pytest.param(
            a_site(gateways=()),
            {"endpoint": Endpoint(gateway=Gateway("models"))},
            "spec.endpoint.gateway",
            f"`default/models` is not allowed; `attachments.gateways` {CONFIGURATION} lists no Gateway",
            id="no gateway",
        ),
        pytest.param(
            a_site(None),
            {"scaling": a_scaling()},
            "spec.scaling",
            f"nothing would scale the object: `attachments.scaler` {CONFIGURATION} is not set",
            id="no scaler",
        ),
        pytest.param(
            a_site(AUTOSCALER),
            {"scaling": a_scaling(0)},
            "spec.scaling.min",
            "`0` needs KEDA: a HorizontalPodAutoscaler keeps 1 replica at least",
            id="an autoscaler to zero",
        ),
        pytest.param(
            a_site(replace(KEDA, wake_query="")),
            {"scaling": a_scaling(0)},
            "spec.scaling.min",
            f"`0` cannot be used: `attachments.scaler.keda.wakeQuery` {CONFIGURATION} is not set, and without it "
            "nothing would start a replica again",
            id="nothing that wakes",
        ),
    ],
)
def test_what_the_configuration_does_not_allow_is_refused(
    site: LaunchSite, attached: dict[str, Any], field: str, message: str
) -> None:
    assert found(VLLM, site, attached) == ((field, message),)


@pytest.mark.parametrize("engine", [VLLM, SGLANG])
@pytest.mark.parametrize("signal", Signal)
def test_an_object_may_have_all_that_is_configured(engine: EngineName, signal: Signal) -> None:
    assert found(engine, a_site(), {"endpoint": POOL, "scaling": a_scaling(0, signal=signal)}) == ()


@pytest.mark.parametrize(("engine", "port"), [(VLLM, 8000), (SGLANG, 30000), (TENSORRT_LLM, 8000)])
def test_a_pool_does_not_lead_to_a_port_where_nothing_listens(engine: EngineName, port: int) -> None:
    """Without a container beside it, the engine alone listens."""
    pool, proxy = replace(POOL, target_port=8080), PodExtras(sidecars=({"name": "proxy", "image": "proxy:1"},))
    message = (
        f"nothing listens on `8080`: the engine serves at {port}, and `spec.podTemplate.sidecars` is empty; add the "
        "proxy, or leave the field out"
    )
    assert found(engine, a_site(), {"endpoint": pool}) == (("spec.endpoint.targetPort", message),)
    assert found(engine, a_site(), {"endpoint": pool, "extras": proxy}) == ()
    assert found(engine, a_site(), {"endpoint": replace(POOL, target_port=port)}) == ()


NO_OTHER = "it offers no other either, so leave `spec.scaling` out and state `spec.replicas`"


def test_an_engine_without_metrics_for_prometheus_is_not_scaled() -> None:
    message = f"`queue` cannot be measured: tensorrt-llm 1.2.1 offers no such metric to Prometheus; {NO_OTHER}"
    assert found(TENSORRT_LLM, a_site(), {"scaling": a_scaling()}) == (("spec.scaling.signal", message),)


def test_a_release_before_the_metric_is_not_scaled() -> None:
    message = f"`queue` cannot be measured: sglang 0.5.0 offers no such metric to Prometheus; {NO_OTHER}"
    refused = found(SGLANG, a_site(), {"scaling": a_scaling()}, image="lmsysorg/sglang:v0.5.0")
    assert refused == (("spec.scaling.signal", message),)


@pytest.mark.parametrize("word", ["--disable-log-stats", "--disable_log_stats"])
def test_an_engine_whose_metrics_are_off_is_not_scaled(word: str) -> None:
    message = f"`{word}` of `spec.engine.args` turns off the metrics on which the scaler acts"
    assert found(VLLM, a_site(), {"scaling": a_scaling()}, args=(word,)) == (("spec.scaling", message),)
    assert found(VLLM, a_site(), {}, args=(word,)) == ()


def test_the_page_about_scaling_lists_every_metric() -> None:
    """And no other: of each engine and signal, in the form that Prometheus has it."""
    page = (ROOT / "docs" / "scaling.md").read_text()
    listed = [row for row in signals().values() if row.on != "running"]
    assert {(row.engine, row.on) for row in listed} == {(engine, on) for engine in ("vllm", "sglang") for on in Signal}
    for row in listed:
        line = next(line for line in page.splitlines() if line.lower().startswith(f"| {row.engine}, from {row.since}"))
        assert f"`{row.metric}`" in line


def test_zero_replicas_need_a_count_of_requests_in_work_of_every_engine_that_is_scaled() -> None:
    for name in {row.engine for row in signals().values()}:
        engine = EngineName(name)
        assert signal_of(engine, (99, 0, 0), "running") is not None
