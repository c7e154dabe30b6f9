"""The queries of scalers, answered by Prometheus' own engine: what KEDA would read of two replicas."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.test_cluster_monitoring import promtool, rendered
from tests.engines.support import SGLANG, VLLM, wants_of
from tests.render.support import ONE_NODE
from tests.support.add_ons import KEDA, a_scaling, a_site

from shardwise.domain.attachments import Signal
from shardwise.domain.engine import EngineName
from shardwise.engines.signals import signal_of
from shardwise.render.attachments import attachments

pytestmark = pytest.mark.cluster

Json = dict[str, Any]

OURS = 'namespace="default",shardwise_dev_model="llama"'
OTHERS = (
    'namespace="default",shardwise_dev_model="other",shardwise_dev_replica="0",pod="other"',
    'namespace="else",shardwise_dev_model="llama",shardwise_dev_replica="0",pod="else"',
)
WAKES = 'sum(waiting{pool="{namespace}/{name}"})'


def triggers(engine: EngineName, signal: Signal) -> dict[str, str]:
    """Give the queries of an object that may be scaled to zero, by the name of the trigger."""
    wanted = wants_of(engine, site=a_site(replace(KEDA, wake_query=WAKES)))
    wanted = replace(wanted, launch=replace(wanted.launch, scaling=a_scaling(0, signal=signal)))
    (made,) = attachments(wanted, ONE_NODE)
    return {trigger["name"]: trigger["metadata"]["query"] for trigger in made["spec"]["triggers"]}


def metric(engine: EngineName, on: str) -> str:
    row = signal_of(engine, (99, 0, 0), on)
    assert row is not None
    return row.metric


def series(name: str, labels: str, values: str) -> Json:
    return {"series": f"{name}{{{labels}}}", "values": values}


def replica(number: int, rank: int = 0) -> str:
    return f'{OURS},shardwise_dev_replica="{number}",pod="llama-{number}-0-0",engine="{rank}"'


def answered(folder: Path, given: list[Json], query: str, expected: list[float]) -> None:
    """Let Prometheus' own engine answer a query, five minutes into the series."""
    samples = [{"labels": "{}", "value": value} for value in expected]
    checks = [{"expr": query, "eval_time": "5m", "exp_samples": samples}]
    path = folder / "test.yaml"
    path.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": given, "promql_expr_test": checks}]}))
    status, said = promtool("test", "rules", path)
    assert status == 0, said


@pytest.mark.parametrize("engine", [VLLM, SGLANG])
def test_the_requests_that_wait_are_those_of_all_ranks_of_all_replicas(engine: EngineName, tmp_path: Path) -> None:
    """And of no other model: KEDA divides the sum by the replicas."""
    name = metric(engine, "queue")
    given = [series(name, replica(0), "3x9"), series(name, replica(0, 1), "4x9"), series(name, replica(1), "5x9")]
    given += [series(name, labels, "100x9") for labels in OTHERS]
    answered(tmp_path, given, triggers(engine, Signal.QUEUE)["signal"], [12])


@pytest.mark.parametrize("engine", [VLLM, SGLANG])
def test_the_cache_of_a_replica_is_as_full_as_its_fullest_rank(engine: EngineName, tmp_path: Path) -> None:
    name = metric(engine, "kvCache")
    given = [
        series(name, replica(0), "0.25x9"),
        series(name, replica(0, 1), "0.5x9"),
        series(name, replica(1), "0.75x9"),
    ]
    given += [series(name, labels, "1x9") for labels in OTHERS]
    answered(tmp_path, given, triggers(engine, Signal.KV_CACHE)["signal"], [1.25])


@pytest.mark.parametrize("engine", [VLLM, SGLANG])
def test_the_time_per_token_is_the_95th_percentile_over_all_replicas(engine: EngineName, tmp_path: Path) -> None:
    """Of 100 tokens a minute, 90 take 50 ms at most and all take 100 ms at most: the 95th lies half-way between."""
    name = f"{metric(engine, 'timePerToken')}_bucket"
    buckets = (("0.05", 45), ("0.1", 50), ("+Inf", 50))
    given = [series(name, f'{replica(n)},le="{le}"', f"0+{rate}x9") for n in (0, 1) for le, rate in buckets]
    given += [series(name, f'{labels},le="+Inf"', "0+900x9") for labels in OTHERS]
    milliseconds = f"round(1000 * ({triggers(engine, Signal.TIME_PER_TOKEN)['signal']}))"
    answered(tmp_path, given, milliseconds, [75])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([], 0, id="nothing at all"),
        pytest.param([series("waiting", 'pool="default/llama"', "2x9")], 2, id="requests before the model"),
        pytest.param([series("vllm:num_requests_running", replica(0), "7x9")], 7, id="requests in work"),
        pytest.param([series("vllm:num_requests_waiting", replica(0), "5x9")], 5, id="requests that wait"),
        pytest.param([series("waiting", 'pool="default/other"', "2x9")], 0, id="requests of others"),
    ],
)
def test_a_model_is_active_while_any_request_waits_or_is_in_work(
    given: list[Json], expected: float, tmp_path: Path
) -> None:
    """Also where none of the series exists, as without replicas: there must be a number, and not nothing."""
    answered(tmp_path, given, triggers(VLLM, Signal.QUEUE)["activity"], [expected])


def test_the_pods_are_scraped_with_the_labels_that_the_queries_select() -> None:
    """Prometheus writes a label of a pod with underscores."""
    (monitor,) = [found for found in rendered("metrics.podMonitor.create=true") if found["kind"] == "PodMonitor"]
    labels = {label.replace(".", "_").replace("/", "_") for label in monitor["spec"]["podTargetLabels"]}
    assert labels == {"shardwise_dev_model", "shardwise_dev_replica"}
