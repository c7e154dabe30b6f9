"""The counters and histograms of the operator's process, and the text that Prometheus reads.

A counter is counted where the work is done, which takes a microsecond or two. Gauges are worked out when Prometheus
asks: the loop copies references, and a thread does the rest. docs/decisions/0052 has the reasons and the costs.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from shardwise.metrics.table import METRICS, Metric, Sort

Values = dict[Metric, dict[tuple[str, ...], float]]
"""The values of gauges, by metric and by the values of its labels."""

Reading = Callable[[], Sequence[Values]]
"""Works values out from a copy; called in a thread. A part that has not changed is not written as text again."""


Encode = Callable[[Collector], bytes]

_END: Final = b"# EOF\n"
"""The last line of OpenMetrics."""


class Meters:
    """Counts and measures. All methods may be called in any thread."""

    def __init__(self) -> None:
        # A series more for each counter, which nobody reads. The function has no types.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._counters = {metric: self._counter(metric) for metric in METRICS if _is_counted(metric)}
        self._histograms = {metric: self._histogram(metric) for metric in METRICS if metric.sort is Sort.HISTOGRAM}
        self._written: dict[str, list[tuple[Values, bytes]]] = {}
        self._writing = threading.Lock()
        self.read: Callable[[], Reading] = lambda: list
        """Copies what gauges are worked out from, on the loop, and gives the rest of the work."""

    def _counter(self, metric: Metric) -> Counter:
        counter = Counter(metric.name, metric.says, metric.labels, registry=self._registry)
        for value in metric.values:
            counter.labels(value)
        return counter

    def _histogram(self, metric: Metric) -> Histogram:
        made = Histogram(metric.name, metric.says, metric.labels, registry=self._registry, buckets=metric.buckets)
        for value in metric.values:
            made.labels(value)
        return made

    def count(self, metric: Metric, *labels: str) -> None:
        """Add 1 to a counter."""
        counter = self._counters[metric]
        (counter.labels(*labels) if labels else counter).inc()

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        histogram = self._histograms[metric]
        (histogram.labels(*labels) if labels else histogram).observe(value)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Give all metrics as text, and the content type. ``accept`` is the header of the request."""
        reading = self.read()
        return await asyncio.to_thread(self._text, reading, accept)

    def _text(self, reading: Reading, accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        with self._writing:  # two servers of Prometheus may ask at the same time
            before = self._written.get(content_type, [])
            parts = [_written(encode, values, before[at : at + 1]) for at, values in enumerate(reading())]
            self._written[content_type] = parts
            own = encode(self._registry)
        ending = own[len(own.removesuffix(_END)) :]
        text = b"".join(part.removesuffix(ending) for part in (own, *(part for _, part in parts)))
        return text + ending, content_type


def _written(encode: Encode, values: Values, before: Sequence[tuple[Values, bytes]]) -> tuple[Values, bytes]:
    """Write a part, or give its text of the last time if it is the same."""
    if before and before[0][0] == values:
        return before[0]
    return values, encode(_Part(values))


class _Part(Collector):
    """The gauges of a part of a reading."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def collect(self) -> Iterator[Family]:
        yield from _families(self._values)


def _families(values: Values) -> Iterable[Family]:
    """Give the families of values in the order of the table."""
    for metric in METRICS:
        if metric not in values:
            continue
        sort = CounterMetricFamily if metric.sort is Sort.COUNTER else GaugeMetricFamily
        family = sort(metric.name, metric.says, labels=metric.labels)
        for labels, value in values[metric].items():
            family.add_metric(labels, value)
        yield family


def _is_counted(metric: Metric) -> bool:
    """Tell whether the process counts a metric itself. The counters of an object come from its status."""
    return metric.sort is Sort.COUNTER and "name" not in metric.labels
