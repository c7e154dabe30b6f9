"""Dashboard, alerts and runbooks name only metrics that exist, with labels that they have; and nothing is forgotten."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from tests.support.repository import ROOT

from shardwise.domain.fleet import Exclusion
from shardwise.domain.reasons import FailureKind, Reason
from shardwise.domain.refusal import RefusalReason
from shardwise.metrics.table import METRICS, Metric
from shardwise.reconcile.endings import Disruption

Json = dict[str, Any]

CHART = ROOT / "charts" / "shardwise"
RULES = CHART / "rules" / "shardwise.yaml"
DASHBOARD = CHART / "dashboards" / "shardwise.json"
RUNBOOKS = ROOT / "docs" / "runbooks"
SERIES = {name: metric for metric in METRICS for name in metric.series}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
OF_THE_SCRAPE = {"job", "namespace", "pod", "instance"}
"""Labels that Prometheus gives every series."""

_METRIC = re.compile(r"\b(?:shardwise|process)_[a-z_]+")
_SELECTED = re.compile(r"\b((?:shardwise|process)_[a-z_]+)\s*{([^}]*)}")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")
_VALUES = {
    "reason": {*Exclusion, *Reason, *RefusalReason},
    "cause": {*FailureKind, *Disruption},
    "condition": {"Ready", "Reconciling", "Stalled", "New"},
    "state": {"held", "others", "free", "left_out"},
    "outcome": {"found", "error", "done", "held", "other", "planned", "refused", "kept"},
    "code": {"401", "403"},
}


def _alerts() -> list[Json]:
    groups: list[Json] = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _dashboard() -> Json:
    found: Json = json.loads(DASHBOARD.read_text())
    return found


def _panels() -> list[Json]:
    panels: list[Json] = _dashboard()["panels"]
    return panels


def _queries() -> Iterator[tuple[str, str]]:
    for alert in _alerts():
        yield alert["alert"], alert["expr"]
    for panel in _panels():
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]


QUERIES = dict(_queries())


def _metrics(query: str) -> list[Metric]:
    return [SERIES[name] for name in _METRIC.findall(query) if name not in PROCESS]


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_names_metrics_that_exist(query: str) -> None:
    named = _METRIC.findall(query)
    assert named
    assert [name for name in named if name not in SERIES and name not in PROCESS] == []


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_groups_by_labels_that_its_metrics_have(query: str) -> None:
    known = {label for metric in _metrics(query) for label in metric.labels} | OF_THE_SCRAPE | {"le"}
    grouped = {label.strip() for labels in _GROUPED.findall(query) for label in labels.split(",")}
    assert grouped <= known


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_selects_values_that_a_label_can_have(query: str) -> None:
    for name, selector in _SELECTED.findall(query):
        labels = {*(SERIES[name].labels if name in SERIES else ()), *OF_THE_SCRAPE}
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            assert label in labels, f"{name} has no label {label}"
            if not values.startswith("$"):
                assert set(values.split("|")) <= _VALUES[label], f"{label}={values}"


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_takes_the_rate_of_counters_alone(query: str) -> None:
    """A counter without a rate only ever grows; the rate of a gauge means nothing."""
    rated = set(re.findall(r"(?:rate|increase)\(([a-z_]+)", query))
    counted = {name for name in _METRIC.findall(query) if name.endswith(("_total", "_bucket"))}
    restarts = {"shardwise_model_restarts_total"} if "rate(" not in query and "increase(" not in query else set()
    assert counted - restarts == rated


@pytest.mark.parametrize("alert", _alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_the_runbook_is(alert: Json) -> None:
    name = alert["alert"]
    assert name.startswith(("Shardwise", "ShardedModel"))
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert re.fullmatch(r"\d+[mh]", alert["for"])
    notes = alert["annotations"]
    assert notes["runbook_url"].endswith(f"/docs/runbooks/{name}.md")
    assert notes["description"].endswith(".")
    assert not notes["summary"].endswith(".")
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n\n{notes['summary']}. Severity: {alert['labels']['severity']}, after ")
    assert "\n## Look\n" in text
    assert "\n## Do\n" in text


@pytest.mark.parametrize("alert", _alerts(), ids=lambda alert: alert["alert"])
def test_the_words_of_an_alert_use_labels_that_its_query_keeps(alert: Json) -> None:
    """Any other label would be empty."""
    kept = {label.strip() for labels in _GROUPED.findall(alert["expr"]) for label in labels.split(",")}
    assert set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["description"])) <= kept


def test_every_runbook_belongs_to_an_alert_and_the_page_lists_all() -> None:
    names = [alert["alert"] for alert in _alerts()]
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == sorted(names)
    rows = re.findall(
        r"\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| (.+) \|", (ROOT / "docs/monitoring.md").read_text()
    )
    assert rows == [
        (alert["alert"], alert["alert"], alert["labels"]["severity"], alert["annotations"]["summary"])
        for alert in _alerts()
    ]


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_names_metrics_that_exist(path: Any) -> None:
    named = set(re.findall(r"\bshardwise_[a-z_]+", path.read_text()))
    assert named <= set(SERIES) | {metric.name for metric in METRICS}


def test_the_dashboard_shows_every_metric_of_the_leader_and_most_of_the_others() -> None:
    """The condition of each object is for alerts; the dashboard lists objects in a table."""
    shown = {
        metric for panel in _panels() for target in panel.get("targets", ()) for metric in _metrics(target["expr"])
    }
    unseen = {metric.name for metric in METRICS} - {metric.name for metric in shown}
    assert unseen == {
        "shardwise_events_total",
        "shardwise_hub_lookup_seconds",
        "shardwise_model_condition",
        "shardwise_models_unlisted",
    }


def test_the_panels_have_an_id_each_and_do_not_overlap() -> None:
    """Grafana loads a dashboard with two equal ids, and shows one of the panels."""
    ids = [panel["id"] for panel in _panels()]
    assert len(set(ids)) == len(ids)
    taken: dict[tuple[int, int], str] = {}
    for panel in _panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies over {taken.get(cell)}"
            taken[cell] = panel["title"]


def test_every_panel_says_what_it_shows_and_reads_the_chosen_data_source() -> None:
    """A dashboard that names a data source of its author shows nothing elsewhere."""
    for panel in _panels():
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFG")[: len(panel["targets"])]
    assert [variable["name"] for variable in _dashboard()["templating"]["list"]] == ["datasource", "job"]


PANEL: Json = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "type": {"enum": ["row", "stat", "table", "timeseries"]},
        "title": {"type": "string", "minLength": 1},
        "gridPos": {
            "type": "object",
            "required": ["h", "w", "x", "y"],
            "additionalProperties": False,
            "properties": {name: {"type": "integer", "minimum": 0} for name in "hwxy"},
        },
        "fieldConfig": {"type": "object", "required": ["defaults", "overrides"]},
        "targets": {"type": "array", "items": {"type": "object", "required": ["refId", "expr", "datasource"]}},
    },
}
MODEL: Json = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time", "annotations"],
    "properties": {
        "uid": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"},
        "title": {"type": "string", "minLength": 1},
        "schemaVersion": {"type": "integer", "minimum": 36},
        "id": False,
        "panels": {"type": "array", "minItems": 1, "items": PANEL},
        "templating": {"type": "object", "required": ["list"]},
    },
}
"""The parts of Grafana's JSON model of a dashboard that ours uses. An ``id`` is given by the Grafana that loads it."""


