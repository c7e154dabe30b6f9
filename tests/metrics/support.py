"""Metrics of which every family has a series."""

from tests.controller.support import a_model, a_node, a_pod

from shardwise.metrics import Meters, Recorder
from shardwise.metrics.table import METRICS, Sort
from shardwise.observe import Store

NOW = 1_800_000_000.0


async def a_busy_exposition() -> bytes:
    """Give the text of an operator that has counted everything once, with a node, a pod of a stranger and an object."""
    meters, store = Meters(), Store()
    recorder = Recorder(meters, store, lambda: NOW, 10)
    meters.read = recorder.reading
    store.nodes.put(a_node("a", 1))
    store.pods.put(a_pod("stranger", 2, node="a", gpus=3))
    store.sharded_models.put(a_model("llama", 3))
    for metric in METRICS:
        labels = ("x",) * len(metric.labels)
        if metric.sort is Sort.HISTOGRAM:
            meters.observe(metric, 0.5, *labels)
        elif metric.sort is Sort.COUNTER and "name" not in metric.labels:
            meters.count(metric, *labels)
    return (await meters.exposition(""))[0]
