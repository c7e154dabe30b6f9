"""`/metrics` of a running operator, read by Prometheus' own parsers, and held to the table of metrics."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from tests.support.exposition import Series, series_of
from tests.support.operating import LIMIT, Operating, a_model

from shardwise.api import crd
from shardwise.cluster import election
from shardwise.controller import Options, run
from shardwise.metrics.table import METRICS, ServedBy, Sort
from shardwise_sandbox import Fault, RequestInfo, Sandbox, sample_fleet

UNSAID = {"namespace", "name", "product", "method", "version"}
"""Labels that need no word."""

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scraped(Operating):
    """An operator with a Lease, and its metrics."""

    port: int
    objects: int = 1000

    async def begin(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.stopping, ready = asyncio.Event(), asyncio.Event()
        options = Options(
            kubeconfig=self.kubeconfig,
            lease=("default", "shardwise"),
            relist_seconds=3600.0,
            health=("127.0.0.1", self.port),
            measured_objects=self.objects,
        )
        self.task = asyncio.create_task(run(options, self.stopping, ready))
        async with asyncio.timeout(LIMIT):
            await ready.wait()

    async def end(self) -> None:
        self.stopping.set()
        async with asyncio.timeout(LIMIT):
            await self.task

    async def scrape(self, accept: str = "") -> tuple[str, str]:
        """Give the text and the content type."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
            assert answer.status == 200
            return await answer.text(), answer.headers["Content-Type"]

    async def families(self) -> list[Family]:
        return list(read_text((await self.scrape())[0]))

    async def series(self) -> Series:
        return series_of((await self.scrape())[0])


@pytest.fixture
async def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scraped]:
    monkeypatch.setattr(election, "RENEW_SECONDS", 0.05)
    async with Sandbox(objects=[crd.definition(), *sample_fleet()]) as cluster:
        cluster.write_kubeconfig(tmp_path / "kubeconfig")
        running = Scraped(cluster, tmp_path / "kubeconfig")
        await running.begin()
        try:
            yield running
        finally:
            await running.end()


def ours(families: Iterable[Family]) -> dict[str, Family]:
    return {family.name: family for family in families if family.name.startswith("shardwise")}


async def test_prometheus_reads_every_metric_of_the_table_and_no_other(operator: Scraped) -> None:
    """With the sort and the labels that the table says; a counter's family has its name without ``_total``."""
    operator.cluster.create(a_model())
    operator.cluster.create(a_model("large", gpus=9_999))
    await operator.ready("llama")
    found = ours(await operator.families())
    table = {metric.name.removesuffix("_total"): metric for metric in METRICS}
    without_series = {"shardwise_gpus_left_out", "shardwise_hub_lookups"}
    assert set(found) | without_series == set(table) | without_series
    for name, family in found.items():
        assert family.type == table[name].sort
        assert family.documentation == table[name].says.replace("\n", "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert labels <= set(table[name].labels), name


async def test_the_metrics_of_the_process_stand_beside_them(operator: Scraped) -> None:
    series = await operator.series()
    assert series["process_resident_memory_bytes",] > 0
    assert series["process_cpu_seconds_total",] > 0


async def test_openmetrics_is_read_by_its_own_parser(operator: Scraped) -> None:
    text, content_type = await operator.scrape(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    # The parser has no types.
    read = list(read_openmetrics(text))  # type: ignore[no-untyped-call]
    assert ours(read).keys() == ours(await operator.families()).keys()


async def test_an_object_that_becomes_ready_is_seen_in_every_metric_that_it_touches(operator: Scraped) -> None:
    operator.cluster.create(a_model(gpus=1))
    await operator.ready("llama")
    series = await operator.series()
    expected = {
        ("shardwise_leader",): 1,
        ("shardwise_listed",): 1,
        ("shardwise_leaderships_total",): 1,
        ("shardwise_models", "Ready", "AllReplicasReady"): 1,
        ("shardwise_groups", "Ready"): 1,
        ("shardwise_model_replicas", "default", "llama"): 1,
        ("shardwise_model_ready_replicas", "default", "llama"): 1,
        ("shardwise_model_gpus", "default", "llama"): 1,
        ("shardwise_model_condition", "default", "llama", "Ready", "AllReplicasReady"): 1,
        ("shardwise_models_unlisted",): 0,
        ("shardwise_events_total", "Planned"): 1,
        ("shardwise_ready_seconds_count", "create"): 1,
        ("shardwise_decision_seconds_count", "planned"): 1,
        ("shardwise_api_requests_total", "POST", "pods", "200"): 1,
    }
    assert {key: series[key] for key in expected} == expected
    assert sum(value for key, value in series.items() if key[0] == "shardwise_gpus" and key[-1] == "held") == 1
    for more_than_none in (
        ("shardwise_reconciles_total", "done"),
        ("shardwise_queue_wait_seconds_count",),
        ("shardwise_lease_tries_total", "held"),
        ("shardwise_watch_connections_total", "shardedmodels"),
        ("shardwise_api_request_seconds_count", "PATCH"),
    ):
        assert series[more_than_none] > 0, more_than_none


async def test_a_refusal_is_counted_by_its_reason(operator: Scraped) -> None:
    operator.cluster.create(a_model("tiny", "meta-llama/Llama-3.1-405B", gpus=1))
    await operator.condition("tiny", "Planned", "False")
    series = await operator.series()
    (reason,) = {key[1] for key, value in series.items() if key[0] == "shardwise_plan_refusals_total" and value}
    assert reason == operator.condition_of("tiny", "Planned")["reason"]


async def test_calls_that_fail_and_a_lost_lease_are_counted(operator: Scraped, monkeypatch: pytest.MonkeyPatch) -> None:
    """And from then on the operator tells nothing of fleet and objects: another leads."""
    monkeypatch.setattr(election, "GIVE_UP_SECONDS", 0.5)

    def no_lease(request: RequestInfo) -> Fault | None:
        return Fault.drop() if "/leases" in request.path else None

    assert (await operator.series())["shardwise_leaderships_lost_total",] == 0
    operator.cluster.faults = no_lease
    async with asyncio.timeout(LIMIT):
        while not (await operator.series())["shardwise_leaderships_lost_total",]:  # noqa: ASYNC110 - a counter is no event
            await asyncio.sleep(0.1)
    series = await operator.series()
    assert series["shardwise_lease_tries_total", "error"] > 0
    assert sum(value for key, value in series.items() if key[0] == "shardwise_api_requests_total" and key[-1] == "0")
    led = {metric.name.removesuffix("_total") for metric in METRICS if metric.served_by is ServedBy.LEADER}
    assert led & ours(await operator.families()).keys() == set()
    operator.cluster.faults = None


def test_the_table_holds_to_the_conventions_of_prometheus() -> None:
    """A prefix, base units, ``_total`` for counters alone; no label of a scrape's own."""
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("shardwise_")
        assert metric.name.endswith("_total") == (metric.sort is Sort.COUNTER)
        assert (metric.sort is not Sort.HISTOGRAM) or metric.name.endswith("_seconds")
        assert bool(metric.buckets) == (metric.sort is Sort.HISTOGRAM)
        assert metric.says.endswith(".")
        assert not {"job", "instance", "le", "quantile", "pod"} & set(metric.labels)
        assert set(metric.labels) <= set(re.findall(r"`(\w+)`", metric.says)) | UNSAID, metric.name
