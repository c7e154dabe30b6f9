"""Alerts, metrics and the chart's objects for Prometheus, judged by promtool and rendered by Helm themselves."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.binaries import find
from tests.cluster.installed import CHART
from tests.metrics.support import a_busy_exposition
from tests.support.repository import TESTS

pytestmark = pytest.mark.cluster

Json = dict[str, Any]

RULES = CHART / "rules" / "shardwise.yaml"
HISTORIES = TESTS / "cluster" / "alerts.yaml"
ALL = ("serviceMonitor", "podMonitor", "rules", "dashboard")


def promtool(*args: str | Path, given: bytes = b"") -> tuple[int, str]:
    """Run promtool, and give its exit status and all that it printed."""
    command = [str(find("promtool")), *map(str, args)]
    ran = subprocess.run(command, input=given, capture_output=True, check=False)  # noqa: S603 - the testbed's own
    return ran.returncode, (ran.stdout + ran.stderr).decode()


def rendered(*values: str) -> list[Json]:
    """Render the chart, and give its objects."""
    command = [str(find("helm")), "template", "shardwise", str(CHART), "--namespace", "shardwise"]
    settings = [word for value in values for word in ("--set", value)]
    ran = subprocess.run([*command, *settings], capture_output=True, text=True, check=True)  # noqa: S603 - as above
    return [document for document in yaml.safe_load_all(ran.stdout) if document]


def one(kind: str, *values: str) -> Json:
    (found,) = [document for document in rendered(*values) if document["kind"] == kind]
    return found


def test_promtool_takes_the_rules_and_has_nothing_to_say() -> None:
    status, said = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert status == 0, said
    assert "20 rules found" in said


def test_alerts_follow_from_histories_of_series() -> None:
    """And none follows from a change of the leader, a slow load or a cordoned node."""
    status, said = promtool("test", "rules", HISTORIES)
    assert status == 0, said


def test_every_alert_has_a_history_in_which_it_is_raised() -> None:
    checks = [check for test in yaml.safe_load(HISTORIES.read_text())["tests"] for check in test["alert_rule_test"]]
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == alerts


def test_promtool_takes_the_metrics_and_has_nothing_to_say() -> None:
    """Names, types, units and help texts, by its linter."""
    status, said = promtool("check", "metrics", given=asyncio.run(a_busy_exposition()))
    assert (status, said) == (0, "")


def test_the_prometheus_rule_holds_the_rules_as_they_are() -> None:
    """Helm has read none of the double braces in them."""
    spec = one("PrometheusRule", "metrics.rules.create=true", "metrics.rules.labels.release=prom")["spec"]
    assert spec == yaml.safe_load(RULES.read_text())


def test_the_dashboard_reaches_grafana_as_it_is() -> None:
    maps = [found for found in rendered("metrics.dashboard.create=true") if found["kind"] == "ConfigMap"]
    (found,) = [found for found in maps if found["metadata"]["labels"].get("grafana_dashboard") == "1"]
    text = (CHART / "dashboards" / "shardwise.json").read_text()
    assert json.loads(found["data"]["shardwise.json"]) == json.loads(text)


def test_the_service_monitor_selects_the_service_of_the_operators() -> None:
    objects = rendered("metrics.serviceMonitor.create=true", "metrics.serviceMonitor.labels.release=prom")
    (monitor,) = [found for found in objects if found["kind"] == "ServiceMonitor"]
    services = [found for found in objects if found["kind"] == "Service"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = [found for found in services if wanted <= found["metadata"]["labels"].items()]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == [service["metadata"]["namespace"]]
    assert monitor["metadata"]["labels"]["release"] == "prom"


@pytest.mark.parametrize(
    ("values", "selector"),
    [
        ((), {"any": True}),
        (("namespaces={a,b}",), {"matchNames": ["a", "b"]}),
        (("metrics.podMonitor.namespaces={c}", "namespaces={a,b}"), {"matchNames": ["c"]}),
    ],
)
def test_the_engines_are_scraped_where_models_may_be(values: tuple[str, ...], selector: Json) -> None:
    assert one("PodMonitor", "metrics.podMonitor.create=true", *values)["spec"]["namespaceSelector"] == selector


TENSORRT, VLLM = "nvcr.io/nvidia/tensorrt-llm/release:1.2.1", "vllm/vllm-openai:v0.33.0"


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("false", {TENSORRT: [], VLLM: ["/metrics"]}),
        ("true", {TENSORRT: ["/prometheus/metrics"], VLLM: ["/metrics"]}),
    ],
)
def test_each_pod_is_scraped_at_one_address_or_none(value: str, paths: dict[str, list[str]]) -> None:
    """TensorRT-LLM only where it is asked for: without an option of its own, it serves no metrics."""
    values = ("metrics.podMonitor.create=true", f"metrics.podMonitor.tensorrtLlm={value}")
    endpoints = one("PodMonitor", *values)["spec"]["podMetricsEndpoints"]
    for image, expected in paths.items():
        assert [endpoint["path"] for endpoint in endpoints if _is_scraped(endpoint, image)] == expected


def _is_scraped(endpoint: Json, image: str) -> bool:
    (rule,) = endpoint["relabelings"]
    return (re.fullmatch(rule["regex"], image) is not None) is (rule["action"] == "keep")


def test_without_values_no_object_of_the_prometheus_operator_is_made() -> None:
    """Its kinds may not be there."""
    kinds = {document["kind"] for document in rendered()}
    assert kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule"} == set()
    made = {document["kind"] for document in rendered(*(f"metrics.{part}.create=true" for part in ALL))}
    assert made - kinds == {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