def test_the_dashboard_has_the_form_of_grafanas_json_model() -> None:
    jsonschema.Draft7Validator(MODEL).validate(_dashboard())


def test_the_chart_takes_rules_and_dashboard_from_these_files() -> None:
    """As files, since both have double braces of their own, which Helm would read."""
    templates = {path.name: path.read_text() for path in (CHART / "templates").glob("*.yaml")}
    assert f'.Files.Get "{RULES.relative_to(CHART)}"' in templates["prometheusrule.yaml"]
    assert f'.Files.Get "{DASHBOARD.relative_to(CHART)}"' in templates["dashboard.yaml"]


def test_the_engines_monitor_selects_the_labels_and_the_port_of_pods_that_serve() -> None:
    from shardwise.render.manifest import (  # noqa: PLC0415 - only here
        LEADER,
        MANAGED_BY,
        MODEL,
        OPERATOR,
        REPLICA,
        ROLE,
        SERVER,
    )

    text = (CHART / "templates" / "podmonitor.yaml").read_text()
    assert f"{MANAGED_BY}: {OPERATOR}\n" in text
    assert f"key: {ROLE}, operator: In, values: [{LEADER}, {SERVER}]" in text
    assert f"podTargetLabels: [{MODEL}, {REPLICA}]" in text
    assert "- port: http\n" in text


def test_the_operators_monitor_keeps_the_labels_of_objects() -> None:
    """Prometheus would otherwise rename `namespace` to `exported_namespace`, and no alert would name the object."""
    text = (CHART / "templates" / "servicemonitor.yaml").read_text()
    assert "honorLabels: true" in text
    assert "path: /metrics" in text


WRONG: dict[str, Json] = {
    "an interval without a unit": {"serviceMonitor": {"interval": "30"}},
    "a word for a number": {"objects": "many"},
    "an unknown part": {"grafana": {}},
    "a label that is no string": {"rules": {"labels": {"release": 1}}},
    "an empty label": {"dashboard": {"label": ""}},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_the_schema_of_the_chart_refuses(wrong: Json) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({"metrics": wrong})
